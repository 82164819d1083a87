"""Dates as published: years, months, quarters, half years, days."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suanli.catalog.dates import span, surely_before


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2026", (2026, 1, 1), (2026, 12, 31)),
        ("2026-07", (2026, 7, 1), (2026, 7, 31)),
        ("2026-07-31", (2026, 7, 31), (2026, 7, 31)),
        ("2026-Q3", (2026, 7, 1), (2026, 9, 31)),
        ("2026-H2", (2026, 7, 1), (2026, 12, 31)),
    ],
)
def test_a_date_is_a_span_of_days(text: str, first: tuple[int, int, int], last: tuple[int, int, int]) -> None:
    assert span(text) == (first, last)


@pytest.mark.parametrize("text", ["", "autumn 2026", "2026-13", "2026-00", "2026-01-32", "2026-Q5", "2026-1", "26"])
def test_what_is_no_date_has_no_span(text: str) -> None:
    assert span(text) is None


def test_overlapping_dates_are_not_surely_ordered() -> None:
    assert surely_before("2025", "2026-01")
    assert not surely_before("2026", "2026-07")
    assert not surely_before("2026-07", "2026")
    assert not surely_before("soon", "2026")


days = st.dates(min_value=date(1000, 1, 1)).map(str)


@given(one=days, two=days)
def test_order_of_days_is_the_order_of_their_text(one: str, two: str) -> None:
    assert surely_before(one, two) == (one < two)
    assert not (surely_before(one, two) and surely_before(two, one))
