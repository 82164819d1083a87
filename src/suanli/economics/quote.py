"""One call from the facts of a machine, a market and a buyer to the price of a chip-hour with its range and sources."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from suanli.economics.capex import Buyer, Range3, capex_per_chip
from suanli.economics.cashflow import waterfall
from suanli.economics.inputs import SYSTEM_KEYS
from suanli.economics.model import chip_hour, facility_power_w
from suanli.economics.offers import rent_per_chip_hour
from suanli.economics.uncertainty import Range, as_ranges, best_values, quantiles, uniform_columns

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from suanli.catalog.schema import Price
    from suanli.economics.capex import Capex
    from suanli.economics.inputs import Structure
    from suanli.economics.price import CostBreakdown
    from suanli.economics.profile import EconomicsProfile


@dataclass(frozen=True)
class Machine:
    """What the cost model asks about a system.

    `subjects` are the ids under which prices are looked up, best first: the system, then its chip. `power_w` is the
    all-in IT power per chip as low, best, high [W].
    """

    subjects: tuple[str, ...]
    chips: int
    vendor: str
    power_w: Range3


@dataclass(frozen=True)
class Quote:
    """Price of a chip-hour: every input with its range, what it rests on, and where it comes from."""

    structure: Structure
    currency: str
    ranges: dict[str, Range]
    basis: str  # breakdown, system price, chip price, given, rent
    record: str  # bill or price that was used
    sources: tuple[str, ...]
    pays_idle: bool

    @property
    def values(self) -> dict[str, float]:
        """Best value of every input, in border units."""
        return best_values(self.ranges)

    @property
    def cost(self) -> CostBreakdown:
        """Price by part at the best values [money/chip/h]."""
        return chip_hour(self.structure, self.values)

    def waterfall(self) -> dict[str, float]:
        """Price by the finest lines known [money/chip/h]; they add up to the total of `cost`."""
        return waterfall(self.structure, self.values)

    def facility_power_w(self) -> float | None:
        """Mean power from the grid per chip [W]; None where the landlord pays it."""
        return None if self.structure == "rented" else float(np.asarray(facility_power_w(self.values)))

    def interval(self, samples: int = 4096, seed: int = 0) -> tuple[float, float, float]:
        """The p10, p50 and p90 of the price over the ranges of all inputs [money/chip/h]."""
        names = [key for key, one in self.ranges.items() if one.low < one.high]
        shares = uniform_columns(names, samples, seed)
        drawn = {key: one.quantile(shares[key]) if key in shares else one.best for key, one in self.ranges.items()}
        return quantiles(np.atleast_1d(np.asarray(chip_hour(self.structure, drawn).total, dtype=float)))


def quote(
    profile: EconomicsProfile,
    machine: Machine,
    prices: Iterable[Price] = (),
    region: str | None = None,
    buyer: Buyer | None = None,
    bills: Sequence[Capex] | None = None,
) -> Quote:
    """Price a chip-hour of `machine` under `profile`; inputs that a study gives stand before those of the catalog.

    `bills` are the breakdowns of capex that may be used, by default the shipped ones. Raises EconomicsError when a fact
    is missing, and names it.
    """
    ranges = as_ranges(profile.ranges(machine.vendor))
    basis, record, cited = "given", "study", profile.sources()
    missing = [key for key in SYSTEM_KEYS[profile.structure] if key not in ranges]
    if "system.power" in missing:
        ranges["system.power"] = Range(*machine.power_w)
    if "system.capex" in missing:
        capex = capex_per_chip(machine.subjects, machine.chips, profile, prices, buyer, bills)
        ranges |= as_ranges(capex.inputs())
        basis, record, cited = capex.basis, capex.record, (*cited, *capex.sources)
    if "system.rent" in missing:
        rent, offer = rent_per_chip_hour(machine.subjects, machine.chips, prices, profile, region)
        ranges["system.rent"] = Range(*rent)
        basis, record, cited = "rent", offer.id, (*cited, offer.price.source)
    return Quote(
        structure=profile.structure,
        currency=profile.currency,
        ranges=ranges,
        basis=basis,
        record=record,
        sources=tuple(sorted(set(cited))),
        pays_idle=profile.pays_idle,
    )
