"""What operators cost before any efficiency, against counting by hand."""

import numpy as np
import pytest

from suanli.chip.formats import FORMATS, peak_of
from suanli.chip.work import (
    Unit,
    decode_work,
    experts_work,
    indexer_work,
    latent_decode_work,
    matmul_work,
    prefill_work,
    sparse_work,
    state_decode_work,
    stream_work,
    visible_pairs,
)


def matmul(m, n, k, unit):
    return matmul_work(m, n, k, weight_bytes=2.0, activation_bytes=2.0, unit=unit)


@pytest.mark.parametrize(
    ("queries", "context", "window"), [(5, 0, np.inf), (5, 3, np.inf), (7, 2, 4), (3, 9, 4), (1, 0, 2)]
)
def test_visible_pairs_by_counting(queries, context, window):
    counted = sum(min(context + query + 1, window) for query in range(queries))
    assert float(visible_pairs(queries, context, window)) == counted


def test_matmul_counts():
    work = matmul_work(3.0, 5.0, 7.0, weight_bytes=1.0, activation_bytes=2.0)
    assert float(work.flops) == 2 * 3 * 5 * 7
    assert float(work.bytes) == 5 * 7 + 2 * 3 * 7 + 2 * 3 * 5
    assert float(work.steps) == 2 * 16 * 64 * 7


@pytest.mark.parametrize(("rows", "computed"), [(1, 16), (16, 16), (17, 32), (63, 64), (64, 64), (65, 128)])
def test_few_rows_are_filled_up_to_the_narrow_side_of_a_tile(rows, computed):
    assert float(matmul(float(rows), 4096.0, 4096.0, Unit()).steps) == 2 * computed * 4096 * 4096


@pytest.mark.parametrize(("array", "utilisation"), [(128, 0.78125), (256, 0.5859375)])
def test_systolic_padding_is_that_of_a_cycle_simulator(array, utilisation):
    """SCALE-Sim, weight stationary, N=300, K=512: 78.1 % mapped on 128 x 128, 58.6 % on 256 x 256."""
    work = matmul(4096.0, 300.0, 512.0, Unit("systolic", (array, array)))
    assert float(work.flops / work.steps) == pytest.approx(utilisation)


def test_few_rows_on_a_systolic_array_cost_a_weight_load():
    unit = Unit("systolic", (128.0, 128.0))
    assert float(matmul(1.0, 4096.0, 4096.0, unit).steps) == float(matmul(128.0, 4096.0, 4096.0, unit).steps)
    assert float(matmul(256.0, 4096.0, 4096.0, unit).steps) == 2 * float(matmul(128.0, 4096.0, 4096.0, unit).steps)


def test_cube_pads_all_three():
    work = matmul(17.0, 17.0, 17.0, Unit("cube", (16.0, 16.0)))
    assert float(work.steps) == 2 * 32**3


def test_experts_read_each_touched_expert_once():
    work = experts_work(64.0, 8.0, 1024.0, 512.0, weight_bytes=1.0, activation_bytes=1.0)
    weights = 3 * 1024 * 512
    assert float(work.flops) == 2 * 64 * weights
    assert float(work.bytes) == 8 * weights + 64 * 1536 * 3
    lone = experts_work(1.0, 8.0, 1024.0, 512.0, weight_bytes=1.0, activation_bytes=1.0)
    assert float(lone.bytes) < 2 * weights  # one copy cannot touch more than one expert


def test_prefill_works_on_whole_tiles_of_queries():
    def rows(queries):
        return prefill_work(4.0, queries, 0.0, 8.0, 2.0, qk_dim=128.0, v_dim=128.0, kv_bytes=2.0)

    assert float(rows(1.0).steps) == 64 * float(rows(1.0).flops)
    assert float(rows(128.0).steps) == float(rows(128.0).flops)
    assert float(rows(128.0).flops) == 2 * 4 * 8 * (128 * 129 / 2) * 256


def test_decode_reads_the_window_only():
    full = decode_work(2.0, 5000.0, 8.0, 2.0, qk_dim=64.0, v_dim=64.0, kv_bytes=1.0)
    near = decode_work(2.0, 5000.0, 8.0, 2.0, qk_dim=64.0, v_dim=64.0, kv_bytes=1.0, window=128.0)
    assert float(full.bytes) == 2 * 2 * 5000 * 128 + 2 * 2 * 8 * 128
    assert float(full.flops / near.flops) == pytest.approx(5000 / 128)


def test_latent_heads_share_one_read():
    few, many = (
        latent_decode_work(1.0, 4096.0, heads, latent=512.0, rope=64.0, kv_bytes=1.0) for heads in (1.0, 128.0)
    )
    assert float(many.flops) == 128 * float(few.flops)
    assert float(few.bytes) == 4096 * 576 + 2 * 1088
    assert float(many.bytes) < 1.2 * float(few.bytes)


def test_sparse_attention_does_not_grow_beyond_the_selection():
    near, far = (
        sparse_work(1.0, 1.0, context, 64.0, top_k=2048.0, latent=512.0, rope=64.0) for context in (2047.0, 1e5)
    )
    assert float(near.flops) == float(far.flops)
    assert float(indexer_work(1.0, 1.0, 1e5, heads=32.0, width=128.0).flops) > 40 * float(
        indexer_work(1.0, 1.0, 2047.0, heads=32.0, width=128.0).flops
    )


def test_state_is_read_and_written_and_does_not_grow():
    work = state_decode_work(64.0, 64.0, key_dim=128.0, value_dim=128.0)
    assert float(work.bytes) == 2 * 4 * 64 * 64 * 128 * 128
    assert float(stream_work(100.0).flops) == 0


def test_formats_take_the_first_peak_that_a_chip_has():
    assert peak_of({"bf16": 1.0, "fp8": 2.0}, "fp8_block") == 2.0
    assert peak_of({"bf16": 1.0}, "nvfp4") == 1.0
    with pytest.raises(KeyError, match="no peak for w4a16; the chip has int8"):
        peak_of({"int8": 1.0}, "w4a16")
    assert FORMATS["nvfp4"].weight_bytes == 0.5625
