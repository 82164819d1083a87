"""A number with its interval and the evidence behind it."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """Best value with an 80 % interval; `basis` names the evidence class that the width was earned on."""

    value: float
    low: float
    high: float
    basis: str

    def to_dict(self, digits: int = 5) -> dict[str, float | str]:
        """Plain data with `digits` significant digits."""
        return {
            "value": significant(self.value, digits),
            "low": significant(self.low, digits),
            "high": significant(self.high, digits),
            "basis": self.basis,
        }


def significant(value: float, digits: int) -> float:
    """Round to significant digits."""
    return float(f"{value:.{digits}g}")


def spread(value: float, down: float, up: float, basis: str) -> Estimate:
    """Estimate whose ends lie the factors `down` and `up` (both >= 1) below and above the value."""
    return Estimate(value, value / down, value * up, basis)


def combine(*factors: float) -> float:
    """Width factor of a product of independent errors: logarithms add in squares."""
    return math.exp(math.sqrt(sum(math.log(factor) ** 2 for factor in factors)))
