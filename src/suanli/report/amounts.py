"""Inputs of the cost model for people: what they are called, and their values with a unit that reads."""

from __future__ import annotations

from suanli.economics.uncertainty import ERROR
from suanli.report.wording import compact

PERCENT = "1/year"
# Keys whose plain words would not be understood.
NAMES = {ERROR: "speed over predicted speed"}
SHARES = frozenset({"hardware.residual", "facility.shell_share", "finance.debt_fraction", "lease.residual"})


def label_of(key: str) -> str:
    """Name of an input for people: what it is, and of what record."""
    name, _, subject = key.partition("@")
    words = NAMES.get(name, name.replace("_", " ").replace(".", ": ", 1))
    return f"{words} ({subject})" if subject else words


def amount(value: float, key: str, unit: str, *, with_unit: bool = True) -> str:
    """Value of an input: 8.5 % a year, 9 %, 12.7 USD/W, 1.12; `unit` is that of the border."""
    name = key.partition("@")[0]
    if unit == PERCENT:
        return f"{value * 100.0:.3g} %" + (" a year" if with_unit else "")
    if name in SHARES:
        return f"{value * 100.0:.3g} %"
    shown = compact(value)
    if name == ERROR:
        return f"{shown}x"
    return f"{shown} {unit}" if with_unit and unit != "count" else shown
