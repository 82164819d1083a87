"""Two plans side by side in the terminal: what changed, and where the change of the price came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from suanli.report.wording import DASH, compact, counted
from suanli.search.difference import Change, Difference, Place
from suanli.search.plan_file import PlanFile

ROWS = 10
MEANING = {
    "inputs": "prices and the way of paying",
    "model": "predicted speed of the same layout, for the traffic of its study",
    "plan": "which systems and layouts are chosen, and how many chips",
}
ARROW = "\u2192"


def print_difference(console: Console, found: Difference) -> None:
    """Print a comparison for people."""
    for part in difference_parts(found):
        console.print(part)


def difference_parts(found: Difference) -> Iterator[RenderableType]:
    """What a comparison shows, top to bottom."""
    for letter, plan in (("A", found.before), ("B", found.after)):
        yield Text(f"{letter}  {_end(plan)}")
    yield Padding(Text(_headline(found), style="bold"), (1, 0))
    if found.split is not None:
        yield _split(found.split)
    yield from _changes("Inputs that differ, and what each does alone to the price of A's best", found.inputs)
    yield from _changes("Keys of the study that differ", found.study)
    yield from _changes("Numbers of the catalog that differ", found.facts)
    yield from _ranking(found.places)
    if found.notes:
        yield Padding(Text("\n".join(found.notes), style="dim"), (1, 0, 0, 0))


def _end(plan: PlanFile) -> str:
    edition = f", facts of {plan.content['edition']}" if plan.content.get("edition") else ""
    if plan.best is None:
        return f"{plan.path}{edition}: the plan is empty"
    price = plan.price_of_best
    money = f", ${compact(price['value'])} per million tokens" if price else ""
    return f"{plan.path}{edition}: {plan.best['name']}{money}"


def _headline(found: Difference) -> str:
    before, after = found.before.price_of_best, found.after.price_of_best
    if before is None or after is None or found.split is None:
        return f"No price to compare: {found.because}."
    change = after["value"] / before["value"] - 1.0
    word = "more" if change > 0 else "less"
    if abs(change) < 5e-4:
        return "B's best costs the same as A's."
    return f"B's best costs {abs(change):.1%} {word}: ${compact(before['value'])} {ARROW} ${compact(after['value'])}."


def _split(split: Mapping[str, float]) -> Table:
    table = _table("of which from", "$/M tokens", "")
    for name, value in split.items():
        table.add_row(name, f"{value:+.4g}", MEANING[name])
    return table


def _table(*heads: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for index, head in enumerate(heads):
        table.add_column(head, justify="left" if index in (0, len(heads) - 1) else "right", overflow="fold")
    return table


def _changes(title: str, changes: Sequence[Change]) -> Iterator[RenderableType]:
    if not changes:
        return
    yield Padding(Text(title, style="dim"), (1, 0, 0, 0))
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=False)
    for change in changes[:ROWS]:
        effect = "" if change.effect is None else f"{change.effect:+.3g}"
        table.add_row(change.key, f"{_value(change.before)} {ARROW} {_value(change.after)}", effect)
    yield table
    if len(changes) > ROWS:
        yield Text(f"and {len(changes) - ROWS} more: --format json", style="dim")


def _value(value: object) -> str:
    if value is None:
        return DASH
    return compact(value, 4) if isinstance(value, float) else str(value)


def _ranking(places: Sequence[Place]) -> Iterator[RenderableType]:
    moved = [place for place in places if place.rank[0] != place.rank[1]]
    if not moved:
        return
    yield Padding(Text(f"{counted(len(moved), 'system')} changed places", style="dim"), (1, 0, 0, 0))
    table = _table("systems", "A", "B", "$/M tokens", "")
    for place in moved[:ROWS]:
        ranks = [str(rank) if rank else DASH for rank in place.rank]
        prices = f" {ARROW} ".join(compact(price) for price in place.usd_per_mtok)
        table.add_row(place.systems, *ranks, prices, place.reason)
    yield table
    if len(moved) > ROWS:
        yield Text(f"and {len(moved) - ROWS} more: --format json", style="dim")
