"""A simulation as one page: percentiles, distributions of the latencies, and the load over time."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from suanli.report.svg import LogAxis, axis_over, element, text
from suanli.serving.export import distribution, time_series
from suanli.serving.summary import Result, Summary

Array = NDArray[np.float64]

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640.0, 230.0, 64.0, 16.0, 14.0, 34.0
POINTS = 400  # of one line
PERCENTILES = ("mean", "p50", "p90", "p95", "p99")
LATENCIES = {"ttft": "time to first token", "tpot": "time per output token", "e2e": "whole request"}
ROWS = LATENCIES | {"itl": "gap between tokens", "queue": "wait before the first step"}
SERIES = {
    "decode_token_per_s": "output tokens per second",
    "prefill_token_per_s": "prompt tokens computed per second",
    "batch_mean": "sequences in a step, all ranks",
    "kv_share": "share of the KV blocks in use",
    "step_power_w": "power of the chips in their steps, W",
}
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1340px; margin: 30px auto; padding: 0 24px; color: #1c2126;
  font-variant-numeric: tabular-nums; background: #fbfaf7; }
h1 { font-size: 24px; font-weight: 620; } h2 { font-size: 15px; font-weight: 600; margin: 18px 0 4px; }
table { border-collapse: collapse; } td, th { padding: 3px 14px; text-align: right; border-bottom: 1px solid #e4e3de; }
td:first-child, th:first-child { text-align: left; padding-left: 0; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(520px, 1fr)); gap: 8px 32px; }
svg { width: 100%; height: auto; } svg text { font-size: 11.5px; fill: #626c76; }
.line { fill: none; stroke: #0072b2; stroke-width: 1.6; } .grid { stroke: #e4e3de; }
.mark { stroke: #d55e00; stroke-dasharray: 4 3; }
p, li { color: #626c76; }
"""


def served_html(title: str, result: Result, summary: Summary, notes: Sequence[str]) -> str:
    """One HTML file that needs nothing else."""
    charts = [_distribution(words, getattr(result, f"{key}_s") * 1e3, summary, key) for key, words in LATENCIES.items()]
    series = time_series(result)
    charts += [_over_time(words, series["time_s"], series[key]) for key, words in SERIES.items()]
    body = [
        element("h1", escape(title)),
        element("p", escape(_counts(summary))),
        _table(summary),
        element("div", *(chart for chart in charts if chart), class_="charts"),
        element("ul", *(element("li", escape(note)) for note in notes)) if notes else "",
    ]
    head = element("meta", charset="utf-8") + element("title", escape(title)) + element("style", STYLE)
    return "<!doctype html>\n" + element("html", element("head", head), element("body", *body), lang="en") + "\n"


def _counts(summary: Summary) -> str:
    words = [f"{summary['requests']:,} requests in {summary['end_s']:,.0f} s"]
    words += [
        f"{summary[name]:,} {name.replace('_', ' ')}" for name in ("done", "unfinished", "timed_out") if summary[name]
    ]
    if summary["saturated"]:
        words.append("saturated: waits grow with the length of the run")
    return ", ".join(words)


def _table(summary: Summary) -> str:
    head = element("tr", element("th", "milliseconds"), *(element("th", column) for column in PERCENTILES))
    rows = []
    for key, words in ROWS.items():
        values = [summary[f"{key}_{column}_ms"] for column in PERCENTILES]
        cells = ("-" if value is None else f"{value:,.1f}" for value in values)
        rows.append(element("tr", element("td", words), *(element("td", cell) for cell in cells)))
    return element("table", head, *rows)


def _figure(title: str, *parts: str) -> str:
    drawing = element("svg", *parts, viewBox=f"0 0 {WIDTH:.0f} {HEIGHT:.0f}", role="img", aria_label=title)
    return element("section", element("h2", escape(title)), drawing)


def _distribution(words: str, values_ms: Array, summary: Summary, key: str) -> str:
    """Share of the requests at or below a latency, on a logarithmic axis, with the p99 marked."""
    values, share = distribution(values_ms[values_ms > 0.0], POINTS)
    if values.size == 0:
        return ""
    across = axis_over(values.tolist(), LEFT, WIDTH - RIGHT)
    heights = HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP)
    parts = _grid(across, [(f"{level:.0%}", 1.0 - level) for level in (0.0, 0.25, 0.5, 0.75, 1.0)])
    p99 = summary[f"{key}_p99_ms"]
    if p99:
        place = across.at(p99)
        parts.append(element("line", x1=place, x2=place, y1=TOP, y2=HEIGHT - BOTTOM, class_="mark"))
        parts.append(text("p99", place - 4, TOP + 10, text_anchor="end"))
    line = _polyline([across.at(value) for value in values], heights.tolist())
    return _figure(f"{words}, ms: share of the requests at or below", *parts, line)


def _over_time(words: str, time_s: Array, values: Array) -> str:
    """One quantity over the run."""
    if not values.max() > 0.0:
        return ""
    group = max(values.size // POINTS, 1)
    kept = values[: values.size - values.size % group].reshape(-1, group).mean(axis=1)
    times = time_s[: values.size - values.size % group : group]
    top = float(kept.max()) * 1.05
    span = max(float(times[-1]), 1e-9)
    heights = HEIGHT - BOTTOM - kept / top * (HEIGHT - BOTTOM - TOP)
    places = LEFT + times / span * (WIDTH - RIGHT - LEFT)
    parts = [_rule(f"{top * level:,.4g}", 1.0 - level) for level in (0.0, 0.5, 1.0)]
    for level in (0.0, 0.25, 0.5, 0.75, 1.0):
        place = LEFT + level * (WIDTH - RIGHT - LEFT)
        parts.append(text(f"{level * span:,.4g} s", place, HEIGHT - 12, text_anchor="middle"))
    return _figure(words, *parts, _polyline(places.tolist(), heights.tolist()))


def _grid(across: LogAxis, levels: list[tuple[str, float]]) -> list[str]:
    parts = [_rule(label, share) for label, share in levels]
    for tick in across.ticks:
        place = across.at(tick)
        parts.append(element("line", x1=place, x2=place, y1=TOP, y2=HEIGHT - BOTTOM, class_="grid"))
        parts.append(text(f"{tick:,.4g}", place, HEIGHT - 12, text_anchor="middle"))
    return parts


def _rule(label: str, share: float) -> str:
    """Horizontal line at a share of the height, from the top."""
    height = TOP + share * (HEIGHT - BOTTOM - TOP)
    rule = element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=height, y2=height, class_="grid")
    return rule + text(label, LEFT - 6, height + 4, text_anchor="end")


def _polyline(across: list[float], heights: list[float]) -> str:
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(across, heights, strict=True))
    return element("polyline", points=points, class_="line")
