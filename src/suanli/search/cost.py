"""What one chip-hour of a system costs under the study's way of paying, with the spread of its inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from suanli.catalog.loader import Catalog
from suanli.catalog.schema import Price, System
from suanli.economics.capex import Range3, capex_per_chip
from suanli.economics.finance import EconomicsError, Numbers
from suanli.economics.inputs import SYSTEM_KEYS, unit_of
from suanli.economics.model import chip_hour
from suanli.economics.money import convert, range_in
from suanli.economics.price import CostBreakdown
from suanli.economics.profile import EconomicsProfile
from suanli.quantity import Quantity


class NoPriceError(ValueError):
    """The catalog has no price that this way of paying needs."""


@dataclass(frozen=True)
class SystemCost:
    """Cost inputs of one system in border units: best values and ranges by input key."""

    profile: EconomicsProfile
    values: dict[str, float]
    ranges: dict[str, tuple[float, float, float]]
    sources: tuple[str, ...]
    price_sources: tuple[str, ...]
    capex_per_chip: float | None  # money of the profile
    basis: str  # owned, leased or rented, with the term
    _spreads: dict[float, float] = field(default_factory=dict, repr=False, compare=False)

    def per_chip_hour(self, load: Numbers) -> CostBreakdown:
        """Cost of one chip-hour [money/chip/h] at mean IT power over provisioned power `load`."""
        return chip_hour(self.profile.structure, self.values | {"energy.load": load})

    def spread(self, load: float) -> float:
        """Factor of the 80 % interval: one-at-a-time swings of all inputs, logarithms added in squares.

        Evaluated once per hundredth of load: the spread changes slowly with it.
        """
        rounded = round(load, 2)
        if rounded not in self._spreads:
            self._spreads[rounded] = self._spread(rounded)
        return self._spreads[rounded]

    def _spread(self, load: float) -> float:
        swung = [key for key, (low, _, high) in self.ranges.items() if low < high and key != "energy.load"]
        samples = {key: np.full(1 + 2 * len(swung), value) for key, value in self.values.items()}
        samples["energy.load"] = np.full(1 + 2 * len(swung), load)
        for index, key in enumerate(swung):
            low, _, high = self.ranges[key]
            samples[key][1 + 2 * index : 3 + 2 * index] = low, high
        cost = np.asarray(chip_hour(self.profile.structure, samples).total)
        ends = np.concatenate([cost[1:].reshape(-1, 2), np.full((len(swung), 1), cost[0])], axis=1)
        half = np.log(ends.max(axis=1) / ends.min(axis=1)) / 2.0
        return float(np.exp(np.sqrt(np.sum(half**2))))


def _latest(prices: list[Price]) -> Price:
    return max(prices, key=lambda price: price.edition)


def rent_price(system: System, catalog: Catalog, term: str) -> Quantity | None:
    """Newest rent per chip-hour at a term; of the system, else of its chip."""
    for subject in (system.id, system.chip):
        found = [
            p
            for p in catalog.prices.values()
            if p.subject == subject and p.what == "rent" and p.term == term and p.price.known
        ]
        if found:
            return _latest(found).price
    return None


def _money(
    system: System, catalog: Catalog, profile: EconomicsProfile
) -> tuple[dict[str, Range3], tuple[str, ...], str]:
    """Ranges of what the machine brings to the cost model, their sources, and what they rest on."""
    ranges: dict[str, Range3] = {}
    sources: tuple[str, ...] = ()
    needed = SYSTEM_KEYS[profile.structure]
    basis = profile.structure + (f" {profile.term}" if profile.term else "")
    if "system.capex" in needed:
        try:
            capex = capex_per_chip((system.id, system.chip), system.chips, profile, catalog.prices.values())
        except EconomicsError as error:
            reason = "no purchase price in the catalog" if "no capex" in str(error) else str(error)
            raise NoPriceError(reason) from None
        low, best, high = np.sum(list(capex.lines.values()), axis=0)
        ranges["system.capex"] = (float(low), float(best), float(high))
        sources += capex.sources
        basis += f", {capex.basis}"
    if "system.rent" in needed:
        rent = rent_price(system, catalog, profile.term or "on_demand")
        if rent is None:
            raise NoPriceError(f"no rental price for term '{profile.term}' in the catalog")
        ranges["system.rent"] = _in_profile(rent, "system.rent", system, profile)
        sources += (rent.source,)
    if "system.power" in needed:
        power = system.power.all_in_per_chip
        per_chip = power.model_copy(update={"unit": f"{power.unit}/chip"})
        ranges["system.power"] = _in_profile(per_chip, "system.power", system, profile)
        sources += (power.source,)
    return ranges, sources, basis


def _in_profile(quantity: Quantity, key: str, system: System, profile: EconomicsProfile) -> Range3:
    own = convert(quantity, profile.currency, profile.exchange, f"{system.id}: {key}")
    return range_in(own, unit_of(key, profile.currency))


def cost_of(system: System, catalog: Catalog, profile: EconomicsProfile) -> SystemCost:
    """Cost inputs of a system under a profile. Raises NoPriceError when a needed price is not in the catalog."""
    machine, sources, basis = _money(system, catalog, profile)
    ranges = dict(profile.ranges(system.vendor)) | machine
    values = {key: best for key, (_, best, _) in ranges.items()}
    every = tuple(sorted({*sources, *profile.sources()}))
    return SystemCost(profile, values, ranges, every, sources, values.get("system.capex"), basis)


def cost_or_rent(
    system: System, catalog: Catalog, profile: EconomicsProfile, rented: Sequence[EconomicsProfile]
) -> SystemCost:
    """Cost under the profile; for a system that is not sold, the rent of the first profile of `rented` with a price.

    The basis of the cost says which, so that owned and rented prices are never mixed unseen.
    """
    try:
        return cost_of(system, catalog, profile)
    except NoPriceError as reason:
        for fallback in rented:
            try:
                return cost_of(system, catalog, fallback)
            except NoPriceError:
                continue
        raise NoPriceError(str(reason)) from None
