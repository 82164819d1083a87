"""`suanli cost`: the money of one deployment: bill, intervals, ways of paying, cash flow, what moves the answer."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from suanli.catalog.files import CatalogError, read_documents
from suanli.catalog.loader import load
from suanli.cli.plan import console, planned
from suanli.cli.problems import fail, folders_there, problems_reported
from suanli.cli.question import Given, study_of
from suanli.economics.deal import figures_of, read_deal
from suanli.economics.finance import EconomicsError, Numbers
from suanli.economics.machine_study import read_machine_study
from suanli.economics.model import chip_hour
from suanli.economics.sensitivity import morris, sobol
from suanli.economics.uncertainty import tornado as tornado_of
from suanli.economics.workbook import write_workbook
from suanli.report.cost_tables import Extras, print_cost
from suanli.report.deal_tables import deal_dict, print_deal
from suanli.report.files import json_text, write_text
from suanli.report.machine_tables import machine_dict, print_machine
from suanli.search.money import Account, Money, account_of
from suanli.search.money_json import cash_dict, fleet_dict, regret_dict, swing_dict, ways_dict
from suanli.search.result import Plan


class Format(StrEnum):
    """What comes out on stdout."""

    table = "table"
    json = "json"


cost_app = typer.Typer(add_completion=False, rich_markup_mode=None)


@cost_app.command()
def cost_command(
    study: Annotated[Path, typer.Argument(help="study file")],
    *,
    deployment: Annotated[int, typer.Option(min=1, help="rank in the plan")] = 1,
    economics: Annotated[str | None, typer.Option(help="way of paying, instead of the study's")] = None,
    edition: Annotated[str | None, typer.Option(help="facts of a date, such as 2025-08")] = None,
    tornado: Annotated[bool, typer.Option("--tornado", help="one input at a time over its range")] = False,
    morris_: Annotated[bool, typer.Option("--morris", help="screen the inputs by Morris")] = False,
    sobol_: Annotated[bool, typer.Option("--sobol", help="share out the variance by Sobol")] = False,
    csv: Annotated[Path | None, typer.Option(help="write the cash flow to this file")] = None,
    xlsx: Annotated[Path | None, typer.Option(help="write the cash flow as a workbook with live formulas")] = None,
    format_: Annotated[Format, typer.Option("--format", help="what is printed")] = Format.table,
) -> None:
    """Take the price of one deployment apart: lines, intervals, ways of paying, cash flow.

    A study of one machine without traffic (a file with the key `machine`) gives the price of its chip-hour, one of a
    deal (keys `bought` and `rented`) what its totals imply.
    """
    folders_there(csv, xlsx)
    keys = _keys(study)
    others: dict[str, object] = {"--csv": csv, "--xlsx": xlsx, "--morris": morris_, "--sobol": sobol_}
    others["--economics"] = economics
    if {"bought", "rented"} <= keys:
        _refuse(others | {"--edition": edition, "--tornado": tornado}, "a deal, accepted: --format")
        _deal(study, format_)
        return
    if "machine" in keys:
        _refuse(others, "a machine without traffic, accepted: --edition, --tornado, --format")
        _machine(study, edition, tornado=tornado, format_=format_)
        return
    values = {"economics": economics, "edition": edition}
    with problems_reported({"edition": "--edition", "economics": "--economics"} if edition or economics else None):
        found = planned(study_of(study, Given({key: value for key, value in values.items() if value is not None})))
    money, account = _account(found, deployment, study)
    ranges, answer = account.one.fleet.ranges, account.one.fleet.usd_per_mtok
    extras = Extras(tornado, morris(ranges, answer) if morris_ else (), sobol(ranges, answer) if sobol_ else ())
    with problems_reported():
        written = _export(account, csv, xlsx)
    if format_ is Format.json:
        typer.echo(json_text(_content(found, money, account, extras)), nl=False)
    else:
        print_cost(console(), found, money, account, extras)
    for path in written:
        typer.echo(f"wrote {path}", err=True)


def _refuse(options: Mapping[str, object], words: str) -> None:
    """End with a message where an option was given that this kind of study does not take."""
    given = [name for name, value in options.items() if value]
    if given:
        fail(f"{', '.join(given)}: given with {words}")


def _keys(study: Path) -> set[str]:
    """Keys at the top of a file, which tell what kind of study it is."""
    try:
        documents = read_documents(study)
    except CatalogError:
        return set()  # the study says what is wrong
    return set(documents[0]) if len(documents) == 1 and isinstance(documents[0], Mapping) else set()


def _deal(path: Path, format_: Format) -> None:
    try:
        figures = figures_of(read_deal(path))
    except EconomicsError as error:
        fail(*error.problems)
    if format_ is Format.json:
        typer.echo(json_text(deal_dict(figures)), nl=False)
    else:
        print_deal(console(), path.stem, figures)


def _machine(path: Path, edition: str | None, *, tornado: bool, format_: Format) -> None:
    try:
        study = read_machine_study(path)
        quote = study.quote(tuple(load().prices.values()), edition)
    except EconomicsError as error:
        fail(*error.problems)

    def price(values: Mapping[str, Numbers]) -> Numbers:
        return chip_hour(quote.structure, values).total

    swings = [swing for swing in tornado_of(quote.ranges, price) if swing.size > 0.0] if tornado else []
    if format_ is Format.json:
        typer.echo(json_text(machine_dict(study, quote, swings)), nl=False)
    else:
        print_machine(console(), study, quote, swings)


def _account(found: Plan, rank: int, study: Path) -> tuple[Money, Account]:
    if not len(found):
        fail(f"{study}: the plan is empty, nothing to price; `suanli plan {study}` says why")
    if rank > len(found):
        fail(f"--deployment: {rank} given, the plan has 1 to {len(found)}")
    money = found.money
    chosen = next((one for one in money.deployments if one.deployment.rank == rank), None) if money else None
    if money is None or chosen is None:
        priced = [one.deployment.rank for one in money.deployments] if money else []
        accepted = f"accepted: {', '.join(str(one) for one in priced)}" if priced else "nothing in the plan has a price"
        fail(f"--deployment: {rank} given, it has no price or is not among the first 20 with one; {accepted}")
    account = money.account if chosen is money.account.one else account_of(chosen, money.question)
    return money, account


def _export(account: Account, csv: Path | None, xlsx: Path | None) -> list[Path]:
    flow, rate = account.cash.flow, account.cash.discount_rate
    if xlsx and rate is None:
        fail("--xlsx: a rent has no cost of capital for the present value; give finance.cost_of_capital in `economics`")
    written = [write_text(csv, flow.to_csv())] if csv else []
    if xlsx and rate is not None:
        write_workbook(flow, rate, xlsx)
        written.append(xlsx)
    return written


def _content(found: Plan, money: Money, account: Account, extras: Extras) -> dict[str, Any]:
    fleet = account.one.fleet
    content: dict[str, Any] = {
        "study": dict(found.study),
        "edition": found.edition,
        "deployment": fleet_dict(account.one),
        "ways": ways_dict(account.ways),
        "cash_flow": cash_dict(account.cash),
        "regret": regret_dict(money),
        "power": found.power.to_dict() if found.power else None,
    }
    if extras.tornado:
        content["tornado"] = [swing_dict(swing, fleet) for swing in account.swings]
    if extras.morris:
        content["morris"] = [dict(effect.__dict__) for effect in extras.morris]
    if extras.sobol:
        content["sobol"] = [dict(share.__dict__) for share in extras.sobol]
    return content
