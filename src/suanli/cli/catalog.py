"""`suanli catalog`: what is known about chips, systems, models, prices and grids, and where it comes from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from suanli.catalog import view, walk
from suanli.catalog.check import check as run_checks
from suanli.catalog.files import CatalogError
from suanli.catalog.folder import Item
from suanli.catalog.loader import Catalog, RecordKind, load

catalog_app = typer.Typer(no_args_is_help=True, help="The facts: every system, every number with its source.")


class Format(StrEnum):
    """How to print."""

    table = "table"
    json = "json"


class ListKind(StrEnum):
    """What to list."""

    chips = "chips"
    systems = "systems"
    models = "models"
    prices = "prices"
    api_prices = "api-prices"
    grids = "grids"
    workloads = "workloads"
    sources = "sources"


class Status(StrEnum):
    """Whether it can be had."""

    on_sale = "on_sale"
    internal = "internal"
    announced = "announced"
    roadmap = "roadmap"
    retired = "retired"


RECORD_KIND: dict[ListKind, RecordKind] = {
    ListKind.chips: "chip",
    ListKind.systems: "system",
    ListKind.models: "model",
    ListKind.prices: "price",
    ListKind.api_prices: "api_price",
    ListKind.grids: "grid",
    ListKind.workloads: "workload",
    ListKind.sources: "source",
}

Overlay = Annotated[list[Path] | None, typer.Option("--overlay", help="A file of your own facts; may be given often.")]
Output = Annotated[Format, typer.Option("--format", help="table or json")]


def _load(overlays: Sequence[Path] | None) -> Catalog:
    try:
        return load(tuple(overlays or ()))
    except CatalogError as error:
        raise _refuse(error) from None


def _refuse(error: CatalogError) -> typer.Exit:
    for problem in error.problems:
        typer.echo(problem, err=True)
    return typer.Exit(2)


def _every_record(catalog: Catalog) -> Iterator[Item]:
    for kind in RECORD_KIND.values():
        yield from catalog.records(kind).values()


def _print_json(data: Any) -> None:  # noqa: ANN401 (whatever JSON holds)
    typer.echo(json.dumps(data, ensure_ascii=False, indent=1))


def _print_rows(rows: Sequence[view.Row]) -> None:
    if not rows:
        typer.echo("nothing")
        return
    columns = list(rows[0])
    table = [columns, *([view.shown(row[column]) for column in columns] for row in rows)]
    widths = [max(len(line[place]) for line in table) for place in range(len(columns))]
    for line in table:
        cells = [text.ljust(width) for text, width in zip(line, widths, strict=True)]
        typer.echo("  ".join(cells).rstrip())


@catalog_app.command("list")
def list_command(
    kind: Annotated[ListKind, typer.Option("--kind", help="what to list")] = ListKind.systems,
    vendor: Annotated[str | None, typer.Option("--vendor", help="only this vendor's chips or systems")] = None,
    status: Annotated[Status | None, typer.Option("--status", help="only chips or systems of this status")] = None,
    overlay: Overlay = None,
    output: Output = Format.table,
) -> None:
    """List chips, systems, models, prices, grids, workloads or sources."""
    if (vendor or status) and kind not in (ListKind.chips, ListKind.systems):
        problem = f"--vendor and --status do not apply to --kind {kind}; accepted: chips, systems"
        raise _refuse(CatalogError([problem]))
    catalog = _load(overlay)
    rows = view.rows(catalog, RECORD_KIND[kind], vendor, status)
    if vendor and not rows:
        vendors = sorted(
            {*(chip.vendor for chip in catalog.chips.values()), *(one.vendor for one in catalog.systems.values())}
        )
        if vendor.lower() not in {one.lower() for one in vendors}:
            raise _refuse(CatalogError([f"unknown vendor '{vendor}'; accepted: {', '.join(vendors)}"]))
    _print_json(rows) if output is Format.json else _print_rows(rows)


@catalog_app.command()
def show(
    name: Annotated[str, typer.Argument(metavar="ID", help="id or alias of anything in the catalog")],
    overlay: Overlay = None,
    output: Output = Format.table,
) -> None:
    """Show one record: every number with its kind, source and alternatives."""
    catalog = _load(overlay)
    try:
        kind, record = view.find_any(catalog, name)
    except CatalogError as error:
        raise _refuse(error) from None
    if output is Format.json:
        _print_json({"kind": kind, "record": record.model_dump(mode="json", exclude_defaults=True)})
        return
    for line in view.heading(record):
        typer.echo(line)
    if kind == "source":
        _print_rows(view.citations(catalog, kind, record))
    else:
        _print_rows(list(view.fact_rows(record)))


@catalog_app.command()
def cite(
    name: Annotated[str, typer.Argument(metavar="ID", help="id or alias of anything in the catalog")],
    overlay: Overlay = None,
    output: Output = Format.table,
) -> None:
    """Name the sources behind a record, how they were read, and how many of its facts each one carries."""
    catalog = _load(overlay)
    try:
        kind, record = view.find_any(catalog, name)
    except CatalogError as error:
        raise _refuse(error) from None
    found = view.citations(catalog, kind, record)
    if output is Format.json:
        _print_json(found)
        return
    for row in found:
        note = f" ({row['note']})" if "note" in row else ""
        typer.echo(f"{row['source']} [{row['facts']}] {row['publisher']}: {row['title']}, {row['date']}")
        typer.echo(f"    {row['locator']}")
        typer.echo(f"    read as {row['read as']}{note}")


@catalog_app.command()
def diff(
    left: Annotated[str, typer.Argument(metavar="ID", help="id or alias")],
    right: Annotated[str, typer.Argument(metavar="ID", help="id or alias of another record of the same kind")],
    overlay: Overlay = None,
    output: Output = Format.table,
) -> None:
    """Put two chips, two systems or two editions of a price side by side."""
    catalog = _load(overlay)
    try:
        rows = view.differences(view.find_any(catalog, left)[1], view.find_any(catalog, right)[1])
    except CatalogError as error:
        raise _refuse(error) from None
    _print_json(rows) if output is Format.json else _print_rows(rows)


@catalog_app.command()
def check(overlay: Overlay = None, output: Output = Format.table) -> None:
    """Check the facts: physics, totals, dates, sources, files. Exit 1 when something does not fit."""
    problems = run_checks(overlays=tuple(overlay or ()))
    values = 0 if problems else sum(walk.count(record) for record in _every_record(_load(overlay)))
    if output is Format.json:
        _print_json({"problems": problems, "sourced_values": values})
    else:
        for problem in problems:
            typer.echo(problem)
        typer.echo(f"{len(problems)} problems" if problems else f"all well: {values:,} sourced values")
    if problems:
        raise typer.Exit(1)
