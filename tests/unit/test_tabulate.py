"""The simulator's table against the step model that it is made from."""

from __future__ import annotations

import numpy as np
import pytest
from tests.conftest import CHAT

from suanli.mapping.placement import Placements
from suanli.mapping.step import StepModel
from suanli.mapping.tabulate import ranks_with_prompts, step_table_of
from suanli.serving.steady import decode_load, mixed_load


@pytest.mark.parametrize(
    ("system", "model", "row"),
    [
        ("nvidia-hgx-h100-8", "llama-3.1-70b", (4, 1, 1, 1)),
        ("nvidia-hgx-h200-8", "deepseek-r1", (8, 1, 1, 8)),
        ("nvidia-gb200-nvl72", "qwen3-235b-a22b", (1, 1, 8, 8)),
    ],
)
@pytest.mark.parametrize("batch", [8, 64, 256])
def test_table_follows_the_model(ready, system, model, row, batch):
    setting = ready(system, model, "fp8").setting
    place = Placements.of([row])
    step = StepModel(setting.graph, setting.hardware, setting.precision, setting.engine, place)
    ranks = row[2]
    table = step_table_of(
        step, requests=batch / ranks, kv_tokens=CHAT.kv_tokens, chunk=CHAT.input_tokens, max_tokens=8192
    )
    whole = np.array([[float(batch)]])
    expected = float(step.cost(decode_load(whole, CHAT)).time[0, 0])
    rank = batch / ranks
    found = float(table.step_time(0.0, 0.0, rank, rank * CHAT.kv_tokens)[()])
    assert found == pytest.approx(expected, rel=0.1)
    chunk = np.array([[CHAT.input_tokens * ranks]])
    expected = float(step.cost(mixed_load(whole, chunk, CHAT)).time[0, 0])
    pairs = CHAT.input_tokens * CHAT.pairs_per_token
    found = float(table.step_time(CHAT.input_tokens, pairs, rank, rank * CHAT.kv_tokens, 1.0)[()])
    assert found == pytest.approx(expected, rel=0.15)


def test_a_prompt_on_one_rank_costs_less_than_one_on_every_rank(ready):
    """Experts and their exchange see one prompt, not sixteen; the busy rank itself works as much."""
    setting = ready("nvidia-gb200-nvl72", "qwen3-235b-a22b", "fp8").setting
    step = StepModel(
        setting.graph, setting.hardware, setting.precision, setting.engine, Placements.of([(1, 1, 16, 16)])
    )

    def seconds(together: float | None, tokens: float) -> float:
        table = step_table_of(step, requests=20.0, kv_tokens=1200.0, chunk=1000.0, max_tokens=8192.0, together=together)
        return float(table.step_time(tokens, 0.0, 20.0, 24e3)[()])

    one, all_ranks = seconds(1.0, 1000.0), seconds(16.0, 1000.0)
    assert seconds(None, 1000.0) == all_ranks
    assert one < all_ranks
    assert one > seconds(1.0, 0.0)
    # Decoding is the same on every rank, but for the grid of tokens that it is read from.
    assert seconds(1.0, 0.0) == pytest.approx(seconds(16.0, 0.0), rel=0.01)


@pytest.mark.parametrize(("often", "expected"), [(1.0, 16.0), (1e-9, 1.0), (0.5, 8.0 / (1.0 - 0.5**16))])
def test_ranks_with_prompts(often, expected):
    assert ranks_with_prompts(16.0, often) == pytest.approx(expected, rel=1e-6)


def test_a_table_needs_one_placement(ready):
    setting = ready("nvidia-hgx-h100-8", "qwen3-32b", "fp8").setting
    step = StepModel(
        setting.graph, setting.hardware, setting.precision, setting.engine, Placements.of([(1, 1, 1, 1), (2, 1, 1, 1)])
    )
    with pytest.raises(ValueError, match="one placement"):
        step_table_of(step, requests=1.0, kv_tokens=1.0, chunk=1.0, max_tokens=8192.0)
