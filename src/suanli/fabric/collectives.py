"""Collectives over the levels of a system, by closed forms.

A group of n ranks fills the levels from the inside out. On each level the alpha-beta model gives the time from the
bandwidth that the ranks of that level can use, which depends on the topology: a switch gives a chip its full
bandwidth, a full mesh only the links to group members, a torus the links of the axes that the group spans.
Bandwidth is one way per chip. Formulas: ring and direct algorithms as in the scaling book ("sharding"), torus
all-to-all bound n_longest/8 per link from research/training_fabric.md section 2.3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Real = float | Array


@dataclass(frozen=True)
class NetworkLevel:
    """One level: `dims` chips per axis; bandwidth [B/s] one way per chip over all its links; latency [s] per hop."""

    topology: str
    dims: tuple[int, ...]
    wraparound: bool
    bandwidth: float
    latency: float
    in_network_reduction: bool = False

    @property
    def size(self) -> int:
        """Chips (or lower-level groups) that this level joins [-]."""
        return math.prod(self.dims)


@dataclass(frozen=True)
class Network:
    """Levels from the inside out, share of bandwidth that large messages reach, fixed cost of a call [s]."""

    levels: tuple[NetworkLevel, ...]
    efficiency: float
    call_s: float

    @property
    def size(self) -> int:
        """Chips joined by all levels [-]."""
        return math.prod(level.size for level in self.levels)


def _shape(ranks: int, dims: tuple[int, ...]) -> tuple[int, ...]:
    """Most cubic box of at least `ranks` chips inside `dims`: axes grow in turn by doubling, shortest first."""
    box = [1] * len(dims)
    while math.prod(box) < ranks:
        growable = [axis for axis, extent in enumerate(dims) if box[axis] < extent]
        if not growable:
            break
        axis = min(growable, key=lambda index: box[index])
        box[axis] = min(box[axis] * 2, dims[axis])
    return tuple(box)


def _usable_bandwidth(level: NetworkLevel, ranks: int) -> float:
    """One-way bandwidth per chip [B/s] that a reduction over `ranks` chips of a level can use."""
    if level.topology in ("torus", "twisted_torus", "mesh"):
        box = _shape(ranks, level.dims)
        per_axis = level.bandwidth / len(level.dims)
        ring = level.topology != "mesh" and level.wraparound
        # A closed ring sends both ways at once; an open line or a pair only reaches half of it.
        return sum(
            per_axis * (1.0 if ring and extent == full and extent > 2 else 0.5)
            for extent, full in zip(box, level.dims, strict=True)
            if extent > 1
        )
    if level.topology == "full_mesh":
        return level.bandwidth * (ranks - 1) / max(level.size - 1, 1)
    return level.bandwidth


def _exchange_bandwidth(level: NetworkLevel, ranks: int) -> float:
    """One-way bandwidth per chip [B/s] for data that goes from every rank to every other."""
    if level.topology in ("torus", "twisted_torus", "mesh"):
        box = _shape(ranks, level.dims)
        longest = max(box)
        per_link = level.bandwidth / len(level.dims) / 2.0
        ring = level.topology != "mesh" and level.wraparound and longest in level.dims and longest > 2
        # Dimension-ordered balanced routing: T = v * longest / (8 W1) on a ring, twice that on a line.
        return per_link * (8.0 if ring else 4.0) / longest
    return _usable_bandwidth(level, ranks)


def _hops(level: NetworkLevel, ranks: int) -> float:
    """Latency steps of a latency-optimal collective: log2 in a switched domain or mesh, half the rings in a torus."""
    if level.topology in ("torus", "twisted_torus", "mesh"):
        return float(sum(extent // 2 for extent in _shape(ranks, level.dims)))
    if level.topology == "full_mesh":
        return 1.0
    return 1.0 + math.log2(max(ranks, 2)) / 2.0


def _split(network: Network, ranks: int) -> list[tuple[NetworkLevel, int]]:
    """How many ranks a group of `ranks` has on each level, inside out."""
    parts: list[tuple[NetworkLevel, int]] = []
    left = ranks
    for level in network.levels:
        here = min(left, level.size)
        if here > 1:
            parts.append((level, here))
        left = math.ceil(left / level.size)
        if left <= 1:
            return parts
    if left > 1 and network.levels:
        raise ValueError(f"a group of {ranks} chips does not fit in a network of {network.size}")
    return parts


def _reduce_line(network: Network, ranks: int) -> tuple[float, float, float]:
    """(fixed seconds, seconds per byte when bandwidth optimal, seconds per byte when sent at once) of an all-reduce."""
    fixed, slope, direct, shrink = network.call_s, 0.0, 0.0, 1.0
    for level, here in _split(network, ranks):
        bandwidth = _usable_bandwidth(level, here) * network.efficiency
        factor = (here + 1.0) / here if level.in_network_reduction else 2.0 * (here - 1.0) / here
        fixed += level.latency * _hops(level, here) * 2.0
        slope += factor / bandwidth * shrink
        direct += (here - 1.0) / bandwidth
        shrink /= here
    return fixed, slope, direct


def _per_rank_count(ranks: Array, line: dict[int, tuple[float, ...]], column: int) -> Array:
    values, inverse = np.unique(ranks.astype(np.int64), return_inverse=True)
    return np.array([line[int(value)][column] for value in values])[inverse].reshape(ranks.shape)


def all_reduce_time(network: Network, ranks: Real, size: Real) -> Array:
    """Time of an all-reduce of `size` bytes on each of `ranks` chips [s]; nothing for one chip.

    Two-shot (reduce-scatter and all-gather) or one-shot (everybody sends everything, one latency), whichever is faster.
    """
    count = np.asarray(ranks, dtype=float)
    lines = {int(n): _reduce_line(network, int(n)) for n in np.unique(count) if n > 1}
    lines[1] = (0.0, 0.0, 0.0)
    fixed, slope, direct = (_per_rank_count(count, lines, column) for column in range(3))
    one_shot = network.call_s * (count > 1) + (fixed - network.call_s * (count > 1)) / 2.0 + direct * size
    return np.asarray(np.minimum(fixed + slope * np.asarray(size), one_shot))


def all_gather_time(network: Network, ranks: Real, size: Real) -> Array:
    """Time [s] until each of `ranks` chips holds all `size` bytes, 1/ranks of them its own (also reduce-scatter)."""
    count = np.asarray(ranks, dtype=float)
    lines: dict[int, tuple[float, ...]] = {1: (0.0, 0.0)}
    for n in np.unique(count):
        if n > 1:
            fixed, slope, remaining = network.call_s, 0.0, 1.0
            for level, here in _split(network, int(n)):
                remaining /= here
                fixed += level.latency * _hops(level, here)
                # Outer levels move the small pieces first, the innermost level the whole array.
                slope += (here - 1.0) / here / (_usable_bandwidth(level, here) * network.efficiency)
            lines[int(n)] = (fixed, slope)
    return np.asarray(_per_rank_count(count, lines, 0) + _per_rank_count(count, lines, 1) * np.asarray(size))


def all_to_all_time(network: Network, ranks: Real, size: Real) -> Array:
    """Time [s] of an all-to-all in which every chip sends `size` bytes in equal parts to all `ranks` chips.

    The slowest level bounds it: the share (ranks outside)/(ranks) of the data crosses each outer level.
    """
    count = np.asarray(ranks, dtype=float)
    lines: dict[int, tuple[float, ...]] = {1: (0.0, 0.0)}
    for n in np.unique(count):
        if n > 1:
            fixed, slowest, inside = network.call_s, 0.0, 1.0
            for level, here in _split(network, int(n)):
                inside *= here
                crossing = 1.0 - inside / here / n
                fixed += level.latency * _hops(level, here)
                slowest = max(slowest, crossing / (_exchange_bandwidth(level, here) * network.efficiency))
            lines[int(n)] = (fixed, slowest)
    return np.asarray(_per_rank_count(count, lines, 0) + _per_rank_count(count, lines, 1) * np.asarray(size))


def transfer_time(bandwidth: Real, latency: Real, size: Real) -> Array:
    """Time [s] to send `size` bytes over one link of `bandwidth` B/s."""
    return np.asarray(latency + np.asarray(size) / bandwidth)
