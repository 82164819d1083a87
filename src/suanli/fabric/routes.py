"""Routes of flows through a graph: balanced dimension order on a torus, shortest routes on anything else.

A set of routes is (pointer, links): flow i takes links[pointer[i]:pointer[i + 1]].
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit

from suanli.fabric.graph import Graph, Index

Routes = tuple[Index, Index]


@njit(cache=True)
def _distances(first: Index, head: Index, target: int, distance: Index, queue: Index) -> None:  # pragma: no cover
    """Links from every node to `target`, -1 where there is no way; links exist in both directions."""
    distance[:] = -1
    distance[target], queue[0] = 0, target
    front, back = 0, 1
    while front < back:
        node = queue[front]
        front += 1
        for link in range(first[node], first[node + 1]):
            if distance[head[link]] < 0:
                distance[head[link]] = distance[node] + 1
                queue[back] = head[link]
                back += 1


@njit(cache=True)
def _closer(first: Index, head: Index, distance: Index, node: int, turn: int) -> tuple[int, int]:  # pragma: no cover
    """The `turn`-th link (cyclic) that leads one step closer, and how many there are."""
    choices = 0
    for link in range(first[node], first[node + 1]):
        if distance[head[link]] == distance[node] - 1:
            choices += 1
    wanted = turn % choices
    for link in range(first[node], first[node + 1]):
        if distance[head[link]] == distance[node] - 1:
            if wanted == 0:
                return link, choices
            wanted -= 1
    return -1, choices


@njit(cache=True)
def _lengths(first: Index, head: Index, nodes: int, source: Index, target: Index) -> Index:  # pragma: no cover
    distance, queue = np.empty(nodes, dtype=np.int64), np.empty(nodes, dtype=np.int64)
    lengths, now = np.empty(len(source), dtype=np.int64), -1
    for flow in range(len(source)):
        if target[flow] != now:
            now = target[flow]
            _distances(first, head, now, distance, queue)
        lengths[flow] = distance[source[flow]]
    return lengths


@njit(cache=True)
def _walk(
    first: Index, head: Index, nodes: int, source: Index, target: Index, links: Index
) -> None:  # pragma: no cover
    distance, queue = np.empty(nodes, dtype=np.int64), np.empty(nodes, dtype=np.int64)
    used, now = 0, -1
    for flow in range(len(source)):
        if target[flow] != now:
            now = target[flow]
            _distances(first, head, now, distance, queue)
        node, turn = source[flow], flow
        while node != now:
            link, choices = _closer(first, head, distance, node, turn)
            turn //= choices
            links[used] = link
            used += 1
            node = head[link]


def shortest_routes(graph: Graph, source: Index, target: Index) -> Routes:
    """One shortest route per flow; where several are equal, flows take them in turn.

    For graphs whose links exist in both directions. Raises ValueError when a flow has no route.
    """
    order = np.argsort(target, kind="stable")
    ends = (source[order].astype(np.int64), target[order].astype(np.int64))
    lengths = _lengths(graph.first, graph.head, graph.nodes, *ends)
    if (lengths < 0).any():
        raise ValueError("the network is cut in two: some flows have no route")
    links = np.empty(int(lengths.sum()), dtype=np.int64)
    _walk(graph.first, graph.head, graph.nodes, *ends, links)
    return _reordered(order, lengths, links)


def _reordered(order: Index, lengths: Index, links: Index) -> Routes:
    """Routes given in `order`, put back into the order of the flows."""
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    counts = lengths[place]
    pointer = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    flat = np.repeat(starts[place] - pointer[:-1], counts) + np.arange(pointer[-1])
    return pointer, links[flat]


@njit(cache=True)
def _grid_walk(
    dims: Index, wrap: bool, ends: tuple[Index, Index], odd: int, toward: Index, routes: tuple[Index, Index]
) -> None:  # pragma: no cover
    """Walk the axes in order, the short way round; at equal distance even (odd: 1) coordinates go up, others down."""
    used = 0
    (source, target), (pointer, links) = ends, routes
    for flow in range(len(source)):
        node, stride = source[flow], 1
        for axis in range(len(dims) - 1, -1, -1):
            extent = dims[axis]
            here, there = (node // stride) % extent, (target[flow] // stride) % extent
            ahead = (there - here) % extent
            up = there > here
            if wrap and extent > 2:
                up = ahead * 2 < extent or (ahead * 2 == extent and here % 2 == odd)
            while here != there:
                links[used] = toward[node, 2 * axis + (0 if up else 1)]
                used += 1
                moved = (here + (1 if up else -1)) % extent
                node += (moved - here) * stride
                here = moved
            stride *= extent
        pointer[flow + 1] = used


def grid_routes(
    graph: Graph, dims: Sequence[int], source: Index, target: Index, *, wrap: bool = True, odd_up: bool = False
) -> Routes:
    """Dimension-ordered routes on an untwisted, undamaged torus or mesh made by `grid(dims, ...)`.

    Half way round a ring even coordinates go up and odd ones down (the other way with `odd_up`): balanced where the
    extent is a multiple of four or odd.
    """
    sizes = np.asarray(dims, dtype=np.int64)
    toward = _neighbour_links(graph, sizes)
    far = [extent // 2 if wrap and extent > 2 else extent - 1 for extent in dims]
    pointer = np.zeros(len(source) + 1, dtype=np.int64)
    links = np.empty(len(source) * max(sum(far), 1), dtype=np.int64)
    ends = (source.astype(np.int64), target.astype(np.int64))
    _grid_walk(sizes, wrap, ends, int(odd_up), toward, (pointer, links))
    return pointer, links[: pointer[-1]].copy()


def _neighbour_links(graph: Graph, dims: Index) -> Index:
    """Link from each node up and down each axis, -1 where there is none."""
    nodes = np.arange(graph.chips)
    number = {}
    key = graph.tail * graph.nodes + graph.head  # sorted, as links are by tail and head
    toward = np.full((graph.chips, 2 * len(dims)), -1, dtype=np.int64)
    place = np.stack(np.unravel_index(nodes, tuple(dims.tolist())))
    for axis in range(len(dims)):
        for way, step in enumerate((1, -1)):
            there = place.copy()
            there[axis] = (there[axis] + step) % dims[axis]
            wanted = nodes * graph.nodes + np.ravel_multi_index(tuple(there), tuple(dims.tolist()))
            found = np.minimum(np.searchsorted(key, wanted), len(key) - 1)
            number[axis, way] = np.where(key[found] == wanted, found, -1)
            toward[:, 2 * axis + way] = number[axis, way]
    return toward
