"""Laws of calibrated operator times: faster hardware is never slower, no bound is broken, more work takes longer."""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suanli.catalog.loader import DATA
from suanli.chip.efficiency import calibration_folder
from suanli.chip.kernels import kernels_of
from suanli.chip.packs import packs_of
from suanli.search.records import load_profiles

FOLDER = calibration_folder(DATA)
CASES = {
    "measured": ("nvidia-h100-sxm", "vllm", "hopper", "pooled-gpu", {"bf16": 989.4e12, "fp8": 1978.9e12}, 3.35e12),
    "blackwell": ("nvidia-b200-sxm", "trtllm", "blackwell", "pooled-gpu", {"bf16": 2250e12, "fp8": 4500e12}, 7.7e12),
    "pooled": ("amd-mi355x", "vllm", "cdna4", "pooled-gpu", {"bf16": 2516.6e12, "fp8": 5033e12}, 8e12),
    "family": ("google-tpu-v6e", "vllm", "systolic", "none", {"bf16": 918e12}, 1.638e12),
}
case = st.sampled_from(sorted(CASES))
extent = st.floats(1.0, 65536.0)
factor = st.floats(1.0, 8.0)
SLACK = 1 + 1e-9
# Between the knots of a surface a larger operator may come out faster by this much; at the knots it never does.
RIPPLE = 1.15


@lru_cache
def kernels(name):
    chip, engine, family, pooled, peaks, bandwidth = CASES[name]
    profile = load_profiles().efficiencies[family]
    return kernels_of(peaks, bandwidth, engine, packs_of(FOLDER, chip), packs_of(FOLDER, pooled), profile)


@pytest.fixture(scope="module", autouse=True)
def warm():
    """Packs are read once, before the first example is timed."""
    for name in CASES:
        kernels(name).matmul(1.0, 64.0, 64.0)


def times(chip, m, n, k, batch):
    """One time per kind of operator."""
    return {
        "matmul": chip.matmul(m, n, k),
        "experts": chip.experts(m, np.minimum(m, 64.0), hidden=n, inner=k),
        "decode": chip.decode_attention(batch, m, query_heads=32.0, kv_heads=8.0, qk_dim=128.0, v_dim=128.0),
        "prefill": chip.prefill_attention(batch, m, 0.0, query_heads=32.0, kv_heads=8.0, qk_dim=128.0, v_dim=128.0),
        "latent_prefill": chip.latent_prefill_attention(batch, m, 0.0, query_heads=16.0, qk_dim=192.0, v_dim=128.0),
        "latent_decode": chip.latent_decode_attention(batch, m, query_heads=128.0, latent=512.0, rope=64.0),
        "state": chip.state_prefill(batch, m, heads=64.0, key_dim=128.0, value_dim=128.0),
        "stream": chip.stream(m * n),
    }


def values(*arguments):
    return {name: float(seconds) for name, seconds in times(*arguments).items()}


@given(case, extent, extent, extent, st.floats(1.0, 512.0), factor)
def test_more_bandwidth_or_arithmetic_is_never_slower(name, m, n, k, batch, faster):
    chip = kernels(name)
    now = values(chip, m, n, k, batch)
    wider = replace(chip, bandwidth=chip.bandwidth * faster)
    quicker = replace(chip, peaks={dtype: rate * faster for dtype, rate in chip.peaks.items()})
    for better in (wider, quicker):
        after = values(better, m, n, k, batch)
        assert all(after[kind] <= now[kind] * SLACK for kind in now)


@given(case, extent, extent, extent)
def test_products_break_no_bound_of_the_datasheet(name, m, n, k):
    chip = kernels(name)
    seconds = float(chip.matmul(m, n, k))
    assert seconds * SLACK >= 2.0 * m * n * k / chip.peaks["bf16"]
    assert seconds * SLACK >= 2.0 * (m * n + n * k + m * k) / chip.bandwidth


@given(case)
def test_the_smallest_operator_still_costs_a_launch(name):
    for kind, seconds in values(kernels(name), 1.0, 64.0, 64.0, 1.0).items():
        assert 0.5e-6 < seconds < 120e-6, kind


@given(case, extent, st.floats(256.0, 16384.0), st.floats(256.0, 16384.0), st.floats(1.0, 512.0), factor)
def test_more_tokens_take_longer(name, m, n, k, batch, more):
    chip = kernels(name)
    now, after = values(chip, m, n, k, batch), values(chip, m * more, n, k, batch)
    for kind in now:
        assert after[kind] >= now[kind] / RIPPLE, kind


@pytest.mark.parametrize("name", sorted(CASES))
def test_arrays_give_what_single_calls_give(name):
    chip = kernels(name)
    m, batch = np.array([[1.0], [100.0], [5000.0]]), np.array([1.0, 7.0, 300.0])
    together = times(chip, m, 4096.0, 2048.0, batch)
    for row in range(3):
        for column in range(3):
            alone = values(chip, m[row, 0], 4096.0, 2048.0, batch[column])
            for kind, table in together.items():
                here = np.broadcast_to(table, (3, 3))[row, column]
                assert here == pytest.approx(alone[kind]), kind
