"""A simulation as one page: percentiles against the limits, distributions of the latencies, the load over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING

from suanli.report.served_charts import Series, distribution_chart, over_time_chart
from suanli.report.wording import DASH, compact, counted, plain
from suanli.serving.export import time_series
from suanli.serving.outcome import STATUS_NAMES
from suanli.serving.summary import Result, Summary

if TYPE_CHECKING:
    import jinja2

COLUMNS = ("mean", "p50", "p90", "p95", "p99")
ROWS = {
    "ttft": "time to first token (TTFT)",
    "tpot": "time per output token (TPOT)",
    "itl": "gap between tokens (ITL)",
    "e2e": "whole request (E2E)",
    "queue": "wait before the first step",
}
DRAWN = ("ttft", "tpot", "e2e")  # kept per request; gaps are counted in bins
SERIES = {
    "decode_token_per_s": Series("Output tokens per second"),
    "prefill_token_per_s": Series("Prompt tokens computed per second"),
    "batch_mean": Series("Sequences in a step, all ranks"),
    "kv_share": Series("KV blocks in use", percent=True),
    "busy_share": Series("Ranks at work", percent=True),
    "step_power_w": Series("Power of the chips in their steps, W"),
}
MS = 1e3

Limits = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Tile:
    """A number to be seen from afar."""

    label: str
    value: str
    unit: str = ""
    note: str = ""
    bad: bool = False


@dataclass(frozen=True)
class Cell:
    """A percentile, and the limit that it misses or keeps."""

    value: str
    limit: str = ""
    bad: bool = False


def served_html(title: str, result: Result, summary: Summary, limits_s: Limits, notes: Sequence[str]) -> str:
    """One HTML file that needs nothing else.

    limits_s : limits of the study by metric (ttft, tpot) and percentile [s].
    """
    context = {
        "title": title,
        "counts": ended(summary),
        "saturated": bool(summary["saturated"]),
        "tiles": _tiles(summary),
        "columns": COLUMNS,
        "rows": [(words, [_cell(summary, key, name, limits_s) for name in COLUMNS]) for key, words in ROWS.items()],
        "distributions": _distributions(result, limits_s),
        "series": _series(result),
        "notes": notes,
        "version": version("suanli"),
    }
    return str(_template().render(context))


def ended(summary: Summary) -> str:
    """How many requests there were, how long it took, and how they ended."""
    ways = [f"{summary[name]:,} {name.replace('_', ' ')}" for name in STATUS_NAMES if summary[name]]
    took = f"{counted(int(summary['requests'] or 0), 'request')} in {plain(round(float(summary['end_s'] or 0.0), 1))} s"
    return f"{took}: {', '.join(ways)}" if ways else took


@lru_cache(maxsize=1)
def _template() -> jinja2.Template:
    import jinja2  # noqa: PLC0415 (start-up time)

    loader = jinja2.PackageLoader("suanli.report", "templates")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template("served.html.j2")


def _tiles(summary: Summary) -> list[Tile]:
    share, rate = summary.get("good_share"), summary.get("goodput_request_per_s")
    tiles = []
    if share is not None:
        tiles.append(Tile("within the limits", f"{share:.1%}", "", f"{compact(rate)} requests/s of goodput"))
    requests = f"{compact(summary['request_per_s'])} requests/s"
    tiles.append(Tile("output tokens per second", compact(summary["output_token_per_s"]), "", requests))
    for prefix, name in (("", "ranks"), ("prefill_pool_", "prefill pool"), ("decode_pool_", "decode pool")):
        if f"{prefix}busy_share" in summary:
            busy, batch = summary[f"{prefix}busy_share"], compact(summary[f"{prefix}batch_mean"])
            value = DASH if busy is None else f"{busy:.0%}"
            tiles.append(Tile(f"{name} at work", value, "", f"{batch} sequences per rank and step"))
            peak, mean = (summary[f"{prefix}kv_{kind}_share"] for kind in ("peak", "mean"))
            note = f"{mean or 0.0:.0%} on average; {counted(int(summary['preemptions'] or 0), 'preemption')}"
            tiles.append(Tile(f"KV blocks, {name} at most", f"{peak:.0%}", "", note))
    joule = compact(summary["energy_per_output_token_j"])
    tiles.append(Tile("energy per output token", joule, "J", f"{compact(summary['power_w'])} W of chips"))
    return tiles


def _cell(summary: Summary, key: str, column: str, limits_s: Limits) -> Cell:
    value, limit = summary[f"{key}_{column}_ms"], limits_s.get(key, {}).get(column)
    shown = DASH if value is None else f"{value:,.1f}"
    if limit is None:
        return Cell(shown)
    return Cell(shown, f"limit {plain(limit * MS)}", value is None or value > limit * MS)


def _distributions(result: Result, limits_s: Limits) -> list[tuple[str, str]]:
    found = []
    for key in DRAWN:
        limits = {name: limit * MS for name, limit in limits_s.get(key, {}).items()}
        found.append(
            (ROWS[key][0].upper() + ROWS[key][1:], distribution_chart(getattr(result, f"{key}_s") * MS, limits))
        )
    return [(title, chart) for title, chart in found if chart]


def _series(result: Result) -> list[tuple[str, str]]:
    series = time_series(result)
    charts = [(one.title, over_time_chart(one, series["time_s"], series[key])) for key, one in SERIES.items()]
    return [(title, chart) for title, chart in charts if chart]
