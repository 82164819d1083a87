"""What a token of each class costs, and what is paid for time in which no token is made.

The bill of a fleet is divided by the seconds that each class of token keeps the machine busy. Time is kept in three
parts: *unallocated* (owned, not deployed), *idle* (deployed, waiting) and *busy*. Each class gets its own busy cost
("direct") and a share of the rest in proportion ("full"), so that the full cost per class times volume is the bill.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from suanli.economics.finance import EconomicsError, Numbers, refuse
from suanli.economics.price import SECONDS_PER_HOUR, TOKENS_PER_MTOK, WATTS_PER_KW

if TYPE_CHECKING:
    from collections.abc import Mapping

TokenClass = Literal["uncached_input", "cached_input", "output", "reasoning"]
TOKEN_CLASSES: tuple[TokenClass, ...] = get_args(TokenClass)
JOULES_PER_KWH = WATTS_PER_KW * SECONDS_PER_HOUR
WATTS_PER_MW = 1e6


@dataclass(frozen=True)
class ClassCost:
    """Cost of one class of token over the period."""

    tokens: float
    busy_s: float
    direct_usd: float
    full_usd: float

    @property
    def direct_usd_per_mtok(self) -> float | None:
        """Busy time only [USD/Mtok]; None when there were no such tokens."""
        return self.direct_usd / self.tokens * TOKENS_PER_MTOK if self.tokens else None

    @property
    def full_usd_per_mtok(self) -> float | None:
        """With its share of idle and unallocated time [USD/Mtok]; None when there were no such tokens."""
        return self.full_usd / self.tokens * TOKENS_PER_MTOK if self.tokens else None


@dataclass(frozen=True)
class TokenCosts:
    """The bill of a period [USD], by class of token and by state of the machine."""

    classes: dict[TokenClass, ClassCost]
    busy_usd: float
    idle_usd: float
    unallocated_usd: float

    @property
    def total_usd(self) -> float:
        """The whole bill [USD]."""
        return self.busy_usd + self.idle_usd + self.unallocated_usd

    @property
    def utilisation(self) -> float:
        """Busy share of everything that is paid [-]."""
        return self.busy_usd / self.total_usd if self.total_usd else 0.0

    def usd_per_request(self, requests: float) -> float:
        """Bill over finished requests [USD/request]."""
        refuse(not requests > 0, "requests must be above 0", requests)
        return self.total_usd / requests


def class_seconds(
    *,
    tokens: Mapping[TokenClass, float],
    prefill_s: float,
    decode_s: float,
    cached_load_s: float = 0.0,
) -> dict[TokenClass, float]:
    """Machine seconds by class from the seconds of each phase.

    Prefill goes to the uncached input, loading and reading stored KV to the cached input, decode to output and
    reasoning in proportion to their counts (a decode step does not know which of the two it makes). Seconds without a
    token of the class that should bear them are refused, because they would leave the bill.
    """
    known = {name: float(tokens.get(name, 0.0)) for name in TOKEN_CLASSES}
    made = known["output"] + known["reasoning"]
    seconds: dict[TokenClass, float] = {
        "uncached_input": prefill_s,
        "cached_input": cached_load_s,
        "output": decode_s * known["output"] / made if made else 0.0,
        "reasoning": decode_s * known["reasoning"] / made if made else 0.0,
    }
    if decode_s and not made:
        raise EconomicsError(f"{decode_s} s of decode but no output or reasoning token bears them")
    return seconds


def token_costs(
    *,
    usd_per_hour: float,
    duration_s: float,
    tokens: Mapping[TokenClass, float],
    busy_s: Mapping[TokenClass, float],
    allocated_fraction: float = 1.0,
) -> TokenCosts:
    """Divide the bill of `duration_s` seconds over classes of token.

    Parameters
    ----------
    usd_per_hour : price of everything that is paid for, deployed or not [USD/h]
    duration_s : length of the simulated period [s]
    tokens : tokens of each class in the period [token]
    busy_s : seconds in which the deployed machine worked for each class; they sum to at most its seconds [s]
    allocated_fraction : share of what is paid for that was deployed [-]

    Notes
    -----
    Where a machine has several parts that are busy at different times, give seconds weighted with each part's share of
    the price; the identity holds for any such weights.
    """
    refuse(not duration_s > 0, "duration must be above 0 s", duration_s)
    refuse(not 0 < allocated_fraction <= 1, "allocation must be above 0 and at most 1", allocated_fraction)
    _check_classes(tokens, busy_s)
    deployed_s = duration_s * allocated_fraction
    busy_total = sum(busy_s.values())
    # Sums of many simulated steps carry rounding; anything beyond it is a utilisation over 1.
    over = busy_total > deployed_s * (1 + 1e-9)
    refuse(over, f"busy time must be at most the time deployed, {deployed_s:g} s", busy_total)
    per_s = usd_per_hour / SECONDS_PER_HOUR
    bill = per_s * duration_s
    classes = {
        name: ClassCost(
            tokens=float(tokens.get(name, 0.0)),
            busy_s=float(busy_s.get(name, 0.0)),
            direct_usd=per_s * busy_s.get(name, 0.0),
            full_usd=bill * busy_s.get(name, 0.0) / busy_total if busy_total else 0.0,
        )
        for name in TOKEN_CLASSES
    }
    busy_usd = per_s * busy_total
    return TokenCosts(
        classes=classes,
        busy_usd=busy_usd,
        idle_usd=per_s * (deployed_s - busy_total),
        unallocated_usd=per_s * (duration_s - deployed_s),
    )


def _check_classes(tokens: Mapping[TokenClass, float], busy_s: Mapping[TokenClass, float]) -> None:
    for table in (tokens, busy_s):
        for name, value in table.items():
            if name not in TOKEN_CLASSES:
                raise EconomicsError(f"unknown token class '{name}' (accepted: {', '.join(TOKEN_CLASSES)})")
            refuse(not value >= 0, f"{name} must be at least 0", value)
    for name, seconds in busy_s.items():
        refuse(seconds > 0 and not tokens.get(name, 0.0) > 0, f"busy seconds for {name}, which has no tokens", seconds)


def break_even_utilisation(
    *,
    fixed_usd_per_hour: Numbers,
    alternative_usd_per_busy_hour: Numbers,
    variable_usd_per_busy_hour: Numbers = 0.0,
) -> Numbers:
    """Utilisation at which owning (or a commitment) costs the same per useful hour as paying only for use [-].

    fixed / u + variable = alternative. Above 1 means never; infinite when the alternative costs no more than the
    variable part alone.
    """
    margin = np.asarray(alternative_usd_per_busy_hour, dtype=float) - np.asarray(
        variable_usd_per_busy_hour, dtype=float
    )
    fixed = np.asarray(fixed_usd_per_hour, dtype=float)
    refuse(~(fixed >= 0), "fixed cost must be at least 0 USD/h", fixed_usd_per_hour)
    result = np.where(margin > 0, fixed / np.where(margin > 0, margin, 1.0), np.inf)
    return float(result) if result.ndim == 0 else result


def api_usd_per_busy_hour(usd_per_mtok: Mapping[TokenClass, float], tokens_per_s: Mapping[TokenClass, float]) -> float:
    """What an API would charge for the tokens that a machine makes in one busy hour [USD/h]."""
    missing = [name for name, rate in tokens_per_s.items() if rate > 0 and name not in usd_per_mtok]
    if missing:
        raise EconomicsError(f"no API price for {', '.join(missing)}")
    return sum(
        usd_per_mtok[name] * rate * SECONDS_PER_HOUR / TOKENS_PER_MTOK
        for name, rate in tokens_per_s.items()
        if rate > 0
    )


def usd_per_useful_hour(usd_per_hour: Numbers, utilisation: Numbers) -> Numbers:
    """Cost of an hour of useful work [USD/h] at a utilisation above 0 and at most 1."""
    share = np.asarray(utilisation)
    refuse(~((share > 0) & (share <= 1)), "utilisation must be above 0 and at most 1", utilisation)
    return usd_per_hour / utilisation


def tokens_per_joule(tokens_per_s: Numbers, facility_power_w: Numbers) -> Numbers:
    """Tokens per joule taken from the grid [token/J]."""
    refuse(~(np.asarray(facility_power_w) > 0), "power must be above 0 W", facility_power_w)
    return tokens_per_s / facility_power_w


def tokens_per_s_per_mw(tokens_per_s: Numbers, facility_power_w: Numbers) -> Numbers:
    """Token rate per megawatt taken from the grid [token/s/MW]."""
    return tokens_per_joule(tokens_per_s, facility_power_w) * WATTS_PER_MW


def g_co2_per_mtok(tokens_per_s: Numbers, facility_power_w: Numbers, g_co2_per_kwh: Numbers) -> Numbers:
    """Grams of CO2 per million tokens from the grid's intensity [g/kWh]; building the machine is not in it."""
    return TOKENS_PER_MTOK / tokens_per_joule(tokens_per_s, facility_power_w) / JOULES_PER_KWH * g_co2_per_kwh
