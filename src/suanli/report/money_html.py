"""The section of the report about money: charts, cash flow, futures, the price of power."""

from __future__ import annotations

from dataclasses import dataclass

from suanli.report.cash_words import cash_words
from suanli.report.money_charts import interval_chart, tornado_chart, utilisation_chart, waterfall_chart, way_style
from suanli.report.money_grids import Grid, classes_grid, headlines_grid
from suanli.report.power_words import power_words
from suanli.report.wording import DASH, compact, plain
from suanli.search.money import Account, Money
from suanli.search.result import Plan

FUTURES = 4  # deployments in the table of scenarios


@dataclass(frozen=True)
class Figure:
    """A chart with its words; `legend` are styles and labels."""

    title: str
    caption: str
    svg: str
    legend: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class MoneySection:
    """What the template shows."""

    lead: str
    figures: tuple[Figure, ...]
    tables: tuple[Grid, ...]
    power: str


def money_section(plan: Plan) -> MoneySection | None:
    """Section of a plan; None where nothing has a price and no power cap is given."""
    power = power_words(plan.power) if plan.power else ""
    if plan.money is None:
        return MoneySection("", (), (), power) if power else None
    account = plan.money.account
    return MoneySection(
        lead=_lead(plan, account),
        figures=_figures(plan.money, account),
        tables=(
            classes_grid(account),
            headlines_grid(plan.money, account),
            _ways(account),
            _cash(account),
            _futures(plan.money),
        ),
        power=power,
    )


def _lead(plan: Plan, account: Account) -> str:
    bill = account.one.bill
    total = bill.total
    found = account.one.headlines
    words = [
        f"Of every dollar, {bill.busy / total:.0%} is paid for work, {bill.idle / total:.0%} for waiting, "
        f"{bill.unavailable / total:.0%} for broken chips and {bill.undeployed / total:.0%} for chips in no instance.",
        f"An hour of work costs ${compact(found['usd_per_useful_hour'].p50)}, a thousand requests "
        f"${compact(found['usd_per_request'].p50 * 1e3)} (medians).",
    ]
    if "g_co2_per_mtok" in found:
        grams, power = found["g_co2_per_mtok"], found["tokens_per_s_per_mw"]
        ends = f"{compact(grams.p10, 2)}{DASH}{compact(grams.p90, 2)}"
        words.append(
            f"A million tokens emit {compact(grams.p50)} g of CO2 ({ends}); "
            f"a megawatt from the grid makes {compact(power.p50)} tokens/s."
        )
    edition = f" with the facts of {plan.edition}" if plan.edition else ""
    return f"Of the best answer, {account.one.fleet.name}{edition}. " + " ".join(words)


def _figures(money: Money, account: Account) -> tuple[Figure, ...]:
    ways = tuple((way_style(index), way.name) for index, way in enumerate(account.ways.ways, start=1))
    sampled = f"{money.samples:,} draws of all inputs and of the prediction error together; line p10 to p90, disc p50, "
    return (
        Figure("What a million tokens are paid for", "line by line", waterfall_chart(account)),
        Figure(
            "What moves it",
            "one input at a time; blue: its low end, orange: its high end, written beside",
            tornado_chart(account),
        ),
        Figure(
            "Who is cheapest",
            sampled + "tick: best values; right: chance of being the cheapest",
            interval_chart(money.deployments),
        ),
        Figure(
            "Cost against utilisation",
            "the same machines, paid for in every way",
            utilisation_chart(account.ways),
            ways,
        ),
    )


def _ways(account: Account) -> Grid:
    rows = []
    for way in account.ways.ways:
        share = DASH if way.break_even is None else f"{way.break_even:.0%}"
        fixed, variable = way.alternative.fixed_per_hour, way.alternative.variable_per_busy_hour
        cells = (f"${compact(way.usd_per_mtok)}", f"${compact(fixed)}", f"${compact(variable)}", share)
        rows.append((way.name, *cells, way.basis))
    rows += [(name, DASH, DASH, DASH, DASH, reason) for name, reason in account.ways.missing.items()]
    heads = ("way of paying", "$/M tokens", "every hour", "busy hour", "break-even", "rests on")
    note = "Break-even: share of the time with work from which the way with the larger fixed cost is the cheaper one."
    return Grid(
        f"Ways of paying, at a utilisation of {account.ways.utilisation:.0%}", heads, tuple(rows), note, words_last=True
    )


def _cash(account: Account) -> Grid:
    cash = account.cash
    used = [name for name, values in cash.flow.lines.items() if values.any()]
    rows = [
        (plain(row["year"]), *(f"{row[name]:,.0f}" for name in used), f"{row['net']:,.0f}") for row in cash.flow.table()
    ]
    totals = cash.flow.totals()
    rows.append(("sum", *(f"{totals[name]:,.0f}" for name in used), f"{sum(totals.values()):,.0f}"))
    words = cash_words(cash)
    note = "Before tax, at today's prices throughout; outlays are negative." + (
        f" {words[0].upper()}{words[1:]}." if words else ""
    )
    return Grid("Cash flow, USD", ("year", *used, "net"), tuple(rows), note)


def _futures(money: Money) -> Grid:
    names = [one.fleet.name for one in money.deployments[:FUTURES]]
    if money.regret.choice not in names:
        names[-1] = money.regret.choice
    rows = [(scenario, *(f"${compact(row[name])}" for name in names)) for scenario, row in money.scenario_costs.items()]
    rows.append(("worst regret", *(f"${compact(money.regret.worst_regret[name])}" for name in names)))
    note = f"Least regret: {money.regret.choice}. Regret is what a choice costs above the cheapest of the same future."
    systems = {
        one.fleet.name: f"{one.deployment.rank}. {' + '.join(one.deployment.systems)}" for one in money.deployments
    }
    return Grid(
        "Named futures, $ per million tokens", ("future", *(systems[name] for name in names)), tuple(rows), note
    )
