"""Round numbers on straight axes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suanli.report.svg import round_top


@pytest.mark.parametrize(
    ("top", "ticks"),
    [
        (7.9, [0, 2, 4, 6, 8]),
        (1202.0, [0, 250, 500, 750, 1000, 1250]),
        (0.66, [0, 0.2, 0.4, 0.6, 0.8]),
        (1.0, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
    ],
)
def test_ticks_are_round(top: float, ticks: list[float]) -> None:
    assert round_top(top) == pytest.approx(ticks)


@given(st.floats(1e-9, 1e12))
def test_ticks_reach_the_top_and_no_further_than_needed(top: float) -> None:
    ticks = round_top(top)
    assert 2 <= len(ticks) <= 6
    assert ticks[-1] >= top * (1 - 1e-6)
    assert ticks[-2] < top
