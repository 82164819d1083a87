"""Predict measured deployments: tables of step times for many rows at once, then each row's own load."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from suanli.mapping.engine import FACTOR_NAMES, Engine
from suanli.mapping.memory import memory_fit
from suanli.mapping.placement import Placements
from suanli.mapping.step import StepModel
from suanli.serving.grid import Drafter, StepGrid, Traffic, step_grids
from suanli.validation.deployment import Case, Pool

Array = NDArray[np.float64]


@dataclass(frozen=True)
class PoolTable:
    """One pool of a case: its table of step times and the requests that an instance can hold."""

    pool: Pool
    grid: StepGrid
    limit: float
    budget: float
    kv_bytes: float  # of one cached token on each chip of its tensor-parallel group


@dataclass(frozen=True)
class Prepared:
    """A case with the tables of its pools."""

    case: Case
    tables: tuple[PoolTable, ...]


def prepare(cases: Sequence[Case]) -> tuple[list[Prepared], dict[str, str]]:
    """Tables for all cases that fit into memory, and the reason for each of the others by config_id."""
    groups: dict[tuple[object, ...], list[tuple[int, Pool]]] = {}
    for index, case in enumerate(cases):
        for pool in case.pools:
            groups.setdefault(_key(case, pool), []).append((index, pool))
    tables: dict[tuple[int, str], PoolTable] = {}
    refused: dict[str, str] = {}
    for entries in groups.values():
        found, reasons = _tables([cases[index] for index, _ in entries], [pool for _, pool in entries])
        for (index, pool), table, reason in zip(entries, found, reasons, strict=True):
            if table is None:
                refused[cases[index].row.id] = reason
            else:
                tables[index, pool.role] = table
    ready = [
        Prepared(case, tuple(tables[index, pool.role] for pool in case.pools))
        for index, case in enumerate(cases)
        if case.row.id not in refused
    ]
    return ready, refused


def _key(case: Case, pool: Pool) -> tuple[object, ...]:
    """What the placements of one step model share."""
    precision = tuple(sorted((role, fmt) for role, fmt in case.precision.roles.items()))
    hardware = (pool.hardware.system, pool.hardware.chip, len(pool.hardware.network.levels), pool.hardware.network.size)
    skew = case.engine.expert_skew.si
    return (case.graph.id, hardware, precision, case.precision.kv, case.engine.id, skew, case.drafts)


def neutral(engine: Engine) -> Engine:
    """The engine without factors and host times: what a table is built with."""
    ones = dict.fromkeys(FACTOR_NAMES, 1.0)
    return engine.with_values(host_s=0.0, host_per_request_s=0.0, **ones)


def _tables(cases: Sequence[Case], pools: Sequence[Pool]) -> tuple[list[PoolTable | None], list[str]]:
    case, pool = cases[0], pools[0]
    place = Placements.of([one.place for one in pools])
    engine = neutral(case.engine)
    try:
        model = StepModel(case.graph, pool.hardware, case.precision, engine, place)
        traffic = _traffic(cases)
        fits = memory_fit(case.graph, pool.hardware, case.precision, engine, place)
        limits = np.array(
            [_limit(one, table, i, place, traffic) for i, (one, table) in enumerate(zip(cases, pools, strict=True))]
        )
        top = np.array([_top(one, table, limit) for one, table, limit in zip(cases, pools, limits, strict=True)])
        budget = np.array(
            [
                one.engine.token_budget.si * table.place[2] * table.place[1]
                for one, table in zip(cases, pools, strict=True)
            ]
        )
        grids = step_grids(model, traffic, np.maximum(budget, 1.0), top, _drafter(case, pool, engine, place))
    except ValueError as error:
        return [None] * len(cases), [str(error)] * len(cases)
    found: list[PoolTable | None] = []
    reasons = []
    for i, (one, table) in enumerate(zip(cases, pools, strict=True)):
        short = limits[i] < 1.0
        made = PoolTable(table, grids[i], float(limits[i]), float(budget[i]), float(fits.kv_per_token[i]))
        found.append(None if short else made)
        reasons.append(_memory_reason(one, table, limits[i]) if short else "")
    return found, reasons


def _drafter(case: Case, pool: Pool, engine: Engine, place: Placements) -> Drafter | None:
    """Multi-token-prediction layers of the model, or one more layer of it where it has none."""
    if not case.drafts:
        return None
    layers = case.graph.mtp or (replace(case.graph.groups[-1], count=1),)
    graph = replace(case.graph, groups=layers, mtp=())
    return Drafter(StepModel(graph, pool.hardware, case.precision, engine, place), case.drafts)


def _traffic(cases: Sequence[Case]) -> Traffic:
    kv, pairs, cvs = [], [], []
    for case in cases:
        lengths = case.lengths
        kv.append(lengths.input_tokens + lengths.output_tokens * (1.0 + lengths.output_cv**2) / 2.0)
        pairs.append(lengths.input_tokens * (1.0 + lengths.input_cv**2) / 2.0)
        progress = (lengths.output_tokens * (1.0 + lengths.output_cv**2)) ** 2 / 12.0
        cvs.append(np.sqrt((lengths.input_tokens * lengths.input_cv) ** 2 + progress) / max(kv[-1], 1.0))
    prompt = np.array([case.lengths.input_tokens for case in cases])
    query = np.array([1.0 + case.drafts for case in cases])
    return Traffic(prompt, np.array(kv), np.array(pairs), np.array(cvs), query)


def _limit(case: Case, pool: Pool, index: int, place: Placements, traffic: Traffic) -> float:
    """Requests that an instance can hold: memory and the sequence limit."""
    one = place.take(np.array([index]))
    fit = memory_fit(case.graph, pool.hardware, case.precision, case.engine, one)
    lengths, share = case.lengths, case.engine.reserved_output.si
    room = max(float(traffic.kv[index]), lengths.input_tokens + share * lengths.output_tokens)
    held = float(fit.requests(np.array([[room]]))[0, 0])
    if held < 1.0:
        return held
    return float(min(held, case.engine.max_requests.si * pool.place[2]))


def _top(case: Case, pool: Pool, limit: float) -> float:
    users = case.users / pool.instances if case.users else np.inf
    return float(max(min(limit, users), 1.0))


def _memory_reason(case: Case, pool: Pool, limit: float) -> str:
    chips = pool.place[0] * pool.place[1] * pool.place[2]
    what = f"{case.precision.label} weights and one request on {chips} chips of {case.chip.id}"
    return f"does not fit: {what} ({limit:.2f} requests)"
