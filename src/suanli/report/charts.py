"""Charts of a plan: trade-off curves with the chosen deployments on them, and interval strips."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from suanli.report.svg import LogAxis, axis_over, element, text
from suanli.report.wording import compact, evidence_label, plain, span
from suanli.search.estimate import Estimate
from suanli.search.result import Deployment, Plan

WIDTH, HEIGHT = 560.0, 400.0
LEFT, RIGHT, TOP, BOTTOM = 70.0, 14.0, 14.0, 46.0
COLOURED = 6  # best deployments with a colour of their own; the others are grey
MARKER = 9.0
GRID = 160  # speeds at which the front is drawn
FOCUS = 15  # best deployments that the axes are made for; what lies outside is cut off
Point = tuple[float, float]


@dataclass(frozen=True)
class Trade:
    """What a chart puts on its vertical axis against the speed of one user."""

    key: str  # metric of a deployment whose interval the whiskers show
    curve_key: str  # of a point of a trade-off curve
    label: str
    more_is_better: bool

    def value(self, one: Deployment) -> float:
        """Height of a deployment's marker: what it delivers at the offered load."""
        if self.key == "max_total_tok_s_per_chip":
            return one.value(self.key) * max(pool.load for pool in one.pools)
        return one.value(self.key)

    def whisker(self, one: Deployment) -> Point:
        """Ends of the 80 % interval at that height."""
        estimate, value = one.metrics[self.key], self.value(one)
        return value * estimate.low / estimate.value, value * estimate.high / estimate.value


THROUGHPUT = Trade("max_total_tok_s_per_chip", "total_tok_s_per_chip", "tokens/s per chip, in and out", True)
COST = Trade("usd_per_mtok", "usd_per_mtok", "$ per million tokens, in and out", False)
SPEED = "output_tok_s_per_user"


def colour_of(one: Deployment) -> str:
    """Style class of a deployment."""
    return f"c{one.rank}" if one.rank <= COLOURED else "c0"


def trade_chart(plan: Plan, trade: Trade) -> str:
    """Speed of a user against `trade`, both logarithmic: a curve per system, the front of all, the ranked deployments.

    Empty when nothing has the metric.
    """
    ranked = [one for one in plan if trade.key in one.metrics]
    curves = {system: _curve(points, trade) for system, points in plan.fronts.items()}
    curves = {system: points for system, points in curves.items() if len(points) > 1}
    if not ranked:
        return ""
    across, up = _axes(ranked, curves, trade)
    best = {system: one for one in reversed(ranked[:COLOURED]) for system in one.systems}
    parts = [_grid(across, up, trade), _too_slow(plan, across)]
    order = sorted(curves, key=lambda system: -best[system].rank if system in best else -len(ranked))
    for system in order:
        style = colour_of(best[system]) if system in best else "c0"
        parts.append(_line(curves[system], across, up, trade, f"curve {style}", system))
    front = _front(list(curves.values()), across, trade)
    if front:
        parts.append(_line(front, across, up, trade, "front", "best of all systems"))
    inside = [one for one in ranked if _inside(one.value(SPEED), across) and _inside(trade.value(one), up)]
    parts += [_marker(one, across, up, trade) for one in reversed(inside)]
    box = element("rect", x=LEFT, y=TOP, width=WIDTH - RIGHT - LEFT, height=HEIGHT - BOTTOM - TOP)
    clip = element("clipPath", box, id=f"box-{trade.key}")
    return element(
        "svg", clip, *parts, viewBox=f"0 0 {WIDTH:g} {HEIGHT:g}", class_="chart", role="img", aria_label=trade.label
    )


def _curve(points: Iterable[Mapping[str, Any]], trade: Trade) -> list[Point]:
    return [(float(point[SPEED]), float(point[trade.curve_key])) for point in points if trade.curve_key in point]


def _axes(ranked: Sequence[Deployment], curves: Mapping[str, list[Point]], trade: Trade) -> tuple[LogAxis, LogAxis]:
    """Axes over what matters: the best deployments with their whiskers, and the curves above the slowest of them."""
    coloured, near = ranked[:COLOURED], ranked[:FOCUS]
    speeds = [one.value(SPEED) for one in near] + [one.metrics[SPEED].high for one in coloured]
    heights = [trade.value(one) for one in near] + [end for one in coloured for end in trade.whisker(one)]
    floor, best = min(speeds), (max if trade.more_is_better else min)
    seen = [point for points in curves.values() for point in points if point[0] >= floor]
    if seen:
        heights.append(best(point[1] for point in seen))
        speeds.append(max(point[0] for point in seen if _within(point[1], heights)))
    across = axis_over(speeds, LEFT, WIDTH - RIGHT)
    return across, axis_over(heights, HEIGHT - BOTTOM, TOP)


def _within(value: float, heights: list[float]) -> bool:
    return min(heights) <= value <= max(heights)


def _front(curves: Iterable[list[Point]], across: LogAxis, trade: Trade) -> list[Point]:
    """Best of all curves at every speed on the axis, straight between their points as drawn."""
    best = max if trade.more_is_better else min
    ratio = math.log(across.high / across.low)
    found = []
    for step in range(GRID + 1):
        speed = across.low * math.exp(ratio * step / GRID)
        heights = [height for curve in curves if (height := _height(curve, speed)) is not None]
        if heights:
            found.append((speed, best(heights)))
    return found


def _height(curve: list[Point], speed: float) -> float | None:
    """Height of a curve at a speed, on the straight line of a double logarithmic chart; None outside it."""
    points = sorted(curve)
    for (left, low), (right, high) in pairwise(points):
        if left <= speed <= right:
            share = math.log(speed / left) / math.log(right / left) if right > left else 0.0
            return float(low * (high / low) ** share)
    return None


def _grid(across: LogAxis, up: LogAxis, trade: Trade) -> str:
    parts = []
    for value in across.ticks:
        x = across.at(value)
        parts.append(element("line", x1=x, x2=x, y1=TOP, y2=HEIGHT - BOTTOM, class_="grid"))
        parts.append(text(plain(value), x, HEIGHT - BOTTOM + 16, class_="tick", text_anchor="middle"))
    for value in up.ticks:
        y = up.at(value)
        parts.append(element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="grid"))
        parts.append(text(plain(value), LEFT - 7, y + 4, class_="tick", text_anchor="end"))
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(text("output tokens/s per user", middle, HEIGHT - 8, class_="label", text_anchor="middle"))
    turned = f"translate(13 {(TOP + HEIGHT - BOTTOM) / 2:g}) rotate(-90)"
    parts.append(element("g", text(trade.label, 0, 0, class_="label", text_anchor="middle"), transform=turned))
    return "".join(parts)


def _too_slow(plan: Plan, across: LogAxis) -> str:
    """Shade the speeds that the strictest TPOT limit rules out."""
    limits = [value for key, value in plan.study["slo"].items() if key.startswith("tpot")]
    if not limits or 1.0 / min(limits) <= across.low:
        return ""
    x = across.at(1.0 / min(limits))
    shade = element("rect", x=LEFT, y=TOP, width=max(x - LEFT, 0.0), height=HEIGHT - BOTTOM - TOP, class_="barred")
    line = element("line", x1=x, x2=x, y1=TOP, y2=HEIGHT - BOTTOM, class_="limit")
    return shade + line + text("TPOT limit", x + 5, TOP + 12, class_="tick")


def _line(points: list[Point], across: LogAxis, up: LogAxis, trade: Trade, style: str, name: str) -> str:
    """A curve, cut off at the axes."""
    path = "M" + "L".join(f"{across.beyond(x):.1f} {up.beyond(y):.1f}" for x, y in sorted(points))
    return element("path", element("title", name), d=path, class_=style, clip_path=f"url(#box-{trade.key})")


def _inside(value: float, axis: LogAxis) -> bool:
    return axis.low <= value <= axis.high


def _marker(one: Deployment, across: LogAxis, up: LogAxis, trade: Trade) -> str:
    x, y = across.at(one.value(SPEED)), up.at(trade.value(one))
    whiskers, style = "", colour_of(one)
    low, high = trade.whisker(one)
    ends = one.metrics[SPEED]
    kind = "whisker" if one.rank <= COLOURED else "whisker hidden"
    whiskers += element("line", x1=across.at(ends.low), x2=across.at(ends.high), y1=y, y2=y, class_=kind)
    whiskers += element("line", x1=x, x2=x, y1=up.at(low), y2=up.at(high), class_=kind)
    if one.rank <= COLOURED:
        disc = element("circle", cx=x, cy=y, r=MARKER, class_="disc")
        disc += text(str(one.rank), x, y + 3.8, class_="rank", text_anchor="middle")
    else:
        disc = element("circle", cx=x, cy=y, r=4.0, class_="disc")
    return element("g", whiskers, disc, class_=f"marker {style}", data_tip=tip(one))


def tip(one: Deployment) -> str:
    """Lines of a tooltip."""
    rows = [f"{one.rank}. {one.name}"]
    for key, label in ((SPEED, "tokens/s/user"), ("max_total_tok_s_per_chip", "tokens/s/chip at most")):
        rows.append(f"{label}: {compact(one.value(key))} ({span(one.metrics[key])})")
    if "usd_per_mtok" in one.metrics:
        rows.append(f"$/M tokens: {compact(one.value('usd_per_mtok'))} ({span(one.metrics['usd_per_mtok'])})")
    return "\n".join([*rows, f"evidence: {evidence_label(one.evidence)}"])


STRIP_WIDTH, STRIP_HEIGHT = 110.0, 14.0


def strip(estimate: Estimate, axis: LogAxis, style: str) -> str:
    """An interval as a line with a dot, on an axis that all rows share."""
    middle = STRIP_HEIGHT / 2
    line = element("line", x1=axis.at(estimate.low), x2=axis.at(estimate.high), y1=middle, y2=middle, class_="range")
    dot = element("circle", cx=axis.at(estimate.value), cy=middle, r=3.5, class_="dot")
    size = f"0 0 {STRIP_WIDTH:g} {STRIP_HEIGHT:g}"
    return element(
        "svg",
        line,
        dot,
        viewBox=size,
        width=STRIP_WIDTH,
        height=STRIP_HEIGHT,
        class_=f"strip {style}",
        aria_hidden="true",
    )


def strip_axis(estimates: Sequence[Estimate]) -> LogAxis:
    """Axis over all intervals of a column."""
    return axis_over([end for one in estimates for end in (one.low, one.high)], 4.0, STRIP_WIDTH - 4.0, margin=1.02)
