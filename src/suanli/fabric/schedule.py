"""Collectives as chains of steps for the flow simulator."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from suanli.fabric.flow import Step, joined
from suanli.fabric.graph import Graph, Index
from suanli.fabric.routes import grid_routes, shortest_routes

Array = NDArray[np.float64]


def exchange_steps(
    graph: Graph, size: float, *, dims: Sequence[int] | None = None, wrap: bool = True, latency: float = 0.0
) -> list[Step]:
    """All-to-all in one step: every chip sends `size` bytes in equal parts to all chips, itself included.

    `dims` of an undamaged torus or mesh give balanced dimension-ordered routes, else shortest routes are taken.
    """
    count = graph.chips
    source, target = np.divmod(np.arange(count * count), count)
    apart = source != target
    source, target = source[apart], target[apart]
    if dims is None:
        routes = shortest_routes(graph, source, target)
    else:
        routes = grid_routes(graph, dims, source, target, wrap=wrap)
        if wrap and any(extent % 4 == 2 and extent > 2 for extent in dims):
            # such rings are only balanced when half of each flow goes either way
            other = grid_routes(graph, dims, source, target, odd_up=True)
            return [Step(joined([routes, other]), np.full(2 * len(source), size / count / 2.0), latency)]
    return [Step(routes, np.full(len(source), size / count), latency)]


def axis_shares(dims: Sequence[int]) -> Array:
    """Shares of the array that start on each axis (then go on cyclically) so that all axes are equally busy [-].

    Part p reduces along axes p, p + 1, ... in turn, and each axis divides what is left. The balance is a small linear
    system; a share that comes out negative (very uneven tori) is set to zero.
    """
    count = len(dims)
    load = np.zeros((count, count))
    for part in range(count):
        rest = 1.0
        for turn in range(count):
            axis = (part + turn) % count
            load[axis, part] = rest * (dims[axis] - 1) / dims[axis]
            rest /= dims[axis]
    shares = np.linalg.solve(load, np.ones(count))
    shares = np.maximum(shares, 0.0)
    return np.asarray(shares / shares.sum())


def torus_all_reduce_jobs(
    graph: Graph, dims: Sequence[int], size: float, *, gather: bool = True, latency: float = 0.0
) -> list[list[Step]]:
    """Bandwidth-optimal all-reduce of `size` bytes on a torus: one job per part of the array.

    Each part is reduce-scattered along all axes in its own cyclic order, half of it each way round a ring, and gathered
    back in reverse. `latency` [s] is added per ring step. With `gather` false only the reduce-scatter is done.
    """
    jobs = []
    spans = [axis for axis, extent in enumerate(dims) if extent > 1]
    extents = [dims[axis] for axis in spans]
    neighbours = [_ring_flows(graph, dims, axis) for axis in spans]
    for part, share in enumerate(axis_shares(extents)):
        steps: list[Step] = []
        rest = size * share
        for turn in range(len(spans)):
            position = (part + turn) % len(spans)
            extent = extents[position]
            flows = np.full(2 * graph.chips, rest / extent / 2.0)
            steps += [Step(neighbours[position], flows, latency)] * (extent - 1)
            rest /= extent
        jobs.append(steps + steps[::-1] if gather else steps)
    return jobs


def _ring_flows(graph: Graph, dims: Sequence[int], axis: int) -> tuple[Index, Index]:
    """Routes of one step along an axis: every chip to both of its neighbours."""
    chips = np.arange(graph.chips)
    place = np.stack(np.unravel_index(chips, tuple(dims)))
    targets = []
    for step in (1, -1):
        there = place.copy()
        there[axis] = (there[axis] + step) % dims[axis]
        targets.append(np.ravel_multi_index(tuple(there), tuple(dims)))
    source, target = np.concatenate([chips, chips]), np.concatenate(targets)
    return grid_routes(graph, dims, source, target)
