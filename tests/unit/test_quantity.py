"""Quantities: units, ranges, what is refused."""

import math

import pytest
from pydantic import TypeAdapter, ValidationError

from suanli.quantity import (
    ByteRate,
    Bytes,
    Flops,
    Quantity,
    QuantityError,
    Text,
    known_units,
    parse_amount,
    parse_unit,
    remember_units,
)

VENDOR = {"kind": "vendor", "source": "datasheet"}


@pytest.mark.parametrize(
    ("unit", "factor"),
    [
        ("GB", 1e9),
        ("GiB", 2**30),
        ("MiB", 2**20),
        ("TB/s", 1e12),
        ("Gbit/s", 1e9 / 8),
        ("TFLOP/s", 1e12),
        ("TOP/s", 1e12),
        ("kWh", 3.6e6),
        ("us", 1e-6),
        ("percent", 0.01),
        ("USD/chip/h", 1 / 3600),
    ],
)
def test_units_convert_to_si(unit: str, factor: float) -> None:
    assert parse_unit(unit)[0] == pytest.approx(factor, rel=1e-12)


def test_gigabytes_and_gibibytes_differ_by_seven_percent() -> None:
    assert parse_unit("GiB")[0] / parse_unit("GB")[0] == pytest.approx(1.0737, abs=1e-4)


@pytest.mark.parametrize("unit", ["GBps", "teraflops", "", "1000", "dollar", "GB/"])
def test_unknown_unit_is_refused(unit: str) -> None:
    with pytest.raises(QuantityError, match="unknown unit"):
        parse_unit(unit)


def test_remembered_units_are_used_without_looking_them_up() -> None:
    parse_unit("GB")
    assert known_units()["GB"] == parse_unit("GB")
    remember_units({"unit-of-this-test": (2.0, "[information]")})
    assert parse_unit("unit-of-this-test") == (2.0, "[information]")


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("40 request/s", "request/s", 40.0),
        ("2s", "s", 2.0),
        ("50 ms", "s", 0.05),
        ("1 MW", "W", 1e6),
        ("1e3 W", "W", 1000.0),
        ("1.5e-3s", "s", 0.0015),
        ("10 /s", "1/s", 10.0),
    ],
)
def test_amounts_with_units_are_read(text: str, unit: str, value: float) -> None:
    assert parse_amount(text, unit) == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [("40", "no unit"), ("forty s", "not a number"), ("40 W", "wrong dimension"), ("1e999 s", "not finite")],
)
def test_amounts_without_sense_are_refused(text: str, reason: str) -> None:
    with pytest.raises(QuantityError, match=reason):
        parse_amount(text, "s")


def test_range_without_value_plans_on_its_geometric_middle() -> None:
    quantity = Quantity(value=None, unit="GB", low=100, high=400, because="two sources", **VENDOR)
    assert quantity.known
    assert quantity.si == pytest.approx(200e9)
    assert quantity.si_range == (100e9, 400e9)


def test_value_without_range_is_its_own_range() -> None:
    quantity = Quantity(value=3, unit="TB/s", **VENDOR)
    assert quantity.si_range == (3e12, 3e12)


def test_unknown_quantity_says_why_when_asked_for() -> None:
    quantity = Quantity(value=None, unit="W", because="the vendor prints no power", **VENDOR)
    assert not quantity.known
    for ask in (lambda: quantity.si, lambda: quantity.si_range):
        with pytest.raises(QuantityError, match="the vendor prints no power"):
            ask()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"value": None}, "because"),
        ({"low": 1}, "both low and high"),
        ({"low": 5, "high": 9}, "low <= value <= high"),
        ({"kind": "estimate"}, "needs low, high and because"),
        ({"kind": "guess", "low": 2, "high": 4}, "needs low, high and because"),
        ({"kind": "hearsay"}, "vendor"),
        ({"unit": "furlong"}, "unknown unit"),
        ({"colour": "red"}, "Extra inputs"),
    ],
)
def test_dishonest_quantities_are_refused(change: dict[str, object], reason: str) -> None:
    given = {"value": 3, "unit": "W", **VENDOR} | change
    with pytest.raises(ValidationError, match=reason):
        Quantity.model_validate(given)


@pytest.mark.parametrize(("wanted", "unit"), [(Flops, "GB/s"), (ByteRate, "GB"), (Bytes, "W")])
def test_wrong_dimension_is_refused(wanted: object, unit: str) -> None:
    with pytest.raises(ValidationError, match="wrong dimension"):
        TypeAdapter(wanted).validate_python({"value": 1, "unit": unit, **VENDOR})


def test_wrong_dimension_of_an_alternative_is_refused() -> None:
    given = {"value": 1, "unit": "GB", **VENDOR, "alternatives": [{"value": 1, "unit": "s", **VENDOR}]}
    with pytest.raises(ValidationError, match="alternative unit 's'"):
        TypeAdapter(Bytes).validate_python(given)


def test_null_text_needs_a_reason() -> None:
    with pytest.raises(ValidationError, match="because"):
        Text.model_validate({"text": None, **VENDOR})


def test_quantities_cannot_be_changed() -> None:
    quantity = Quantity(value=1, unit="W", **VENDOR)
    with pytest.raises(ValidationError, match="frozen"):
        quantity.value = 2  # type: ignore[misc]
    assert math.isclose(quantity.si, 1)
