"""Measured rows of a file, ready to be predicted."""

from __future__ import annotations

from pathlib import Path

from suanli.validation.measured import Row, read_measured, unscorable
from suanli.validation.predict import Prepared, prepare
from suanli.validation.report import cases_of, facts

FILE = "inference.csv"  # inside a folder of measurements


def data_file(path: Path) -> Path:
    """The file itself, or the file of that name in a folder."""
    return path / FILE if path.is_dir() else path


def prepared_rows(path: Path, *, fitted: bool = True) -> tuple[list[Row], list[Prepared]]:
    """Scorable rows, and those of them that can be predicted; `fitted` False leaves the fitted profiles away."""
    rows = [row for row in read_measured(data_file(path)) if unscorable(row) is None]
    known = facts(fitted=fitted)
    cases, _ = cases_of(rows, known)
    ready, _ = prepare(cases)
    return rows, ready
