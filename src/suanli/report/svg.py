"""Just enough SVG: elements as text, and axes with round ticks. Colours are left to the style sheet."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape

# Mantissas of round numbers, finest first; an axis takes the first that gives at most MANY ticks.
STEPS = ((1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0), (1.0, 2.0, 3.0, 5.0, 7.0), (1.0, 2.0, 5.0), (1.0,))
MANY = 7


def element(tag: str, *children: str, **attributes: str | float) -> str:
    """One element; `_` in attribute names becomes `-`, a trailing one is dropped; numbers to two decimals."""
    shown = "".join(f' {_name(key)}="{_value(value)}"' for key, value in attributes.items())
    inner = "".join(children)
    return f"<{tag}{shown}>{inner}</{tag}>" if inner else f"<{tag}{shown}/>"


def text(content: str, x: float, y: float, **attributes: str | float) -> str:
    """Text at a place."""
    return element("text", escape(content), x=x, y=y, **attributes)


def _name(key: str) -> str:
    return key.removesuffix("_").replace("_", "-")


def _value(value: str | float) -> str:
    return escape(value) if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")


@dataclass(frozen=True)
class LogAxis:
    """Logarithmic axis from `low` to `high` drawn between two pixels."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Pixel of a value; values outside stay at the edge."""
        return self.beyond(min(max(value, self.low), self.high))

    def beyond(self, value: float) -> float:
        """Pixel of a value, also outside the axis."""
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return self.start + share * (self.end - self.start)

    @property
    def ticks(self) -> list[float]:
        """Round values on the axis."""
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        found: list[float] = []
        for steps in STEPS:
            found = [step * 10.0**power for power in powers for step in steps]
            found = [value for value in found if self.low <= value * (1 + 1e-9) and value <= self.high * (1 + 1e-9)]
            if len(found) <= MANY:
                break
        return found


def axis_over(values: list[float], start: float, end: float, margin: float = 1.1) -> LogAxis:
    """Axis that holds all positive values with some room at both ends."""
    kept = [value for value in values if value > 0.0 and math.isfinite(value)] or [1.0]
    return LogAxis(min(kept) / margin, max(kept) * margin, start, end)


def round_top(top: float, most: int = 5) -> list[float]:
    """Round values from 0 in equal steps, the last at or above `top` (> 0); at most `most` steps."""
    power = 10.0 ** math.floor(math.log10(top / most))
    step = next(size * power for size in (1.0, 2.0, 2.5, 5.0, 10.0) if size * power * most >= top * (1 - 1e-9))
    return [step * count for count in range(min(math.ceil(top / step - 1e-9), most) + 1)]
