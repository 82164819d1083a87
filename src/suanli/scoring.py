"""What a measured row of an operator or collective is held against."""

from __future__ import annotations

from dataclasses import dataclass


class RefusedError(ValueError):
    """A row cannot be predicted, and why."""


@dataclass(frozen=True)
class Predicted:
    """The number that a row reports, in its unit; four of five of its kind lie between `low` and `high`."""

    value: float
    low: float
    high: float
    evidence: str


def within(value: float, factor: float, evidence: str) -> Predicted:
    """A prediction that is known to a factor [-]."""
    return Predicted(value, value / factor, value * factor, evidence)
