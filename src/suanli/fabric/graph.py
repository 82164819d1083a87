"""Networks as directed graphs: tori (twisted, with failed links), meshes, full meshes, switches; their loads.

What has no closed form is computed from the links: the load that an even exchange puts on each of them when traffic
is spread evenly over all shortest paths.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float64]
Index = NDArray[np.int64]


@dataclass(frozen=True)
class Graph:
    """`chips` chips are the first nodes; switches may follow. Links are directed, with capacity [B/s].

    Links are sorted by tail; `first[node]` is the first link of a node, with one entry more at the end.
    """

    chips: int
    nodes: int
    tail: Index
    head: Index
    capacity: Array
    first: Index

    def without(self, tail: int, head: int) -> Graph:
        """The graph after the links between two nodes failed, both ways. Raises ValueError when there is none."""
        gone = ((self.tail == tail) & (self.head == head)) | ((self.tail == head) & (self.head == tail))
        if not gone.any():
            raise ValueError(f"no link between node {tail} and node {head}")
        return graph_of(self.chips, self.nodes, self.tail[~gone], self.head[~gone], self.capacity[~gone])


def graph_of(chips: int, nodes: int, tail: Index, head: Index, capacity: Array) -> Graph:
    """Sort links by tail. Parallel links stay apart."""
    order = np.lexsort((head, tail))
    tail, head = np.asarray(tail)[order].astype(np.int64), np.asarray(head)[order].astype(np.int64)
    first = np.searchsorted(tail, np.arange(nodes + 1)).astype(np.int64)
    return Graph(chips, nodes, tail, head, np.asarray(capacity, dtype=float)[order], first)


def grid(dims: Sequence[int], link: float, *, wrap: bool = True, twists: Sequence[tuple[int, int, int]] = ()) -> Graph:
    """Torus or mesh with one-way `link` [B/s] per neighbour.

    twists : (axis, other, shift): closing `axis` also moves by `shift` along `other`
    (:func:`suanli.fabric.topology.seams`). Two chips on an axis share one link each way.
    """
    count = math.prod(dims)
    place = np.stack(np.unravel_index(np.arange(count), dims))
    twisted = {axis for axis, _, _ in twists}
    tails, heads = [], []
    for axis, extent in enumerate(dims):
        if extent < 2:
            continue
        there = place.copy()
        there[axis] += 1
        closing = there[axis] == extent
        there[axis] %= extent
        for _, other, shift in (twist for twist in twists if twist[0] == axis):
            there[other, closing] = (there[other, closing] + shift) % dims[other]
        keep = ~closing | (wrap and (extent > 2 or axis in twisted))
        step = np.ravel_multi_index(tuple(there), tuple(dims))
        tails += [np.arange(count)[keep], step[keep]]
        heads += [step[keep], np.arange(count)[keep]]
    tail, head = np.concatenate(tails), np.concatenate(heads)
    return graph_of(count, count, tail, head, np.full(len(tail), link))


def full_mesh(chips: int, link: float) -> Graph:
    """Every pair of chips has its own link of `link` B/s one way."""
    tail, head = np.nonzero(~np.eye(chips, dtype=bool))
    return graph_of(chips, chips, tail, head, np.full(len(tail), link))


def switched(chips: int, bandwidth: float, planes: int = 1) -> Graph:
    """Chips behind non-blocking switches, `bandwidth` B/s one way each in equal parts over `planes` of them."""
    chip, hub = np.tile(np.arange(chips), planes), np.repeat(chips + np.arange(planes), chips)
    tail, head = np.concatenate([chip, hub]), np.concatenate([hub, chip])
    return graph_of(chips, chips + planes, tail, head, np.full(2 * chips * planes, bandwidth / planes))


@njit(cache=True)
def _spread(first: Index, head: Index, nodes: int, chips: int, source: int, load: Array) -> int:  # pragma: no cover
    """Add the load of one unit from `source` to every other chip over all its shortest paths; returns chips reached."""
    distance = np.full(nodes, -1, dtype=np.int64)
    paths, wanted = np.zeros(nodes), np.zeros(nodes)
    order = np.empty(nodes, dtype=np.int64)
    distance[source], paths[source], order[0] = 0, 1.0, source
    front, back, reached = 0, 1, 0
    while front < back:
        node = order[front]
        front += 1
        for link in range(first[node], first[node + 1]):
            there = head[link]
            if distance[there] < 0:
                distance[there] = distance[node] + 1
                order[back] = there
                back += 1
            if distance[there] == distance[node] + 1:
                paths[there] += paths[node]
    for position in range(back - 1, -1, -1):
        node = order[position]
        for link in range(first[node], first[node + 1]):
            there = head[link]
            if distance[there] == distance[node] + 1:
                part = paths[node] / paths[there] * (wanted[there] + (1.0 if there < chips else 0.0))
                load[link] += part
                wanted[node] += part
        if node < chips:
            reached += 1
    return reached


@njit(cache=True)
def _exchange_load(first: Index, head: Index, nodes: int, chips: int, sources: Index) -> Array:  # pragma: no cover
    load = np.zeros(len(head))
    for index in range(len(sources)):
        if _spread(first, head, nodes, chips, sources[index], load) < chips:
            load[0] = np.inf
    return load


def exchange_load(graph: Graph, sources: Index | None = None) -> Array:
    """Units that cross each link when every chip (or those in `sources`) sends one unit to every other chip.

    Raises ValueError when some chips cannot be reached.
    """
    chosen = np.arange(graph.chips, dtype=np.int64) if sources is None else np.asarray(sources, dtype=np.int64)
    load = np.asarray(_exchange_load(graph.first, graph.head, graph.nodes, graph.chips, chosen))
    if not np.isfinite(load).all():
        raise ValueError("the network is cut in two: some chips cannot reach each other")
    return load


def exchange_seconds(graph: Graph, size: float) -> float:
    """Time [s] of an exchange in which every chip sends `size` bytes in equal parts to all chips, itself included."""
    return float((exchange_load(graph) * size / graph.chips / graph.capacity).max())
