"""A deal in the terminal and as plain data: what its totals imply, and what is published."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console

from suanli.economics.deal import Figure
from suanli.report.cost_tables import table_of, titled
from suanli.report.wording import DASH, compact


def print_deal(console: Console, name: str, figures: Sequence[Figure]) -> None:
    """Print a deal for people."""
    table = table_of("", "ours", "", "published", "off", "by", left=(0, 2, 5))
    for one in figures:
        said = DASH if one.published is None else compact(one.published)
        off = "" if one.off is None else f"{one.off:+.1%}"
        table.add_row(one.name, compact(one.value), one.unit, said, off, one.source)
    for part in titled(f"What {name} implies", table):
        console.print(part)


def deal_dict(figures: Sequence[Figure]) -> dict[str, Any]:
    """Plain data of a deal."""
    return {"figures": [dict(one.__dict__) | {"off": one.off} for one in figures]}
