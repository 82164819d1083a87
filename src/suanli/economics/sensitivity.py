"""Global sensitivity by SALib: Morris screens many inputs cheaply, Sobol shares out the variance.

Both work on the unit cube; the inputs follow their own beliefs through the inverse distribution, so that an input with
a narrow range is rightly unimportant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from suanli.economics.finance import EconomicsError, Numbers
from suanli.economics.uncertainty import Range, best_values

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray


@dataclass(frozen=True)
class MorrisEffect:
    """Mean absolute effect of an input (`mu_star`) and how much it depends on the others (`sigma`), in answer units."""

    key: str
    mu_star: float
    sigma: float


@dataclass(frozen=True)
class SobolShare:
    """Share of the variance by an input alone (`first`) and with all its interactions (`total`), with 95 % bounds."""

    key: str
    first: float
    first_95: float
    total: float
    total_95: float


def morris(
    ranges: Mapping[str, Range],
    answer: Callable[[Mapping[str, Numbers]], Numbers],
    trajectories: int = 50,
    seed: int = 0,
) -> list[MorrisEffect]:
    """Morris screening, most important input first; trajectories x (inputs + 1) evaluations."""
    from SALib.analyze import morris as analyse  # noqa: PLC0415 (heavy)
    from SALib.sample import morris as sample  # noqa: PLC0415 (heavy)

    problem = _problem(ranges)
    points = sample.sample(problem, trajectories, num_levels=4, seed=seed)
    result = analyse.analyze(problem, points, _evaluate(ranges, answer, points), num_levels=4, seed=seed)
    effects = [
        MorrisEffect(key, float(mu), float(sigma))
        for key, mu, sigma in zip(problem["names"], result["mu_star"], result["sigma"], strict=True)
    ]
    return sorted(effects, key=lambda effect: effect.mu_star, reverse=True)


def sobol(
    ranges: Mapping[str, Range],
    answer: Callable[[Mapping[str, Numbers]], Numbers],
    base_samples: int = 4096,
    seed: int = 0,
) -> list[SobolShare]:
    """Sobol indices, largest total share first; base_samples (a power of two) x (inputs + 2) evaluations."""
    from SALib.analyze import sobol as analyse  # noqa: PLC0415 (heavy)
    from SALib.sample import sobol as sample  # noqa: PLC0415 (heavy)

    if base_samples < 2 or base_samples & (base_samples - 1):
        raise EconomicsError(f"base_samples: {base_samples} given, accepted: a power of two from 2")
    problem = _problem(ranges)
    points = sample.sample(problem, base_samples, calc_second_order=False, seed=seed)
    result = analyse.analyze(problem, _evaluate(ranges, answer, points), calc_second_order=False, seed=seed)
    shares = [
        SobolShare(key, float(s1), float(s1_95), float(st), float(st_95))
        for key, s1, s1_95, st, st_95 in zip(
            problem["names"], result["S1"], result["S1_conf"], result["ST"], result["ST_conf"], strict=True
        )
    ]
    return sorted(shares, key=lambda share: share.total, reverse=True)


def _problem(ranges: Mapping[str, Range]) -> dict[str, Any]:
    names = [key for key, one in ranges.items() if one.low < one.high]
    if not names:
        raise EconomicsError("no input has a range: nothing to be sensitive to")
    return {"num_vars": len(names), "names": names, "bounds": [[0.0, 1.0]] * len(names)}


def _evaluate(
    ranges: Mapping[str, Range],
    answer: Callable[[Mapping[str, Numbers]], Numbers],
    points: NDArray[np.float64],
) -> NDArray[np.float64]:
    values: dict[str, Numbers] = dict(best_values(ranges))
    # An 80 % interval has no ends: levels 0 and 1 stand for the outer thousandths.
    inside = np.clip(points, 1e-3, 1.0 - 1e-3)
    names = [key for key, one in ranges.items() if one.low < one.high]
    for column, key in enumerate(names):
        values[key] = ranges[key].quantile(inside[:, column])
    return np.asarray(answer(values), dtype=float)
