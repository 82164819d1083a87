"""Sparse and linear attention run on the lanes that were measured for them."""

from __future__ import annotations

import numpy as np
import pytest

from suanli.mapping.ledger import StepLoad
from suanli.mapping.placement import Placements
from suanli.mapping.step import StepModel

PLACE = Placements.of([(8, 1, 1, 1)])


def load(requests: float, context: float, tokens: float = 0.0) -> StepLoad:
    one = np.ones((1, 1))
    return StepLoad(one * tokens, one * tokens**2 / 2.0, one, one * requests, one * requests * context)


def operators(ready, model: str, weights: str, step: StepLoad) -> dict[str, float]:
    """Seconds of a step by operator, launches included."""
    setting = ready("nvidia-hgx-b200-8", model, weights).setting
    steps = StepModel(setting.graph, setting.hardware, setting.precision, setting.engine, PLACE)
    found: dict[str, float] = {}
    for name, _, seconds in steps.cost(step, trace=True).operators:
        key = name.removesuffix(" launch")
        found[key] = found.get(key, 0.0) + float(seconds.squeeze())
    return found


def test_selected_keys_are_attended_to_and_all_keys_are_scored(ready) -> None:
    short, long = (operators(ready, "glm-5", "fp8", load(64.0, context)) for context in (8_000.0, 64_000.0))
    assert long["attention decode"] == pytest.approx(short["attention decode"], rel=0.01)
    assert long["attention indexer decode"] > 2.0 * short["attention indexer decode"]


def test_the_sparse_path_takes_its_kernels_not_only_its_bytes(ready) -> None:
    """One request: three kernels of 3 to 28 us in each of 78 layers, where the bytes alone would take 0.1 us."""
    found = operators(ready, "glm-5", "fp8", load(1.0, 8_000.0))
    assert 78 * 10e-6 < found["attention decode"] < 78 * 50e-6
    assert 78 * 3e-6 < found["attention indexer decode"] < 78 * 60e-6


def test_prompts_and_decoding_requests_are_timed_apart(ready) -> None:
    both = operators(ready, "glm-5", "fp8", load(8.0, 8_000.0, tokens=4096.0))
    decode = operators(ready, "glm-5", "fp8", load(8.0, 8_000.0))
    prefill = operators(ready, "glm-5", "fp8", load(0.0, 0.0, tokens=4096.0))
    for name in ("attention", "attention indexer"):
        assert both[f"{name} decode"] == pytest.approx(decode[f"{name} decode"], rel=1e-6)
        assert both[f"{name} prefill"] == pytest.approx(prefill[f"{name} prefill"], rel=1e-6)
        assert decode[f"{name} prefill"] == prefill[f"{name} decode"] == 0.0


def test_linear_attention_costs_the_same_at_any_context(ready) -> None:
    short, long = (operators(ready, "qwen3.5-397b-a17b", "fp8", load(64.0, context)) for context in (1e3, 1e5))
    names = [name for name in short if name.startswith("linear_attention") and name.endswith("decode")]
    assert names
    for name in names:
        assert long[name] == pytest.approx(short[name])
        assert short[name] > 0.0
