"""Load the shipped facts, and the user's own on top of them.

`load()` gives a `Catalog`: plain dictionaries of validated records by id. Nothing is computed here.
"""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from suanli.catalog import cache
from suanli.catalog.capped import SIGN, capped_chip, capped_system, limit_of
from suanli.catalog.files import CatalogError, near_matches, reason_of
from suanli.catalog.folder import DATA, Item, data_files, read_folder
from suanli.catalog.overlay import overlay
from suanli.catalog.schema import (
    ApiPrice,
    Chip,
    Contents,
    Grid,
    ModelCard,
    Price,
    System,
    WorkloadProfile,
)
from suanli.sources import Source

__all__ = ["DATA", "Catalog", "RecordKind", "catalog_of", "load"]

RecordKind = Literal["chip", "system", "model", "price", "api_price", "grid", "workload", "source"]
Named = TypeVar("Named", Chip, System, ModelCard, Price, ApiPrice, Grid, WorkloadProfile, Source)


@dataclass(frozen=True)
class Catalog:
    """All facts by id. Records are immutable; every number in them carries unit, kind and source."""

    chips: Mapping[str, Chip]
    systems: Mapping[str, System]
    prices: Mapping[str, Price]
    api_prices: Mapping[str, ApiPrice]
    grids: Mapping[str, Grid]
    workloads: Mapping[str, WorkloadProfile]
    models: Mapping[str, ModelCard]
    sources: Mapping[str, Source]
    names: Mapping[RecordKind, Mapping[str, str]] = field(repr=False)  # lower-case id or alias -> id
    data: Path = DATA

    def records(self, kind: RecordKind) -> Mapping[str, Item]:
        """All records of one kind by id."""
        by_kind: dict[RecordKind, Mapping[str, Item]] = {
            "chip": self.chips,
            "system": self.systems,
            "model": self.models,
            "price": self.prices,
            "api_price": self.api_prices,
            "grid": self.grids,
            "workload": self.workloads,
            "source": self.sources,
        }
        return by_kind[kind]

    def find(self, kind: RecordKind, name: str) -> Any:  # noqa: ANN401 (the record type follows from kind)
        """Return the record with this id or alias, upper or lower case. Raises CatalogError with near matches.

        A chip or a system at a lowered power limit is written with the limit: ``nvidia-hgx-h100-8@500w``.
        """
        if SIGN in name and kind in ("chip", "system"):
            return self._capped(kind, name)
        found = self.names[kind].get(name.lower())
        if found is None:
            raise CatalogError([_unknown(kind, name, self.names[kind])])
        return self.records(kind)[found]

    def _capped(self, kind: RecordKind, name: str) -> Chip | System:
        base, watts = limit_of(name)
        if kind == "chip":
            return capped_chip(self.chip(base), watts)
        system = self.system(base)
        return capped_system(system, self.chip_of(system), watts)

    def chip(self, name: str) -> Chip:
        """Return the chip with this id or alias. Raises CatalogError."""
        chip: Chip = self.find("chip", name)
        return chip

    def system(self, name: str) -> System:
        """Return the system with this id or alias. Raises CatalogError."""
        system: System = self.find("system", name)
        return system

    def model(self, name: str) -> ModelCard:
        """Return the model card with this id or alias (Hugging Face id). Raises CatalogError."""
        card: ModelCard = self.find("model", name)
        return card

    def chip_of(self, system: System) -> Chip:
        """Return the chip that a system is made of. Raises CatalogError."""
        return self.chip(system.chip)

    def model_config(self, name: str) -> dict[str, Any]:
        """Return the config.json of a catalogued model. Raises CatalogError."""
        path = self.data / "models" / self.model(name).id / "config.json"
        try:
            config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise CatalogError([f"{path}: cannot be read ({reason_of(error)}); expected a JSON file"]) from None
        return config

    def match_systems(self, patterns: Iterable[str]) -> tuple[System, ...]:
        """Return the systems whose id, alias or vendor matches one of the patterns (``nvidia-*``, ``amd``).

        In id order; upper and lower case are the same; a pattern that matches nothing raises CatalogError.
        """
        chosen: set[str] = set()
        problems: list[str] = []
        capped: dict[str, System] = {}
        vendors = [(system.vendor.lower(), system.id) for system in self.systems.values()]
        for pattern in patterns:
            wanted = pattern.lower()
            if SIGN in wanted:
                try:
                    capped[self.system(wanted).id] = self.system(wanted)
                except CatalogError as error:
                    problems += error.problems
                continue
            hits = {name for key, name in self.names["system"].items() if fnmatch.fnmatchcase(key, wanted)}
            hits |= {name for vendor, name in vendors if fnmatch.fnmatchcase(vendor, wanted)}
            if not hits:
                problems.append(_unknown("system", pattern, self.names["system"]))
            chosen |= hits
        if problems:
            raise CatalogError(problems)
        known = {name: self.systems[name] for name in chosen} | capped
        return tuple(known[name] for name in sorted(known))


def _unknown(kind: str, name: str, known: Mapping[str, str]) -> str:
    near = near_matches(name.lower(), known, 3)
    hint = f"; did you mean {', '.join(near)}?" if near else f"; accepted: one of {len(set(known.values()))} ids"
    return f"unknown {kind.replace('_', ' ')} '{name}'{hint}"


def load(overlays: Sequence[Path] = ()) -> Catalog:
    """Load the shipped facts and lay the user's files over them; a record with a known id replaces the shipped one.

    Raises CatalogError with every problem of every file.
    """
    return catalog_of(overlay(_shipped(), overlays), DATA)


def _shipped() -> Contents:
    key = cache.fingerprint(data_files(DATA))
    contents = cache.read(key)
    if contents is None:
        contents = read_folder(DATA)
        cache.write(key, contents)
    return contents


def catalog_of(contents: Contents, data: Path) -> Catalog:
    """Index validated records by id and alias."""
    fields: dict[RecordKind, Sequence[Any]] = {
        "chip": contents.chips,
        "system": contents.systems,
        "model": contents.models,
        "price": contents.prices,
        "api_price": contents.api_prices,
        "grid": contents.grids,
        "workload": contents.workloads,
        "source": contents.sources,
    }
    return Catalog(
        chips=_by_id(contents.chips),
        systems=_by_id(contents.systems),
        prices=_by_id(contents.prices),
        api_prices=_by_id(contents.api_prices),
        grids=_by_id(contents.grids),
        workloads=_by_id(contents.workloads),
        models=_by_id(contents.models),
        sources=_by_id(contents.sources),
        names={kind: _names(records) for kind, records in fields.items()},
        data=data,
    )


def _by_id(records: Sequence[Named]) -> dict[str, Named]:
    return {record.id: record for record in sorted(records, key=lambda record: record.id)}


def _names(records: Sequence[Item]) -> dict[str, str]:
    names = {alias.lower(): record.id for record in records for alias in getattr(record, "aliases", ())}
    return names | {record.id.lower(): record.id for record in records}
