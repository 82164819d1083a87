"""Ranges of inputs into ranges of answers: quasi-Monte-Carlo, tornado, who is cheaper, least regret.

Every input has a range. Inputs of the market (tariff, cost of capital, life ...) are the same draw for all candidates,
so that a comparison is not blurred by what they share; inputs of a machine (its capex, its power, the error of its
prediction) are drawn for each candidate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from suanli.economics.finance import EconomicsError, Numbers, refuse
from suanli.economics.model import chip_hour, facility_power_w
from suanli.economics.price import usd_per_mtok
from suanli.economics.tokens import g_co2_per_mtok, tokens_per_joule, tokens_per_s_per_mw

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from suanli.economics.inputs import Structure

Z90 = 1.2815515655446004  # standard normal quantile of 0.9: the ends of an 80 % interval
OWN_PREFIXES = ("capex.", "system.", "prediction.")  # drawn for each candidate
ERROR = "prediction.factor"  # achieved over predicted token rate

Draws = dict[str, "NDArray[np.float64]"]


@dataclass(frozen=True)
class Range:
    """Belief about one input.

    Half of the belief lies on each side of `best`, so that the middle of the answer belongs to the middle of the inputs
    however one-sided the ranges are. `ends` (default): `low` and `high` are the ends and the belief thins out towards
    them linearly. `interval80`: `low` and `high` hold 80 % of the belief, log-normal on each side; this is what a
    validated prediction states.
    """

    low: float
    best: float
    high: float
    shape: Literal["ends", "interval80"] = "ends"

    def __post_init__(self) -> None:
        if not self.low <= self.best <= self.high:
            raise EconomicsError(f"range must be ordered (given {self.low}, {self.best}, {self.high})")
        if self.shape == "interval80" and not self.low > 0:
            raise EconomicsError(f"an 80 % interval must be above 0, its low end is {self.low}")

    def quantile(self, share: NDArray[np.float64]) -> NDArray[np.float64]:
        """Value below which `share` of the belief lies."""
        if self.low == self.high:
            return np.full(share.shape, self.best)
        return _lognormal(self, share) if self.shape == "interval80" else _two_sided(self, share)


def as_ranges(triples: Mapping[str, tuple[float, float, float]]) -> dict[str, Range]:
    """Ranges of (low, best, high) triples, as profiles and bills give them."""
    return {key: Range(*triple) for key, triple in triples.items()}


def best_values(ranges: Mapping[str, Range]) -> dict[str, float]:
    """Best value of each range."""
    return {key: one.best for key, one in ranges.items()}


@dataclass(frozen=True)
class Candidate:
    """One plan as the cost model sees it: what it costs, what it delivers, how sure the delivery is."""

    name: str
    structure: Structure
    ranges: Mapping[str, Range]
    chips: float
    tokens_per_s: float  # delivered on average by all chips while meeting the SLO
    error: Range = Range(1.0, 1.0, 1.0)  # achieved over predicted rate
    error_group: str | None = None  # candidates of one group err together (same chip and engine)

    def usd_per_mtok(self, values: Mapping[str, Numbers]) -> Numbers:
        """Cost of a million tokens when the inputs are `values`; they hold :data:`ERROR`."""
        return usd_per_mtok(chip_hour(self.structure, values).total * self.chips, self.tokens_per_s * values[ERROR])

    def headlines(self, values: Mapping[str, Numbers]) -> dict[str, Numbers]:
        """Every headline that the structure has when the inputs are `values`; a tenant does not know the power."""
        price, rate = chip_hour(self.structure, values).total, self.tokens_per_s * values[ERROR]
        found = {"usd_per_chip_hour": price, "usd_per_mtok": usd_per_mtok(price * self.chips, rate)}
        if self.structure == "rented":
            return found
        power_w = facility_power_w(values) * self.chips
        found["tokens_per_joule"] = tokens_per_joule(rate, power_w)
        found["tokens_per_s_per_mw"] = tokens_per_s_per_mw(rate, power_w)
        if "energy.carbon" in values:
            found["g_co2_per_mtok"] = g_co2_per_mtok(rate, power_w, values["energy.carbon"])
        return found

    def columns(self) -> dict[str, str]:
        """Name of the random column of each uncertain input."""
        owner = {key: f"{self.name}:{key}" if key.startswith(OWN_PREFIXES) else key for key in self._all()}
        if self.error_group is not None:
            owner[ERROR] = f"group {self.error_group}:{ERROR}"
        return {key: owner[key] for key, one in self._all().items() if one.low < one.high}

    def draw(self, shares: Draws, memo: dict[tuple[str, Range], NDArray[np.float64]]) -> dict[str, Numbers]:
        """Inputs for the columns of uniform numbers `shares`; inputs without a range stay numbers."""
        return draw_inputs(self._all(), self.columns(), shares, memo)

    def best(self) -> float:
        """Cost of a million tokens at the best value of every input."""
        return float(self.usd_per_mtok(best_values(self._all())))

    def _all(self) -> dict[str, Range]:
        return {**self.ranges, ERROR: self.error}


def draw_inputs(
    ranges: Mapping[str, Range],
    columns: Mapping[str, str],
    shares: Draws,
    memo: dict[tuple[str, Range], NDArray[np.float64]],
) -> dict[str, Numbers]:
    """Each input at its column of uniform numbers; one that another candidate has drawn is taken from `memo`."""
    found: dict[str, Numbers] = {}
    for key, one in ranges.items():
        if key not in columns:
            found[key] = one.best
            continue
        drawn = (columns[key], one)
        if drawn not in memo:
            memo[drawn] = one.quantile(shares[columns[key]])
        found[key] = memo[drawn]
    return found


class Sampled(Protocol):
    """What can be sampled: a name, random columns by input, and headlines of drawn inputs."""

    @property
    def name(self) -> str:
        """Name, different for every candidate."""

    def columns(self) -> dict[str, str]:
        """Name of the random column of each uncertain input."""

    def draw(self, shares: Draws, memo: dict[tuple[str, Range], NDArray[np.float64]]) -> dict[str, Numbers]:
        """Inputs for the columns of uniform numbers; `memo` holds what other candidates have drawn already."""

    def headlines(self, values: Mapping[str, Numbers]) -> dict[str, Numbers]:
        """Every headline when the inputs are `values`."""


def uniform_columns(names: Sequence[str], samples: int, seed: int) -> Draws:
    """Quasi-random numbers between 0 and 1 by name: multiples of the square roots of primes, shifted at random.

    Richtmyer's sequence, frac(i sqrt(p) + shift). On a plan with 97 uncertain inputs its p10, p50 and p90 at 16,384
    points are as exact as those of a scrambled Sobol sequence (0.16 % against 0.14 %; plain random numbers: 0.36 %),
    and it needs no library that takes a second to load.
    """
    refuse(not samples >= 1, "samples must be at least 1", samples)
    shifts = np.random.default_rng(seed).random(len(names))
    index = np.arange(1.0, samples + 1.0)
    # The inverse of a normal distribution is infinite at 0: keep half a cell away from both ends.
    margin = 0.5 / samples
    return {
        name: np.clip((index * math.sqrt(prime) + shift) % 1.0, margin, 1.0 - margin)
        for name, prime, shift in zip(names, _primes(len(names)), shifts, strict=True)
    }


def sample_headlines(candidates: Sequence[Sampled], samples: int = 10_000, seed: int = 0) -> dict[str, Draws]:
    """Draws of every headline, by name of candidate and of headline; the same draw of the market for all."""
    names = [candidate.name for candidate in candidates]
    if len(set(names)) < len(names):
        raise EconomicsError("candidate names must differ", ", ".join(names))
    columns = sorted({column for candidate in candidates for column in candidate.columns().values()})
    shares = uniform_columns(columns, samples, seed)
    size = samples if shares else 1
    memo: dict[tuple[str, Range], NDArray[np.float64]] = {}
    return {
        candidate.name: {
            headline: np.broadcast_to(np.asarray(value, dtype=float), (size,))
            for headline, value in candidate.headlines(candidate.draw(shares, memo)).items()
        }
        for candidate in candidates
    }


def sample_costs(candidates: Sequence[Sampled], samples: int = 10_000, seed: int = 0) -> Draws:
    """Draws of the cost of a million tokens [money/Mtok] by name of candidate."""
    return {name: draws["usd_per_mtok"] for name, draws in sample_headlines(candidates, samples, seed).items()}


def quantiles(draws: NDArray[np.float64]) -> tuple[float, float, float]:
    """The p10, p50 and p90 of draws."""
    low, middle, high = np.quantile(draws, [0.1, 0.5, 0.9])
    return float(low), float(middle), float(high)


def probability_cheaper(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Probability that `first` costs less than `second`, draw by draw; a tie counts half."""
    return float(np.mean(first < second) + 0.5 * np.mean(first == second))


def probability_cheapest(draws: Draws) -> dict[str, float]:
    """Probability of each candidate to be the cheapest of all; ties are shared."""
    table = np.stack(list(draws.values()))
    winners = table == table.min(axis=0)
    shares = (winners / winners.sum(axis=0)).mean(axis=1)
    return {name: float(share) for name, share in zip(draws, shares, strict=True)}


@dataclass(frozen=True)
class Swing:
    """What one input does to the answer when it moves over its range and everything else stays."""

    key: str
    at_low: float
    at_high: float

    @property
    def size(self) -> float:
        """Width of the swing."""
        return abs(self.at_high - self.at_low)


def tornado(ranges: Mapping[str, Range], answer: Callable[[Mapping[str, Numbers]], Numbers]) -> list[Swing]:
    """Swing of each uncertain input, one at a time, widest first."""
    best = best_values(ranges)
    swings = [
        Swing(key, float(answer({**best, key: one.low})), float(answer({**best, key: one.high})))
        for key, one in ranges.items()
        if one.low < one.high
    ]
    return sorted(swings, key=lambda swing: swing.size, reverse=True)


def scenario_costs(
    candidates: Sequence[Candidate], scenarios: Mapping[str, Mapping[str, float]]
) -> dict[str, dict[str, float]]:
    """Cost of a million tokens of each candidate in each scenario [money/Mtok].

    A scenario sets inputs (border units) that the candidate has; the others stay at their best value.
    """
    return {
        scenario: {
            candidate.name: float(
                candidate.usd_per_mtok(
                    {
                        key: changed.get(key, one.best)
                        for key, one in {**candidate.ranges, ERROR: candidate.error}.items()
                    }
                )
            )
            for candidate in candidates
        }
        for scenario, changed in scenarios.items()
    }


@dataclass(frozen=True)
class Regret:
    """Least-regret choice: cost of each option in each scenario, and what choosing it could cost too much."""

    choice: str
    worst_regret: dict[str, float]
    regret: dict[str, dict[str, float]]  # scenario -> option -> cost less the cheapest


def least_regret(costs: Mapping[str, Mapping[str, float]]) -> Regret:
    """Option whose worst excess over the cheapest is smallest; `costs` is scenario -> option -> cost."""
    if not costs:
        raise EconomicsError("no scenarios given")
    options = list(next(iter(costs.values())))
    for scenario, row in costs.items():
        if set(row) != set(options) or not row:
            raise EconomicsError(f"scenario '{scenario}' must have the options {', '.join(options)}")
    regret = {
        scenario: {option: row[option] - min(row.values()) for option in options} for scenario, row in costs.items()
    }
    worst = {option: max(row[option] for row in regret.values()) for option in options}
    return Regret(choice=min(options, key=lambda option: worst[option]), worst_regret=worst, regret=regret)


def _two_sided(one: Range, share: NDArray[np.float64]) -> NDArray[np.float64]:
    below = one.low + (one.best - one.low) * np.sqrt(2.0 * np.minimum(share, 0.5))
    above = one.high - (one.high - one.best) * np.sqrt(2.0 * np.minimum(1.0 - share, 0.5))
    return np.where(share < 0.5, below, above)


def _lognormal(one: Range, share: NDArray[np.float64]) -> NDArray[np.float64]:
    score = normal_score(share)
    spread = np.where(score < 0, math.log(one.best / one.low), math.log(one.high / one.best)) / Z90
    draws: NDArray[np.float64] = one.best * np.exp(score * spread)
    return draws


def normal_score(share: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standard normal quantile [-] by interpolation in a table of its distribution, right to 1e-5."""
    scores, below = _normal_table()
    return np.interp(share, below, scores)


@lru_cache(maxsize=1)
def _normal_table() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    scores = np.union1d(np.linspace(-6.0, 6.0, 4801), [-Z90, Z90])  # the ends of an 80 % interval are exact
    return scores, np.array([0.5 * math.erfc(-score / math.sqrt(2.0)) for score in scores])


@lru_cache(maxsize=8)
def _primes(count: int) -> tuple[int, ...]:
    found: list[int] = []
    number = 2
    while len(found) < count:
        if all(number % prime for prime in found):
            found.append(number)
        number += 1
    return tuple(found)
