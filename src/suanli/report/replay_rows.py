"""The replayed rows of a plan beside its closed form: one list of columns for terminal and page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from suanli.report.wording import DASH, compact, counted
from suanli.search.replayed import POOLS, Replayed
from suanli.search.result import Deployment, Plan

MISS_MARK = "\u2717"
# Head on two lines, and what stands below it
HEADS = (
    ("TTFT p50", "p99 ms", "time to first token: median over 99th percentile"),
    ("TPOT p50", "p99 ms", "time per output token: median over 99th percentile"),
    ("ITL p50", "p99 ms", "gap between two tokens: median over 99th percentile"),
    ("E2E p50", "p99 s", "whole request: median over 99th percentile"),
    ("queue p50", "p99 ms", "wait before the first step: median over 99th percentile"),
    ("goodput", "% of all", "requests/s that meet every limit, and their share"),
    ("load", "req/s", "offered rate over the highest one that keeps the SLO in the replay, and that rate"),
    ("batch", "KV peak", "sequences in a step of a rank; most of its KV blocks in use"),
    ("J/token", "kW", "chip energy per output token, and mean power of the chips"),
)


@dataclass(frozen=True)
class Row:
    """One replayed deployment: two lines of numbers per column, and what a reader has to know about it."""

    one: Deployment
    kept: bool
    cells: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]


def replay_rows(plan: Plan, top: int | None = None) -> list[Row]:
    """The replayed deployments among the first `top`."""
    return list(_rows(plan, top))


def _rows(plan: Plan, top: int | None) -> Iterator[Row]:
    for one in plan.deployments[:top]:
        if one.replay is not None:
            yield Row(one, one.replay.keeps_slo, tuple(_cells(one.replay)), tuple(_notes(one, one.replay)))


def _cells(seen: Replayed) -> Iterator[tuple[str, str]]:
    for name, unit in (("ttft", 1.0), ("tpot", 1.0), ("itl", 1.0), ("e2e", 1e-3), ("queue", 1.0)):
        yield _scaled(seen, f"{name}_p50_ms", unit), _scaled(seen, f"{name}_p99_ms", unit)
    share = seen.value("good_share")
    yield _scaled(seen, "goodput_request_per_s", 1.0), DASH if share is None else f"{share:.1%}"
    load = DASH if seen.utilisation is None else f"{seen.utilisation:.0%}"
    yield load, compact(seen.max_request_s)
    last = POOLS[seen.roles[-1]]
    peak = seen.value(f"{last}kv_peak_share")
    yield _scaled(seen, f"{last}batch_mean", 1.0), DASH if peak is None else f"{peak:.0%}"
    yield _scaled(seen, "energy_per_output_token_j", 1.0), _scaled(seen, "power_w", 1e-3)


def _scaled(seen: Replayed, name: str, unit: float) -> str:
    value = seen.value(name)
    return compact(None if value is None else value * unit)


def _notes(one: Deployment, seen: Replayed) -> Iterator[str]:
    if not seen.keeps_slo:
        yield f"misses the SLO in the replay: {'; '.join(seen.reasons)}"
    for pool, planned in zip(one.pools, seen.planned, strict=True):
        if pool.instances != planned:
            role = "" if pool.role == "aggregated" else f" for {pool.role}"
            yield f"{counted(pool.instances, 'instance')}{role}: {planned} by the closed form, too few in the replay"


def left_out(plan: Plan, top: int | None = None) -> list[str]:
    """Rows that were too large to be replayed, and why."""
    return [f"{one.rank}: {one.unreplayed}" for one in plan.deployments[:top] if one.unreplayed]


def replay_lead(plan: Plan) -> str:
    """What was replayed, in one sentence; empty without replays."""
    rows = replay_rows(plan)
    if not rows:
        return ""
    number = rows[0].one.replay.summary["requests"] if rows[0].one.replay else 0
    return f"{counted(len(rows), 'row')} served {number:,} requests of the study, one by one, in the simulator"
