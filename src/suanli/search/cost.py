"""What one chip-hour of a system costs under the study's way of paying, with the spread of its inputs."""

from __future__ import annotations

import math
from dataclasses import dataclass

from suanli.catalog.loader import Catalog
from suanli.catalog.schema import Price, System
from suanli.economics.inputs import SYSTEM_KEYS, unit_of
from suanli.economics.model import chip_hour
from suanli.economics.money import convert, range_in
from suanli.economics.price import CostBreakdown
from suanli.economics.profile import EconomicsProfile
from suanli.quantity import Quantity, parse_unit


class NoPriceError(ValueError):
    """The catalog has no price that this way of paying needs."""


@dataclass(frozen=True)
class SystemCost:
    """Cost inputs of one system in border units: best values and ranges by input key."""

    profile: EconomicsProfile
    values: dict[str, float]
    ranges: dict[str, tuple[float, float, float]]
    quantities: dict[str, Quantity]
    sources: tuple[str, ...]
    capex_per_chip: float | None  # money of the profile

    def per_chip_hour(self, load: float) -> CostBreakdown:
        """Cost of one chip-hour [money/chip/h] at mean IT power over provisioned power `load`."""
        return chip_hour(self.profile.structure, self.values | {"energy.load": load})

    def spread(self, load: float) -> float:
        """Factor of the 80 % interval: one-at-a-time swings of all inputs, added in squares."""
        base = float(self.per_chip_hour(load).total)
        total = 0.0
        for key, (low, _, high) in self.ranges.items():
            ends = [
                float(chip_hour(self.profile.structure, self.values | {"energy.load": load, key: end}).total)
                for end in (low, high)
                if key != "energy.load"
            ]
            if ends and min(ends) > 0.0:
                total += (math.log(max(*ends, base) / min(*ends, base)) / 2.0) ** 2
        return math.exp(math.sqrt(total))


def _latest(prices: list[Price]) -> Price:
    return max(prices, key=lambda price: price.edition)


def purchase_price(system: System, catalog: Catalog) -> Quantity | None:
    """Newest purchase price per chip: of the system (divided by its chips) where there is one, else of the chip."""
    for subject, chips in ((system.id, system.chips), (system.chip, 1)):
        found = [p for p in catalog.prices.values() if p.subject == subject and p.what == "purchase" and p.price.known]
        if found:
            price = _latest(found).price
            per_system = parse_unit(price.unit)[1] in (parse_unit(f"{c}/system")[1] for c in ("USD", "CNY", "EUR"))
            return _per_chip(price, chips) if per_system else price
    return None


def _per_chip(price: Quantity, chips: int) -> Quantity:
    def divide(value: float | None) -> float | None:
        return None if value is None else value / chips

    unit = price.unit.replace("/system", "/chip")
    return price.model_copy(
        update={"value": divide(price.value), "low": divide(price.low), "high": divide(price.high), "unit": unit}
    )


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


def cost_of(system: System, catalog: Catalog, profile: EconomicsProfile, term: str) -> SystemCost:
    """Cost inputs of a system. Raises NoPriceError with the reason when a needed price is not in the catalog."""
    machine: dict[str, Quantity] = {}
    capex = purchase_price(system, catalog)
    if "system.capex" in SYSTEM_KEYS[profile.structure]:
        if capex is None:
            raise NoPriceError("no purchase price in the catalog")
        machine["system.capex"] = capex
    if "system.power" in SYSTEM_KEYS[profile.structure]:
        power = system.power.all_in_per_chip
        machine["system.power"] = power.model_copy(update={"unit": f"{power.unit}/chip"})
    if "system.rent" in SYSTEM_KEYS[profile.structure]:
        rent = rent_price(system, catalog, term)
        if rent is None:
            raise NoPriceError(f"no rental price for term '{term}' in the catalog")
        machine["system.rent"] = rent
    quantities = dict(profile.quantities(system.vendor))
    for key, quantity in machine.items():
        quantities[key] = convert(quantity, profile.currency, profile.exchange, f"{system.id}: {key}")
    ranges = {key: range_in(quantity, unit_of(key, profile.currency)) for key, quantity in quantities.items()}
    sources = tuple(sorted({quantity.source for quantity in quantities.values()}))
    capex_value = ranges["system.capex"][1] if "system.capex" in ranges else None
    values = {key: best for key, (_, best, _) in ranges.items()}
    return SystemCost(profile, values, ranges, quantities, sources, capex_value)
