"""Evaluate every deployment of one system: a table of columns, one row per deployment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from suanli.mapping.engine import Engine
from suanli.mapping.hardware import Hardware
from suanli.mapping.memory import MemoryFit, memory_fit
from suanli.mapping.placement import Placements
from suanli.mapping.precision import Precision
from suanli.mapping.step import StepModel
from suanli.search.study import Slo
from suanli.serving.steady import (
    TAILS,
    Demand,
    Point,
    PrefillPoint,
    aggregated,
    batch_limit,
    decode_pool,
    prefill_pool,
)
from suanli.workload.ops import ModelGraph

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

# Batch sizes are tried on absolute grids, so that a larger memory or a looser limit only adds to what is tried: factors
# of four over the whole range, then twice nine steps between neighbours, down to 1.7 %.
COARSE_RATIO, STEPS = 4.0, 10
USE = np.linspace(0.1, 0.95, 18)[None, :]  # utilisations of a prefill pool that are tried


@dataclass(frozen=True)
class Setting:
    """What is the same for all placements of one evaluation."""

    graph: ModelGraph
    hardware: Hardware
    engine: Engine
    precision: Precision
    demand: Demand


@dataclass(frozen=True)
class Column:
    """Best operating point of every placement under the SLO, arrays (n,).

    rate : requests per second of one instance, 0 where the SLO cannot be met. batch : decoding requests (of a prefill
    pool: utilisation). joules : energy of the chips per request [J]. tpot_floor, ttft_floor : latency [s] at the
    lightest load, for the excuse.
    """

    setting: Setting
    role: str  # aggregated, prefill or decode
    placements: Placements
    fits: Mask
    rate: Array
    batch: Array
    joules: Array  # of all chips of an instance, per request
    tpot_floor: Array
    ttft_floor: Array
    user_speed: Array  # (n, g) output tokens/s of one request at the batch sizes tried, 0 where memory is short
    chip_rate: Array  # (n, g) all tokens/s per chip there


def models_of(setting: Setting, place: Placements) -> tuple[StepModel, MemoryFit]:
    """Step model and memory fit of the placements."""
    model = StepModel(setting.graph, setting.hardware, setting.precision, setting.engine, place)
    fit = memory_fit(setting.graph, setting.hardware, setting.precision, setting.engine, place)
    return model, fit


def latency_ok(point: Point, setting: Setting, slo: Slo) -> Mask:
    """Where every latency limit holds."""
    ok = point.feasible.copy()
    engine, demand = setting.engine, setting.demand
    for percentile, limit in slo.limits("tpot").items():
        ok &= point.tpot_at(demand, percentile) <= limit
    for percentile, limit in slo.limits("ttft").items():
        first, front = engine.first_token_s.si, engine.frontend_s.si
        ok &= point.ttft(demand, first, front, percentile, TAILS[percentile]) <= limit
    return ok


def _best(point: Point, ok: Mask) -> NDArray[np.intp]:
    """Per row: index of the highest rate that is allowed; 0 where none is."""
    return np.asarray(np.argmax(np.where(ok, point.request_rate, -1.0), axis=1))


Evaluator = Callable[[Array], tuple[Point, Mask]]  # batch (n, g) -> steady states, and where the limits hold


def aggregated_column(setting: Setting, place: Placements, slo: Slo) -> Column:
    """Best operating point of every placement with prefill and decode on the same chips."""

    def of(rows: Placements) -> Evaluator:
        model, fit = models_of(setting, rows)

        def evaluate(batch: Array) -> tuple[Point, Mask]:
            point = aggregated(model, fit, setting.demand, batch, rows.token_budget[:, None])
            return point, latency_ok(point, setting, slo)

        return evaluate

    return _search(setting, "aggregated", place, of)


def decode_column(setting: Setting, place: Placements, slo: Slo) -> Column:
    """Best operating point of every placement that only decodes; TTFT is the prefill pool's."""
    tpot_only = slo.model_copy(update={f"ttft_{p}": None for p in TAILS})

    def of(rows: Placements) -> Evaluator:
        model, fit = models_of(setting, rows)

        def evaluate(batch: Array) -> tuple[Point, Mask]:
            point = decode_pool(model, fit, setting.demand, batch)
            return point, latency_ok(point, setting, tpot_only)

        return evaluate

    return _search(setting, "decode", place, of)


def _search(setting: Setting, role: str, place: Placements, of: Callable[[Placements], Evaluator]) -> Column:
    """Largest rate that is allowed: on the coarse grid first, then twice between the neighbours of the best point.

    Rows that have no allowed point on the coarse grid are not looked at again.
    """
    _, fit = models_of(setting, place)
    capacity = batch_limit(fit, setting.demand, setting.engine.max_requests.si)
    limit = np.maximum(capacity, 1.0)
    steps = int(np.ceil(np.log(limit.max(initial=1.0)) / np.log(COARSE_RATIO))) + 1
    grid = np.minimum(COARSE_RATIO ** np.arange(steps + 1.0)[None, :], limit[:, None])
    coarse, ok = of(place)(grid)
    best, rows = _best(coarse, ok), np.arange(len(grid))
    fits = (fit.budget > 0.0) & (capacity >= 1.0)
    alive = np.flatnonzero(ok[rows, best] & fits)
    rate, batch, joules = np.zeros(len(grid)), np.ones(len(grid)), np.full(len(grid), np.inf)
    if len(alive):
        rate[alive], batch[alive], joules[alive] = _refine(of(place.take(alive)), grid[alive], best[alive])
    engine, tokens = setting.engine, setting.demand.input_tokens + setting.demand.output_tokens
    first = coarse.ttft(setting.demand, engine.first_token_s.si, engine.frontend_s.si, "p50", TAILS["p50"])
    return Column(
        setting=setting,
        role=role,
        placements=place,
        fits=fits,
        rate=rate,
        batch=batch,
        joules=joules * place.chips,
        tpot_floor=coarse.tpot[:, 0],
        ttft_floor=first[:, 0],
        user_speed=coarse.feasible / coarse.tpot,
        chip_rate=coarse.feasible * coarse.request_rate * tokens / place.chips[:, None],
    )


def _refine(evaluate: Evaluator, grid: Array, best: NDArray[np.intp]) -> tuple[Array, Array, Array]:
    """Rate, batch and energy per request of a chip at the best allowed point, twice as finely as the grid before."""
    rows = np.arange(len(grid))
    for _ in range(2):
        low = grid[rows, best]
        ratio = grid[rows, np.minimum(best + 1, grid.shape[1] - 1)] / low
        grid = low[:, None] * ratio[:, None] ** np.linspace(0.0, 1.0, STEPS)[None, :]
        point, ok = evaluate(grid)
        best = _best(point, ok)
    rate = point.request_rate[rows, best]
    return rate, grid[rows, best], point.energy_per_chip[rows, best] / point.tpot[rows, best] / rate


def prefill_column(setting: Setting, place: Placements, slo: Slo, transfer_s: Array | float = 0.0) -> Column:
    """Highest utilisation of every prefill-only placement at which TTFT, with `transfer_s` (n, 1) added, holds."""
    model, fit = models_of(setting, place)
    point = prefill_pool(model, fit, setting.demand, USE, place.token_budget[:, None])
    ok = (point.request_rate > 0.0) & np.ones_like(USE, dtype=bool)
    fixed = setting.engine.first_token_s.si + setting.engine.frontend_s.si
    for percentile, limit in slo.limits("ttft").items():
        ok &= point.ttft(setting.demand, percentile, TAILS[percentile]) + fixed + transfer_s <= limit
    rate = np.where(ok, point.request_rate, -1.0)
    index = np.argmax(rate, axis=1)
    rows = np.arange(len(rate))
    best = np.maximum(rate[rows, index], 0.0)
    floor = point.ttft(setting.demand, "p50", 0.5)[:, 0] + fixed
    fits = point.request_rate[:, 0] > 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        joules = point.energy_per_chip[rows, index] * place.chips / best
    nothing = np.zeros_like(point.use)
    return Column(setting, "prefill", place, fits, best, USE[0, index], joules, floor, floor, nothing, nothing)


@dataclass(frozen=True)
class State:
    """One deployment's pool at work: its models and steady state, all arrays (1, 1)."""

    model: StepModel
    fit: MemoryFit
    setting: Setting
    token_budget: float
    point: Point | PrefillPoint


def operating_point(column: Column, row: int, rate: float) -> State:
    """State of one row when every instance serves `rate` requests/s, at most its best rate."""
    setting, place = column.setting, column.placements.take(np.array([row]))
    model, fit = models_of(setting, place)
    budget = float(place.token_budget[0])
    if column.role == "prefill":
        use = np.array([[column.batch[row] * rate / column.rate[row]]])
        return State(
            model, fit, setting, budget, prefill_pool(model, fit, setting.demand, use, place.token_budget[:, None])
        )

    def at(batch: Array) -> Point:
        if column.role == "decode":
            return decode_pool(model, fit, setting.demand, batch)
        return aggregated(model, fit, setting.demand, batch, place.token_budget[:, None])

    grid = np.geomspace(min(column.batch[row] * 1e-3, 0.1), column.batch[row], 24)[None, :]
    rates = np.maximum.accumulate(at(grid).request_rate[0])
    batch = np.exp(np.interp(np.log(rate), np.log(rates), np.log(grid[0])))
    return State(model, fit, setting, budget, at(np.array([[batch]])))
