"""Tables of the report about money: what each class of token costs, and the interval of every headline."""

from __future__ import annotations

from dataclasses import dataclass

from suanli.report.cost_tables import CLASS_NOTES, HEADLINES, SCALES
from suanli.report.wording import compact
from suanli.search.money import Account, Money


@dataclass(frozen=True)
class Grid:
    """A table: heads, rows of text, and a sentence under it."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    words_last: bool = False  # the last column is text


def classes_grid(account: Account) -> Grid:
    """Price of a million tokens of each class."""
    rows = [
        (
            name.replace("_", " "),
            compact(price.tokens_per_s),
            f"${compact(price.direct)}",
            f"${compact(price.full)}",
            CLASS_NOTES.get(name, ""),
        )
        for name, price in account.one.classes.items()
        if price.tokens_per_s > 0.0
    ]
    note = "Direct: the machine time that they take. Full: with a share of waiting and broken chips; sums to the bill."
    heads = ("class of token", "tokens/s", "direct, $/M", "full, $/M", "")
    return Grid("What a million tokens of each class cost", heads, tuple(rows), note, words_last=True)


def headlines_grid(money: Money, account: Account) -> Grid:
    """The p10, p50 and p90 of every headline."""
    rows = []
    for name, label in HEADLINES.items():
        if name in account.one.headlines:
            found = account.one.headlines[name].scaled(SCALES.get(name, 1.0))
            rows.append((label, compact(found.p10), compact(found.p50), compact(found.p90)))
    note = f"{money.samples:,} draws of all inputs and of the prediction error. The ranking is at the best values."
    return Grid("How sure the money is", ("", "p10", "p50", "p90"), tuple(rows), note)
