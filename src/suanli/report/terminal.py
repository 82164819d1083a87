"""A plan in the terminal: the answer, the ranked table, why the rest is missing, and how sure all that is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from suanli.report.headline import headline, question, ties
from suanli.report.power_words import power_words
from suanli.report.replay_rows import HEADS, MISS_MARK, left_out, replay_lead, replay_rows
from suanli.report.wording import (
    DASH,
    EVIDENCE,
    EXCUSES,
    TIMES,
    compact,
    counted,
    evidence_label,
    payment,
    plain,
    span,
    width,
)
from suanli.search.result import Deployment, Excuse, Plan, Pool

ROWS = 10  # deployments shown when nothing is said
WIDE = 110  # columns of a terminal from which all numbers fit
REASONS = 6  # excuses of a kind that are given with their reason
NAMES = 8  # systems of the other kinds that are named
DETAILED = ("slo", "limit", "memory", "data")  # kinds whose reasons differ from system to system
NARROW_HEADS = (0, 1, 5, 6)  # of the replays, in a narrow terminal
TIE_MARK = "≈"


@dataclass(frozen=True)
class Column:
    """A column of the ranked table: two lines of header over two lines per deployment."""

    head: str
    wide_only: bool = False
    left: bool = False


COLUMNS = (
    Column("#"),
    Column("deployment\nparallelism", left=True),
    Column("chips\nkW"),
    Column("TTFT p50\np99 ms"),
    Column("TPOT p50\np99 ms"),
    Column("tok/s\n/chip", wide_only=True),
    Column("$/M tokens\n80 %"),
    Column("$/M in\nout", wide_only=True),
    Column("tok/J", wide_only=True),
    Column("bound by\nevidence", wide_only=True, left=True),
)


def print_plan(console: Console, plan: Plan, top: int | None = None) -> None:
    """Print a plan for people."""
    for part in plan_parts(plan, top or ROWS, console.width):
        console.print(part)


def plan_parts(plan: Plan, top: int, columns: int) -> Iterator[RenderableType]:
    """What a plan shows, top to bottom, for a terminal of that many columns."""
    yield Text(question(plan), style="dim")
    yield Text(f"\n{headline(plan)}\n", style="bold")
    if len(plan):
        yield ranked_table(plan.deployments[:top], wide=columns >= WIDE)
        legend = _legend(plan, top, columns)
        yield Text("\n".join(["", *legend, ""]) if legend else "", style="dim")
    yield from _replays(plan, top, wide=columns >= WIDE)
    if plan.power:
        yield Text(f"{power_words(plan.power)}\n")
    if plan.excuses:
        yield from _excuses(plan.excuses)
    if len(plan):
        yield from _how_sure(plan)


def ranked_table(deployments: Iterable[Deployment], *, wide: bool) -> Table:
    """Two lines per deployment; a narrow table leaves the columns out that say least."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for column in COLUMNS:
        if wide or not column.wide_only:
            table.add_column(column.head, justify="left" if column.left else "right", no_wrap=not column.left)
    for deployment in deployments:
        cells = [cell for cell, column in zip(_cells(deployment), COLUMNS, strict=True) if wide or not column.wide_only]
        table.add_row(*cells)
    return table


def _cells(one: Deployment) -> list[Text]:
    price = one.metrics.get("usd_per_mtok")
    return [
        Text(f"{one.rank}{TIE_MARK if one.tie_with_best else ' '}"),
        _name(one),
        _two(plain(one.value("chips")), compact(one.value("power_kw"))),
        _two(compact(one.value("ttft_p50_ms")), compact(one.value("ttft_p99_ms"))),
        _two(compact(one.value("tpot_p50_ms")), compact(one.value("tpot_p99_ms"))),
        Text(compact(one.value("max_total_tok_s_per_chip"))),
        _two(compact(price.value), span(price), "bold") if price else Text(DASH),
        _two(*(_optional(one, f"usd_per_mtok_{name}") for name in ("uncached_input", "output"))),
        Text(compact(one.value("tokens_per_joule"))),
        _two(one.bottleneck.split(",")[0].split(" (")[0], evidence_label(one.evidence)),
    ]


def _replays(plan: Plan, top: int, *, wide: bool) -> Iterator[RenderableType]:
    """What the simulator saw of the first rows."""
    rows = replay_rows(plan, top)
    if not rows:
        yield from (Text(f"{line}\n", style="dim") for line in left_out(plan, top))
        return
    yield Text.assemble(("Replayed", "bold"), (f": {replay_lead(plan)}", "dim"))
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("#", justify="right", no_wrap=True)
    shown = [place for place in range(len(HEADS)) if wide or place in NARROW_HEADS]
    for place in shown:
        table.add_column("\n".join(HEADS[place][:2]), justify="right", no_wrap=True)
    for row in rows:
        mark = " " if row.kept else MISS_MARK
        table.add_row(f"{row.one.rank}{mark}", *(_two(*row.cells[place]) for place in shown))
    yield table
    notes = [f"{row.one.rank}: {note}" for row in rows for note in row.notes] + left_out(plan, top)
    yield Text("\n".join([*notes, ""]), style="dim")


def _optional(one: Deployment, metric: str) -> str:
    return compact(one.value(metric)) if metric in one.metrics else DASH


def _two(first: str, second: str, style: str = "") -> Text:
    return Text.assemble((first, style), "\n", (second, "dim"))


def _name(one: Deployment) -> Text:
    also = f"\nalso on {', '.join(one.also_on)}" if one.also_on else ""
    return _pools(one).append(also, "dim")


def _pools(one: Deployment) -> Text:
    paid = payment(one)
    rented = f" · {paid}" if paid not in ("", "owned") else ""
    if len(one.systems) == 1 and len(one.pools) > 1:
        pools = " → ".join(f"{_initial(pool)} {pool.instances}{TIMES} {pool.label}" for pool in one.pools)
        return Text.assemble((one.systems[0], "bold"), "\n", (pools + rented, "dim"))
    if len(one.pools) == 1:
        pool = one.pools[0]
        return Text.assemble((pool.system, "bold"), "\n", (f"{pool.instances}{TIMES} {pool.label}{rented}", "dim"))
    text = Text()
    for index, pool in enumerate(one.pools):
        text.append("\n" if index else "")
        text.append(f"{_initial(pool)} ", "dim")
        text.append(pool.system, "bold")
        text.append(f" {pool.instances}{TIMES} {pool.label}", "dim")
    text.append(rented, "dim")
    return text


def _initial(pool: Pool) -> str:
    return pool.role[0].upper()


def _legend(plan: Plan, top: int, columns: int) -> list[str]:
    lines = []
    if ties(plan):
        lines.append(f"{TIE_MARK} cannot be told apart from the first: more than 1 in 5 that it is the better one.")
    if any(len(one.pools) > 1 for one in plan.deployments[:top]):
        lines.append("P → D: prefill and decode on separate instances.")
    if len({payment(one) for one in plan}) > 1:
        lines.append("rented: not sold, or no purchase price known; the price is the rent of the longest term known.")
    left = len(plan) - top
    if left > 0:
        lines.append(f"{counted(left, 'further deployment')}: --top {len(plan)}, or --format csv.")
    if columns < WIDE:
        lines.append(f"More columns from a terminal width of {WIDE}.")
    return lines


def _excuses(excuses: Iterable[Excuse]) -> Iterator[RenderableType]:
    by_kind: dict[str, list[Excuse]] = {}
    for excuse in excuses:
        by_kind.setdefault(excuse.kind, []).append(excuse)
    number = sum(len(group) for group in by_kind.values())
    yield Text.assemble(
        (f"Not in the table: {counted(number, 'system')}", "bold"), ("; every reason: --format json, or --out", "dim")
    )
    order = [*EXCUSES, *(kind for kind in by_kind if kind not in EXCUSES)]
    for kind in (kind for kind in order if kind in by_kind):
        group = by_kind[kind]
        heading, remedy = EXCUSES.get(kind, (kind, ""))
        yield Text.assemble(f"{len(group):>4}  {heading}", (f" ({remedy})" if remedy else "", "dim"))
        yield Padding(_group(kind, group), (0, 0, 0, 6), expand=False)
    yield Text()


def _group(kind: str, group: list[Excuse]) -> Text:
    if kind not in DETAILED:
        return Text(_names(group, NAMES), style="dim")
    heading = EXCUSES[kind][0]
    lines = [
        Text.assemble(f"{one.system}: ", (one.reason.removeprefix(f"{heading}: "), "dim")) for one in group[:REASONS]
    ]
    if len(group) > REASONS:
        lines.append(Text(f"also {_names(group[REASONS:], NAMES)}", style="dim"))
    return Text("\n").join(lines)


def _names(group: list[Excuse], number: int) -> str:
    named = ", ".join(excuse.system for excuse in group[:number])
    return named + (f" and {len(group) - number} more" if len(group) > number else "")


def _how_sure(plan: Plan) -> Iterator[RenderableType]:
    yield Text("How sure: factor of the 80 % interval, up and down, by what stands behind a row", style="bold")
    grid = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for name in ("rows", "tok/s", "TPOT", "TTFT p50", "p99"):
        grid.add_column(name, justify="right")
    grid.add_column("evidence", overflow="fold")
    counts = Counter(one.evidence for one in plan)
    for name in sorted(counts, key=lambda name: list(EVIDENCE).index(name) if name in EVIDENCE else len(EVIDENCE)):
        rows = [one for one in plan if one.evidence == name]
        metrics = ("max_request_s", "tpot_p50_ms", "ttft_p50_ms", "ttft_p99_ms")
        widths = [_widths(rows, metric) for metric in metrics]
        label, meaning = EVIDENCE.get(name, (name, ""))
        grid.add_row(str(counts[name]), *widths, Text.assemble(label, (f": {meaning}", "dim")))
    yield grid


def _widths(rows: list[Deployment], metric: str) -> str:
    found = sorted(width(one.metrics[metric]) for one in rows)
    low, high = compact(found[0]), compact(found[-1])
    return low if low == high else f"{low}{DASH}{high}"
