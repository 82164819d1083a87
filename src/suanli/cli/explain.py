"""`suanli explain`: where the time, energy and money of one deployment go."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from suanli.cli.plan import console, planned
from suanli.cli.problems import fail, problems_reported
from suanli.cli.question import Given
from suanli.report.explanation import explanation, print_explanation
from suanli.report.files import json_text
from suanli.search.study import Study


class Format(StrEnum):
    """What comes out on stdout."""

    table = "table"
    json = "json"


explain_app = typer.Typer(add_completion=False, rich_markup_mode=None)


@explain_app.command()
def explain_command(
    study: Annotated[Path, typer.Argument(help="study file")],
    deployment: Annotated[int, typer.Option(min=1, help="rank in the plan")] = 1,
    format_: Annotated[Format, typer.Option("--format", help="what is printed")] = Format.table,
) -> None:
    """Take one deployment apart: operators of a step, bounds, memory, money, sources."""
    with problems_reported(Given({}).names(study)):
        found = planned(Study.from_yaml(study))
    if not len(found):
        fail(f"{study}: the plan is empty, nothing to explain; `suanli plan {study}` says why")
    if deployment > len(found):
        fail(f"--deployment: {deployment} given, the plan has 1 to {len(found)}")
    chosen = found[deployment - 1]
    if format_ is Format.json:
        typer.echo(json_text(explanation(found, chosen)), nl=False)
    else:
        print_explanation(console(), found, chosen)
