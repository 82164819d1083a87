"""The money of one deployment in the terminal: bill, intervals, ways of paying, cash flow, what moves the answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from suanli.economics.price import HOURS_PER_YEAR
from suanli.economics.sensitivity import MorrisEffect, SobolShare
from suanli.report.amounts import amount, label_of
from suanli.report.cash_words import cash_words
from suanli.report.headline import question
from suanli.report.power_words import power_words
from suanli.report.wording import DASH, compact, plain
from suanli.search.estimate import Estimate
from suanli.search.money import Account, Money
from suanli.search.money_json import unit_of_input
from suanli.search.result import Deployment, Plan

TORNADO = 12  # inputs that are shown
BARS = 24  # characters of the widest bar

# Headline -> label, in the order of the table; what a tenant does not know is left out.
HEADLINES: Mapping[str, str] = {
    "usd_per_mtok": "USD per million tokens",
    "usd_per_mtok_uncached_input": "USD per million input tokens",
    "usd_per_mtok_cached_input": "USD per million cached input tokens",
    "usd_per_mtok_output": "USD per million output tokens",
    "usd_per_request": "USD per 1,000 requests",
    "usd_per_chip_hour": "USD per chip-hour",
    "usd_per_useful_hour": "USD per useful hour, all chips",
    "capex_musd": "capex, MUSD",
    "tokens_per_grid_joule": "tokens per joule from the grid",
    "tokens_per_s_per_mw": "tokens/s per MW from the grid",
    "g_co2_per_mtok": "g CO2 per million tokens",
}
SCALES = {"usd_per_request": 1e3}  # what a label counts in
CLASS_NOTES = {"cached_input": "reading its KV; its memory is paid for by the output", "output": "and reasoning"}


@dataclass(frozen=True)
class Extras:
    """What is shown on request."""

    tornado: bool = False
    morris: Sequence[MorrisEffect] = field(default=())
    sobol: Sequence[SobolShare] = field(default=())


def print_cost(console: Console, plan: Plan, money: Money, account: Account, extras: Extras) -> None:
    """Print the money of one deployment for people."""
    for part in cost_parts(plan, money, account, extras):
        console.print(part)


def cost_parts(plan: Plan, money: Money, account: Account, extras: Extras) -> Iterator[RenderableType]:
    """What is shown, top to bottom."""
    deployment = plan[account.one.deployment.rank - 1]
    yield Text(question(plan), style="dim")
    yield Padding(Text(_headline(plan, deployment), style="bold"), (1, 0))
    yield from titled("What is paid for", _lines(account, deployment))
    yield from titled(
        f"Intervals: {money.samples:,} draws of all inputs and of the prediction error", _quantiles(account)
    )
    yield from titled("What the hours are paid for", _bill(account))
    yield from titled("What a million tokens of each class cost", _classes(account))
    yield from titled(_at(account), _ways(account))
    yield from titled(_cash_title(account), _cash(account))
    yield from titled("Named futures, $ per million tokens", _regret(money))
    if plan.power is not None:
        yield Padding(Text(power_words(plan.power)), (1, 0, 0, 0))
    if extras.tornado:
        yield from titled("One input at a time, over its range: $ per million tokens", _tornado(account))
    if extras.morris:
        yield from titled(
            "Morris screening: mean absolute effect on $ per million tokens, and how much it varies",
            _morris(extras.morris),
        )
    if extras.sobol:
        yield from titled("Sobol: share of the variance alone, and with all interactions", _sobol(extras.sobol))


def _headline(plan: Plan, one: Deployment) -> str:
    price: Estimate = one.metrics["usd_per_mtok"]
    edition = f", facts of {plan.edition}" if plan.edition else ""
    return (
        f"{one.rank}. {one.name}: ${compact(price.value)} per million tokens "
        f"(80 % interval {compact(price.low, 2)}{DASH}{compact(price.high, 2)}); {one.cost_basis}{edition}."
    )


def titled(title: str, table: Table | None) -> Iterator[RenderableType]:
    """Return a table under its title; nothing without a table."""
    if table is not None:
        yield Padding(Text(title, style="dim"), (1, 0, 0, 0))
        yield table


def table_of(*heads: str, left: Iterable[int] = (0,)) -> Table:
    """Return an empty table; numbers stand to the right except in the columns `left`."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for index, head in enumerate(heads):
        table.add_column(head, justify="left" if index in left else "right", overflow="fold")
    return table


def _lines(account: Account, deployment: Deployment) -> Table:
    lines = account.one.waterfall
    total, chips = sum(lines.values()), deployment.value("chips")
    price = deployment.value("usd_per_mtok")
    table = table_of("", "$/chip/h", "$/year", "$/M tokens", "share")
    rows = [*((name.replace("_", " "), value) for name, value in lines.items() if value), ("total", total)]
    for name, value in rows:
        share = value / total
        year = f"{value * HOURS_PER_YEAR:,.0f}"
        table.add_row(name, f"{value / chips:.3f}", year, compact(price * share), f"{share:.0%}")
    return table


def _quantiles(account: Account) -> Table:
    table = table_of("", "p10", "p50", "p90")
    for name, label in HEADLINES.items():
        if name in account.one.headlines:
            found = account.one.headlines[name].scaled(SCALES.get(name, 1.0))
            table.add_row(label, *(compact(value) for value in (found.p10, found.p50, found.p90)))
    return table


def _bill(account: Account) -> Table:
    bill = account.one.bill
    total = bill.total
    table = table_of("", "$/h", "share", "", left=(0, 3))
    short = "" if bill.spare_enough else "no spare: with chips broken, the rate is above what the SLO allows"
    rows = [("work", bill.busy, ""), ("waiting", bill.idle, ""), ("broken", bill.unavailable, short)]
    whole = "in no instance: machines are sold whole"
    for name, value, note in (*rows, ("not deployed", bill.undeployed, whole if bill.undeployed else "")):
        table.add_row(name, compact(value), f"{value / total:.0%}", note)
    return table


def _classes(account: Account) -> Table:
    table = table_of("", "tokens/s", "$ direct", "$ full", "", left=(0, 4))
    for name, price in account.one.classes.items():
        if price.tokens_per_s > 0.0:
            cells = (compact(price.tokens_per_s), compact(price.direct), compact(price.full))
            table.add_row(name.replace("_", " "), *cells, CLASS_NOTES.get(name, ""))
    return table


def _at(account: Account) -> str:
    return f"The same machines paid for in other ways, at the plan's utilisation of {account.ways.utilisation:.0%}"


def _ways(account: Account) -> Table:
    table = table_of("", "$/M tokens", "fixed $/h", "per busy $/h", "break-even", "", left=(0, 5))
    own = account.ways.ways[0].name
    for way in account.ways.ways:
        share = DASH if way.break_even is None else f"{way.break_even:.0%}"
        words = f"above it {way.cheaper_above} is cheaper" if way.cheaper_above else ""
        if way.name != own and way.break_even is None:
            words = "never crosses"
        fixed, variable = way.alternative.fixed_per_hour, way.alternative.variable_per_busy_hour
        table.add_row(way.name, compact(way.usd_per_mtok), compact(fixed), compact(variable), share, words)
    for name, reason in account.ways.missing.items():
        table.add_row(name, DASH, DASH, DASH, DASH, reason)
    return table


def _cash_title(account: Account) -> str:
    words = cash_words(account.cash)
    return f"Cash flow, USD; {words}" if words else "Cash flow, USD"


def _cash(account: Account) -> Table:
    flow = account.cash.flow
    used = [name for name, values in flow.lines.items() if values.any()]
    table = table_of("year", *used, "net")
    for row in flow.table():
        table.add_row(plain(row["year"]), *(f"{row[name]:,.0f}" for name in (*used, "net")))
    totals = flow.totals()
    table.add_row("sum", *(f"{totals[name]:,.0f}" for name in used), f"{sum(totals.values()):,.0f}")
    return table


def _regret(money: Money) -> Table:
    names = [one.fleet.name for one in money.deployments[:3]]
    choice = money.regret.choice
    shown = names if choice in names else [*names[:2], choice]
    table = table_of("", *(f"{name}{' *' if name == choice else ''}" for name in shown))
    for scenario, row in money.scenario_costs.items():
        table.add_row(scenario, *(compact(row[name]) for name in shown))
    table.add_row("worst regret", *(compact(money.regret.worst_regret[name]) for name in shown))
    table.add_row("cheapest of 20 with probability", *(f"{_chance(money, name):.0%}" for name in shown))
    return table


def _chance(money: Money, name: str) -> float:
    return next(one.p_cheapest for one in money.deployments if one.fleet.name == name)


def _tornado(account: Account) -> Table:
    table = table_of("", "low end", "high end", "$ at low", "$ at high", "", left=(0, 5))
    fleet, widest = account.one.fleet, account.swings[0].size
    for swing in account.swings[:TORNADO]:
        one = fleet.ranges[swing.key]
        unit = unit_of_input(swing.key.partition("@")[0], fleet)
        bar = "\u2588" * max(round(BARS * swing.size / widest), 1)
        ends = (amount(one.low, swing.key, unit, with_unit=False), amount(one.high, swing.key, unit))
        table.add_row(label_of(swing.key), *ends, compact(swing.at_low), compact(swing.at_high), bar)
    return table


def _morris(effects: Sequence[MorrisEffect]) -> Table:
    table = table_of("", "mu*", "sigma")
    for effect in effects[:TORNADO]:
        table.add_row(label_of(effect.key), compact(effect.mu_star), compact(effect.sigma))
    return table


def _sobol(shares: Sequence[SobolShare]) -> Table:
    table = table_of("", "alone", "\u00b1", "with others", "\u00b1")
    for share in shares[:TORNADO]:
        numbers = (share.first, share.first_95, share.total, share.total_95)
        table.add_row(label_of(share.key), *(f"{round(value, 3) + 0.0:.1%}" for value in numbers))
    return table
