"""What one chip-hour of a system costs under the study's way of paying, with the interval of its inputs.

All money that leaves this module is in USD: a plan compares systems that are paid for in different ways.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from suanli.catalog.capped import base_id
from suanli.catalog.schema import System
from suanli.economics.capex import Range3
from suanli.economics.finance import EconomicsError, Numbers, refuse
from suanli.economics.inputs import CAPEX_LINE, unit_of
from suanli.economics.model import capex, chip_hour
from suanli.economics.money import range_in
from suanli.economics.price import CostBreakdown
from suanli.economics.profile import EconomicsProfile
from suanli.economics.quote import Machine, Quote, quote
from suanli.economics.uncertainty import Range
from suanli.search.market import Market

LOAD = "energy.load"  # mean IT power over provisioned IT power: the plan predicts it
WIDTH_SAMPLES = 1024  # p10 and p90 of the price of a chip-hour to about half a percent
CERTAIN = Range(1.0, 1.0, 1.0)


class NoPriceError(ValueError):
    """The catalog has no price that this way of paying needs."""


@dataclass(frozen=True)
class SystemCost:
    """Price of a chip-hour of one system: its inputs with their ranges, and what it rests on."""

    system: str
    quote: Quote
    profile: EconomicsProfile
    price_sources: tuple[str, ...]
    basis: str  # owned, leased or rented with the term; what the price rests on
    usd: Range = CERTAIN  # USD per unit of the profile's money

    @property
    def sources(self) -> tuple[str, ...]:
        """Ids of every source behind the price."""
        return self.quote.sources

    @property
    def prices(self) -> dict[str, Range]:
        """What is paid for the machine itself: lines of the capex, or the rent [money of the profile]."""
        keys = ("system.capex", "system.rent")
        return {key: one for key, one in self.quote.ranges.items() if key in keys or key.startswith(CAPEX_LINE)}

    @cached_property
    def capex_per_chip(self) -> float | None:
        """Purchase price [USD/chip]; None where somebody else buys."""
        if self.quote.structure != "owned":
            return None
        return float(np.asarray(capex(self.quote.values))) * self.usd.best

    def per_chip_hour(self, load: Numbers) -> CostBreakdown:
        """Cost of one chip-hour [USD/chip/h] at mean IT power over provisioned power `load`."""
        given = np.asarray(load)
        refuse(~((given >= 0) & (given <= 1)), "load must be between 0 and 1", load)
        idle, full = self._ends
        return CostBreakdown(**{name: idle[name] + (full[name] - idle[name]) * load for name in idle})

    @cached_property
    def _ends(self) -> tuple[dict[str, float], dict[str, float]]:
        """Parts at no and at full load; only the energy depends on the load, and in a straight line."""
        idle, full = (
            chip_hour(self.quote.structure, self.quote.values | {LOAD: end}).scaled(self.usd.best).parts()
            for end in (0.0, 1.0)
        )
        return {key: float(np.asarray(value)) for key, value in idle.items()}, {
            key: float(np.asarray(value)) for key, value in full.items()
        }

    @cached_property
    def width(self) -> tuple[float, float]:
        """Factors (at least 1) from the best value down to the p10 and up to the p90 of the price.

        Inputs with one-sided ranges can move both to one side of the best value; the interval then ends there.
        """
        low, _, high = self.quote.interval(WIDTH_SAMPLES)
        best = float(np.asarray(self.quote.cost.total))
        return max(best / low, 1.0), max(high / best, 1.0)


@dataclass(frozen=True)
class PoolCost:
    """What is paid for the chips of one pool, and how much of their power they draw."""

    cost: SystemCost
    chips: int  # paid for
    load: float  # mean IT power over provisioned power at the offered rate
    idle_load: float  # waiting

    @property
    def values(self) -> dict[str, float]:
        """Best values of the inputs at the predicted load [border units, money of the profile]."""
        return self.cost.quote.values | {LOAD: self.load}

    @property
    def usd_per_hour(self) -> float:
        """Price of all chips [USD/h]."""
        return float(np.asarray(self.cost.per_chip_hour(self.load).total)) * self.chips


def _quoted(system: System, market: Market, own: EconomicsProfile) -> tuple[Quote, bool]:
    """First quote that prices allow: the study's own, its region's, any; and whether it is from elsewhere."""
    subjects = (base_id(system.id), base_id(system.chip))
    machine = Machine(subjects, system.chips, system.vendor, _watts(system))
    near = market.near(subjects)
    given = [price for price in market.given if price.subject in subjects]
    tries = [(near or market.prices, market.bills, bool(market.region and not near))]
    if given:
        tries.insert(0, (given, (), False))
    if near:
        tries.append((market.prices, market.bills, True))
    refusal: EconomicsError | None = None
    for prices, bills, away in tries:
        try:
            return quote(own, machine, prices, bills=bills), away
        except EconomicsError as error:
            refusal = error
    raise NoPriceError(_reason(refusal or EconomicsError("no price"), own, market)) from None


def cost_of(system: System, market: Market, profile: EconomicsProfile | None = None) -> SystemCost:
    """Cost of a system under a profile, by default that of the market. Raises NoPriceError when it has no price.

    Prices of the study's region come first; where there are none, those of another region, and the basis says so.
    """
    own = profile or market.profile
    found, away = _quoted(system, market, own)
    # The profile's guess of the mean load gives way to the prediction.
    ranges = {**found.ranges, **{key: _certain(found.ranges[key]) for key in (LOAD,) if key in found.ranges}}
    return SystemCost(
        system=system.id,
        quote=replace(found, ranges=ranges),
        profile=own,
        price_sources=tuple(name for name in found.sources if name not in own.sources()) or found.sources,
        basis=_basis(found, own, away=away),
        usd=_usd(own),
    )


def cost_or_rent(system: System, market: Market) -> SystemCost:
    """Cost under the profile; for a system that is not sold, the rent of the first stand-in with a price.

    The basis of the cost says which, so that owned and rented prices are never mixed unseen.
    """
    try:
        return cost_of(system, market)
    except NoPriceError as reason:
        for stand_in in market.stand_ins:
            try:
                return cost_of(system, market, stand_in)
            except NoPriceError:
                continue
        raise NoPriceError(str(reason)) from None


def _watts(system: System) -> Range3:
    power = system.power.all_in_per_chip
    return range_in(power.model_copy(update={"unit": f"{power.unit}/chip"}), "W/chip")


def _certain(one: Range) -> Range:
    return Range(one.best, one.best, one.best)


def _usd(profile: EconomicsProfile) -> Range:
    """USD per unit of the profile's money."""
    if profile.currency == "USD":
        return CERTAIN
    if "USD" not in profile.exchange:
        raise EconomicsError(f"{profile.id}: exchange.USD: missing; accepted: USD per {profile.currency}")
    return Range(*range_in(profile.exchange["USD"], f"USD/{profile.currency}"))


def _basis(found: Quote, profile: EconomicsProfile, *, away: bool) -> str:
    words = profile.structure + (f" {_term(profile)}" if profile.term else "")
    if found.basis != "rent":
        words += f", {found.basis}"
    return words + (", price of another region" if away and found.basis not in ("breakdown", "given") else "")


def _term(profile: EconomicsProfile) -> str:
    """Term of a rent in words: on demand, 3y."""
    return (profile.term or "").replace("_", " ")


def _reason(error: EconomicsError, profile: EconomicsProfile, market: Market) -> str:
    until = f" up to {market.edition}" if market.edition else ""
    text = str(error)
    if "no capex" in text:
        return f"no purchase price in the catalog{until}"
    if "no rent" in text:
        return f"no rental price for {_term(profile)} in the catalog{until}"
    return text


def money_unit(key: str, profile: EconomicsProfile) -> str:
    """Unit of an input of the cost model; lines of the capex are per chip."""
    return f"{profile.currency}/chip" if key.startswith(CAPEX_LINE) else unit_of(key, profile.currency)
