"""The report: one HTML file that needs nothing else, made to be looked at and printed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from suanli.report.bars import cost_panel, memory_bar, step_panel
from suanli.report.charts import COST, FOCUS, STRIP_WIDTH, THROUGHPUT, colour_of, strip, strip_axis, trade_chart
from suanli.report.headline import headline, question, ties
from suanli.report.metrics import METRICS
from suanli.report.money_html import money_section
from suanli.report.replay_rows import HEADS, MISS_MARK, left_out, replay_lead, replay_rows
from suanli.report.svg import LogAxis
from suanli.report.wording import (
    DASH,
    EVIDENCE,
    EXCUSES,
    KINDS,
    TIMES,
    compact,
    counted,
    evidence_label,
    payment,
    plain,
    span,
    width,
)
from suanli.search.account import StepAccount
from suanli.search.estimate import Estimate
from suanli.search.result import Deployment, Excuse, Plan

if TYPE_CHECKING:
    import jinja2

BARS = 10  # deployments in the breakdowns and the details
MS = 1e3
NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?![\w.])")
OPERATORS = 8  # of a step, in the details


@dataclass(frozen=True)
class Cell:
    """A cell of the ranked table: what is shown on two lines, and what it sorts by."""

    first: str
    second: str = ""
    sort: float | str = ""
    style: str = ""
    svg: str = ""


@dataclass(frozen=True)
class Tile:
    """A number to be seen from afar."""

    label: str
    value: str
    unit: str
    note: str
    bad: bool = False


def html_text(plan: Plan) -> str:
    """The whole report. Equal plans give equal reports."""
    shown = plan.deployments[:BARS]
    context = {
        "plan": plan,
        "question": question(plan),
        "headline": headline(plan),
        "tied": ties(plan),
        "tiles": _tiles(plan),
        "columns": COLUMNS,
        "rows": _rows(plan),
        "replays": replay_rows(plan),
        "replay_lead": replay_lead(plan),
        "replay_heads": HEADS,
        "left_out": left_out(plan),
        "MISS_MARK": MISS_MARK,
        "charts": _charts(plan),
        "panels": [panel for panel in (cost_panel(shown), step_panel(shown, len(shown))) if panel],
        "details": [_detail(one) for one in shown],
        "money": money_section(plan),
        "excuses": _excuses(plan.excuses),
        "evidence": _evidence(plan),
        "assumptions": _assumptions(plan),
        "inputs": _inputs(plan),
        "kinds": KINDS,
        "citations": plan.citations,
        "version": version("suanli"),
        "payment": payment,
        "TIMES": TIMES,
    }
    return str(_template().render(context))


@lru_cache(maxsize=1)
def _template() -> jinja2.Template:
    import jinja2  # noqa: PLC0415 (start-up time)

    loader = jinja2.PackageLoader("suanli.report", "templates")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["compact"] = compact
    return environment.get_template("report.html.j2")


COLUMNS = (
    ("#", "rank by the objective of the study"),
    ("Deployment", "system and parallelism; P and D are prefill and decode pools"),
    ("$/M tokens", "hourly cost over input and output tokens at the offered rate; 80 % interval"),
    ("in / out", "$ per million uncached input tokens, and output tokens, at the machine time each takes"),
    ("chips", "bought or rented, and provisioned IT power in kW"),
    ("TTFT ms", "time to the first token: median over 99th percentile"),
    ("TPOT ms", "time per output token: median over 99th percentile"),
    ("tok/s/chip", "highest rate within the SLO, input and output tokens; below: tokens/s of one user"),
    ("tok/J", "input and output tokens per joule of IT energy"),
    ("bound by", "what takes most of a step, and the class of evidence behind the row"),
)


def _rows(plan: Plan) -> list[tuple[Deployment, list[Cell]]]:
    priced = [one.metrics["usd_per_mtok"] for one in plan.deployments[:FOCUS] if "usd_per_mtok" in one.metrics]
    axis = strip_axis(priced) if priced else LogAxis(1.0, 10.0, 0.0, STRIP_WIDTH)
    return [(one, _cells(one, axis)) for one in plan]


def _cells(one: Deployment, axis: LogAxis) -> list[Cell]:
    return [
        Cell(f"{one.rank}", "≈" if one.tie_with_best else "", one.rank, f"rank {colour_of(one)}"),
        Cell("", "", one.name, "name"),
        _price(one, axis),
        _pair(one, "usd_per_mtok_uncached_input", "usd_per_mtok_output"),
        Cell(plain(one.value("chips")), f"{compact(one.value('power_kw'))} kW", one.value("chips")),
        _pair(one, "ttft_p50_ms", "ttft_p99_ms"),
        _pair(one, "tpot_p50_ms", "tpot_p99_ms"),
        _pair(one, "max_total_tok_s_per_chip", "output_tok_s_per_user"),
        Cell(compact(one.value("tokens_per_joule")), "", one.value("tokens_per_joule")),
        Cell(one.bottleneck.split(",")[0].split(" (")[0], evidence_label(one.evidence), one.bottleneck, "words"),
    ]


def _price(one: Deployment, axis: LogAxis) -> Cell:
    estimate = one.metrics.get("usd_per_mtok")
    if estimate is None:
        return Cell(compact(None), "", float("inf"), "price")
    svg = strip(estimate, axis, colour_of(one))
    return Cell(compact(estimate.value), span(estimate), estimate.value, "price", svg)


def _pair(one: Deployment, first: str, second: str) -> Cell:
    values = [one.value(key) if key in one.metrics else None for key in (first, second)]
    return Cell(compact(values[0]), compact(values[1]), float("inf") if values[0] is None else values[0])


def _tiles(plan: Plan) -> list[Tile]:
    if not len(plan):
        return []
    best = plan[0]
    tiles = []
    if "usd_per_mtok" in best.metrics:
        price = best.metrics["usd_per_mtok"]
        tiles.append(
            Tile("per million tokens", f"${compact(price.value)}", "", f"80 %: {span(price)}, {payment(best)}")
        )
    power = f"{compact(best.value('power_kw'))} kW of IT power"
    tiles.append(Tile("chips", plain(best.value("chips")), "", power))
    tiles += [_latency_tile(plan, best, metric) for metric in ("ttft", "tpot")]
    joule = best.metrics["tokens_per_joule"]
    tiles.append(Tile("tokens per joule", compact(joule.value), "", f"80 %: {span(joule)}"))
    return tiles


def _latency_tile(plan: Plan, best: Deployment, metric: str) -> Tile:
    """Latency at the strictest limited percentile (p99 without a limit), and whether its interval keeps the limit."""
    limits = {key: value * MS for key, value in plan.study["slo"].items() if key.startswith(metric)}
    key = min(limits, key=lambda name: limits[name]) if limits else f"{metric}_p99"
    estimate: Estimate = best.metrics[f"{key}_ms"]
    label = f"{metric.upper()} {key.split('_')[1]}"
    note, bad = f"80 %: {span(estimate)}", False
    if limits:
        bad = estimate.high > limits[key]
        note += f", limit {plain(limits[key])}" + (": may be missed" if bad else "")
    return Tile(label, compact(estimate.value), "ms", note, bad)


def _charts(plan: Plan) -> list[tuple[str, str, str]]:
    titles = (
        (THROUGHPUT, "Speed of a user against tokens per chip", "Up and to the right is better."),
        (COST, "Speed of a user against cost", "Down and to the right is better."),
    )
    charts = [(title, trade_chart(plan, trade), caption) for trade, title, caption in titles]
    return [chart for chart in charts if chart[1]]


@dataclass(frozen=True)
class Detail:
    """What a reader unfolds about one deployment."""

    one: Deployment
    colour: str
    metrics: list[tuple[str, str, str, str, str]]  # label, value, interval, unit, definition
    memory: list[Any]
    steps: list[tuple[StepAccount, list[Any], list[tuple[str, str]]]]


def _detail(one: Deployment) -> Detail:
    metrics = [
        (
            metric.label,
            _shown(metric.key, one.metrics[metric.key]),
            _interval(one.metrics[metric.key]),
            metric.unit,
            metric.definition,
        )
        for metric in METRICS
        if metric.key in one.metrics
    ]
    return Detail(one, colour_of(one), metrics, [memory_bar(pool) for pool in one.pools], [_step(s) for s in one.steps])


def _shown(key: str, estimate: Estimate) -> str:
    return plain(estimate.value) if key == "chips" else compact(estimate.value)


def _interval(estimate: Estimate) -> str:
    return span(estimate) if estimate.high > estimate.low else "exact"


def _step(step: StepAccount) -> tuple[StepAccount, list[Any], list[tuple[str, str]]]:
    terms = {"T_math": step.math, "T_memory": step.memory, "T_comms": step.comms, "T_fixed": step.fixed}
    terms |= {"lower bound (max)": step.lower, "sum": step.upper, "predicted": step.seconds}
    return step, list(step.operators[:OPERATORS]), [(name, compact(value * MS)) for name, value in terms.items()]


def _excuses(excuses: Sequence[Excuse]) -> list[tuple[str, str, list[Excuse]]]:
    order = [*EXCUSES, *sorted({excuse.kind for excuse in excuses} - set(EXCUSES))]
    groups = [(kind, [excuse for excuse in excuses if excuse.kind == kind]) for kind in order]
    return [(*EXCUSES.get(kind, (kind, "")), group) for kind, group in groups if group]


def _evidence(plan: Plan) -> list[tuple[str, str, str, list[str]]]:
    """Per class that occurs: rows, label, meaning, and the factors of throughput, TPOT, TTFT p50 and p99."""
    found = []
    for name, (label, meaning) in EVIDENCE.items():
        rows = [one for one in plan if one.evidence == name]
        if rows:
            keys = ("max_request_s", "tpot_p50_ms", "ttft_p50_ms", "ttft_p99_ms")
            widths = [sorted(width(one.metrics[key]) for one in rows) for key in keys]
            words = [compact(w[0]) if w[-1] - w[0] < 0.01 else f"{compact(w[0])} to {compact(w[-1])}" for w in widths]
            found.append((counted(len(rows), "row"), label, meaning, words))
    return found


def _assumptions(plan: Plan) -> list[tuple[str, str]]:
    """Every assumption with the number of rows that make it, the commonest first; a number that differs is a range."""
    groups: dict[str, list[str]] = {}
    for one in plan:
        for note in one.assumptions:
            groups.setdefault(NUMBER.sub("#", note), []).append(note)
    order = sorted(groups.values(), key=lambda notes: (-len(notes), notes[0]))
    return [(_merged(notes), "all rows" if len(notes) == len(plan) else counted(len(notes), "row")) for notes in order]


def _merged(notes: list[str]) -> str:
    found = [[float(number) for number in NUMBER.findall(note)] for note in notes]
    ends = iter([(min(values), max(values)) for values in zip(*found, strict=True)])

    def words(match: re.Match[str]) -> str:
        low, high = next(ends)
        return match.group() if low == high else f"{plain(low)}{DASH}{plain(high)}"

    return NUMBER.sub(words, notes[0])


def _inputs(plan: Plan) -> list[tuple[str, list[Mapping[str, Any]]]]:
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for item in plan.inputs:
        if item not in groups.setdefault(str(item["subject"]), []):
            groups[str(item["subject"])].append(item)
    return sorted(groups.items())
