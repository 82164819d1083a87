"""Keep the validated catalog as one JSON file in the user's cache folder, so that a warm start reads no YAML.

The file name carries a fingerprint of the data files (name, time, size), of the schema and of the package version:
a change of any of them makes a new file. The first line holds the unit factors (so that pint is not imported), the
second the records. A broken file is rebuilt, a folder that cannot be written is left alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from suanli import quantity, sources
from suanli.catalog import schema
from suanli.catalog.schema import Contents

Content = TypeVar("Content", bound=BaseModel)
KEPT = 4  # cache files of other versions or checkouts that stay


def cache_folder() -> Path:
    """Return the folder for this program's cache files: XDG_CACHE_HOME, or the usual place of the system."""
    named = os.environ.get("XDG_CACHE_HOME")
    if named:
        return Path(named) / "suanli"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "suanli" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "suanli"
    return Path.home() / ".cache" / "suanli"


def fingerprint(files: Iterable[Path]) -> str:
    """Return a short hash of the names, times and sizes of the files, of the schema code and of the package version."""
    digest = hashlib.sha256(_package_version().encode())
    code = [Path(module.__file__ or "") for module in (schema, quantity, sources)]
    for path in [*files, *code]:
        state = path.stat()
        digest.update(f"{path}\0{state.st_mtime_ns}\0{state.st_size}\n".encode())
    return digest.hexdigest()[:24]


def _package_version() -> str:
    try:
        return version("suanli")
    except PackageNotFoundError:
        return "unknown"


def read(key: str) -> Contents | None:
    """Return the cached records, or None when there is no readable cache file for this fingerprint."""
    return read_as(Contents, "catalog", key)


def write(key: str, contents: Contents) -> None:
    """Write the cache file in one step; a folder that cannot be written is no error."""
    write_as("catalog", key, contents)


def read_as(model: type[Content], kind: str, key: str) -> Content | None:
    """Return cached records of a model, or None when there is no readable cache file for this fingerprint."""
    try:
        units, _, records = _file(kind, key).read_bytes().partition(b"\n")
        quantity.remember_units({str(name): (float(si), str(dim)) for name, (si, dim) in json.loads(units).items()})
        return model.model_validate_json(records)
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def write_as(kind: str, key: str, contents: BaseModel) -> None:
    """Write the cache file of a kind in one step; a folder that cannot be written is no error."""
    lines = [json.dumps(quantity.known_units()), contents.model_dump_json(exclude_defaults=True)]
    with suppress(OSError):
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f"{kind}-{key}-{os.getpid()}.part"
        part.write_text("\n".join(lines), encoding="utf-8")
        part.replace(_file(kind, key))
        for old in sorted(folder.glob(f"{kind}-*.json"), key=lambda path: path.stat().st_mtime_ns)[:-KEPT]:
            old.unlink()


def _file(kind: str, key: str) -> Path:
    return cache_folder() / f"{kind}-{key}.json"
