"""Charts of a simulation: distributions of the latencies with their limits, and the load over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from suanli.report.svg import LogAxis, axis_over, element, round_top, text
from suanli.report.wording import compact, plain
from suanli.serving.export import distribution

Array = NDArray[np.float64]

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 560.0, 220.0, 62.0, 24.0, 16.0, 40.0
FOOT = HEIGHT - BOTTOM
POINTS = 400  # of one line
QUARTERS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Series:
    """A quantity over the run: what it is called, and how its numbers are written."""

    title: str
    unit: str = ""
    percent: bool = False

    def label(self, value: float) -> str:
        """A number on its axis."""
        return f"{value:.0%}" if self.percent else plain(value)


def distribution_chart(values_ms: Array, limits_ms: Mapping[str, float]) -> str:
    """Share of the requests at or below a latency [ms], logarithmic, with the limits by percentile as crosses.

    Empty when there is nothing to show.
    """
    values, share = distribution(values_ms[values_ms > 0.0], POINTS)
    if values.size == 0:
        return ""
    across = axis_over([*values.tolist(), *limits_ms.values()], LEFT, WIDTH - RIGHT)
    parts = [_rule(f"{level:.0%}", level) for level in QUARTERS] + _ticks(across)
    heights = FOOT - share * (FOOT - TOP)
    parts.append(_polyline([across.at(value) for value in values], heights.tolist()))
    for percentile, limit in limits_ms.items():
        parts.append(_limit(across.at(limit), float(percentile[1:]) / 100.0, f"limit {percentile}", limit))
    return _svg("share of the requests", *parts, _axis_name("ms"))


def over_time_chart(series: Series, time_s: Array, values: Array) -> str:
    """One quantity over the run, as means of at most POINTS equal spans; empty when it is always zero."""
    group = max(-(-values.size // POINTS), 1)
    starts = np.arange(0, values.size, group)
    kept = np.add.reduceat(values, starts) / np.diff([*starts, values.size])
    if not kept.max() > 0.0:
        return ""
    width = float(time_s[1] - time_s[0]) if time_s.size > 1 else 1.0
    span, times = width * values.size, (time_s[starts] + width * group / 2.0)
    up, across = round_top(float(kept.max())), round_top(span)
    heights = FOOT - kept / up[-1] * (FOOT - TOP)
    room = WIDTH - RIGHT - LEFT
    places = LEFT + np.minimum(times / span, 1.0) * room
    parts = [_rule(series.label(tick), tick / up[-1]) for tick in up]
    parts += [
        text(plain(tick), LEFT + tick / span * room, FOOT + 16, text_anchor="middle") for tick in across if tick <= span
    ]
    return _svg(series.title, *parts, _polyline(places.tolist(), heights.tolist()), _axis_name("s"))


def _svg(label: str, *parts: str) -> str:
    box = f"0 0 {WIDTH:g} {HEIGHT:g}"
    return element("svg", *parts, viewBox=box, class_="chart", role="img", aria_label=label)


def _axis_name(unit: str) -> str:
    return text(unit, WIDTH - RIGHT, FOOT + 32, text_anchor="end")


def _ticks(across: LogAxis) -> list[str]:
    parts = []
    for tick in across.ticks:
        place = across.at(tick)
        parts.append(element("line", x1=place, x2=place, y1=TOP, y2=FOOT, class_="grid"))
        parts.append(text(plain(tick), place, FOOT + 16, text_anchor="middle"))
    return parts


def _limit(place: float, share: float, words: str, limit_ms: float) -> str:
    """A cross where a percentile of the curve may lie at most: a curve that passes to its left keeps the limit."""
    height = FOOT - share * (FOOT - TOP)
    line = element("line", x1=place, x2=place, y1=height, y2=FOOT, class_="limit")
    dot = element("circle", cx=place, cy=height, r=4.0, class_="bound")
    tip = element("title", f"{words}: {compact(limit_ms)} ms")
    anchor, shift = ("end", -6.0) if place > (LEFT + WIDTH) / 2.0 else ("start", 6.0)
    name = text(words, place + shift, (height + FOOT) / 2.0, text_anchor=anchor)
    return element("g", tip, line, dot, name)


def _rule(label: str, share: float) -> str:
    """Horizontal line at a share of the height, from the foot."""
    height = FOOT - share * (FOOT - TOP)
    rule = element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=height, y2=height, class_="grid")
    return rule + text(label, LEFT - 8, height + 4, text_anchor="end")


def _polyline(across: Sequence[float], heights: Sequence[float]) -> str:
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(across, heights, strict=True))
    return element("polyline", points=points, class_="curve c1")
