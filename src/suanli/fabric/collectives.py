"""Collectives over the levels of a system: measured lanes where there are some, alpha-beta closed forms elsewhere.

Vectorised: `ranks` and `size` are floats or arrays that broadcast. One chip needs no collective and costs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from suanli.fabric.lane import Collective
from suanli.fabric.topology import Network, NetworkLevel, exchange_slope, hops, reduction_bandwidth, split

Array = NDArray[np.float64]
Real = float | Array


def _per_rank_count(ranks: Real, line: Callable[[int], tuple[float, ...]], columns: int) -> list[Array]:
    """Look up `line(n)` for every n in `ranks`: one array per column, zeros for a single chip."""
    count = np.asarray(ranks).astype(np.int64)
    present = np.flatnonzero(np.bincount(count.reshape(-1)))
    table = np.zeros((columns, int(present[-1]) + 1))
    for n in present:
        if n > 1:
            table[:, n] = line(int(n))
    return [table[column][count] for column in range(columns)]


def _inside(network: Network, op: Collective, ranks: Real, size: Real) -> Array:
    """Time of the part of a collective that runs inside the innermost level, from its measured lane [s]."""
    lane = network.lane(op)
    if lane is None:
        return np.zeros(())
    level = network.levels[0]
    return lane.time(np.minimum(ranks, level.size), size, level.bandwidth)


def _covered(network: Network, op: Collective) -> NetworkLevel | None:
    """Level that a measured lane covers, which the closed form leaves out."""
    return None if network.lane(op) is None else network.levels[0]


def all_reduce_time(network: Network, ranks: Real, size: Real) -> Array:
    """Time of an all-reduce of `size` bytes on each of `ranks` chips [s]; nothing for one chip.

    Closed form: two-shot (reduce-scatter and all-gather) or one-shot (everybody sends everything, half the hops),
    whichever is faster. With in-network reduction a chip sends its array once and receives the sum once.
    """
    covered = _covered(network, "all_reduce")

    def line(n: int) -> tuple[float, float, float, float]:
        latency, slope, direct, shrink = 0.0, 0.0, 0.0, 1.0
        for level, here in split(network, n):
            if level is not covered:
                bandwidth = reduction_bandwidth(level, here) * network.efficiency
                factor = (here + 1.0) / here if level.in_network_reduction else 2.0 * (here - 1.0) / here
                latency += level.latency * hops(level, here)
                slope += min(factor, 2.0 * (here - 1.0) / here) / bandwidth * shrink
                direct += (here - 1.0) / bandwidth
            shrink /= here
        return network.call_s * (covered is None), latency, slope, direct

    call, latency, slope, direct = _per_rank_count(ranks, line, 4)
    form = call + np.minimum(2.0 * latency + slope * size, latency + direct * size)
    return np.asarray(form + _inside(network, "all_reduce", ranks, size))


def _gather(network: Network, op: Collective, ranks: Real, size: Real) -> Array:
    """Gather and reduce-scatter move the same pieces, in opposite directions."""
    covered = _covered(network, op)

    def line(n: int) -> tuple[float, float]:
        fixed, slope, inside = network.call_s * (covered is None), 0.0, 1.0
        for level, here in split(network, n):
            if level is not covered:
                fixed += level.latency * hops(level, here)
                slope += (here - 1.0) / here / inside / (reduction_bandwidth(level, here) * network.efficiency)
            inside *= here
        return fixed, slope

    fixed, slope = _per_rank_count(ranks, line, 2)
    return np.asarray(fixed + slope * size + _inside(network, op, ranks, size))


def all_gather_time(network: Network, ranks: Real, size: Real) -> Array:
    """Time [s] until each of `ranks` chips holds all `size` bytes, 1/ranks of them its own.

    Outer levels move the small pieces first, the innermost level the whole array.
    """
    return _gather(network, "all_gather", ranks, size)


def reduce_scatter_time(network: Network, ranks: Real, size: Real) -> Array:
    """Time [s] until each of `ranks` chips holds its 1/ranks of the sum of arrays of `size` bytes."""
    return _gather(network, "reduce_scatter", ranks, size)


def broadcast_time(network: Network, ranks: Real, size: Real) -> Array:
    """Time [s] until all of `ranks` chips hold the `size` bytes of one of them.

    Pipelined: every chip passes on what arrives, levels work at the same time and the slowest bounds them; the sender
    needs all its links on a torus (one tree per link), one pass over its port behind a switch.
    """

    def line(n: int) -> tuple[float, float]:
        fixed, slowest = network.call_s, 0.0
        for level, here in split(network, n):
            fixed += level.latency * hops(level, here)
            slowest = max(slowest, 1.0 / (reduction_bandwidth(level, here) * network.efficiency))
        return fixed, slowest

    fixed, slope = _per_rank_count(ranks, line, 2)
    return np.asarray(fixed + slope * size)


def all_to_all_time(network: Network, ranks: Real, size: Real) -> Array:
    """Time [s] of an all-to-all in which every chip sends `size` bytes in equal parts to all `ranks` chips.

    `size` includes the part that a chip keeps. The slowest level bounds it.
    """
    covered = _covered(network, "all_to_all")

    def line(n: int) -> tuple[float, float, float]:
        fixed, slowest, inside = network.call_s * (covered is None), 0.0, 1.0
        for level, here in split(network, n):
            inside *= here
            if level is not covered:
                fixed += level.latency * hops(level, here)
                slowest = max(slowest, min(inside / n, 1.0) * exchange_slope(level, here) / network.efficiency)
        return fixed, slowest, min(network.levels[0].size / n, 1.0)

    fixed, slope, share = _per_rank_count(ranks, line, 3)
    inside = _inside(network, "all_to_all", ranks, share * np.asarray(size))
    return np.asarray(np.maximum(fixed + slope * size, inside) + np.minimum(fixed, inside))


def expert_exchange_time(network: Network, ranks: Real, size: Real, picks: float) -> Array:
    """Time [s] to bring the tokens of every chip (`size` bytes, one copy) to `picks` random experts over `ranks` chips.

    A token crosses a level once per group that it reaches there and is copied on inside (as DeepEP forwards over
    NVLink what came once over the network): m (1 - (1 - 1/m)^picks) of m groups. The slowest level bounds it.
    """
    covered = _covered(network, "all_to_all")

    def reached(groups: float) -> float:
        return min(-groups * math.expm1(picks * math.log1p(-1.0 / groups)), picks) if groups > 1.0 else 1.0

    def line(n: int) -> tuple[float, float, float]:
        fixed, slowest, inside = network.call_s * (covered is None), 0.0, 1.0
        for level, here in split(network, n):
            copies = reached(n / inside)
            inside *= here
            if level is not covered:
                fixed += level.latency * hops(level, here)
                slowest = max(slowest, copies * exchange_slope(level, here) / network.efficiency)
        return fixed, slowest, reached(float(n))

    fixed, slope, copies = _per_rank_count(ranks, line, 3)
    inside = _inside(network, "all_to_all", ranks, copies * np.asarray(size))
    return np.asarray(np.maximum(fixed + slope * size, inside) + np.minimum(fixed, inside))


def transfer_time(bandwidth: Real, latency: Real, size: Real) -> Array:
    """Time [s] to send `size` bytes over one link of `bandwidth` B/s."""
    return np.asarray(latency + np.asarray(size) / bandwidth)
