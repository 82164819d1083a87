"""Owned, reserved, rented by the hour, or bought as tokens: all at the same utilisation.

Utilisation is the share of the paid time in which tokens are made, as a simulation found it under its SLO. Each way of
paying is a fixed cost per hour and a cost per busy hour; at utilisation u a useful hour costs fixed / u + variable.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from suanli.economics.finance import EconomicsError, Numbers
from suanli.economics.model import chip_hour
from suanli.economics.price import usd_per_mtok
from suanli.economics.tokens import api_usd_per_busy_hour, break_even_utilisation, usd_per_useful_hour

if TYPE_CHECKING:
    from collections.abc import Mapping

    from suanli.economics.quote import Quote
    from suanli.economics.tokens import TokenClass


@dataclass(frozen=True)
class Alternative:
    """One way of paying for the work of one machine."""

    name: str
    fixed_per_hour: float  # paid in every hour [money/h]
    variable_per_busy_hour: float  # paid only in hours with work [money/h]

    def per_useful_hour(self, utilisation: Numbers) -> Numbers:
        """Cost of an hour of work at a utilisation above 0 and at most 1 [money/h]."""
        return usd_per_useful_hour(self.fixed_per_hour, utilisation) + self.variable_per_busy_hour

    def usd_per_mtok(self, utilisation: Numbers, busy_tokens_per_s: float) -> Numbers:
        """Cost of a million tokens when a busy machine makes `busy_tokens_per_s` [money/Mtok]."""
        return usd_per_mtok(self.per_useful_hour(utilisation), busy_tokens_per_s)


def of_quote(name: str, quote: Quote, chips: float, idle_load: float = 0.0, busy_load: float = 1.0) -> Alternative:
    """Alternative of `chips` chips at a quoted price.

    Parameters
    ----------
    idle_load, busy_load : IT power over provisioned power while waiting and while working, from the simulation [-];
        not used for a rent, where the landlord pays the power
    """
    if quote.structure == "rented":
        price = float(np.asarray(quote.cost.total)) * chips
        return Alternative(name, price, 0.0) if quote.pays_idle else Alternative(name, 0.0, price)
    if not 0 <= idle_load <= busy_load <= 1:
        raise EconomicsError(f"loads must be 0 <= idle <= busy <= 1 (given {idle_load}, {busy_load})")
    idle, busy = (
        float(np.asarray(chip_hour(quote.structure, quote.values | {"energy.load": load}).total)) * chips
        for load in (idle_load, busy_load)
    )
    return Alternative(name, idle, busy - idle)


def of_api(
    name: str, usd_per_mtok_of: Mapping[TokenClass, float], busy_tokens_per_s: Mapping[TokenClass, float]
) -> Alternative:
    """Alternative of buying from an API the tokens that the machine makes in a busy hour."""
    return Alternative(name, 0.0, api_usd_per_busy_hour(usd_per_mtok_of, busy_tokens_per_s))


def break_even(first: Alternative, second: Alternative) -> float:
    """Utilisation from which the one with more fixed cost is cheaper; infinite when it never is, also above 1 never."""
    more, less = (first, second) if first.fixed_per_hour >= second.fixed_per_hour else (second, first)
    if more.fixed_per_hour == less.fixed_per_hour:
        raise EconomicsError(f"{first.name} and {second.name} have the same fixed cost: no utilisation decides")
    share = break_even_utilisation(
        fixed_usd_per_hour=more.fixed_per_hour - less.fixed_per_hour,
        alternative_usd_per_busy_hour=less.variable_per_busy_hour,
        variable_usd_per_busy_hour=more.variable_per_busy_hour,
    )
    return math.inf if np.isinf(share) else float(np.asarray(share))
