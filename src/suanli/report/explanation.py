"""Why a deployment costs what it costs: operators of a step, bounds, memory, money, sources."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from suanli.report.metrics import METRICS
from suanli.report.wording import COST_PARTS, STEP_PARTS, TIMES, compact, evidence_label, plain, span
from suanli.search.account import OperatorTime, StepAccount
from suanli.search.result import Deployment, Plan, Pool

MS = 1e3
WORDS = ("part of", "bound", "unit")  # columns of words
SMALL = 0.005  # operators below this share of a step are summed in one line


def explanation(plan: Plan, deployment: Deployment) -> dict[str, Any]:
    """Everything about one deployment as plain data."""
    cited = {name: plan.citations[name] for name in deployment.sources if name in plan.citations}
    return {
        "schema_version": 1,
        "deployment": deployment.to_dict(),
        "steps": [step.to_dict() for step in deployment.steps],
        "citations": {name: dict(source) for name, source in cited.items()},
    }


def print_explanation(console: Console, plan: Plan, deployment: Deployment) -> None:
    """Print one deployment for people."""
    for part in _parts(plan, deployment):
        console.print(part)


def _parts(plan: Plan, deployment: Deployment) -> Iterator[RenderableType]:
    name = deployment.name.replace("x ", f"{TIMES} ")
    yield Text.assemble((f"{deployment.rank}. {name}", "bold"), (f"  {deployment.precision}", "dim"))
    for pool, step in zip(deployment.pools, deployment.steps, strict=True):
        yield from _pool(pool, step)
    yield from _money(deployment)
    yield from _metrics(deployment)
    yield _heading("Assumed")
    yield from (_line(text) for text in deployment.assumptions)
    yield _heading(f"Sources: {len(deployment.sources)} documents behind these numbers")
    yield from _sources(plan, deployment)


def _heading(text: str) -> Text:
    return Text(f"\n{text}", style="bold")


def _line(text: str) -> Padding:
    return Padding(Text(text), (0, 0, 0, 2), expand=False)


def _grid(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 or column in WORDS else "right")
    return table


def _pool(pool: Pool, step: StepAccount) -> Iterator[RenderableType]:
    work = [f"{compact(step.requests)} requests decoding"] if step.requests else []
    work += [f"{compact(step.prefill_tokens)} prompt tokens"] if step.prefill_tokens else []
    load = f"{pool.load:.0%} of what the SLO allows"
    title = f"{pool.role}: {pool.instances}{TIMES} {pool.system} {pool.label}, {pool.engine}, {load}"
    yield _heading(f"{title}\nOne step of one instance, {' and '.join(work)}: {compact(step.seconds * MS)} ms")
    yield Padding(operator_table(step), (0, 0, 0, 2), expand=False)
    yield Padding(_bounds(step), (1, 0, 0, 2), expand=False)
    yield Padding(_memory(pool), (1, 0, 0, 2), expand=False)


def operator_table(step: StepAccount) -> Table:
    """Operators of a step, longest first; math and memory at the peak rates of the datasheet."""
    table = _grid("operator", "part of", "time ms", "share", "launch ms", "T_math ms", "T_memory ms", "bound")
    shown = [one for one in step.operators if one.total >= SMALL * step.seconds]
    for one in shown:
        table.add_row(one.name, STEP_PARTS.get(one.part, one.part), *_times(one, step), one.bound)
    rest = step.seconds - sum(one.total for one in shown)
    if rest > 0.0:
        number = len(step.operators) - len(shown)
        table.add_row(f"{number} smaller", "", compact(rest * MS), f"{rest / step.seconds:.1%}", style="dim")
    return table


def _times(one: OperatorTime, step: StepAccount) -> Iterator[str]:
    yield compact(one.total * MS)
    yield f"{one.total / step.seconds:.1%}"
    for seconds in (one.launch, one.math, one.memory):
        yield compact(seconds * MS) if seconds else ""


def _bounds(step: StepAccount) -> Text:
    terms = (("T_math", step.math), ("T_memory", step.memory), ("T_comms", step.comms), ("T_fixed", step.fixed))
    words = "   ".join(f"{name} {compact(value * MS)} ms" for name, value in terms)
    ends = f"lower = max {compact(step.lower * MS)} ms   upper = sum {compact(step.upper * MS)} ms"
    return Text.assemble(
        (words, ""),
        (f"\n{ends}   predicted {compact(step.seconds * MS)} ms\n", ""),
        ("Takeaway: ", "bold"),
        step.takeaway + ".",
    )


def _memory(pool: Pool) -> Text:
    memory = pool.memory
    capacity = memory["capacity_gb"]
    used = {
        name: memory[f"{key}_gb"] for name, key in (("weights", "weights"), ("KV", "kv_cache"), ("reserve", "reserve"))
    }
    parts = " + ".join(f"{name} {compact(value)}" for name, value in used.items())
    free = capacity - sum(used.values())
    return Text(f"Memory per chip: {parts} of {compact(capacity)} GB, {compact(free)} GB free ({free / capacity:.0%}).")


def _money(deployment: Deployment) -> Iterator[RenderableType]:
    total = sum(deployment.cost_parts.values())
    yield _heading(f"Cost, {deployment.cost_basis}" if total else "Cost: no price")
    if not total:
        return
    price = deployment.value("usd_per_mtok")
    table = _grid("part", "USD/h", "share", "$/M tokens")
    for key, label in COST_PARTS.items():
        if key in deployment.cost_parts:
            value = deployment.cost_parts[key]
            table.add_row(label, compact(value), f"{value / total:.0%}", compact(price * value / total))
    table.add_row("all", compact(total), "100%", compact(price), style="bold")
    yield Padding(table, (0, 0, 0, 2), expand=False)


def _metrics(deployment: Deployment) -> Iterator[RenderableType]:
    yield _heading(f"Metrics, 80 % interval from: {evidence_label(deployment.evidence)}")
    table = _grid("metric", "value", "80 %", "unit")
    for metric in METRICS:
        estimate = deployment.metrics.get(metric.key)
        if estimate is not None:
            exact = estimate.high <= estimate.low
            value = plain(estimate.value) if metric.key == "chips" else compact(estimate.value)
            table.add_row(metric.label, value, "exact" if exact else span(estimate), metric.unit)
    yield Padding(table, (0, 0, 0, 2), expand=False)


def _sources(plan: Plan, deployment: Deployment) -> Iterator[RenderableType]:
    for name in deployment.sources:
        source = plan.citations.get(name, {"title": name})
        words = ", ".join(source[key] for key in ("title", "publisher", "date", "locator") if source.get(key))
        yield Padding(Text.assemble((f"[{name}] ", "dim"), words), (0, 0, 0, 2), expand=False)
