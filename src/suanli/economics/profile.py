"""Named ways of paying for compute, and what a study changes in them.

A profile is a file of inputs (:data:`suanli.economics.inputs.INPUTS`), each a `Quantity` with kind, source and range.
It holds what does not depend on the machine: finance, building, energy, operations. The machine brings its own capex,
power or rent.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field

from suanli.catalog.files import CatalogError, read_documents, validate
from suanli.catalog.schema import Grid, Identifier, Record
from suanli.economics.finance import EconomicsError
from suanli.economics.inputs import (
    BUILD_KEYS,
    DEBT_KEYS,
    INPUTS,
    OPERATIONS,
    OPERATIONS_LINES,
    Structure,
    power_for_energy,
    told,
    unit_of,
)
from suanli.economics.money import CURRENCIES, convert, range_in, value_in
from suanli.economics.overrides import apply_override, unknown_inputs
from suanli.quantity import Quantity, QuantityError, parse_unit

DATA = Path(__file__).parents[1] / "catalog" / "data" / "economics"
_DATED = re.compile(r"-20\d\d(-\d\d)?(?=-|$)")  # the date inside the id of a profile


class Tariff(Record):
    """Electricity price that only some machines get, e.g. only domestic chips."""

    vendors: tuple[str, ...]
    electricity: Quantity


class EconomicsProfile(Record):
    """One way of paying, with every number cited."""

    schema_version: Literal[1]
    id: Identifier
    name: str
    edition: str  # YYYY-MM of the facts
    structure: Structure
    currency: Literal["USD", "CNY", "EUR"]
    inputs: dict[str, Quantity]
    exchange: dict[str, Quantity] = Field(
        default_factory=dict
    )  # foreign currency -> foreign units per unit of `currency`
    tariffs: tuple[Tariff, ...] = ()
    term: Literal["on_demand", "spot", "capacity_block", "1y", "3y", "5y"] | None = None  # of the rent
    notes: tuple[str, ...] = ()

    @property
    def pays_idle(self) -> bool:
        """Whether hours without work are paid: always, but for rent by the hour."""
        return self.term not in {"on_demand", "spot"}

    def electricity(self, vendor: str | None = None) -> Quantity:
        """Tariff for machines of `vendor`; conditional tariffs come before the general one."""
        for tariff in self.tariffs:
            if vendor is not None and vendor.lower() in (name.lower() for name in tariff.vendors):
                return convert(tariff.electricity, self.currency, self.exchange, f"{self.id}: tariffs")
        return self.inputs["energy.electricity"]

    def quantities(self, vendor: str | None = None) -> dict[str, Quantity]:
        """Every input in the currency of the profile, for machines of `vendor`."""
        found = {
            key: convert(quantity, self.currency, self.exchange, f"{self.id}: {key}")
            for key, quantity in self.inputs.items()
        }
        if "energy.electricity" in found:
            found["energy.electricity"] = self.electricity(vendor)
        return found

    def values(self, vendor: str | None = None) -> dict[str, float]:
        """Best value of every input, in the border unit of :data:`INPUTS`."""
        return {
            key: value_in(quantity, unit_of(key, self.currency)) for key, quantity in self.quantities(vendor).items()
        }

    def ranges(self, vendor: str | None = None) -> dict[str, tuple[float, float, float]]:
        """Low end, best value and high end of every input, in the border unit of :data:`INPUTS`."""
        return {
            key: range_in(quantity, unit_of(key, self.currency)) for key, quantity in self.quantities(vendor).items()
        }

    def sources(self) -> tuple[str, ...]:
        """Ids of every source that the profile uses."""
        cited = [*self.inputs.values(), *self.exchange.values(), *(tariff.electricity for tariff in self.tariffs)]
        return tuple(sorted({quantity.source for quantity in cited}))


def profile_names() -> tuple[str, ...]:
    """Ids of the shipped profiles."""
    return tuple(sorted(path.stem for path in DATA.glob("*.yaml")))


def profile_at(name: str, edition: str) -> str:
    """Id of the shipped profile of the same structure as `name` with the newest facts up to `edition` (YYYY-MM)."""
    known = {str(document["id"]): str(document["edition"]) for document, _ in map(_document, profile_names())}
    at_date = {own: dated for own, dated in known.items() if dated <= edition}
    until = {own: dated for own, dated in at_date.items() if _DATED.sub("", own) == _DATED.sub("", name)}
    if not until:
        first = min(known.values())
        accepted = ", ".join(at_date) if at_date else f"an edition from {first} on"
        raise EconomicsError(f"economics: no profile like '{name}' with facts of {edition}; accepted: {accepted}")
    return str(max(until, key=lambda own: until[own]))


def load_profile(
    name_or_path: str | Path, overrides: Mapping[str, object] | None = None, grid: Grid | None = None
) -> EconomicsProfile:
    """Read a profile by id or path, lay `grid` and then `overrides` over it, and check the result.

    Parameters
    ----------
    overrides : dotted input keys to ``"0.07 USD/kWh"``, a range ``"0.05..0.09 USD/kWh"``, or a full quantity mapping;
        ``exchange.CNY`` to ``"7.1 CNY/USD"``
    grid : region whose tariff, PUE and carbon replace those of the profile

    Raises EconomicsError with every problem, one line each.
    """
    data, where = _document(name_or_path)
    inputs, exchange = _mapping(data.get("inputs")), _mapping(data.get("exchange"))
    currency = data.get("currency")
    if currency not in CURRENCIES:
        raise EconomicsError(f"{where}: currency: {currency!r} given, accepted: {', '.join(CURRENCIES)}")
    if grid is not None:
        inputs |= _grid_inputs(grid)
    if OPERATIONS in (overrides or {}):  # it stands for all of its lines
        inputs = {key: value for key, value in inputs.items() if key not in OPERATIONS_LINES}
    problems: list[str] = []
    for key, given in (overrides or {}).items():
        problems += apply_override(key, given, currency, inputs, exchange)
    problems += unknown_inputs(inputs, where)
    if problems:
        raise EconomicsError(*problems)
    try:
        profile = validate({**data, "inputs": inputs, "exchange": exchange}, EconomicsProfile, where)
    except CatalogError as error:
        raise EconomicsError(*error.problems) from None
    problems = profile_problems(profile, where)
    if problems:
        raise EconomicsError(*problems)
    return profile


def profile_of_study(economics: str | Mapping[str, object], grid: Grid | None = None) -> EconomicsProfile:
    """Profile of the ``economics:`` key of a study: an id, or a mapping with ``profile`` and overrides."""
    if isinstance(economics, str):
        return load_profile(economics, grid=grid)
    overrides = dict(economics)
    name = overrides.pop("profile", None)
    if not isinstance(name, str):
        raise EconomicsError(f"economics.profile: {name!r} given, accepted: {', '.join(profile_names())}, or a path")
    return load_profile(name, overrides, grid)


def profile_problems(profile: EconomicsProfile, where: str) -> list[str]:
    """Everything that is wrong with the inputs of a profile, one line each."""
    problems = [
        line for key, quantity in profile.inputs.items() for line in _value_problems(profile, key, quantity, where)
    ]
    problems += _missing(profile, where)
    for currency, rate in profile.exchange.items():
        if currency not in CURRENCIES or parse_unit(rate.unit)[1] != parse_unit(f"{currency}/{profile.currency}")[1]:
            problems.append(
                f"{where}: exchange.{currency}: '{rate.unit}' given, accepted: {currency}/{profile.currency}"
            )
        elif rate.si <= 0:
            problems.append(f"{where}: exchange.{currency}: {rate.value} given, accepted: a rate above 0")
    return problems


def _value_problems(profile: EconomicsProfile, key: str, quantity: Quantity, where: str) -> list[str]:
    entry, unit = INPUTS[key], unit_of(key, profile.currency)
    place = f"{where}: {key}"
    mistaken = power_for_energy(quantity.unit, unit)
    if mistaken:
        return [f"{place}: unit '{quantity.unit}' given, accepted: {mistaken}"]
    try:
        quantity = convert(quantity, profile.currency, profile.exchange, place)
    except EconomicsError as error:
        return list(error.problems)
    if parse_unit(quantity.unit)[1] != parse_unit(unit)[1]:
        return [f"{place}: unit '{quantity.unit}' given, accepted: one like {unit}"]
    try:
        numbers = range_in(quantity, unit)
    except QuantityError as error:
        return [f"{place}: unknown ({error}); accepted: {entry.accepted.replace('{money}', profile.currency)}"]
    wrong = [number for number in numbers if not entry.possible(number)]
    accepted = entry.accepted.replace("{money}", profile.currency)
    return [f"{place}: {told(wrong[0], unit)} given, accepted: {accepted}"] if wrong else []


def _missing(profile: EconomicsProfile, where: str) -> list[str]:
    """Inputs that the structure needs and the profile does not have."""
    keys = [key for key, entry in INPUTS.items() if profile.structure in entry.needed_by]
    problems = [
        f"{where}: {key}: missing; accepted: {INPUTS[key].meaning}, in {unit_of(key, profile.currency)}"
        for key in keys
        if key not in profile.inputs
    ]
    if profile.structure == "rented":
        return problems if profile.term else [*problems, f"{where}: term: missing; accepted: on_demand, 1y, 3y ..."]
    given = profile.inputs
    if "facility.build" not in given and "facility.rent" not in given:
        problems.append(
            f"{where}: facility.rent: missing; accepted: facility.rent, or the keys {', '.join(BUILD_KEYS)}"
        )
    if "facility.build" in given:
        problems += [f"{where}: {key}: missing; facility.build needs it" for key in BUILD_KEYS if key not in given]
    if OPERATIONS not in given and not any(key in given for key in OPERATIONS_LINES):
        unit = unit_of(OPERATIONS, profile.currency)
        problems.append(
            f"{where}: {OPERATIONS}: missing; accepted: it, or its lines {', '.join(OPERATIONS_LINES)}, in {unit}"
        )
    capital = profile.structure == "owned" or "facility.build" in given
    debt = [key for key in DEBT_KEYS if key not in given]
    if capital and "finance.cost_of_capital" not in given and debt:
        problems.append(f"{where}: finance.cost_of_capital: missing; accepted: it, or the keys {', '.join(DEBT_KEYS)}")
    return problems


def _document(name_or_path: str | Path, within: tuple[Path, ...] = ()) -> tuple[dict[str, object], str]:
    """Plain data of a profile with what it extends laid under it; `within` are the files that extend it."""
    path = Path(name_or_path)
    if path.suffix not in {".yaml", ".yml"}:
        path = DATA / f"{name_or_path}.yaml"
        if path.stem not in profile_names():
            near = difflib.get_close_matches(str(name_or_path), profile_names(), n=1)
            hint = f"did you mean '{near[0]}'? " if near else ""
            raise EconomicsError(
                f"economics: unknown profile '{name_or_path}'; {hint}accepted: {', '.join(profile_names())}"
            )
    where = path.stem if path.parent == DATA else str(path)
    try:
        documents = read_documents(path)
    except CatalogError as error:
        raise EconomicsError(*error.problems) from None
    if len(documents) != 1 or not isinstance(documents[0], Mapping):
        raise EconomicsError(f"{where}: accepted: one YAML mapping with the keys of an economics profile")
    data: dict[str, object] = dict(documents[0])
    base_name = data.pop("extends", None)
    if base_name is None:
        return data, where
    if path in within:
        raise EconomicsError(f"{where}: extends: '{base_name}' given, which extends this profile in turn")
    base_path = Path(str(base_name))
    base, _ = _document(path.parent / base_path if base_path.suffix else base_path, (*within, path))
    merged = base | data
    for key in ("inputs", "exchange"):
        merged[key] = {**_mapping(base.get(key)), **_mapping(data.get(key))}
    return merged, where


def _mapping(value: object) -> dict[str, object]:
    return dict(value) if isinstance(value, Mapping) else {}


def _grid_inputs(grid: Grid) -> dict[str, object]:
    found: dict[str, object] = {"energy.electricity": grid.electricity, "energy.pue": grid.pue}
    return found | ({"energy.carbon": grid.carbon} if grid.carbon is not None else {})
