"""All deployments of one system: screened quickly, the promising ones worked out with every measured correction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from numpy.typing import NDArray

from suanli.mapping.placement import Placements, enumerate_placements
from suanli.search.candidates import (
    Column,
    Setting,
    aggregated_column,
    decode_column,
    operating_point,
    prefill_column,
)
from suanli.search.cost import SystemCost
from suanli.search.front import front_rows
from suanli.search.provision import provisioned_chips
from suanli.search.study import Slo, Study
from suanli.search.systems import Ready
from suanli.serving.steady import TAILS, Point

Array = NDArray[np.float64]

INSTANCE_LIMIT = 256  # chips of one engine instance that are tried; wider ones have not been measured by anybody
SHALLOW_BUDGET = 2048.0  # tokens per step tried beside the engine's default, for tight TPOT limits
BISECTIONS = 14  # of the rate of a closed loop: below a thousandth
PROMISING = 24  # rows of a table that are worked out exactly, besides those on its trade-off curve


@dataclass(frozen=True)
class Evaluated:
    """Tables of one system. `rows` counts the deployments that were looked at."""

    ready: Ready
    aggregated: Column
    prefill: Column
    decode: Column
    rows: int

    @property
    def columns(self) -> tuple[Column, ...]:
        """All tables."""
        return (self.aggregated, self.prefill, self.decode)


def screen(ready: Ready, study: Study) -> Evaluated:
    """Every placement of one system in every setting, without the correction surfaces of measured lanes."""
    quick = replace(ready.setting, hardware=replace(ready.setting.hardware, exact=False))
    domain = min(ready.system.chips, INSTANCE_LIMIT)
    place = enumerate_placements(ready.setting.graph, domain, domain)
    from_engine = ready.setting.engine.token_budget.si
    one, both = place.with_budgets([from_engine]), place.with_budgets(sorted({SHALLOW_BUDGET, from_engine}))
    tables = (
        aggregated_column(quick, both, study.slo),
        prefill_column(quick, one, study.slo),
        decode_column(quick, one, study.slo),
    )
    return Evaluated(ready, *tables, rows=sum(len(table.placements) for table in tables))


def evaluate(ready: Ready, study: Study, cost: SystemCost | None) -> Evaluated:
    """Screen a system, then work the promising rows out exactly; the same where nothing was measured."""
    rough = screen(ready, study)
    if ready.setting.hardware.calibration is None:
        return rough

    def exact(
        column: Column, function: Callable[[Setting, Placements, Slo], Column], keep: NDArray[np.intp] | None = None
    ) -> Column:
        score = order_of(column, ready, offered_rate(study, column), study.objective, cost)
        rows = np.argsort(score, kind="stable")[:PROMISING]
        kept = rows if keep is None else np.union1d(rows, keep)
        return function(ready.setting, column.placements.take(kept), study.slo)

    return Evaluated(
        ready,
        exact(rough.aggregated, aggregated_column, front_rows(rough.aggregated)),
        exact(rough.prefill, prefill_column),
        exact(rough.decode, decode_column),
        rough.rows,
    )


def offered_rate(study: Study, column: Column) -> Array:
    """Request rate that a column's deployments face in total [1/s]; with fixed users it depends on the latency."""
    if study.workload.rate is not None:
        return np.full(len(column.placements), study.workload.rate)
    users = float(study.workload.concurrency or 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        answer = np.where(column.rate > 0.0, column.batch / column.rate, np.inf) + column.ttft_floor
    return np.asarray(users / answer)


def closed_rate(column: Column, row: int, users: float) -> float:
    """Requests/s of one instance with `users` in a closed loop: users over the time of one answer (Little's law)."""
    engine, demand = column.setting.engine, column.setting.demand
    low, high = 0.0, float(column.rate[row])
    for _ in range(BISECTIONS):
        rate = (low + high) / 2.0
        point = cast("Point", operating_point(column, row, rate).point)
        first = point.ttft(demand, engine.first_token_s.si, engine.frontend_s.si, "p50", TAILS["p50"])
        answer = float(first[0, 0] + demand.output_tokens * point.tpot[0, 0])
        low, high = (rate, high) if rate * answer < users else (low, rate)
    return low


def order_of(column: Column, ready: Ready, offered: Array, objective: str, cost: SystemCost | None) -> Array:
    """Quantity to minimise per row: money per hour, chips, energy or latency; infinite where the SLO fails."""
    with np.errstate(divide="ignore", invalid="ignore"):
        instances = np.ceil(offered / column.rate - 1e-9)
        counted = np.where(np.isfinite(instances), instances, 1.0)
        paid = provisioned_chips(ready.system, column.placements.chips, counted)
        score = paid
        if objective == "tokens_per_joule":
            score = column.joules
        elif objective == "ttft":
            score = column.ttft_floor
        elif objective == "usd_per_mtok" and cost is not None:
            hardware = column.setting.hardware
            around = max(hardware.all_in_power - hardware.chip_power, 0.0)
            load = (column.joules * offered / paid + around) / hardware.all_in_power
            load = np.where(np.isfinite(load), np.clip(load, 0.0, 1.0), 1.0)
            score = paid * np.asarray(cost.per_chip_hour(load).total)
    return np.where((column.rate > 0.0) & (offered > 0.0), score + paid * 1e-9, np.inf)
