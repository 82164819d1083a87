"""Graphs, routes and the flow simulator against cases worked out by hand."""

import itertools

import numpy as np
import pytest

from suanli.fabric import Network, NetworkLevel, all_reduce_time, all_to_all_time
from suanli.fabric.flow import Step, fair_rates, simulate
from suanli.fabric.graph import exchange_load, exchange_seconds, full_mesh, grid, switched
from suanli.fabric.routes import grid_routes, shortest_routes
from suanli.fabric.schedule import axis_shares, exchange_steps, torus_all_reduce_jobs

LINK = 100e9


def closed_form(function, dims, size, *, wrap=True):
    level = NetworkLevel("torus", dims, wrap, LINK * 2 * len(dims), 0.0)
    return float(function(Network((level,), 1.0, 0.0), int(np.prod(dims)), size))


def pairs(chips):
    source, target = np.divmod(np.arange(chips * chips), chips)
    return source[source != target], target[source != target]


@pytest.mark.parametrize("dims", [(4,), (5,), (8,), (4, 4), (4, 8), (3, 5), (4, 4, 4), (4, 4, 8)])
@pytest.mark.parametrize("wrap", [True, False])
def test_edge_load_equals_the_closed_form(dims, wrap):
    seconds = exchange_seconds(grid(dims, LINK, wrap=wrap), 1e9)
    assert seconds >= closed_form(all_to_all_time, dims, 1e9, wrap=wrap) * (1 - 1e-9)
    if wrap:
        assert seconds == pytest.approx(closed_form(all_to_all_time, dims, 1e9))


@pytest.mark.parametrize("dims", [(4, 4), (6, 6), (4, 4, 4), (8, 8)])
def test_simulated_exchange_equals_the_closed_form_on_cubes(dims):
    graph = grid(dims, LINK)
    assert simulate(graph, [exchange_steps(graph, 1e9, dims=dims)])[0] == pytest.approx(
        closed_form(all_to_all_time, dims, 1e9), rel=1e-6
    )


@pytest.mark.parametrize("dims", [(4,), (4, 4), (5, 5), (4, 4, 4)])
def test_simulated_all_reduce_equals_the_closed_form_on_cubes(dims):
    graph = grid(dims, LINK)
    ends = simulate(graph, torus_all_reduce_jobs(graph, dims, 1e9))
    assert ends.max() == pytest.approx(closed_form(all_reduce_time, dims, 1e9), rel=1e-6)


@pytest.mark.parametrize("dims", [(4, 8, 8), (4, 16), (3, 5, 7)])
def test_simulated_all_reduce_on_uneven_tori_is_no_faster_than_the_bound(dims):
    graph = grid(dims, LINK)
    ends = simulate(graph, torus_all_reduce_jobs(graph, dims, 1e9))
    assert ends.max() >= closed_form(all_reduce_time, dims, 1e9) * 0.99
    assert ends.max() <= closed_form(all_reduce_time, dims, 1e9) * 2.0


def test_shares_load_every_axis_alike():
    shares = axis_shares((4, 16))
    loads = [shares[0] * 3 / 4 + shares[1] / 16 * 3 / 4, shares[1] * 15 / 16 + shares[0] / 4 * 15 / 16]
    assert loads[0] == pytest.approx(loads[1])
    assert sum(loads) == pytest.approx(63 / 64)


def test_twisting_spreads_an_exchange_over_more_links():
    """A k x 2k torus is bound by its long axis; closing the short one with a shift takes load off it."""
    plain, twisted = grid((4, 8), LINK), grid((4, 8), LINK, twists=[(0, 1, 4)])
    assert exchange_seconds(twisted, 1e9) < 0.95 * exchange_seconds(plain, 1e9)
    assert exchange_load(twisted).sum() < exchange_load(plain).sum()


def test_an_untwisted_link_set_has_the_degree_of_a_torus():
    for dims in [(4, 4, 4), (2, 4), (3, 3)]:
        degree = np.bincount(grid(dims, LINK).tail)
        assert set(degree) == {sum(2 if extent > 2 else 1 for extent in dims)}


def test_one_source_stands_for_all_on_a_torus():
    """All chips of a torus look alike, so a link carries what one source puts on all links of its direction."""
    dims = (4, 8)
    graph = grid(dims, LINK)
    whole, single = exchange_load(graph), exchange_load(graph, np.array([0]))
    assert whole.sum() == pytest.approx(single.sum() * graph.chips)


def test_a_failed_link_slows_an_exchange_but_a_cut_is_refused():
    graph = grid((4, 4), LINK)
    broken = graph.without(0, 1)
    assert exchange_seconds(broken, 1e9) > exchange_seconds(graph, 1e9)
    steps = exchange_steps(broken, 1e9)
    assert simulate(broken, [steps])[0] > exchange_seconds(graph, 1e9)
    line = grid((4,), LINK, wrap=False)
    with pytest.raises(ValueError, match="cut in two"):
        exchange_seconds(line.without(1, 2), 1e9)
    with pytest.raises(ValueError, match="cut in two"):
        exchange_steps(line.without(1, 2), 1e9)
    with pytest.raises(ValueError, match="no link between node 0 and node 5"):
        graph.without(0, 5)


def test_routes_arrive_by_shortest_ways():
    dims = (4, 5)
    graph = grid(dims, LINK)
    source, target = pairs(graph.chips)
    for pointer, links in (grid_routes(graph, dims, source, target), shortest_routes(graph, source, target)):
        for flow in range(0, len(source), 7):
            node = source[flow]
            way = links[pointer[flow] : pointer[flow + 1]]
            for link in way:
                assert graph.tail[link] == node
                node = graph.head[link]
            assert node == target[flow]
            here, there = (np.array(np.unravel_index(end[flow], dims)) for end in (source, target))
            apart = np.abs(here - there)
            assert len(way) == np.minimum(apart, np.array(dims) - apart).sum()


def test_two_flows_share_a_link_and_the_third_takes_the_rest():
    """0 -> 1 -> 2 with links of 10 and 4: the long flow and one short flow share the narrow link fairly."""
    routes = (np.array([0, 2, 3, 4]), np.array([0, 1, 1, 0]))
    rates = fair_rates(routes, np.array([10.0, 4.0]))
    assert rates.tolist() == pytest.approx([2.0, 2.0, 8.0], rel=0.02)


def test_a_plane_lost_takes_its_share_of_one_chip():
    whole = switched(4, LINK, planes=4)
    assert exchange_seconds(whole, 4e9) == pytest.approx(3e9 / LINK)
    assert exchange_seconds(whole.without(0, 4), 4e9) == pytest.approx(3e9 / LINK * 4 / 3)


def test_concurrent_collectives_slow_each_other():
    graph = switched(8, LINK)
    source, target = pairs(8)
    step = Step(shortest_routes(graph, source, target), np.full(len(source), 1e9 / 8))
    alone, both = simulate(graph, [[step]]), simulate(graph, [[step], [step]])
    assert alone[0] == pytest.approx(7 / 8 * 1e9 / LINK)
    assert both.tolist() == pytest.approx([2 * alone[0]] * 2)


def test_steps_follow_each_other_with_their_latency():
    graph = full_mesh(3, LINK)
    routes = shortest_routes(graph, np.array([0]), np.array([1]))
    step = Step(routes, np.array([1e9]), latency=1e-3)
    assert simulate(graph, [[step, step, Step(routes, np.array([0.0]), latency=2e-3)]])[0] == pytest.approx(0.024)


def test_links_of_a_grid_are_sorted_and_pointed_at():
    graph = grid((3, 4), LINK)
    for node, link in itertools.product(range(12), range(len(graph.tail))):
        assert (graph.first[node] <= link < graph.first[node + 1]) == (graph.tail[link] == node)
