"""Arrival processes and lengths: times and sizes of requests that no trace has.

All functions are pure: the generator given to them is the only source of chance. Times begin at 0 and are in seconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from suanli.workload.requests import Prefixes, Requests, RequestsError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def _positive(**named: float) -> None:
    problems = [f"{name} must be above zero, not {value}" for name, value in named.items() if not value > 0.0]
    if problems:
        raise RequestsError("; ".join(problems))


def constant(rate: float, count: int) -> NDArray[np.float64]:
    """`count` arrivals at equal distance; rate [1/s]."""
    _positive(rate=rate)
    return np.arange(count) / rate


def poisson(rate: float, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Arrivals of a Poisson process of `rate` [1/s]."""
    return gamma(rate, 1.0, count, rng)


def gamma(rate: float, cv: float, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Renewal process with gamma gaps of mean 1/rate [s] and coefficient of variation `cv` [-] (above 1: bursty)."""
    _positive(rate=rate, cv=cv)
    shape = 1.0 / cv**2
    return np.cumsum(rng.gamma(shape, 1.0 / (rate * shape), count))


def weibull_shape(cv: float) -> float:
    """Shape of the Weibull distribution with coefficient of variation `cv` [-]."""
    from scipy.optimize import brentq  # noqa: PLC0415 (start-up time)
    from scipy.special import gammaln  # noqa: PLC0415

    _positive(cv=cv)

    def excess(log_shape: float) -> float:
        inverse = np.exp(-log_shape)
        return float(gammaln(1 + 2 * inverse) - 2 * gammaln(1 + inverse) - np.log1p(cv**2))

    return float(np.exp(brentq(excess, np.log(0.02), np.log(200.0))))


def weibull(rate: float, cv: float, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Renewal process with Weibull gaps of mean 1/rate [s] and coefficient of variation `cv` [-]."""
    from scipy.special import gamma as gamma_function  # noqa: PLC0415 (start-up time)

    _positive(rate=rate)
    shape = weibull_shape(cv)
    return np.cumsum(rng.weibull(shape, count) / (rate * gamma_function(1.0 + 1.0 / shape)))


def modulated(times: ArrayLike, rates: ArrayLike, rng: np.random.Generator, *, cv: float = 1.0) -> NDArray[np.float64]:
    """Arrivals whose rate follows a line through (times [s], rates [1/s]); ends at the last time.

    A renewal process with gamma gaps in operational time (the integral of the rate), mapped back to clock time; with
    cv = 1 an inhomogeneous Poisson process.
    """
    clock, rate = np.asarray(times, dtype=np.float64), np.asarray(rates, dtype=np.float64)
    if clock.size < 2 or clock.size != rate.size or np.any(np.diff(clock) <= 0) or np.any(rate < 0):
        raise RequestsError("times must increase, with one rate of at least 0 for each of two or more times")
    fine = np.unique(np.concatenate([clock, np.linspace(clock[0], clock[-1], 4096)]))
    level = np.interp(fine, clock, rate)
    done = np.concatenate([[0.0], np.cumsum(np.diff(fine) * (level[1:] + level[:-1]) / 2)])
    _positive(rate=float(done[-1]))
    count = int(done[-1] + 10.0 * np.sqrt(done[-1]) * max(cv, 1.0)) + 10
    operational = gamma(1.0, cv, count, rng)
    while operational[-1] < done[-1]:
        operational = np.concatenate([operational, operational[-1] + gamma(1.0, cv, count, rng)])
    inside = operational[operational < done[-1]]
    rising = np.concatenate([[True], np.diff(done) > 0])
    return np.asarray(np.interp(inside, done[rising], fine[rising]))


def diurnal(
    rate: float, peak_to_mean: float, duration_s: float, rng: np.random.Generator, *, period_s: float = 86400.0
) -> NDArray[np.float64]:
    """Poisson arrivals with a sinusoidal rate around `rate` [1/s], highest after half a period [s]."""
    if not 1.0 <= peak_to_mean <= 2.0:
        raise RequestsError(f"peak_to_mean must lie between 1 and 2, not {peak_to_mean}")
    _positive(rate=rate, duration_s=duration_s, period_s=period_s)
    times = np.linspace(0.0, duration_s, max(int(96 * duration_s / period_s), 96) + 1)
    return modulated(times, rate * (1.0 - (peak_to_mean - 1.0) * np.cos(2.0 * np.pi * times / period_s)), rng)


def bursts(
    rate: float, factor: float, calm_s: float, burst_s: float, count: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Poisson arrivals that switch between a calm and a burst state of exponential length, means calm_s, burst_s [s].

    In a burst the rate is `factor` times that of the calm state; `rate` [1/s] is the mean over both.
    """
    _positive(rate=rate, factor=factor, calm_s=calm_s, burst_s=burst_s)
    calm = rate * (calm_s + burst_s) / (calm_s + factor * burst_s)
    arrivals, begin, reached = [], 0.0, 0
    while reached < count:
        for level, mean in ((calm, calm_s), (calm * factor, burst_s)):
            length = rng.exponential(mean)
            here = begin + np.sort(rng.uniform(0.0, length, rng.poisson(level * length)))
            arrivals.append(here)
            begin += length
            reached += here.size
    return np.concatenate(arrivals)[:count]


def spread(requests: Requests, step_s: float, rng: np.random.Generator) -> Requests:
    """Undo the rounding of time stamps to steps of `step_s` [s]: arrivals fall evenly at random into their step."""
    _positive(step_s=step_s)
    moved = requests.arrival_s + rng.uniform(0.0, step_s, len(requests))
    order = np.argsort(moved, kind="stable")
    return replace(requests.take(order), arrival_s=moved[order])


def lengths(
    quantiles: dict[float, float], count: int, rng: np.random.Generator, *, mean: float | None = None
) -> NDArray[np.int64]:
    """Whole lengths of at least 1 drawn from published quantiles {probability: length}.

    Between two quantiles the logarithm of the length is interpolated; probabilities must reach from 0 to 1. With `mean`
    the parts that no quantile describes are bent until the distribution has it: the least length first, then the way
    from the last quantile to the greatest length.
    """
    points = np.array(sorted(quantiles.items()), dtype=np.float64)
    chance, value = points.T
    if chance[0] != 0.0 or chance[-1] != 1.0 or np.any(np.diff(value) < 0) or value[0] < 1.0:
        raise RequestsError("quantiles must reach from 0 to 1, not fall, and be at least 1")
    curve = _Curve(chance, np.log(value), 1.0)
    if mean is not None:
        curve = _bent(curve, mean)
    return np.asarray(np.maximum(np.rint(curve.at(rng.uniform(size=count))), 1.0), dtype=np.int64)


class _Curve(NamedTuple):
    """Quantile function: logarithms interpolated over probabilities, the last part with an exponent."""

    chance: NDArray[np.float64]
    level: NDArray[np.float64]
    exponent: float

    def at(self, probability: NDArray[np.float64]) -> NDArray[np.float64]:
        begin = self.chance[-2]
        way = np.clip((probability - begin) / (1.0 - begin), 0.0, 1.0) ** self.exponent
        tail = self.level[-2] + (self.level[-1] - self.level[-2]) * way
        return np.exp(np.where(probability < begin, np.interp(probability, self.chance, self.level), tail))

    @property
    def mean(self) -> float:
        """Mean length, by the midpoint rule over 20,000 quantiles."""
        return float(self.at((np.arange(20_000) + 0.5) / 20_000).mean())


def _bent(curve: _Curve, mean: float) -> _Curve:
    """The curve with the least length, then the exponent of the tail, moved towards a mean as far as they go."""

    def with_least(share: float) -> _Curve:
        least = curve.level[1] * share
        return curve._replace(level=np.concatenate([[least], curve.level[1:]]))

    curve = _bisected(with_least, (0.0, 1.0), mean)
    return _bisected(lambda power: curve._replace(exponent=math.exp(-power)), (-3.0, 3.0), mean)


def _bisected(make: Callable[[float], _Curve], ends: tuple[float, float], mean: float) -> _Curve:
    """The curve of a family with rising means that comes closest to `mean`."""
    low, high = ends
    for _ in range(24):
        middle = (low + high) / 2.0
        low, high = (middle, high) if make(middle).mean < mean else (low, middle)
    return make((low + high) / 2.0)


def conversations(
    starts: ArrayLike,
    turns: ArrayLike,
    first_input: ArrayLike,
    new_input: ArrayLike,
    output: ArrayLike,
    think_s: ArrayLike,
    *,
    block_tokens: int = 16,
) -> Requests:
    """Multi-turn sessions: each turn repeats the conversation so far and adds `new_input` tokens.

    Turns of a session share their prefix, in hash blocks of `block_tokens` [token]; sessions share nothing.

    starts : when sessions begin [s].   turns : requests of each.   first_input : prompt of the first turn, with the
    system prompt [token].   new_input, output, think_s : per session or one number for all.
    """
    begin = np.sort(np.asarray(starts, dtype=np.float64))
    count = np.broadcast_to(np.asarray(turns, dtype=np.int64), begin.shape)
    session = np.repeat(np.arange(begin.size), count)
    turn = np.arange(session.size) - np.repeat(np.cumsum(count) - count, count)

    def of(values: ArrayLike) -> NDArray[np.float64]:
        return np.broadcast_to(np.asarray(values, dtype=np.float64), begin.shape)[session]

    inputs = of(first_input) + turn * (of(new_input) + of(output))
    blocks = -(-inputs // block_tokens).astype(np.int64)
    start = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(blocks)])
    longest = np.zeros(begin.size, dtype=np.int64)
    np.maximum.at(longest, session, blocks)
    first_id = (np.cumsum(longest) - longest)[session]
    ids = np.arange(start[-1]) - np.repeat(start[:-1] - first_id, blocks)
    return Requests.build(
        begin[session],
        inputs,
        of(output),
        session=session,
        after=np.where(turn > 0, np.arange(session.size) - 1, -1),
        think_s=np.where(turn > 0, of(think_s), 0.0),
        prefixes=Prefixes(block_tokens, start, ids),
    )
