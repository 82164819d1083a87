"""`suanli diff`: two plans, and how much of the change came from inputs, from the model, and from the plan."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from suanli.cli.plan import console
from suanli.cli.problems import fail, problems_reported
from suanli.report.differences import print_difference
from suanli.report.files import json_text
from suanli.search.difference import difference
from suanli.search.plan_file import PlanFile, read_plan
from suanli.search.study import StudyError


class Format(StrEnum):
    """What comes out on stdout."""

    table = "table"
    json = "json"


diff_app = typer.Typer(add_completion=False, rich_markup_mode=None)


@diff_app.command()
def diff_command(
    before: Annotated[Path, typer.Argument(metavar="A.json", help="plan.json of the first plan")],
    after: Annotated[Path, typer.Argument(metavar="B.json", help="plan.json of the second plan")],
    format_: Annotated[Format, typer.Option("--format", help="what is printed")] = Format.table,
) -> None:
    """Compare two plans: split the change of the price into inputs, model and plan."""
    plans: list[PlanFile] = []
    problems: list[str] = []
    for path in (before, after):
        try:
            plans.append(read_plan(path))
        except StudyError as error:
            problems += error.problems
    if problems:
        fail(*problems)
    with problems_reported():
        found = difference(*plans)
    if format_ is Format.json:
        typer.echo(json_text(found.to_dict()), nl=False)
    else:
        print_difference(console(), found)
