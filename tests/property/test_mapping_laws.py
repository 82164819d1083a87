"""Laws of the step model: bounds, monotonicity, memory."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conftest import CHAT

from suanli.mapping.ledger import PARTS, StepLoad
from suanli.mapping.memory import memory_fit
from suanli.mapping.placement import Placements, enumerate_placements
from suanli.mapping.step import StepModel
from suanli.serving.steady import decode_load, mixed_load

MODELS = [("qwen3-32b", "fp8"), ("qwen3-235b-a22b", "fp8"), ("deepseek-r1", "fp8"), ("gpt-oss-120b", "bf16")]
SYSTEMS = ["nvidia-hgx-h100-8", "nvidia-gb200-nvl72", "amd-mi355x-platform", "google-ironwood-256"]

batches = st.floats(min_value=1.0, max_value=4096.0)
chunks = st.just(0.0) | st.floats(min_value=1.0, max_value=16384.0)
factors = st.floats(min_value=1.0, max_value=8.0)


def _model(ready, system: str, model: str, weights: str, **changes: object) -> StepModel:
    setting = ready(system, model, weights).setting
    hardware = replace(setting.hardware, **changes) if changes else setting.hardware
    place = enumerate_placements(setting.graph, min(hardware.chips, 16), 16, 4)
    return StepModel(setting.graph, hardware, setting.precision, setting.engine, place)


def _load(batch: float, chunk: float) -> StepLoad:
    return mixed_load(np.array([[batch]]), np.array([[chunk]]), CHAT)


@pytest.mark.parametrize(("model", "weights"), MODELS)
@settings(deadline=None, max_examples=15)
@given(batch=batches, chunk=chunks)
def test_step_lies_between_largest_part_and_sum(ready, model, weights, batch, chunk):
    cost = _model(ready, SYSTEMS[0], model, weights).cost(_load(batch, chunk))
    parts = np.stack([cost.parts[name] for name in PARTS]) * cost.stages
    assert np.all(cost.time >= parts.max(axis=0) * (1 - 1e-12))
    assert np.all(cost.time <= parts.sum(axis=0) * (1 + 1e-12))
    # Datasheet peaks bound every step from below: efficiencies are fractions.
    assert np.all(cost.time >= np.maximum(cost.flop_time, cost.byte_time) * cost.stages * (1 - 1e-9))


@pytest.mark.parametrize("system", SYSTEMS)
@settings(deadline=None, max_examples=12)
@given(batch=batches, chunk=chunks, factor=factors)
def test_more_bandwidth_or_arithmetic_is_never_slower(ready, system, batch, chunk, factor):
    base = _model(ready, system, "qwen3-235b-a22b", "fp8")
    hardware = base.hardware
    load = _load(batch, chunk)
    before = base.cost(load).time
    peaks = {name: rate * factor for name, rate in hardware.peaks.items()}
    levels = tuple(replace(level, bandwidth=level.bandwidth * factor) for level in hardware.network.levels)
    for change in (
        {"bandwidth": hardware.bandwidth * factor},
        {"peaks": peaks},
        {"network": replace(hardware.network, levels=levels)},
    ):
        after = _model(ready, system, "qwen3-235b-a22b", "fp8", **change).cost(load).time
        assert np.all(after <= before * (1 + 1e-12))


@settings(deadline=None, max_examples=25)
@given(batch=batches, more=st.floats(min_value=1.0, max_value=4.0), chunk=chunks)
def test_more_work_is_never_faster(ready, batch, more, chunk):
    # Without the correction surfaces: measured kernels do get faster at some sizes, where a better tile begins to fit.
    model = _model(ready, SYSTEMS[0], "deepseek-r1", "fp8", exact=False)
    less = model.cost(_load(batch, chunk)).time
    assert np.all(model.cost(_load(batch * more, chunk)).time >= less * (1 - 1e-12))
    assert np.all(model.cost(_load(batch, chunk * more)).time >= less * (1 - 1e-12))


@settings(deadline=None, max_examples=25)
@given(batch=batches)
def test_energy_stays_between_idle_and_the_chip_limit(ready, batch):
    model = _model(ready, SYSTEMS[0], "qwen3-32b", "fp8")
    cost = model.cost(decode_load(np.array([[batch]]), CHAT))
    power = cost.energy_per_chip / cost.time
    assert np.all(power <= model.hardware.chip_power * (1 + 1e-9))
    assert np.all(power >= model.hardware.chip_power * model.hardware.idle_power * (1 - 1e-9))


def test_a_step_without_work_takes_no_device_time(ready):
    cost = _model(ready, SYSTEMS[0], "qwen3-32b", "fp8").cost(decode_load(np.array([[0.0]]), CHAT))
    assert np.all(cost.time == 0.0)


@settings(deadline=None, max_examples=30)
@given(tp=st.sampled_from([1, 2, 4, 8]), pp=st.sampled_from([1, 2, 4]), tokens=st.floats(min_value=1.0, max_value=1e5))
def test_requests_that_fit_fill_no_more_than_the_budget(ready, tp, pp, tokens):
    setting = ready("nvidia-hgx-h200-8", "llama-3.1-70b", "fp8").setting
    place = Placements.of([(tp, pp, 1, 1)])
    fit = memory_fit(setting.graph, setting.hardware, setting.precision, setting.engine, place)
    requests = fit.requests(np.array([[tokens]]))[0, 0]
    used = float(fit.weights[0]) + fit.reserve + requests * tokens * float(fit.kv_per_token[0])
    assert used <= fit.capacity * (1 + 1e-9) or requests == 0.0


def test_sharded_weights_add_up_to_the_model(ready):
    # Llama-3.1-70B in bf16 is 70.55e9 parameters (model card); tensor parallelism splits it without loss to 1 %.
    setting = ready("nvidia-hgx-h200-8", "llama-3.1-70b", "bf16").setting
    place = Placements.of([(1, 1, 1, 1), (8, 1, 1, 1), (2, 4, 1, 1)])
    fit = memory_fit(setting.graph, setting.hardware, setting.precision, setting.engine, place)
    whole = fit.weights * place.chips
    assert whole[0] == pytest.approx(70.55e9 * 2, rel=0.01)
    assert whole[1] == pytest.approx(whole[0], rel=0.01)
    # Two stages of four hold embedding or head, the middle ones neither: the fullest stage is above the mean.
    assert whole[0] <= whole[2] <= whole[0] * 1.1


def test_latent_attention_is_not_split_by_tensor_parallelism(ready):
    setting = ready("nvidia-hgx-h200-8", "deepseek-r1", "fp8").setting
    place = Placements.of([(1, 1, 8, 8), (8, 1, 1, 8)])
    fit = memory_fit(setting.graph, setting.hardware, setting.precision, setting.engine, place)
    # 61 layers x (512 + 64) elements (DeepSeek-V3 report, table of hyper-parameters), the same on every chip.
    expected = 61 * 576 * setting.precision.kv_bytes
    assert fit.kv_per_token == pytest.approx([expected, expected])
    assert fit.ranks.tolist() == [8.0, 1.0]
