"""Scores of predictions against measurements: factor error, bias, rank inside a sweep, interval coverage."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass

import numpy as np


@dataclass(frozen=True)
class Pair:
    """One metric of one row: what was measured, what was predicted (None: refused) and the 80 % interval."""

    config_id: str
    sweep_id: str
    metric: str
    measured: float
    predicted: float | None
    low: float | None = None
    high: float | None = None

    @property
    def log_error(self) -> float:
        """ln(predicted / measured)."""
        return float(np.log((self.predicted or np.nan) / self.measured))


@dataclass(frozen=True)
class Score:
    """Errors are max(predicted/measured, measured/predicted) - 1; bias is the median of predicted/measured."""

    rows: int
    predicted: int
    median_error: float | None
    p90_error: float | None
    bias: float | None
    spearman: float | None
    interval_coverage: float | None

    def to_dict(self) -> dict[str, float | int | None]:
        """Plain data."""
        return {name: round(value, 4) if isinstance(value, float) else value for name, value in asdict(self).items()}


def score(pairs: Sequence[Pair]) -> Score:
    """Score of one metric over some rows."""
    known = [pair for pair in pairs if pair.predicted is not None]
    if not known:
        return Score(len(pairs), 0, None, None, None, None, None)
    logs = np.array([pair.log_error for pair in known])
    error = np.expm1(np.abs(logs))
    inside = [
        pair.low <= pair.measured <= pair.high for pair in known if pair.low is not None and pair.high is not None
    ]
    return Score(
        rows=len(pairs),
        predicted=len(known),
        median_error=float(np.median(error)),
        p90_error=float(np.percentile(error, 90)),
        bias=float(np.exp(np.median(logs))),
        spearman=_rank(known),
        interval_coverage=float(np.mean(inside)) if inside else None,
    )


def _rank(pairs: Sequence[Pair]) -> float | None:
    """Median over sweeps of at least three rows of the rank correlation of predicted and measured."""
    found = []
    for sweep in group(pairs, lambda pair: pair.sweep_id).values():
        if len(sweep) >= 3:
            one = np.array([[pair.measured, pair.predicted] for pair in sweep], dtype=float)
            ranks = np.apply_along_axis(_ranks, 0, one)
            if ranks.std(axis=0).min() > 0.0:
                found.append(float(np.corrcoef(ranks.T)[0, 1]))
    return float(np.median(found)) if found else None


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks, the mean of the ranks where values are equal."""
    order = values[:, None] > values[None, :]
    same = values[:, None] == values[None, :]
    return np.asarray(order.sum(axis=1) + (same.sum(axis=1) - 1) / 2.0)


def group(pairs: Iterable[Pair], key: Callable[[Pair], str]) -> dict[str, list[Pair]]:
    """Pairs by a key, in the order in which keys first appear."""
    found: dict[str, list[Pair]] = {}
    for pair in pairs:
        found.setdefault(key(pair), []).append(pair)
    return found


def by_metric(pairs: Iterable[Pair]) -> dict[str, Score]:
    """Score of every metric."""
    return {name: score(some) for name, some in group(pairs, lambda pair: pair.metric).items()}
