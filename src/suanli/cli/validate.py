"""`suanli validate`: predict measured deployments, kernels or collectives and say how far off the predictions are."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from suanli.catalog.files import CatalogError
from suanli.cli.problems import fail
from suanli.validation.measured import MeasuredError
from suanli.validation.operators import validate_operators
from suanli.validation.report import Grouping, Validation, validate_inference
from suanli.validation.score import Score

PERCENT = 100.0


class Kind(StrEnum):
    """What was measured."""

    inference = "inference"
    kernel = "kernel"
    collective = "collective"


class By(StrEnum):
    """Groups of rows."""

    chip = "chip"
    model = "model"
    engine = "engine"
    source = "source"


class Format(StrEnum):
    """How to print."""

    table = "table"
    json = "json"


def validate(
    data: Annotated[Path, typer.Option("--data", help="CSV file with one measurement per row.")],
    kind: Annotated[Kind, typer.Option("--kind", help="What was measured.")] = Kind.inference,
    by: Annotated[By | None, typer.Option("--by", help="Also score by the values of this column.")] = None,
    output: Annotated[Format, typer.Option("--format", help="table or json")] = Format.table,
) -> None:
    """Predict every measurement of a file and score the predictions."""
    if kind is not Kind.inference and by in (By.model, By.engine):
        fail(f"--by {by.value} does not apply to --kind {kind.value}; accepted: chip, source")
    try:
        found = _validated(data, kind)
    except (MeasuredError, CatalogError) as error:
        fail(*error.problems)
    _show(found, by, output)


def _validated(data: Path, kind: Kind) -> Validation:
    if kind is Kind.inference:
        return validate_inference(data)
    return validate_operators(data, "kernel" if kind is Kind.kernel else "collective")


def _show(found: Validation, by: By | None, output: Format) -> None:
    grouping: Grouping | None = by.value if by is not None else None
    if output is Format.json:
        typer.echo(json.dumps(found.to_dict(grouping)))
        return
    console = Console()
    console.print(
        f"{len(found.rows)} rows, {found.scorable} scorable, "
        f"{found.scorable - len(found.refused)} predicted ({found.coverage:.0%})"
    )
    console.print(_table("all rows", found.metrics()))
    if grouping is not None:
        for name, scores in found.by(grouping).items():
            console.print(_table(f"{grouping} {name}", scores))
    reasons: dict[str, list[str]] = {}
    for config, reason in found.refused.items():
        reasons.setdefault(reason, []).append(config)
    for reason, configs in sorted(reasons.items(), key=lambda item: -len(item[1])):
        console.print(f"refused ({len(configs)}): {reason}: {', '.join(configs[:5])}{' ...' * (len(configs) > 5)}")


def _table(title: str, scores: dict[str, Score]) -> Table:
    table = Table(title=title, title_justify="left")
    for name in ("metric", "rows", "predicted", "median error", "p90 error", "bias", "rank", "inside 80 %"):
        table.add_column(name, justify="left" if name == "metric" else "right")
    for name, one in scores.items():
        table.add_row(
            name,
            str(one.rows),
            str(one.predicted),
            _percent(one.median_error),
            _percent(one.p90_error),
            "-" if one.bias is None else f"{one.bias:.2f}",
            "-" if one.spearman is None else f"{one.spearman:.2f}",
            _percent(one.interval_coverage),
        )
    return table


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value * PERCENT:.0f} %"
