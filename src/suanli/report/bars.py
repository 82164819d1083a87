"""Stacked bars: what a deployment spends its money, its time and its memory on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from suanli.report.wording import COST_PARTS, STEP_PARTS, compact
from suanli.search.account import StepAccount
from suanli.search.result import Deployment, Pool

MS = 1e3
NAMED = 0.11  # share of the panel from which a segment carries its own number


@dataclass(frozen=True)
class Segment:
    """A piece of a bar; `share` of the panel's full width."""

    style: str
    label: str
    share: float
    text: str

    @property
    def named(self) -> bool:
        """Whether the number fits into the piece."""
        return self.share >= NAMED


@dataclass(frozen=True)
class Bar:
    """One bar with its pieces and its total."""

    rank: int
    name: str
    total: str
    segments: tuple[Segment, ...]


@dataclass(frozen=True)
class Panel:
    """Bars over one scale."""

    title: str
    caption: str
    legend: tuple[tuple[str, str], ...]  # style, label
    bars: tuple[Bar, ...]


@dataclass(frozen=True)
class _Amounts:
    """Amounts of a bar by part, before the scale is known."""

    rank: int
    name: str
    parts: Mapping[str, float]

    @property
    def total(self) -> float:
        return sum(self.parts.values())


def cost_panel(deployments: Sequence[Deployment]) -> Panel | None:
    """Money per million tokens by part; None where nothing has a price."""
    rows = []
    for one in deployments:
        hourly = sum(one.cost_parts.values())
        if hourly > 0.0:
            price = one.value("usd_per_mtok")
            parts = {key: price * one.cost_parts.get(key, 0.0) / hourly for key in COST_PARTS}
            rows.append(_Amounts(one.rank, _short(one), parts))
    return _panel("Where the money goes", "$ per million tokens, in and out", rows, COST_PARTS, "$")


def step_panel(deployments: Iterable[Deployment], bars: int) -> Panel | None:
    """Time of one step by kind of work, one bar per pool; no further deployment once there are so many bars."""
    rows: list[_Amounts] = []
    for one in deployments:
        if len(rows) >= bars:
            break
        for pool, step in zip(one.pools, one.steps, strict=True):
            role = "" if len(one.pools) == 1 else f", {pool.role}"
            rows.append(_Amounts(one.rank, f"{pool.system}{role}", _milliseconds(step)))
    caption = "ms of one step at the operating point; a step gives every decoding request one token"
    return _panel("Where the time goes", caption, rows, STEP_PARTS, "")


def _milliseconds(step: StepAccount) -> dict[str, float]:
    parts = dict.fromkeys(STEP_PARTS, 0.0)
    for operator in step.operators:
        parts["launch"] += operator.launch * MS
        parts[operator.part if operator.part in parts else "host"] += operator.seconds * MS
    return parts


def memory_bar(pool: Pool) -> Bar:
    """Memory of one chip, in GB of its capacity."""
    capacity = pool.memory["capacity_gb"]
    names = {"weights": "weights_gb", "KV cache": "kv_cache_gb", "reserve": "reserve_gb"}
    used = {label: pool.memory[key] for label, key in names.items()}
    used["free"] = max(capacity - sum(used.values()), 0.0)
    segments = tuple(
        Segment(f"m{index}", label, value / capacity, f"{label} {compact(value)}")
        for index, (label, value) in enumerate(used.items())
    )
    return Bar(0, pool.role, f"{compact(capacity)} GB", segments)


def _panel(title: str, caption: str, rows: list[_Amounts], parts: Mapping[str, str], money: str) -> Panel | None:
    if not rows:
        return None
    full = max(row.total for row in rows)
    used = [key for key in parts if any(row.parts[key] > 0.0 for row in rows)]
    bars = tuple(
        Bar(
            row.rank,
            row.name,
            money + compact(row.total),
            tuple(
                Segment(f"p-{key}", parts[key], row.parts[key] / full, money + compact(row.parts[key], 2))
                for key in used
                if row.parts[key] > 0.0
            ),
        )
        for row in rows
    )
    return Panel(title, caption, tuple((f"p-{key}", parts[key]) for key in used), bars)


def _short(one: Deployment) -> str:
    return " + ".join(one.systems)
