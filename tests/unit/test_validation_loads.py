"""The load of a benchmark on one instance."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from suanli.validation.loads import full_batch


def full(scheduler: str, limit: float, budget: float, prompt: float, output: float, drafts: int = 0) -> float:
    case: Any = SimpleNamespace(lengths=SimpleNamespace(input_tokens=prompt, output_tokens=output), drafts=drafts)
    table: Any = SimpleNamespace(limit=limit, budget=budget)
    engine: Any = SimpleNamespace(scheduler=scheduler, acceptance=SimpleNamespace(si=1.0))
    return full_batch(case, table, engine)


def test_memory_or_the_sequence_limit_bounds_a_full_batch() -> None:
    assert full("mixed", 100.0, 8192.0, 1000.0, 1000.0) == 100.0
    assert full("prefill_first", 2048.0, 1536.0, 778.0, 128.0) == 2048.0


def test_prompts_that_share_steps_leave_room_for_fewer_requests() -> None:
    """778 tokens in, 128 out: for each request that decodes its successors bring 6.08 prompt tokens per step."""
    batch = full("mixed", 2048.0, 1536.0, 778.0, 128.0)
    assert batch * (1.0 + 778.0 / 128.0) == pytest.approx(1536.0)


def test_drafted_tokens_need_room_and_shorten_the_stay() -> None:
    """With 3 drafted tokens that are all accepted a request brings 4 tokens per step and stays a quarter as long."""
    assert full("mixed", 1e9, 4096.0, 100.0, 400.0, drafts=3) == pytest.approx(4096.0 / (4.0 + 1.0))
