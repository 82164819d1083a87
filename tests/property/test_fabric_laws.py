"""Laws of collectives that hold for every network."""

import math
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from suanli.fabric import (
    CollectiveLane,
    Network,
    NetworkLevel,
    all_gather_time,
    all_reduce_time,
    all_to_all_time,
    broadcast_time,
    reduce_scatter_time,
)
from suanli.surface import Surface

COLLECTIVES = (all_reduce_time, all_gather_time, reduce_scatter_time, all_to_all_time, broadcast_time)

collective = st.sampled_from(COLLECTIVES)
size = st.floats(1.0, 1e11)


@st.composite
def levels(draw):
    topology = draw(st.sampled_from(["switch", "full_mesh", "torus", "mesh", "twisted_torus"]))
    grid = topology not in ("switch", "full_mesh")
    dims = tuple(draw(st.lists(st.integers(2, 16), min_size=1, max_size=3 if grid else 1)))
    return NetworkLevel(
        topology,
        dims,
        draw(st.booleans()),
        draw(st.floats(1e9, 2e12)),
        draw(st.floats(1e-7, 1e-4)),
        topology == "switch" and draw(st.booleans()),
    )


MEASURED = ("all_reduce", "all_gather", "reduce_scatter", "all_to_all")


def measured(op):
    """Lane with a correction that grows from small to large sizes, as those of measured sweeps mostly do."""
    surface = Surface((np.array([10.0, 30.0]), np.array([1.0, 3.0])), np.array([[-0.2, 0.0], [0.1, 0.3]]))
    return st.builds(
        CollectiveLane,
        st.just(op),
        st.floats(1e-6, 5e-5),
        st.floats(0.3, 1.2),
        st.sampled_from([None, surface]),
    )


@st.composite
def networks(draw):
    stack = tuple(draw(st.lists(levels(), min_size=1, max_size=3)))
    lanes = draw(st.fixed_dictionaries({}, optional={op: measured(op) for op in MEASURED}))
    return Network(stack, draw(st.floats(0.3, 1.0)), draw(st.floats(0.0, 1e-4)), lanes)


@st.composite
def groups(draw):
    network = draw(networks())
    return network, draw(st.integers(2, network.size))


@given(collective, networks(), size)
def test_one_chip_is_free(function, network, payload):
    assert function(network, 1, payload) == 0


@given(collective, groups())
def test_size_near_zero_costs_the_latency(function, group):
    network, ranks = group
    nothing = float(function(network, ranks, 0.0))
    assert nothing >= min([network.call_s, *[0.7 * lane.launch for lane in network.lanes.values()]])
    assert nothing > 0
    assert math.isclose(function(network, ranks, 1e-9), nothing, rel_tol=1e-9)


@given(collective, groups(), size, st.floats(1.0, 10.0))
def test_more_bytes_never_faster(function, group, payload, factor):
    network, ranks = group
    assert function(network, ranks, payload * factor) >= function(network, ranks, payload)


@given(collective, groups(), size, st.integers(0, 2), st.floats(1.0, 10.0))
def test_more_bandwidth_or_less_latency_never_slower(function, group, payload, which, factor):
    network, ranks = group
    before = function(network, ranks, payload)
    index = which % len(network.levels)
    level = network.levels[index]
    for better in (replace(level, bandwidth=level.bandwidth * factor), replace(level, latency=level.latency / factor)):
        stack = (*network.levels[:index], better, *network.levels[index + 1 :])
        assert function(replace(network, levels=stack), ranks, payload) <= before * (1 + 1e-12)


@given(collective, groups(), size)
def test_wraparound_never_hurts(function, group, payload):
    network, ranks = group
    closed = replace(network, levels=tuple(replace(level, wraparound=True) for level in network.levels))
    opened = replace(network, levels=tuple(replace(level, wraparound=False) for level in network.levels))
    assert function(closed, ranks, payload) <= function(opened, ranks, payload) * (1 + 1e-12)


@given(groups(), size)
def test_all_reduce_over_one_level_moves_at_least_the_array(group, payload):
    """A chip must send and receive (n - 1)/n of the array at least once even when the network adds for it."""
    network, ranks = group
    level = network.levels[0]
    inside = min(ranks, level.size)
    if inside == ranks:
        bound = payload * (ranks - 1) / ranks / level.bandwidth
        assert all_reduce_time(network, ranks, payload) >= bound * (1 - 1e-12)
        assert all_gather_time(network, ranks, payload) >= bound * (1 - 1e-12)


@given(collective, st.integers(2, 8), st.sampled_from([(1, 2), (1, 1, 2), (1, 2, 2)]), size)
def test_twisting_never_hurts(function, short, shape, payload):
    dims = tuple(short * axis for axis in shape)
    plain, twisted = (
        Network((NetworkLevel(topology, dims, True, 3e11, 1e-6),), 0.8, 1e-6) for topology in ("torus", "twisted_torus")
    )
    chips = math.prod(dims)
    assert function(twisted, chips, payload) <= function(plain, chips, payload) * (1 + 1e-12)
