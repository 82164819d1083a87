"""Single measured rows: what matters at decode (fixed latencies, distinct experts) and what bounds prefill.

Times in microseconds are rows of aiconfigurator-core 0.12.0 (vLLM 0.24.0 or TensorRT-LLM 1.3.0rc20, in a captured
graph) unless a source stands beside them.
"""

import numpy as np
import pytest

from suanli.catalog.loader import DATA, load
from suanli.chip.efficiency import calibration_folder
from suanli.chip.kernels import kernels_of
from suanli.chip.packs import packs_of
from suanli.fabric import Network, NetworkLevel, all_reduce_time, all_to_all_time, collectives_of
from suanli.search.records import load_profiles

FOLDER = calibration_folder(DATA)
US = 1e-6


def kernels(chip_id, engine):
    chip = load().chip(chip_id)
    peaks = {peak.dtype: peak.rate.si for peak in chip.peaks if peak.sparsity == "dense" and peak.rate.known}
    profile = load_profiles().efficiencies[chip.family]
    packs = packs_of(FOLDER, chip_id)
    return kernels_of(peaks, chip.memory.bandwidth.si, engine, packs, packs_of(FOLDER, "pooled-gpu"), profile)


def network(chip, engine="vllm", host=0.0):
    pack = collectives_of(FOLDER, chip)
    level = NetworkLevel("switch", (8,), True, pack.bandwidth_gb_s * 1e9, 1e-6, True)
    return Network((level,), 0.8, host, pack.for_engine(engine))


@pytest.mark.parametrize(
    ("size", "measured"), [(256, 2.96), (1024, 3.94), (2048, 6.73), (4096, 15.05), (8192, 51.6), (16384, 207.2)]
)
def test_one_row_products_on_h100_are_launch_then_bandwidth(size, measured):
    assert float(kernels("nvidia-h100-sxm", "vllm").matmul(1.0, size, size)) == pytest.approx(measured * US, rel=0.2)


@pytest.mark.parametrize(
    ("m", "n", "k", "measured"), [(1024, 4096, 4096, 43.1), (4096, 8192, 8192, 697.7), (8192, 16384, 16384, 6144.9)]
)
def test_large_products_on_h100(m, n, k, measured):
    assert float(kernels("nvidia-h100-sxm", "vllm").matmul(m, n, k)) == pytest.approx(measured * US, rel=0.1)


@pytest.mark.parametrize(("tokens", "measured"), [(1, 124), (2, 222), (4, 419), (8, 813), (16, 1585), (128, 1690)])
def test_time_of_experts_follows_the_distinct_ones(tokens, measured):
    """128 experts of 4096 x 1536, top 8, 16 bit, one H100, balanced: from 16 tokens on all of them are read."""
    copies = 8.0 * tokens
    seconds = kernels("nvidia-h100-sxm", "vllm").experts(copies, min(copies, 128.0), hidden=4096.0, inner=1536.0)
    assert float(seconds) == pytest.approx(measured * US, rel=0.2)


@pytest.mark.parametrize(
    ("batch", "context", "measured"), [(1, 2, 11.8), (1, 8192, 19.8), (64, 2048, 186.7), (64, 8192, 688.2)]
)
def test_decode_attention_on_h100(batch, context, measured):
    seconds = kernels("nvidia-h100-sxm", "vllm").decode_attention(
        batch, context, query_heads=32.0, kv_heads=8.0, qk_dim=128.0, v_dim=128.0
    )
    assert float(seconds) == pytest.approx(measured * US, rel=0.2)


@pytest.mark.parametrize(("length", "measured"), [(16, 15.7), (1024, 39.5), (8192, 563.7), (16384, 1927.9)])
def test_prefill_attention_on_b200(length, measured):
    seconds = kernels("nvidia-b200-sxm", "trtllm").prefill_attention(
        1.0, length, 0.0, query_heads=32.0, kv_heads=8.0, qk_dim=128.0, v_dim=128.0
    )
    assert float(seconds) == pytest.approx(measured * US, rel=0.2)


@pytest.mark.parametrize(
    ("chip", "engine", "ranks", "size", "measured"),
    [
        ("nvidia-h100-sxm", "vllm", 8, 256, 4.7),
        ("nvidia-h100-sxm", "trtllm", 2, 256, 2.7),
        ("nvidia-h100-sxm", "trtllm", 8, 65536, 4.6),
        ("nvidia-b200-sxm", "vllm", 8, 16384, 8.1),
        ("nvidia-b200-sxm", "trtllm", 4, 1048576, 9.7),
        ("nvidia-h200-sxm", "vllm", 8, 1 << 30, 3998.6),
    ],
)
def test_fixed_and_large_all_reduce(chip, engine, ranks, size, measured):
    assert float(all_reduce_time(network(chip, engine), ranks, size)) == pytest.approx(measured * US, rel=0.15)


def test_all_reduce_of_a_gibibyte_on_eight_h200():
    """ml-engineering network/README.md: 463.6 GB/s bus bandwidth, another program on another machine."""
    pack = collectives_of(FOLDER, "nvidia-h200-sxm")
    lane = next(lane for lane in pack.lanes if (lane.op, lane.library) == ("all_reduce", "vllm")).lane()
    seconds = float(lane.time(8, 1 << 30, pack.bandwidth_gb_s * 1e9)) + pack.host_call_us * US
    assert 2 * 7 / 8 * (1 << 30) / seconds == pytest.approx(463.6e9, rel=0.05)


def test_closed_form_ring_would_miss_the_in_network_sum():
    """What the lane adds: a ring at 82 % of the link takes a fifth longer than measured."""
    level = NetworkLevel("switch", (8,), True, 450e9, 0.0)
    ring = float(all_reduce_time(Network((level,), 0.82, 0.0), 8, 1 << 30))
    assert ring > 1.15 * float(all_reduce_time(network("nvidia-h200-sxm"), 8, 1 << 30))


def test_expert_exchange_degrades_inside_a_supernode():
    """sgl-kernel-npu README, Atlas A3: dispatch 146 GB/s over 8 chips, 57 over 128; combine 125 and 81."""
    profile = load_profiles().efficiencies["cube"]
    low, best, high = profile.bounds("exchange_decay")
    assert np.log(125 / 81) / np.log(16) == pytest.approx(low, abs=0.01)
    assert np.log(146 / 57) / np.log(16) == pytest.approx(high, abs=0.01)
    level = NetworkLevel("switch", (384,), True, 196e9, 0.0, exchange_decay=best)
    flat = NetworkLevel("switch", (384,), True, 196e9, 0.0)
    slow, fast = (float(all_to_all_time(Network((one,), 1.0, 0.0), 128, 1e9)) for one in (level, flat))
    assert slow / fast == pytest.approx(16**best)
