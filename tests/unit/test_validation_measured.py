"""Files of measurements: what a column may hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from suanli.validation.measured import MeasuredError, read_measured


def file_with(folder: Path, **values: str) -> Path:
    row = {"config_id": "a", "chip": "x", "model": "y"} | values
    path = folder / "rows.csv"
    path.write_text(",".join(row) + "\n" + ",".join(row.values()) + "\n")
    return path


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("chips", "0", "a number above 0"),
        ("tp", "-5", "a number above 0"),
        ("input_tokens", "inf", "a finite number"),
        ("output_tokens", "-1", "a number from 0 on"),
        ("tpot_p50_ms", "fast", "a number"),
        ("output_tok_s_per_chip", "-3", "a number from 0 on"),
    ],
)
def test_values_that_cannot_be_are_named(tmp_path: Path, name: str, value: str, wanted: str) -> None:
    with pytest.raises(MeasuredError, match=f"rows.csv:2: {name}: '{value}' given, {wanted} or blank is accepted"):
        read_measured(file_with(tmp_path, **{name: value}))


def test_no_output_and_blanks_are_accepted(tmp_path: Path) -> None:
    (row,) = read_measured(file_with(tmp_path, output_tokens="0", chips=""))
    assert row.number("output_tokens") == 0.0
    assert row.number("chips") is None
