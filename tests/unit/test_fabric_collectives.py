"""Collectives against numbers worked out by hand."""

import numpy as np
import pytest

from suanli.fabric import (
    CollectiveLane,
    Network,
    NetworkLevel,
    all_gather_time,
    all_reduce_time,
    all_to_all_time,
    broadcast_time,
    expert_exchange_time,
    reduce_scatter_time,
    transfer_time,
)

GB = 1e9


def switch(size, bandwidth=450 * GB, latency=1e-6, nvls=False):
    return NetworkLevel("switch", (size,), True, bandwidth, latency, nvls)


def torus(*dims, wrap=True, bandwidth=600 * GB, latency=1e-6):
    return NetworkLevel("torus", dims, wrap, bandwidth, latency)


def only(level, efficiency=1.0, call=0.0):
    return Network((level,), efficiency, call)


def test_all_reduce_behind_a_switch_moves_twice_the_array():
    large = all_reduce_time(only(switch(8, latency=0.0)), 8, 8 * GB)
    assert large == pytest.approx(2 * 7 / 8 * 8 / 450)


def test_small_all_reduce_takes_one_shot():
    network = only(switch(8))
    assert all_reduce_time(network, 8, 1024) < all_gather_time(network, 8, 1024) * 2


def test_in_network_reduction_saves_traffic_but_not_for_a_pair():
    plain, reducing = only(switch(8)), only(switch(8, nvls=True))
    assert all_reduce_time(reducing, 8, GB) < 0.7 * all_reduce_time(plain, 8, GB)
    assert all_reduce_time(reducing, 2, GB) == all_reduce_time(plain, 2, GB)


def test_two_level_all_reduce_adds_a_shard_per_node():
    network = Network((switch(8, latency=0.0), switch(4, 50 * GB, 0.0)), 1.0, 0.0)
    inside, outside = 2 * 7 / 8 / 450, 2 * 3 / 4 / 8 / 50
    assert all_reduce_time(network, 32, GB) == pytest.approx(inside + outside)
    assert all_gather_time(network, 32, GB) == pytest.approx((inside + outside) / 2)


def test_torus_all_reduce_uses_all_six_links():
    cube = only(torus(4, 4, 4, latency=0.0))
    assert all_reduce_time(cube, 64, GB) == pytest.approx(2 * 63 / 64 / 600)


def test_torus_all_to_all_is_bound_by_the_longest_axis():
    link = 100.0
    short, long = only(torus(4, 8, 8, latency=0.0)), only(torus(4, 4, 16, latency=0.0))
    assert all_to_all_time(short, 256, GB) == pytest.approx(8 / 8 / link)
    assert all_to_all_time(long, 256, GB) == pytest.approx(16 / 8 / link)


def test_v5e_line_of_four_gather():
    """Scaling book sharding.md: 4 chips on a line of 45 GB/s links, 33.5 MB: 560 us (2 axes, so W = 180 GB/s)."""
    v5e = only(NetworkLevel("torus", (8, 4), False, 180 * GB, 0.0))
    line = Network((NetworkLevel("mesh", (4,), False, 90 * GB, 0.0),), 1.0, 0.0)
    assert all_gather_time(line, 4, 33554432) == pytest.approx(559e-6, rel=0.01)
    assert all_gather_time(v5e, 4, 33554432) < all_gather_time(line, 4, 33554432)


def test_full_mesh_exchange_uses_one_link_per_peer():
    mesh = only(NetworkLevel("full_mesh", (8,), True, 448 * GB, 0.0))
    assert all_to_all_time(mesh, 8, 8 * GB) == pytest.approx(1 / 64)
    assert all_to_all_time(mesh, 4, 4 * GB) == pytest.approx(1 / 64)


def test_group_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="16 chips does not fit in a network of 8"):
        all_reduce_time(only(switch(8)), 16, 1.0)


def test_arrays_broadcast():
    network = only(switch(8), call=5e-6)
    ranks, size = np.array([[1], [2], [8]]), np.array([1.0, 1e6, 1e9])
    times = all_reduce_time(network, ranks, size)
    assert times.shape == (3, 3)
    assert np.all(times[0] == 0)
    assert times[2, 1] == all_reduce_time(network, 8, 1e6)


def test_reduce_scatter_is_a_gather_backwards_and_half_an_all_reduce():
    network = Network((switch(8, latency=0.0), switch(4, 50 * GB, 0.0)), 0.8, 0.0)
    assert reduce_scatter_time(network, 32, GB) == all_gather_time(network, 32, GB)
    assert 2 * reduce_scatter_time(network, 32, GB) == pytest.approx(float(all_reduce_time(network, 32, GB)))


def test_reduce_scatter_uses_its_own_lane():
    lane = CollectiveLane("reduce_scatter", 8e-6, 0.7)
    network = Network((switch(8),), 1.0, 0.0, {"reduce_scatter": lane})
    assert reduce_scatter_time(network, 8, 0.0) == pytest.approx(8e-6)
    assert reduce_scatter_time(network, 8, 8 * GB) == pytest.approx(8e-6 + 7 / 450 / 0.7)
    assert all_gather_time(network, 8, 0.0) != 8e-6


def test_broadcast_is_bound_by_the_slowest_level():
    network = Network((switch(8, latency=0.0), switch(4, 50 * GB, 0.0)), 1.0, 0.0)
    assert broadcast_time(network, 8, GB) == pytest.approx(1 / 450)
    assert broadcast_time(network, 32, GB) == pytest.approx(1 / 50)
    assert broadcast_time(only(torus(4, 4, 4, latency=0.0)), 64, GB) == pytest.approx(1 / 600)


def test_twisting_helps_only_whole_slices_of_the_right_shape():
    plain, twisted = only(torus(4, 4, 8)), only(NetworkLevel("twisted_torus", (4, 4, 8), True, 600 * GB, 1e-6))
    assert all_to_all_time(twisted, 128, GB) < 0.6 * all_to_all_time(plain, 128, GB)
    assert all_to_all_time(twisted, 64, GB) == all_to_all_time(plain, 64, GB)
    cube = only(NetworkLevel("twisted_torus", (4, 4, 4), True, 600 * GB, 1e-6))
    assert all_to_all_time(cube, 64, GB) == all_to_all_time(only(torus(4, 4, 4)), 64, GB)


def test_transfer():
    assert transfer_time(50 * GB, 5e-6, GB) == pytest.approx(0.020005)


def test_expert_exchange_crosses_the_outer_level_once_per_group():
    inner = NetworkLevel("switch", (8,), True, 400e9, 1e-6)
    outer = NetworkLevel("switch", (4,), True, 50e9, 5e-6)
    network = Network((inner, outer), 1.0, 0.0)
    size = 1e9
    # 8 picks over 4 groups of 8 chips: 4 (1 - (3/4)^8) = 3.6 groups, three quarters of them elsewhere, at 50 GB/s.
    groups = 4 * (1 - 0.75**8)
    expected = groups * 0.75 * size / 50e9
    assert float(expert_exchange_time(network, 32.0, size, 8.0)) == pytest.approx(expected, rel=1e-3)
    # Sending every copy on its own would carry all distinct chips over the network.
    copies = 32 * (1 - (31 / 32) ** 8)
    assert float(all_to_all_time(network, 32.0, size * copies)) > 1.8 * expected


def test_expert_exchange_inside_one_level_is_an_all_to_all_of_the_copies():
    network = Network((NetworkLevel("switch", (8,), True, 400e9, 1e-6),), 0.8, 5e-6)
    copies = 8 * (1 - (7 / 8) ** 4)
    assert float(expert_exchange_time(network, 8.0, 1e8, 4.0)) == pytest.approx(
        float(all_to_all_time(network, 8.0, 1e8 * copies))
    )
    assert float(expert_exchange_time(network, 1.0, 1e8, 4.0)) == 0.0
