"""Levels of a network and what each topology gives to a group of chips.

A group of n ranks fills the levels from the inside out; on a torus or mesh it takes the most cubic box. Bandwidth is
one way per chip over all its links: a chip of a D-dimensional torus has 2 D links of bandwidth / (2 D) each.
Closed forms: rings, lines and balanced dimension-ordered exchange (scaling book, "sharding"; derivation in
docs/theory/collectives.md). They are checked against linear programs on small tori in
tests/reference/test_fabric_torus.py.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from suanli.fabric.lane import Collective, CollectiveLane

GRIDS = ("torus", "twisted_torus", "mesh")


@dataclass(frozen=True)
class NetworkLevel:
    """One level: `dims` chips per axis; bandwidth [B/s] one way per chip over all its links; latency [s] per hop.

    exchange_decay : usable bandwidth of an all-to-all falls as (ranks / 8) ^ -decay beyond 8 ranks (measured inside
    supernodes whose switches are not flat; 0 where nothing of the kind is known).
    """

    topology: str
    dims: tuple[int, ...]
    wraparound: bool
    bandwidth: float
    latency: float
    in_network_reduction: bool = False
    exchange_decay: float = 0.0

    @property
    def size(self) -> int:
        """Chips (or lower-level groups) that this level joins [-]."""
        return math.prod(self.dims)


@dataclass(frozen=True)
class Network:
    """Levels from the inside out, share of bandwidth that large messages reach, fixed cost of a call [s].

    `lanes` are measured collectives inside the innermost level when that is a switch; they replace its closed form.
    """

    levels: tuple[NetworkLevel, ...]
    efficiency: float
    call_s: float
    lanes: Mapping[Collective, CollectiveLane] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Chips joined by all levels [-]."""
        return math.prod(level.size for level in self.levels)

    def lane(self, op: Collective) -> CollectiveLane | None:
        """Measured collective of the innermost level, if it has one and is a switch."""
        if self.levels and self.levels[0].topology == "switch":
            return self.lanes.get(op)
        return None


def group_box(ranks: int, dims: tuple[int, ...]) -> tuple[int, ...]:
    """Most cubic box of at least `ranks` chips inside `dims`: axes grow in turn by doubling, shortest first."""
    box = [1] * len(dims)
    while math.prod(box) < ranks:
        growable = [axis for axis, extent in enumerate(dims) if box[axis] < extent]
        if not growable:
            break
        axis = min(growable, key=lambda index: box[index])
        box[axis] = min(box[axis] * 2, dims[axis])
    return tuple(box)


def axes(level: NetworkLevel, ranks: int) -> list[tuple[int, bool]]:
    """(extent, closed ring?) of every axis that a group of `ranks` chips spans in a torus or mesh.

    An axis is a ring only when the group takes all of it and it has more than two chips: two chips share one link.
    """
    wraps = level.wraparound and level.topology != "mesh"
    box = group_box(ranks, level.dims)
    return [
        (extent, wraps and extent == full and extent > 2)
        for extent, full in zip(box, level.dims, strict=True)
        if extent > 1
    ]


def seams(dims: tuple[int, ...]) -> tuple[tuple[int, int, int], ...]:
    """Twists (axis, other, shift) of a twisted torus: closing an axis of k chips also moves k along every axis of 2 k.

    Only boxes whose axes are all k or 2 k, with some of each, can be twisted (k x k x 2k and k x 2k x 2k slices of TPU
    v4, Jouppi et al. 2023, arXiv 2304.01433); none for others.
    """
    short = min(dims)
    if set(dims) != {short, 2 * short}:
        return ()
    long = [axis for axis, extent in enumerate(dims) if extent > short]
    return tuple((axis, other, short) for axis, extent in enumerate(dims) if extent == short for other in long)


@lru_cache(maxsize=64)
def twisted_ways(dims: tuple[int, ...]) -> tuple[float, float]:
    """Mean distance from a chip to all chips, itself included, and the longest one, in a twisted torus [hops].

    Chips that differ by a vector of the lattice of closings are the same chip; the distance is the shortest over them.
    """
    basis = np.diag(dims)
    for axis, other, shift in seams(dims):
        basis[axis, other] += shift
    turns = np.array(list(itertools.product(range(-2, 3), repeat=len(dims)))) @ basis
    places = np.indices(dims).reshape(len(dims), -1).T
    shortest = np.full(len(places), np.inf)
    for turn in turns:
        shortest = np.minimum(shortest, np.abs(places + turn).sum(axis=1))
    return float(shortest.mean()), float(shortest.max())


def is_twisted(level: NetworkLevel, ranks: int) -> bool:
    """Whether a group takes a whole twisted torus: smaller groups do not reach its seams."""
    return level.topology == "twisted_torus" and level.wraparound and ranks == level.size and len(seams(level.dims)) > 0


def reduction_bandwidth(level: NetworkLevel, ranks: int) -> float:
    """One-way bandwidth per chip [B/s] that a reduction or gather over `ranks` chips of a level can use.

    A closed ring sends both ways at once; the end of an open line has one link only and holds everybody up.
    """
    if level.topology in GRIDS:
        per_axis = level.bandwidth / len(level.dims)
        return sum(per_axis * (1.0 if ring else 0.5) for _, ring in axes(level, ranks))
    if level.topology == "full_mesh":
        return level.bandwidth * (ranks - 1) / max(level.size - 1, 1)
    return level.bandwidth


def exchange_slope(level: NetworkLevel, ranks: int) -> float:
    """Time per byte [s/B] when every chip sends its data in equal parts to all `ranks` chips, itself included.

    On an axis of X chips the mean way is X/4 (closed ring; (X^2-1)/(4X) when X is odd) and a chip has two links; a line
    is bound by the cut through its middle. The slowest axis counts: axes work at the same time on different parts.
    A twisted torus loads all its links alike, so its mean distance counts.
    """
    if is_twisted(level, ranks):
        return twisted_ways(level.dims)[0] / level.bandwidth
    if level.topology in GRIDS:
        link = level.bandwidth / len(level.dims) / 2.0
        slowest = 0.0
        for extent, ring in axes(level, ranks):
            through = (extent * extent - extent % 2) / (8.0 * extent)
            slowest = max(slowest, through * (1.0 if ring else 2.0) / link)
        return slowest
    decay = math.pow(max(ranks / 8.0, 1.0), level.exchange_decay)
    if level.topology == "full_mesh":
        return decay * max(level.size - 1, 1) / (level.bandwidth * ranks)
    return decay * (ranks - 1) / ranks / level.bandwidth


def hops(level: NetworkLevel, ranks: int) -> float:
    """Latency steps of a latency-optimal collective: the longest way in a torus, about log2 n / 2 behind a switch."""
    if is_twisted(level, ranks):
        return twisted_ways(level.dims)[1]
    if level.topology in GRIDS:
        return float(sum(extent // 2 if ring else extent - 1 for extent, ring in axes(level, ranks)))
    if level.topology == "full_mesh":
        return 1.0
    return 1.0 + math.log2(max(ranks, 2)) / 2.0


def split(network: Network, ranks: int) -> list[tuple[NetworkLevel, int]]:
    """How many ranks a group of `ranks` has on each level, inside out. Raises ValueError when it does not fit."""
    parts: list[tuple[NetworkLevel, int]] = []
    left = ranks
    for level in network.levels:
        here = min(left, level.size)
        if here > 1:
            parts.append((level, here))
        left = math.ceil(left / level.size)
        if left <= 1:
            return parts
    raise ValueError(f"a group of {ranks} chips does not fit in a network of {network.size}")
