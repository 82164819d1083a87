"""What a system costs to buy, by line, per chip.

Best is a breakdown (``data/capex``): lines that together cover every category, or say why one is left out. Without one,
the price of the system or of the chip is raised by the shares that profiles cite for what stands around it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar, get_args

from pydantic import Field, model_validator

from suanli.catalog.files import CatalogError, read_yaml
from suanli.catalog.schema import Identifier, Price, Record
from suanli.economics.finance import EconomicsError
from suanli.economics.money import CURRENCIES, convert, currency_of, range_in
from suanli.economics.profile import EconomicsProfile
from suanli.quantity import Quantity, parse_unit

DATA = Path(__file__).parents[1] / "catalog" / "data" / "capex"

Category = Literal[
    "accelerator",
    "host",
    "memory",
    "scale_up",
    "nic",
    "fabric",
    "optics",
    "storage",
    "rack_and_cooling",
    "service",
    "software",
    "install",
    "spares",
    "tax",
]
CATEGORIES: tuple[Category, ...] = get_args(Category)
Buyer = Literal["hyperscaler", "neocloud"]
Range3 = tuple[float, float, float]  # low, best, high


Dated = TypeVar("Dated", "Capex", Price)


class CapexLine(Record):
    """One line of the bill and the categories that it covers."""

    name: str
    covers: Annotated[tuple[Category, ...], Field(min_length=1)]
    cost: Quantity  # money/system or money/chip


class Capex(Record):
    """Bill of one system for one buyer at one date; every category is covered once or left out with a reason."""

    schema_version: Literal[1]
    id: Identifier
    name: str
    subjects: tuple[Identifier, ...]  # systems, or chips whose systems all have this bill
    chips: int = Field(gt=0)  # chips that an amount per system pays for
    buyer: Buyer
    edition: str  # YYYY-MM
    lines: Annotated[tuple[CapexLine, ...], Field(min_length=1)]
    left_out: dict[Category, str] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> Self:
        covered = [category for line in self.lines for category in line.covers] + list(self.left_out)
        twice = sorted({category for category in covered if covered.count(category) > 1})
        absent = [category for category in CATEGORIES if category not in covered]
        if twice:
            raise ValueError(f"covered twice: {', '.join(twice)}")
        if absent:
            raise ValueError(f"neither covered nor left out: {', '.join(absent)}")
        names = [line.name for line in self.lines]
        if len(set(names)) < len(names):
            raise ValueError(f"line names must differ: {', '.join(names)}")
        for line in self.lines:
            _per_chip_unit(line.cost.unit)
        return self


@dataclass(frozen=True)
class CapexPerChip:
    """Capex per chip by line, as low, best and high [money/chip], with what it rests on."""

    lines: dict[str, Range3]
    basis: Literal["breakdown", "system price", "chip price", "given"]
    record: str
    sources: tuple[str, ...]

    @property
    def total(self) -> float:
        """Sum of the best values [money/chip]."""
        return sum(best for _, best, _ in self.lines.values())

    def inputs(self) -> dict[str, Range3]:
        """Ranges under the keys ``capex.LINE`` of the cost model."""
        return {f"capex.{name}": values for name, values in self.lines.items()}


@lru_cache(maxsize=1)
def load_capex() -> tuple[Capex, ...]:
    """Every shipped bill, newest edition first. Raises EconomicsError with every problem of every file."""
    found: list[Capex] = []
    problems: list[str] = []
    for path in sorted(DATA.glob("*.yaml")):
        try:
            found.append(read_yaml(path, Capex))
        except CatalogError as error:
            problems += error.problems
    if problems:
        raise EconomicsError(*problems)
    return tuple(sorted(found, key=lambda capex: capex.edition, reverse=True))


def capex_per_chip(
    subjects: Sequence[str],
    chips: int,
    profile: EconomicsProfile,
    prices: Iterable[Price] = (),
    buyer: Buyer | None = None,
    bills: Sequence[Capex] | None = None,
) -> CapexPerChip:
    """Capex per chip in the currency of `profile`, from the best facts not newer than the profile's edition.

    Parameters
    ----------
    subjects : ids to look for, best first: the system, then its chip
    chips : chips of one system [-]
    buyer : whose bill; by default any, the hyperscaler's first
    bills : breakdowns, by default the shipped ones

    Raises EconomicsError when there is neither a bill nor a purchase price.
    """
    known = load_capex() if bills is None else bills
    for subject in subjects:
        fitting = [bill for bill in known if subject in bill.subjects and buyer in (None, bill.buyer)]
        bill = newest([one for one in fitting if one.buyer == "hyperscaler"] or fitting, profile.edition)
        if bill is not None:
            return _of_bill(bill, profile)
    for subject in subjects:
        offers = [
            price for price in prices if price.subject == subject and price.what == "purchase" and price.price.known
        ]
        price = newest(offers, profile.edition)
        if price is not None:
            return _of_price(price, chips, profile)
    raise EconomicsError(f"{subjects[0]}: no capex; accepted: a file in data/capex, a purchase price, or system.capex")


def given_capex(quantity: Quantity, chips: int, profile: EconomicsProfile) -> CapexPerChip:
    """Capex per chip that a study gives in one number, per chip or per system."""
    per_chip = _per_chip(quantity, chips, profile, "system.capex")
    return CapexPerChip(lines={"given": per_chip}, basis="given", record="study", sources=(quantity.source,))


def newest(records: Sequence[Dated], edition: str) -> Dated | None:
    """The record of the latest edition up to `edition`; failing that, the earliest after it."""
    if not records:
        return None
    until = [record for record in records if record.edition <= edition]
    return max(until, key=lambda one: one.edition) if until else min(records, key=lambda one: one.edition)


def _of_bill(bill: Capex, profile: EconomicsProfile) -> CapexPerChip:
    lines = {line.name: _per_chip(line.cost, bill.chips, profile, f"{bill.id}: {line.name}") for line in bill.lines}
    sources = tuple(sorted({line.cost.source for line in bill.lines}))
    return CapexPerChip(lines=lines, basis="breakdown", record=bill.id, sources=sources)


def _of_price(price: Price, chips: int, profile: EconomicsProfile) -> CapexPerChip:
    """Price of a machine, plus what stands around it by the shares of the profile."""
    machine = _per_chip(price.price, chips, profile, price.id)
    ranges = profile.ranges()
    per_chip_price = "[system]" not in parse_unit(price.price.unit)[1]
    keys = ["hardware.beyond_chip"] if per_chip_price else []
    lines, price_so_far = {"machine": machine}, machine
    for key in [*keys, "hardware.beyond_server"]:
        if key not in ranges:
            raise EconomicsError(f"{profile.id}: {key}: missing; the price {price.id} needs it")
        low, best, high = ranges[key]
        lines[key.removeprefix("hardware.")] = (price_so_far[0] * low, price_so_far[1] * best, price_so_far[2] * high)
        price_so_far = tuple(sum(line[end] for line in lines.values()) for end in range(3))  # type: ignore[assignment]
    basis: Literal["chip price", "system price"] = "chip price" if per_chip_price else "system price"
    return CapexPerChip(lines=lines, basis=basis, record=price.id, sources=(price.price.source,))


def _per_chip(quantity: Quantity, chips: int, profile: EconomicsProfile, where: str) -> Range3:
    own = convert(quantity, profile.currency, profile.exchange, where)
    unit = _per_chip_unit(own.unit)
    divisor = chips if unit == "system" else 1
    low, best, high = range_in(own, f"{profile.currency}/{unit}")
    return low / divisor, best / divisor, high / divisor


def _per_chip_unit(unit: str) -> Literal["chip", "system"]:
    currency = currency_of(unit)
    dimension = parse_unit(unit)[1]
    if currency is not None and dimension == parse_unit(f"{currency}/system")[1]:
        return "system"
    if currency is not None and dimension == parse_unit(f"{currency}/chip")[1]:
        return "chip"
    raise ValueError(f"unit '{unit}' given, accepted: money/system or money/chip ({', '.join(CURRENCIES)})")
