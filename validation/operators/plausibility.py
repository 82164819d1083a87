"""Plausibility of measured rows: what cannot be the time of a kernel is dropped, counted and named.

Checks, in order: not positive or not finite; duplicate shape (the median stays); above the datasheet arithmetic peak;
above the memory bandwidth, and, in lanes where that happens among shapes that fit into the cache, all such shapes: they
stayed there between the repeats of the measurement, which in an engine they do not; slower than a shape that is at
least as large in every dimension (spike); and floors: a lane whose shortest kernels are several times longer than those
of another engine on the same chip (for plain products: of any format) was measured with the host in the loop, so its
rows near the floor say nothing about the kernel.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from suanli.chip.work import Work
from validation.operators.tables import Table

Mask = NDArray[np.bool_]

SPIKE = 1.5  # times the time of a dominating shape
FLOOR_RATIO = 2.5  # shortest kernels over those of the fastest other engine: host in the loop
FLOOR_KEEP = 3.0  # rows this many floors long are mostly kernel again
PEAK_TOLERANCE = 1.02
CACHED_SHARE = 0.01  # of the rows of a lane above memory bandwidth: its repeats read from the cache
CACHE_REACH = 1.5  # times the size of the cache: what is larger reads from memory almost only


@dataclass
class Report:
    """Rows read and dropped by reason for one table."""

    table: str
    rows: int
    dropped: dict[str, int] = field(default_factory=dict)

    @property
    def kept(self) -> int:
        """Rows that remain."""
        return self.rows - sum(self.dropped.values())


def shape_key(table: Table) -> NDArray[np.int64]:
    """One integer per distinct shape (kernel names do not count)."""
    stacked = np.stack([np.unique(values, return_inverse=True)[1] for values in table.columns.values()])
    return np.unique(stacked, axis=1, return_inverse=True)[1].astype(np.int64)


def without_duplicates(table: Table) -> tuple[Table, int]:
    """One row per shape with the median time."""
    if len(table.seconds) == 0:
        return table, 0
    key = shape_key(table)
    order = np.lexsort((table.seconds, key))
    starts = np.flatnonzero(np.r_[True, np.diff(key[order]) > 0])
    counts = np.diff(np.r_[starts, len(key)])
    middle = order[starts + (counts - 1) // 2]
    return table.pick(middle), len(key) - len(middle)


def dominated(sizes: list[NDArray[np.float64]], seconds: NDArray[np.float64], groups: NDArray[np.int64]) -> Mask:
    """Rows slower than SPIKE times a row of their group that is at least as large in every size."""
    levels = [np.unique(size, return_inverse=True) for size in sizes]
    spikes = np.zeros(len(seconds), dtype=bool)
    for group in np.unique(groups):
        here = np.flatnonzero(groups == group)
        grid = np.full([len(level[0]) for level in levels], np.inf)
        place = tuple(level[1][here] for level in levels)
        np.minimum.at(grid, place, seconds[here])
        for axis in range(grid.ndim):
            grid = np.flip(np.minimum.accumulate(np.flip(grid, axis), axis), axis)
        spikes[here] = seconds[here] > SPIKE * grid[place]
    return spikes


@dataclass(frozen=True)
class Limits:
    """Arithmetic peak [FLOP/s], memory bandwidth [B/s] and last-level cache [B] of a chip."""

    rate: float
    bandwidth: float
    cache: float


def cached(work: Work, seconds: NDArray[np.float64], chip: Limits, floor: float) -> tuple[Mask, Mask]:
    """Rows faster than the memory, and rows whose reads a lane with many of them may have found in the cache.

    What takes less time to read than half a `floor` [s] shows its launch either way and stays, and so does what
    arithmetic binds.
    """
    reading = work.bytes / chip.bandwidth
    faster = (reading > PEAK_TOLERANCE * seconds) & (seconds > 0.0)
    small = (work.bytes < CACHE_REACH * chip.cache) & (reading > work.flops / chip.rate)
    if np.mean(faster & small) <= CACHED_SHARE:
        return faster, np.zeros(len(seconds), dtype=bool)
    return faster, small & (reading > 0.5 * floor)


def floor_of(seconds: NDArray[np.float64]) -> float:
    """Shortest time that a lane shows, robust against single rows [s]."""
    return float(np.quantile(seconds, 0.01))


def filter_rows(
    table: Table, work: Work, chip: Limits, *, floor: float, reference: float, spikes: Mask
) -> tuple[Mask, dict[str, int]]:
    """Rows to keep and the count dropped by reason. `reference` is the floor of the fastest other engine [s]."""
    seconds = table.seconds
    faster, in_cache = cached(work, seconds, chip, floor)
    bad = {
        "not positive": ~(np.isfinite(seconds) & (seconds > 0)),
        "above arithmetic peak": work.flops / np.maximum(seconds, 1e-12) > PEAK_TOLERANCE * chip.rate,
        "above memory bandwidth": faster,
        "in the cache between repeats": in_cache,
        "slower than a larger shape": spikes,
    }
    if floor > FLOOR_RATIO * reference:
        bad["host in the loop (floor)"] = seconds < FLOOR_KEEP * floor
    keep = np.ones(len(seconds), dtype=bool)
    dropped: dict[str, int] = {}
    for reason, mask in bad.items():
        count = int((mask & keep).sum())
        if count:
            dropped[reason] = count
        keep &= ~mask
    return keep, dropped
