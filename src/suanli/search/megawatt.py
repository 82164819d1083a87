"""Power as the scarce resource: what one more megawatt is worth to a plan, and what to run under the cap.

The machines of a plan can be bought in any number, so that the least cost of serving the traffic under a power cap is a
linear program over the best deployment of each system. Its dual is the price of the cap: what a year of the same
traffic would cost less with one more megawatt. Where the cap is too small for the traffic, one more megawatt serves
more of it, and its worth needs a price of the tokens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from suanli.economics.power import Mix, Option, best_mix
from suanli.economics.price import HOURS_PER_YEAR
from suanli.economics.tokens import WATTS_PER_MW
from suanli.search.estimate import significant
from suanli.search.result import Deployment

KW = 1e3
POWER, TRAFFIC, CHIPS = "power", "traffic", "chips"
# Worth of a served request against the dearest way of serving it, where only the cost matters: serve all that fits.
MUST_SERVE = 10.0
WHOLE = 1.0 - 1e-6


@dataclass(frozen=True)
class Running:
    """One system in the best use of the cap."""

    name: str
    request_s: float
    chips: float
    power_kw: float


@dataclass(frozen=True)
class PowerPrice:
    """What a power cap costs a plan."""

    cap_kw: float
    needed_kw: float  # of the cheapest deployment without the cap
    cheapest: str
    binding: bool
    usd_per_mw_year: float | None  # None: the cap is too small for the traffic, and the tokens have no price
    served: float  # share of the traffic that the best use of the cap serves
    request_s_per_mw: float  # requests/s that one more megawatt would serve of those that are not
    running: tuple[Running, ...]
    dark_chips: int  # of the cheapest deployment that the cap could not feed

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        plain = {key: _plain(value) for key, value in self.__dict__.items()}
        running = [{key: _plain(value) for key, value in one.__dict__.items()} for one in self.running]
        return plain | {"running": running}


def power_price(
    deployments: Sequence[Deployment],
    rate: float,
    cap_w: float,
    chips: int | None = None,
    usd_per_request: float | None = None,
) -> PowerPrice | None:
    """Price of a power cap.

    Parameters
    ----------
    deployments : the best of each system, also those that break the cap; without prices they are left out
    rate : requests/s to be served
    cap_w : IT power [W]
    chips : stock of chips, if there is one
    usd_per_request : what a served request brings in, if it is known [USD]
    """
    priced = sorted((one for one in deployments if one.prices), key=lambda one: one.value("usd_per_mtok"))
    if not priced:
        return None
    first = priced[0]
    needed = first.value("power_kw") * KW
    dark = max(math.ceil(first.value("chips") * (1.0 - cap_w / needed) - 1e-9), 0)
    if needed <= cap_w:
        return PowerPrice(cap_w / KW, needed / KW, first.name, False, 0.0, 1.0, 0.0, (_as_it_is(first, rate),), 0)
    options, limits = _options(priced, rate, chips), {POWER: cap_w, TRAFFIC: rate}
    limits |= {CHIPS: float(chips)} if chips is not None else {}
    must = MUST_SERVE * max(-option.value_per_year for option in options)
    mix = best_mix([_worth(option, must) for option in options], limits)
    served = sum(mix.amounts.values()) / rate
    price: float | None = _per_mw(mix)
    more = 0.0
    if served < WHOLE:
        price = None
        more = _per_mw(best_mix([Option(option.name, 1.0, option.uses) for option in options], limits))
        if usd_per_request is not None:
            worth = usd_per_request * HOURS_PER_YEAR * 3600.0
            mix = best_mix([_worth(option, worth) for option in options], limits)
            served, price = sum(mix.amounts.values()) / rate, _per_mw(mix)
    return PowerPrice(
        cap_kw=cap_w / KW,
        needed_kw=needed / KW,
        cheapest=first.name,
        binding=True,
        usd_per_mw_year=price,
        served=served,
        request_s_per_mw=more,
        running=_running(priced, options, mix),
        dark_chips=dark,
    )


def _plain(value: object) -> object:
    return significant(value, 5) if isinstance(value, float) else value


def _options(deployments: Sequence[Deployment], rate: float, chips: int | None) -> list[Option]:
    """Each deployment per request/s: what it costs a year, and what it takes of the limits."""
    found = []
    for one in deployments:
        uses = {POWER: one.value("power_kw") * KW / rate, TRAFFIC: 1.0}
        uses |= {CHIPS: one.value("chips") / rate} if chips is not None else {}
        found.append(Option(one.name, -one.value("usd_per_hour") * HOURS_PER_YEAR / rate, uses))
    return found


def _per_mw(mix: Mix) -> float:
    return float(mix.shadow_price[POWER]) * WATTS_PER_MW


def _worth(option: Option, usd_per_year: float) -> Option:
    return Option(option.name, option.value_per_year + usd_per_year, option.uses)


def _running(deployments: Sequence[Deployment], options: Sequence[Option], mix: Mix) -> tuple[Running, ...]:
    found = []
    for one, option in zip(deployments, options, strict=True):
        served = mix.amounts[one.name]
        if served > 1e-9:
            power = served * option.uses[POWER]
            whole = one.value("power_kw") * KW
            found.append(Running(one.name, served, one.value("chips") * power / whole, power / KW))
    return tuple(found)


def _as_it_is(one: Deployment, rate: float) -> Running:
    return Running(one.name, rate, one.value("chips"), one.value("power_kw"))
