"""`suanli simulate`: one deployment of a study, request by request."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, get_args

import typer
from rich.table import Table

from suanli.cli.plan import console, planned
from suanli.cli.problems import fail, folders_there, problems_reported
from suanli.cli.question import Given, study_of
from suanli.report.files import write_text
from suanli.report.served import ROWS, ended, served_html
from suanli.search.replay import Replay, pools_of_file, replay
from suanli.search.result import Pool
from suanli.search.study import Study
from suanli.serving.config import Recording, Router
from suanli.serving.export import write_chrome_trace, write_records
from suanli.serving.summary import Slo, Summary

TRACED_STEPS = 5_000  # steps per rank in a Chrome trace
COLUMNS = ("mean", "p50", "p90", "p95", "p99")


class Format(StrEnum):
    """What comes out on stdout."""

    table = "table"
    json = "json"


simulate_app = typer.Typer(add_completion=False, rich_markup_mode=None)


@simulate_app.command()
def simulate_command(
    study: Annotated[Path, typer.Argument(help="study file")],
    *,
    deployment: Annotated[str, typer.Option(help="rank in the plan, or a plan.json")] = "1",
    records: Annotated[Path | None, typer.Option(help="one row per request, Parquet")] = None,
    trace: Annotated[Path | None, typer.Option(help="Chrome trace of the first steps, JSON")] = None,
    trace_from: Annotated[float, typer.Option(min=0.0, help="begin of the trace, in seconds of the run")] = 0.0,
    report: Annotated[Path | None, typer.Option(help="distributions and load over time, HTML")] = None,
    kv_blocks: Annotated[int | None, typer.Option(min=1, help="blocks per rank as the engine logs them")] = None,
    max_num_seqs: Annotated[int | None, typer.Option(min=1, help="sequences per rank as the engine is told")] = None,
    requests: Annotated[int | None, typer.Option(min=1, help="how many to draw; a trace is replayed whole")] = None,
    seed: Annotated[int, typer.Option(min=0, help="of the drawing")] = 0,
    router: Annotated[str | None, typer.Option(help=f"one of {', '.join(get_args(Router))}")] = None,
    format_: Annotated[Format, typer.Option("--format", help="what is printed")] = Format.table,
) -> None:
    """Serve the requests of a study on one deployment of its plan; percentiles of what every request saw."""
    if router is not None and router not in get_args(Router):
        fail(f"--router: '{router}' given, accepted: {', '.join(get_args(Router))}")
    folders_there(records, trace, report)
    recording = Recording(steps=TRACED_STEPS if trace else 0, steps_from_s=trace_from)
    flags = {"kv_blocks": kv_blocks, "max_num_seqs": max_num_seqs, "router": router}
    given = {f"serving.{name}": value for name, value in flags.items() if value is not None}
    with problems_reported(Given({}).names(study)):
        question = study_of(study, Given(given))
        pools = _pools(question, deployment)
        found = replay(question, pools, count=requests, seed=seed, recording=recording)
        if trace and not found.result.outcome.steps.size:
            fail(f"--trace-from: {trace_from:g} s given, no step begins after that")
        if records:
            write_records(found.result, records)
        if trace:
            write_chrome_trace(found.result, trace)
        summary = found.result.summary(Slo(ttft_s=question.slo.ttft_p99, tpot_s=question.slo.tpot_p99))
        if report:
            limits = {"ttft": question.slo.limits("ttft"), "tpot": question.slo.limits("tpot")}
            write_text(report, served_html(_name(pools), found.result, summary, limits, found.assumptions))
    if format_ is Format.json:
        typer.echo(
            json.dumps({"pools": [pool.to_dict() for pool in pools], "assumptions": found.assumptions} | summary)
        )
    else:
        _print(found, summary)
    for path in (records, trace, report):
        if path:
            typer.echo(f"wrote {path}", err=True)


def _pools(study: Study, deployment: str) -> tuple[Pool, ...]:
    if not deployment.isdigit():
        return pools_of_file(Path(deployment))
    plan, rank = planned(study), int(deployment)
    if not 1 <= rank <= len(plan):
        fail(f"--deployment: {rank} given, the plan has " + (f"1 to {len(plan)}" if len(plan) else "no deployment"))
    return plan[rank - 1].pools


def _name(pools: tuple[Pool, ...]) -> str:
    return " + ".join(f"{pool.instances}x {pool.system} {pool.label}" for pool in pools)


def _print(found: Replay, summary: Summary) -> None:
    out = console()
    out.print(_name(found.pools))
    table = Table("milliseconds", *COLUMNS)
    for column in table.columns[1:]:
        column.justify = "right"
    for key, words in ROWS.items():
        values = [summary[f"{key}_{column}_ms"] for column in COLUMNS]
        table.add_row(words, *("-" if value is None else f"{value:,.1f}" for value in values))
    out.print(table)
    out.print(ended(summary))
    if summary["too_long"]:
        rank = found.result.setup.pools[0].engine
        room = f"{rank.kv_blocks * rank.block_tokens:,} tokens of KV memory in a rank"
        out.print(f"{summary['too_long']:,} requests are refused: with their output they do not fit the {room}")
    out.print(f"{summary['preemptions']:,} preemptions; at most {_share(summary)} of the KV blocks in use")
    out.print(
        f"{_number(summary['output_token_per_s'])} output tokens/s, {_number(summary['request_per_s'])} requests/s, "
        f"{_number(summary['power_w'])} W of chips, {_number(summary['energy_per_output_token_j'])} J per output token"
    )
    if summary["good_share"] is not None:
        out.print(f"{summary['good_share']:.1%} of the requests meet the limits of the study")
    if summary["saturated"]:
        out.print("saturated: requests come faster than they are served, waits grow with the length of the run")
    for note in found.assumptions:
        out.print(f"assumed: {note}")


def _share(summary: Summary) -> str:
    """Greatest share of the KV blocks in use, of each pool."""
    return ", ".join(
        f"{value:.0%}" for name, value in summary.items() if name.endswith("kv_peak_share") and value is not None
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}" if value >= 1000.0 else f"{value:.4g}"
