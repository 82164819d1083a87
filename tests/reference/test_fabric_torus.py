"""Torus closed forms against linear programs that know nothing but the links."""

import itertools
import math

import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.sparse import coo_matrix

from suanli.fabric import Network, NetworkLevel, all_gather_time, all_to_all_time
from suanli.fabric.graph import exchange_seconds, grid
from suanli.fabric.topology import seams


def links(dims, wrap, twists=()):
    """Directed links of a grid; two chips on an axis share one link each way, unless the closing one is twisted."""
    found = set()
    for node in itertools.product(*map(range, dims)):
        for axis, extent in enumerate(dims):
            there = list(node)
            there[axis] += 1
            if there[axis] == extent:
                moved = [(other, shift) for at, other, shift in twists if at == axis]
                if not wrap or (extent == 2 and not moved):
                    continue
                there[axis] = 0
                for other, shift in moved:
                    there[other] = (there[other] + shift) % dims[other]
            found |= {(node, tuple(there)), (tuple(there), node)}
    return sorted(found)


def fastest_exchange(dims, wrap, twists=()):
    """Smallest possible load of the busiest link when every chip sends one byte to every chip (multi-commodity LP)."""
    nodes = list(itertools.product(*map(range, dims)))
    edges = links(dims, wrap, twists)
    number = {node: index for index, node in enumerate(nodes)}
    count, width = len(nodes), len(edges)
    rows, columns, values, demand = [], [], [], []
    for source in range(count):
        for index, (tail, head) in enumerate(edges):
            rows += [source * count + number[tail], source * count + number[head]]
            columns += [source * width + index] * 2
            values += [1.0, -1.0]
        demand += [count - 1.0 if node == source else -1.0 for node in range(count)]
    objective = np.zeros(count * width + 1)
    objective[-1] = 1.0
    balance = coo_matrix((values, (rows, columns)), shape=(count * count, count * width + 1))
    load_rows = [index for _ in range(count) for index in range(width)] + list(range(width))
    load_columns = [*range(count * width), *[count * width] * width]
    load_values = [1.0] * (count * width) + [-1.0] * width
    load = coo_matrix((load_values, (load_rows, load_columns)), shape=(width, count * width + 1))
    answer = linprog(objective, A_ub=load, b_ub=np.zeros(width), A_eq=balance, b_eq=demand, method="highs")
    assert answer.status == 0
    return answer.fun


@pytest.mark.parametrize("wrap", [True, False])
@pytest.mark.parametrize("dims", [(3,), (4,), (5,), (8,), (2, 2), (3, 3), (4, 4), (2, 4), (3, 5), (2, 2, 4), (3, 3, 3)])
def test_exchange_reaches_the_best_possible(dims, wrap):
    link = 10.0
    level = NetworkLevel("torus", dims, wrap, link * 2 * len(dims), 0.0)
    chips = math.prod(dims)
    ours = float(all_to_all_time(Network((level,), 1.0, 0.0), chips, float(chips)))
    assert ours == pytest.approx(fastest_exchange(dims, wrap) / link, rel=1e-6)


@pytest.mark.parametrize("dims", [(2, 4), (3, 6), (4, 8), (2, 2, 4), (2, 4, 4)])
def test_twisted_exchange_reaches_the_best_possible(dims):
    """Also over ways that are not shortest nothing is faster."""
    link = 10.0
    level = NetworkLevel("twisted_torus", dims, True, link * 2 * len(dims), 0.0)
    chips = math.prod(dims)
    ours = float(all_to_all_time(Network((level,), 1.0, 0.0), chips, float(chips)))
    assert ours == pytest.approx(fastest_exchange(dims, True, seams(dims)) / link, rel=1e-6)
    graph = grid(dims, link, twists=seams(dims))
    assert ours == pytest.approx(exchange_seconds(graph, float(chips)), rel=1e-9)


@pytest.mark.parametrize(("dims", "measured"), [((4, 4, 8), 1.63), ((4, 8, 8), 1.31)])
def test_gain_of_twisting_a_tpu_v4_slice(dims, measured):
    """All-to-all of TPU v4 slices, twisted over plain, as published (Jouppi et al. 2023, arXiv 2304.01433)."""
    plain, twisted = (
        Network((NetworkLevel(topology, dims, True, 300e9, 0.0),), 1.0, 0.0) for topology in ("torus", "twisted_torus")
    )
    chips = math.prod(dims)
    gain = float(all_to_all_time(plain, chips, 1e9)) / float(all_to_all_time(twisted, chips, 1e9))
    assert gain == pytest.approx(measured, rel=0.08)


@pytest.mark.parametrize("dims", [(4, 4), (4, 16), (4, 8, 8), (4, 4, 16), (3, 5, 7), (16, 24, 24)])
def test_gather_bound_can_be_scheduled(dims):
    """Parts of the array walk the axes in different orders; the best mix loads all axes alike and meets the bound."""
    orders = list(itertools.permutations(range(len(dims))))
    load = np.zeros((len(dims), len(orders)))
    for column, order in enumerate(orders):
        part = 1.0
        for axis in order:
            load[axis, column] = part * (dims[axis] - 1) / dims[axis]
            part /= dims[axis]
    answer = linprog(
        [*[0.0] * len(orders), 1.0],
        A_ub=np.column_stack([load, -np.ones(len(dims))]),
        b_ub=np.zeros(len(dims)),
        A_eq=[[*[1.0] * len(orders), 0.0]],
        b_eq=[1.0],
        method="highs",
    )
    both_ways = 2 * 10.0
    level = NetworkLevel("torus", dims, True, both_ways * len(dims), 0.0)
    ours = float(all_gather_time(Network((level,), 1.0, 0.0), math.prod(dims), 1.0))
    assert ours == pytest.approx(answer.fun / both_ways, rel=1e-6)
