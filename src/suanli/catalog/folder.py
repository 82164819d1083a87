"""The folder of data files: which kind of record lies where, and reading all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from suanli.catalog.files import CatalogError, read_yaml
from suanli.catalog.schema import (
    ApiPrice,
    ApiPriceFile,
    Chip,
    Contents,
    Grid,
    ModelCard,
    Price,
    PriceFile,
    SourceFile,
    System,
    WorkloadProfile,
)
from suanli.sources import Source

DATA = Path(__file__).parent / "data"

Item = Chip | System | ModelCard | Price | ApiPrice | Grid | WorkloadProfile | Source

# Folder below data/ -> (type of one file, field of Contents that its records go to, key of a list of records)
FOLDERS: dict[str, tuple[type[BaseModel], str, str | None]] = {
    "chips": (Chip, "chips", None),
    "systems": (System, "systems", None),
    "prices": (PriceFile, "prices", "prices"),
    "api_prices": (ApiPriceFile, "api_prices", "prices"),
    "grids": (Grid, "grids", None),
    "workloads": (WorkloadProfile, "workloads", None),
    "sources": (SourceFile, "sources", "sources"),
    "models": (ModelCard, "models", None),
}


def read_folder(data: Path) -> Contents:
    """Read every file below `data` and validate it. Raises CatalogError with every problem of every file."""
    found: dict[str, list[Any]] = {name: [] for _, name, _ in FOLDERS.values()}
    problems: list[str] = []
    for path in data_files(data):
        model, name, many = FOLDERS[path.relative_to(data).parts[0]]
        try:
            record = read_yaml(path, model)
        except CatalogError as error:
            problems += error.problems
            continue
        found[name] += getattr(record, many) if many else [record]
    problems += duplicates(found)
    if problems:
        raise CatalogError(problems)
    return Contents.model_validate(found)


def data_files(data: Path) -> list[Path]:
    """Every file that `read_folder` reads, in a fixed order."""
    files: list[Path] = []
    for folder in FOLDERS:
        pattern = "*/card.yaml" if folder == "models" else "*.yaml"
        files += sorted((data / folder).glob(pattern))
    return files


def duplicates(found: Mapping[str, Sequence[Item]]) -> list[str]:
    """Return a problem for every id or alias that two records of a kind share."""
    problems = []
    for name, records in found.items():
        seen: dict[str, Item] = {}
        for record in records:
            names = {record.id.lower(), *(alias.lower() for alias in getattr(record, "aliases", ()))}
            taken = sorted(key for key in names if seen.setdefault(key, record) is not record)
            problems += [f"{name}: '{key}' of '{record.id}' is also a name of '{seen[key].id}'" for key in taken]
    return problems
