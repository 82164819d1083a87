"""Laws of quantities for any number."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suanli.quantity import Quantity, parse_amount, parse_unit

UNITS = ["GB", "GiB", "TB/s", "Gbit/s", "TFLOP/s", "kW", "us", "USD/chip/h", "CNY/kWh", "g/kWh", "MHz"]
positive = st.floats(min_value=1e-9, max_value=1e12, allow_nan=False)


@given(value=positive, unit=st.sampled_from(UNITS))
def test_si_is_value_times_factor(value: float, unit: str) -> None:
    quantity = Quantity(value=value, unit=unit, kind="vendor", source="s")
    assert quantity.si == pytest.approx(value * parse_unit(unit)[0])


@given(low=positive, span=st.floats(min_value=1, max_value=1e3), unit=st.sampled_from(UNITS))
def test_best_value_lies_in_the_range(low: float, span: float, unit: str) -> None:
    quantity = Quantity(value=None, unit=unit, kind="guess", source="s", low=low, high=low * span, because="law")
    left, right = quantity.si_range
    assert left * (1 - 1e-12) <= quantity.si <= right * (1 + 1e-12)


@given(value=positive, unit=st.sampled_from(UNITS))
def test_text_and_back(value: float, unit: str) -> None:
    assert parse_amount(f"{value!r} {unit}", unit) == pytest.approx(value * parse_unit(unit)[0])


@given(value=positive, unit=st.sampled_from(UNITS))
def test_json_and_back(value: float, unit: str) -> None:
    quantity = Quantity(value=value, unit=unit, kind="measured", source="s", alternatives=())
    assert Quantity.model_validate_json(quantity.model_dump_json(exclude_defaults=True)) == quantity


@given(first=st.sampled_from(UNITS), second=st.sampled_from(UNITS))
def test_factor_of_a_product_is_the_product_of_factors(first: str, second: str) -> None:
    assert parse_unit(f"({first})*({second})")[0] == pytest.approx(parse_unit(first)[0] * parse_unit(second)[0])
