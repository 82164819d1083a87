"""Power as the scarce resource: what to run under a cap, and what one more megawatt is worth.

Choosing how many chips of each kind (or at each clock) to run under caps of chip, rack, hall and site is a linear
program. Its duals are the shadow prices: the value of one more unit of each limit. Where a plan is known only as a
function of the cap, the same price is a finite difference.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from suanli.economics.finance import EconomicsError
from suanli.economics.tokens import WATTS_PER_MW

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


@dataclass(frozen=True)
class Option:
    """Something that can be run in any amount: a chip of one system, or one chip at one clock.

    `value_per_year` is what one unit earns or saves less its running cost [money/year]; `uses` is how much of each
    limit one unit takes (W of a hall, chips of a stock, money of a budget).
    """

    name: str
    value_per_year: float
    uses: Mapping[str, float]


@dataclass(frozen=True)
class Mix:
    """Best amounts under the limits, and the yearly value of one more unit of each limit."""

    amounts: dict[str, float]
    value_per_year: float
    shadow_price: dict[str, float]  # limit -> money/year per unit of the limit
    left: dict[str, float]  # limit -> what the best mix does not use; chips of a stock left here stay dark


def best_mix(options: Sequence[Option], limits: Mapping[str, float]) -> Mix:
    """Most valuable amounts of `options` that keep every limit; amounts are not rounded to whole machines."""
    if not options:
        raise EconomicsError("options: none given, at least one is needed")
    for name, amount in limits.items():
        if not amount >= 0:
            raise EconomicsError(f"limits: {name}: {amount} given, accepted: at least 0")
    for option in options:
        unknown = [name for name in option.uses if name not in limits]
        if unknown:
            raise EconomicsError(f"{option.name}: uses {', '.join(unknown)} without a limit")
        if option.value_per_year > 0 and not any(use > 0 for use in option.uses.values()):
            raise EconomicsError(f"{option.name}: uses no limit, so that its amount would be infinite")
    from scipy.optimize import linprog  # noqa: PLC0415 (start-up time)

    names = list(limits)
    # Rows are scaled by their limit, so that watts and chips have one size for the solver.
    scale = np.array([limits[name] if limits[name] > 0 else 1.0 for name in names])
    use = np.array([[option.uses.get(name, 0.0) for option in options] for name in names]) / scale[:, None]
    room = np.array([limits[name] for name in names]) / scale
    gain = np.array([option.value_per_year for option in options])
    solved = linprog(-gain, A_ub=use, b_ub=room, bounds=(0, None), method="highs")
    if not solved.success:
        raise EconomicsError(f"no best mix: {solved.message}")
    return Mix(
        amounts={option.name: float(amount) for option, amount in zip(options, solved.x, strict=True)},
        value_per_year=float(gain @ solved.x),
        shadow_price={
            name: float(-dual) / size + 0.0
            for name, dual, size in zip(names, solved.ineqlin.marginals, scale, strict=True)
        },
        left={name: float(rest) * size for name, rest, size in zip(names, solved.slack, scale, strict=True)},
    )


def shadow_price_per_mw(value_per_year: Callable[[float], float], cap_w: float, step_w: float) -> float:
    """Value of one more megawatt [money/year/MW], from the value of the plan at the cap and one step above it.

    The step is at least the power of the smallest machine that can be added: below it nothing changes.
    """
    if not cap_w >= 0 or not step_w > 0:
        raise EconomicsError(f"cap {cap_w} W and step {step_w} W given, accepted: a cap from 0 and a step above 0")
    return (value_per_year(cap_w + step_w) - value_per_year(cap_w)) / step_w * WATTS_PER_MW


def chips_under_caps(power_w: float, caps: Sequence[tuple[float, int]]) -> int:
    """Whole chips of one kind that nested caps leave running.

    Parameters
    ----------
    power_w : IT power of one chip with its share of everything [W]
    caps : from the inside out, the cap of one unit [W] and how many such units the next level holds [-]; the chip comes
        first: ``[(1000, 72), (132e3, 10), (1.2e6, 4), (4e6, 1)]`` is 72 chips a rack, 10 racks a hall, 4 halls a site
    """
    if not power_w > 0:
        raise EconomicsError(f"power: {power_w} W given, accepted: above 0")
    if not caps or power_w > caps[0][0]:
        return 0
    running = 1
    for (_, units), (cap_w, _) in pairwise(caps):
        # Each unit below runs the same number of chips, so that a cap is kept by turning off single chips.
        running = min(running * units, int(cap_w // power_w))
    return running * caps[-1][1]
