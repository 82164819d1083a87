"""`suanli plan`: rank the deployments that answer a study."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from suanli.cli.problems import fail, problems_reported
from suanli.cli.question import Given, study_of, systems_of
from suanli.report.csv_text import csv_text
from suanli.report.files import plan_json, write_plan
from suanli.report.terminal import print_plan
from suanli.search.plan import Progress as Report
from suanli.search.plan import plan
from suanli.search.result import Plan
from suanli.search.study import Study
from suanli.search.verify import REPLAYS

PIPE_WIDTH = 120  # columns of a table that does not go to a terminal


class Format(StrEnum):
    """What comes out on stdout."""

    table = "table"
    json = "json"
    csv = "csv"


plan_app = typer.Typer(add_completion=False, rich_markup_mode=None)

OPTIONS = "The question by options (they replace keys of the file)"


def _option(help_text: str, *names: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(*names, help=help_text, rich_help_panel=OPTIONS)
    return option


@plan_app.command()
def plan_command(
    study: Annotated[Path | None, typer.Argument(help="study file, see `suanli init`")] = None,
    *,
    out: Annotated[Path | None, typer.Option(help="folder for plan.json, plan.csv and report.html")] = None,
    format_: Annotated[Format, typer.Option("--format", help="what is printed")] = Format.table,
    top: Annotated[int | None, typer.Option(min=1, help="rows to print; 10 in a table, all in json and csv")] = None,
    replay: Annotated[int, typer.Option(min=0, help="best rows to replay in the simulator; 0 for none")] = REPLAYS,
    model: Annotated[str | None, _option("catalog id, or path of a config.json")] = None,
    weights: Annotated[str | None, _option("format of the weights: bf16, fp8, fp4 ...")] = None,
    input_: Annotated[float | None, _option("input tokens per request", "--input")] = None,
    output: Annotated[float | None, _option("output tokens per request", "--output")] = None,
    rate: Annotated[str | None, _option("requests per second, such as '20/s'")] = None,
    concurrency: Annotated[float | None, _option("users in a closed loop, instead of a rate")] = None,
    profile: Annotated[str | None, _option("catalogued workload, instead of input and output")] = None,
    ttft: Annotated[str | None, _option("limit of the TTFT p99, such as '1 s'")] = None,
    tpot: Annotated[str | None, _option("limit of the TPOT p99, such as '30 ms'")] = None,
    systems: Annotated[list[str] | None, _option("ids or patterns, such as 'nvidia-*,amd-*'; repeatable")] = None,
    objective: Annotated[str | None, _option("usd_per_mtok, tokens_per_joule, chips or ttft")] = None,
    region: Annotated[str | None, _option("where the system has to be sold: us, cn, eu ...")] = None,
    power: Annotated[str | None, _option("limit of the IT power, such as '1 MW'")] = None,
    chips: Annotated[int | None, _option("limit of the number of chips")] = None,
    economics: Annotated[str | None, _option("way of paying, such as hyperscaler-owned-2026")] = None,
    edition: Annotated[str | None, _option("facts of a date: nothing newer is looked at, such as 2025-08")] = None,
    overlay: Annotated[list[Path] | None, _option("file with facts of your own; repeatable")] = None,
    include_roadmap: Annotated[
        bool, _option("also systems that are announced or planned", "--include-roadmap")
    ] = False,
) -> None:
    """Rank the deployments that answer a study, by file or by options."""
    values = {
        "model": model,
        "weights": weights,
        "workload.input_tokens": input_,
        "workload.output_tokens": output,
        "workload.rate": rate,
        "workload.concurrency": concurrency,
        "workload.profile": profile,
        "slo.ttft_p99": ttft,
        "slo.tpot_p99": tpot,
        "systems": systems_of(systems or ()),
        "objective": objective,
        "limits.region": region,
        "limits.power": power,
        "limits.chips": chips,
        "economics": economics,
        "edition": edition,
        "include_roadmap": include_roadmap or None,
        "overlays": [path.resolve() for path in overlay or ()] or None,
    }
    given = Given({key: value for key, value in values.items() if value is not None})
    if study is None and not given.values:
        fail("give a study file, or --model with a workload; see `suanli plan --help`")
    with problems_reported(given.names(study)):
        found = planned(study_of(study, given), replay)
        written = write_plan(found, out) if out else []
    show(found, format_, top)
    for path in written:
        typer.echo(f"wrote {path}", err=True)


def planned(study: Study, replays: int = REPLAYS) -> Plan:
    """Plan a study, with a progress bar when somebody is watching. Raises StudyError."""
    with _progress() as report:
        return plan(study, progress=report, replays=replays)


@contextmanager
def _progress() -> Iterator[Report | None]:
    if not sys.stderr.isatty():
        yield None
        return
    columns = (TextColumn("planning"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    console = Console(stderr=True)
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bars:
        task = bars.add_task("")

        def report(system: str, done: int, total: int) -> None:
            bars.update(task, description=system, completed=done, total=total)

        yield report


def show(found: Plan, format_: Format, top: int | None) -> None:
    """Print a plan."""
    if format_ is Format.json:
        typer.echo(plan_json(found, top), nl=False)
    elif format_ is Format.csv:
        typer.echo(csv_text(found, top), nl=False)
    else:
        print_plan(console(), found, top)


def console() -> Console:
    """Console on stdout; what does not go to a terminal gets a fixed width."""
    return Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=PIPE_WIDTH)
