"""The user's own facts over the shipped ones.

A file holds one or several YAML documents of the same shapes as the shipped files (a chip, a system, prices, a grid, a
workload, sources). With ``base: ID`` a document takes everything that it does not say from the record of that id: a
what-if is three lines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from suanli.catalog import walk
from suanli.catalog.files import CatalogError, near_matches, read_documents, validate
from suanli.catalog.folder import FOLDERS, Item, duplicates
from suanli.catalog.schema import Chip, Contents, System

# Key that only one kind of file has at its top
TELLING_KEYS = {
    "peaks": "chips",
    "levels": "systems",
    "electricity": "grids",
    "input_tokens": "workloads",
    "sources": "sources",
}
BASES = ("chips", "systems")  # kinds that a document may start from with `base`

ById = dict[str, dict[str, Any]]


def overlay(contents: Contents, paths: Sequence[Path]) -> Contents:
    """Lay the records of user files over the shipped ones; a record with a known id replaces the shipped one.

    Raises CatalogError with every problem of every file.
    """
    if not paths:
        return contents
    by_id: ById = {name: {one.id: one for one in getattr(contents, name)} for name in Contents.model_fields}
    problems: list[str] = []
    added: list[tuple[Path, Item]] = []
    for path in paths:
        try:
            for document in read_documents(path):
                records, name = _records(document, path, by_id)
                by_id[name] |= {one.id: one for one in records}
                added += [(path, one) for one in records]
        except CatalogError as error:
            problems += error.problems
    problems = problems or [problem for path, record in added for problem in _unresolved(path, record, by_id)]
    problems = problems or duplicates({name: list(records.values()) for name, records in by_id.items()})
    if problems:
        raise CatalogError(problems)
    return Contents.model_validate({name: tuple(records.values()) for name, records in by_id.items()})


def _records(document: object, path: Path, by_id: ById) -> tuple[list[Item], str]:
    where = str(path)
    if isinstance(document, Mapping) and "base" in document:
        document, folder = _on_base(document, where, by_id)
    else:
        folder = _folder(document, where)
    model, name, many = FOLDERS[folder]
    record: Any = validate(document, model, where)
    return (list(getattr(record, many)) if many else [record]), name


def _folder(document: object, where: str) -> str:
    if isinstance(document, Mapping):
        if isinstance(document.get("prices"), list):
            hosted = any(isinstance(row, Mapping) and "model" in row for row in document["prices"])
            return "api_prices" if hosted else "prices"
        for key, folder in TELLING_KEYS.items():
            if key in document:
                return folder
    keys = ", ".join((*TELLING_KEYS, "prices", "base"))
    raise CatalogError([f"{where}: cannot tell what this is; accepted: a document with one of the keys {keys}"])


def _on_base(document: Mapping[str, Any], where: str, by_id: ById) -> tuple[dict[str, Any], str]:
    base = str(document["base"])
    for folder in BASES:
        record: BaseModel | None = by_id[folder].get(base)
        if record is not None:
            plain = record.model_dump(mode="json", exclude_defaults=True)
            plain.pop("aliases", None)
            if folder == "chips":  # a what-if keeps the measured operators of the chip that it starts from
                plain["lanes"] = plain.get("lanes") or base
            return _merged(plain, {key: value for key, value in document.items() if key != "base"}), folder
    near = near_matches(base, [key for folder in BASES for key in by_id[folder]], 3)
    hint = f"did you mean {', '.join(near)}?" if near else "accepted: the id of a chip or system"
    raise CatalogError([f"{where}: base: unknown id '{base}'; {hint}"])


def _merged(base: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Lay mappings over each other key by key; numbers, texts, and lists are replaced whole."""
    merged = dict(base)
    for key, value in given.items():
        old = merged.get(key)
        if isinstance(value, Mapping) and isinstance(old, dict) and not value.keys() & {"value", "text"}:
            merged[key] = _merged(old, value)
        else:
            merged[key] = value
    return merged


def _unresolved(path: Path, record: Item, by_id: ById) -> list[str]:
    """A user's record may only name sources and chips that exist: no number without a source."""
    where = f"{path}: {record.id}"
    missing = sorted(walk.sources(record) - set(by_id["sources"]))
    problems = [f"{where}: source '{one}' has no record; give it in a document with the key sources" for one in missing]
    if isinstance(record, System) and record.chip not in by_id["chips"]:
        near = near_matches(record.chip, by_id["chips"])
        problems.append(f"{where}: chip: unknown chip '{record.chip}'" + (f"; did you mean {near[0]}?" if near else ""))
    if isinstance(record, Chip) and not record.peaks:
        problems.append(f"{where}: peaks: none given; at least one is needed")
    return problems
