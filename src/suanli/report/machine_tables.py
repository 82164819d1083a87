"""The price of one machine's chip-hour in the terminal: lines, interval, what others have published."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.text import Text

from suanli.economics.machine_study import MachineStudy
from suanli.economics.price import HOURS_PER_YEAR
from suanli.economics.quote import Quote
from suanli.economics.uncertainty import Swing
from suanli.report.amounts import label_of
from suanli.report.cost_tables import BARS, TORNADO, table_of, titled
from suanli.report.wording import compact

SAMPLES = 10_000


def print_machine(console: Console, study: MachineStudy, quote: Quote, swings: list[Swing]) -> None:
    """Print the price of a machine for people; `swings` are shown when there are any."""
    for part in machine_parts(study, quote, swings):
        console.print(part)


def machine_parts(study: MachineStudy, quote: Quote, swings: list[Swing]) -> Iterator[RenderableType]:
    """What is shown, top to bottom."""
    low, middle, high = quote.interval(SAMPLES)
    best = total_of(quote)
    money = quote.currency
    subject = study.machine.subjects[0]
    words = f"{subject}, paid for as {study.economics}: {best:.2f} {money} per chip-hour"
    yield Padding(Text(f"{words} (p10 {low:.2f}, p50 {middle:.2f}, p90 {high:.2f}).", style="bold"), (0, 0, 1, 0))
    if study.published_usd is not None and money == "USD":
        inside = "inside" if low <= study.published_usd <= high else "outside"
        source = study.published.source if study.published else ""
        off = best / study.published_usd - 1.0
        yield Text(
            f"Published: {study.published_usd:.2f} ({source}); ours is {off:+.1%} off, it is {inside} p10 to p90."
        )
    table = table_of("", f"{money}/chip/h", f"{money}/chip/year", "share")
    for name, value in (*quote.waterfall().items(), ("total", best)):
        table.add_row(name, f"{value:.3f}", f"{value * HOURS_PER_YEAR:,.0f}", f"{value / best:.0%}")
    yield from titled(f"What is paid for, by {quote.record}", table)
    if swings:
        rows = table_of("", "at low end", "at high end", "", left=(0, 3))
        for swing in swings[:TORNADO]:
            bar = "\u2588" * max(round(BARS * swing.size / swings[0].size), 1)
            rows.add_row(label_of(swing.key), compact(swing.at_low), compact(swing.at_high), bar)
        yield from titled(f"One input at a time, over its range: {money} per chip-hour", rows)


def total_of(quote: Quote) -> float:
    """Price of a chip-hour at the best values."""
    return sum(quote.waterfall().values())


def machine_dict(study: MachineStudy, quote: Quote, swings: list[Swing]) -> dict[str, Any]:
    """Plain data of the price of a machine."""
    low, middle, high = quote.interval(SAMPLES)
    return {
        "machine": study.machine.subjects[0],
        "economics": study.economics,
        "currency": quote.currency,
        "record": quote.record,
        "per_chip_hour": total_of(quote),
        "p10": low,
        "p50": middle,
        "p90": high,
        "published": study.published_usd,
        "lines_per_chip_hour": quote.waterfall(),
        "sources": list(quote.sources),
        "tornado": [dict(swing.__dict__) for swing in swings],
    }
