"""Details of a step: captured graphs, and the cache of windowed layers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suanli.mapping.ledger import StepLoad
from suanli.mapping.memory import memory_fit
from suanli.mapping.placement import Placements
from suanli.mapping.step import padded

SIZES = (1, 2, 4, 8, 64, 128, 1024)


def load(requests: float, prompt: float = 0.0, query: float = 1.0) -> StepLoad:
    one = np.ones((1, 1))
    return StepLoad(one * prompt, one * prompt, one * 0.0, one * requests * query, one * requests * 500.0, query)


@pytest.mark.parametrize(("requests", "size"), [(1, 1), (2, 2), (3, 4), (65, 128), (700, 1024), (1024, 1024)])
def test_a_decode_step_is_filled_up_to_the_next_graph(requests: int, size: int) -> None:
    whole, lane = padded(load(2.0 * requests), load(requests), SIZES)
    assert lane.decode_requests == pytest.approx(size)
    assert whole.decode_requests == pytest.approx(2 * size)
    assert lane.decode_kv_tokens == requests * 500.0


def test_steps_with_prompts_and_steps_above_the_largest_graph_are_not_filled_up() -> None:
    for one in (load(65.0, prompt=10.0), load(3000.0)):
        assert padded(one, one, SIZES)[1].decode_requests == one.decode_requests


@given(st.floats(1.0, 5000.0), st.floats(1.0, 2.0), st.sampled_from([1.0, 4.0]))
def test_filling_up_is_monotone_and_never_takes_requests_away(requests: float, more: float, query: float) -> None:
    small, large = (
        padded(one, one, SIZES)[1] for one in (load(requests, 0.0, query), load(requests * more, 0.0, query))
    )
    assert small.decode_requests >= requests * query * (1.0 - 1e-9)
    assert large.decode_requests >= small.decode_requests * (1.0 - 1e-9)


def test_windowed_layers_keep_no_more_than_the_request_or_the_window(ready) -> None:
    """gpt-oss: every other layer sees 128 tokens, 8 heads of 64 for keys and for values in 16 bit."""
    setting = ready("nvidia-hgx-h100-8", "gpt-oss-120b", "bf16").setting
    place = Placements.of([(1, 1, 1, 1)])
    fit = memory_fit(setting.graph, setting.hardware, setting.precision, setting.engine, place)
    (window, each), *others = fit.windows
    assert (window, others) == (128.0, [])
    assert each[0] == pytest.approx(18 * 2 * 8 * 64 * setting.precision.kv_bytes)
    short, long = fit.held(np.array([[100.0, 5000.0]]))[0]
    assert short == pytest.approx((fit.kv_per_token[0] + each[0]) * 100.0)
    assert long == pytest.approx(fit.kv_per_token[0] * 5000.0 + each[0] * 128.0)
