"""Laws of operator times that hold on every chip."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from suanli.chip import (
    attention_decode_time,
    attention_prefill_time,
    busiest_touched,
    experts_touched,
    grouped_matmul_time,
    matmul_time,
    smooth_max,
    stream_time,
)

RATE, BANDWIDTH = st.floats(1e12, 1e16), st.floats(1e10, 1e14)
EXTENT = st.integers(1, 65536)
FACTOR = st.floats(1.0, 100.0)
SLACK = 1 + 1e-9


def product(m, n, k, rate, bandwidth):
    return float(
        matmul_time(m, n, k, rate=rate, bandwidth=bandwidth, weight_bytes=2.0, activation_bytes=2.0, tile=(64, 128))
    )


@given(EXTENT, EXTENT, EXTENT, RATE, BANDWIDTH)
def test_matmul_between_both_bounds_and_their_padded_sum(m, n, k, rate, bandwidth):
    time = product(m, n, k, rate, bandwidth)
    arithmetic, traffic = 2.0 * m * n * k / rate, 2.0 * (m * k + k * n + m * n) / bandwidth
    assert time >= max(arithmetic, traffic) / SLACK
    padded = 2.0 * (-(-m // 64) * 64) * (-(-n // 128) * 128) * k / rate
    assert time <= (padded + traffic) * SLACK


@given(EXTENT, EXTENT, EXTENT, RATE, BANDWIDTH, FACTOR)
def test_matmul_monotone(m, n, k, rate, bandwidth, factor):
    time = product(m, n, k, rate, bandwidth)
    assert product(m, n, k, rate * factor, bandwidth) <= time * SLACK
    assert product(m, n, k, rate, bandwidth * factor) <= time * SLACK
    for larger in ((2 * m, n, k), (m, n + 64, k), (m, n, k + 1)):
        assert product(*larger, rate, bandwidth) >= time / SLACK


@given(st.floats(0.0, 1e3), st.floats(0.0, 1e3))
def test_smooth_max_between_maximum_and_sum(first, second):
    joined = float(smooth_max(first, second))
    assert max(first, second) / SLACK <= joined <= (first + second) * SLACK


@given(st.floats(1.0, 1e5), st.integers(1, 16), st.integers(16, 512), st.floats(0.0, 3.0))
def test_experts_touched_between_one_token_and_all(tokens, top_k, experts, spread):
    touched = float(experts_touched(tokens, top_k, experts, spread=spread))
    assert top_k * (1 - 1e-9) <= touched <= experts * SLACK
    assert touched <= tokens * top_k * SLACK
    assert experts_touched(tokens + 1, top_k, experts, spread=spread) >= touched / SLACK
    assert touched <= float(experts_touched(tokens, top_k, experts)) * SLACK


@given(st.floats(1.0, 512.0), st.sampled_from([1, 2, 8, 64]))
def test_the_busiest_chip_has_its_share_or_more_and_no_more_than_it_holds(touched, groups):
    busiest = float(busiest_touched(touched, 512, groups))
    assert min(touched / groups, 512 / groups) / SLACK <= busiest <= min(touched, 512 / groups) * SLACK


@given(st.floats(1.0, 1e5), st.floats(1.0, 4.0), RATE, BANDWIDTH, FACTOR)
def test_grouped_matmul_monotone(tokens, imbalance, rate, bandwidth, factor):
    def time(tokens, imbalance, rate, bandwidth):
        return float(
            grouped_matmul_time(
                tokens,
                top_k=8,
                touched=min(tokens, 16.0),
                share=0.125,
                imbalance=imbalance,
                elements=3 * 4096 * 1536,
                rate=rate,
                bandwidth=bandwidth,
                weight_bytes=1.0,
                activation_bytes=2.0,
                hidden=4096,
                inner=1536,
            )
        )

    now = time(tokens, imbalance, rate, bandwidth)
    assert time(tokens, imbalance, rate * factor, bandwidth) <= now * SLACK
    assert time(tokens, imbalance, rate, bandwidth * factor) <= now * SLACK
    assert time(tokens * factor, imbalance, rate, bandwidth) >= now / SLACK
    assert time(tokens, imbalance * factor, rate, bandwidth) >= now / SLACK


@given(st.floats(0.0, 1e15), st.floats(0.0, 1e12), RATE, BANDWIDTH, FACTOR)
def test_attention_monotone(flops, size, rate, bandwidth, factor):
    for function in (
        lambda f, s, r, b: float(attention_decode_time(s, f, rate=r, bandwidth=b)),
        lambda f, s, r, b: float(attention_prefill_time(f, s, rate=r, bandwidth=b)),
    ):
        now = function(flops, size, rate, bandwidth)
        assert now >= max(flops / rate, size / bandwidth) / SLACK
        assert function(flops, size, rate * factor, bandwidth) <= now * SLACK
        assert function(flops, size, rate, bandwidth * factor) <= now * SLACK
        assert function(flops * factor, size * factor, rate, bandwidth) >= now / SLACK


def test_operators_broadcast():
    times = matmul_time(
        np.arange(1.0, 5.0)[:, None],
        4096,
        np.array([1024.0, 2048.0]),
        rate=1e15,
        bandwidth=3e12,
        weight_bytes=2.0,
        activation_bytes=2.0,
        tile=(64, 128),
    )
    assert times.shape == (4, 2)
    assert np.all(np.diff(times, axis=1) > 0)
    assert stream_time(3.35e12, 3.35e12) == 1
