"""A purchase of chips, part bought and part rented over years: what its totals imply, beside what is published."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from suanli.catalog.files import CatalogError, read_yaml
from suanli.catalog.schema import Identifier, Record
from suanli.economics.finance import EconomicsError
from suanli.economics.money import range_in, value_in
from suanli.economics.price import contract_usd_per_chip_hour
from suanli.economics.profile import load_profile
from suanli.economics.quote import Machine, quote
from suanli.quantity import Quantity, QuantityError, parse_unit

WATTS_PER_GW = 1e9


class Bought(Record):
    """Chips that are paid for once."""

    chips: Quantity
    price: Quantity  # of all of them


class Rented(Record):
    """Chips that are paid for over years, used or not."""

    chips: Quantity
    price: Quantity  # of all of them over the term
    term: Quantity


class PublishedDeal(Record):
    """What others say about the same deal."""

    rent: Quantity | None = None  # per chip-hour
    total: Quantity | None = None
    power: Quantity | None = None  # a lower bound


class DealStudy(Record):
    """A deal. With `economics`, `subject` and `vendor` the bought chips get a price per hour too."""

    schema_version: Literal[1]
    bought: Bought
    rented: Rented
    power: Quantity  # all-in IT power per chip
    economics: str | None = None  # id of a profile under which the bought chips are housed
    subject: Identifier | None = None
    vendor: str = ""
    published: PublishedDeal = PublishedDeal()


@dataclass(frozen=True)
class Figure:
    """One number of a deal, and what is published for it."""

    name: str
    unit: str
    value: float
    published: float | None = None
    source: str = ""

    @property
    def off(self) -> float | None:
        """How far ours is from the published one [-]."""
        return None if self.published is None else self.value / self.published - 1.0


def read_deal(path: Path) -> DealStudy:
    """Read a deal. Raises EconomicsError with every problem."""
    try:
        deal = read_yaml(path, DealStudy)
    except CatalogError as error:
        raise EconomicsError(*error.problems) from None
    problems = list(_problems(deal, str(path)))
    if problems:
        raise EconomicsError(*problems)
    return deal


def _problems(deal: DealStudy, where: str) -> list[str]:
    bought, rented, published = deal.bought, deal.rented, deal.published
    units = {
        "bought.chips": (bought.chips, "chip"),
        "bought.price": (bought.price, "USD"),
        "rented.chips": (rented.chips, "chip"),
        "rented.price": (rented.price, "USD"),
        "rented.term": (rented.term, "year"),
        "power": (deal.power, "W/chip"),
        "published.rent": (published.rent, "USD/chip/h"),
        "published.total": (published.total, "USD"),
        "published.power": (published.power, "W"),
    }
    found = []
    for key, (quantity, unit) in units.items():
        if quantity is None:
            continue
        if parse_unit(quantity.unit)[1] != parse_unit(unit)[1]:
            found.append(f"{where}: {key}: unit '{quantity.unit}' given, accepted: one like {unit}")
        elif quantity.value is None or not quantity.value > 0.0:
            found.append(f"{where}: {key}: {quantity.value} given, accepted: above 0 {unit}")
    if deal.economics is not None and deal.subject is None:
        found.append(f"{where}: subject: missing; economics needs it, accepted: id of a system or chip")
    return found


def figures_of(deal: DealStudy) -> list[Figure]:
    """What the totals of a deal imply. Raises EconomicsError."""
    bought, rented, published = deal.bought, deal.rented, deal.published
    paid, owed = value_in(bought.price, "USD"), value_in(rented.price, "USD")
    own, hired = value_in(bought.chips, "chip"), value_in(rented.chips, "chip")
    rent = float(contract_usd_per_chip_hour(owed, hired, value_in(rented.term, "year")))
    watts = (own + hired) * value_in(deal.power, "W/chip")
    found = [
        Figure("bought: price of a chip", "USD/chip", paid / own),
        Figure("rented: price of a chip-hour", "USD/chip/h", rent, *_said(published.rent, "USD/chip/h")),
        Figure("together: price", "billion USD", (paid + owed) / 1e9, *_said(published.total, "GUSD")),
        Figure("together: IT power (published: over)", "GW", watts / WATTS_PER_GW, *_said(published.power, "GW")),
    ]
    if deal.economics is not None and deal.subject is not None:
        hour = _owned(deal, paid / own)
        found.append(Figure(f"bought: chip-hour under {deal.economics}", "USD/chip/h", hour))
        found.append(Figure("together: chip-hour", "USD/chip/h", (hour * own + rent * hired) / (own + hired)))
    return found


def _owned(deal: DealStudy, usd_per_chip: float) -> float:
    """Price of a chip-hour [USD/chip/h] of the bought chips, housed and powered."""
    profile = load_profile(str(deal.economics), {"system.capex": f"{usd_per_chip} USD/chip"})
    if profile.currency != "USD" or profile.structure != "owned":
        raise EconomicsError(f"economics: '{profile.id}' given, accepted: a profile of an owner that pays in USD")
    machine = Machine((str(deal.subject),), 1, deal.vendor, range_in(deal.power, "W/chip"))
    return float(sum(quote(profile, machine).waterfall().values()))


def _said(quantity: Quantity | None, unit: str) -> tuple[float | None, str]:
    try:
        return (None, "") if quantity is None else (value_in(quantity, unit), quantity.source)
    except QuantityError:
        return None, ""
