"""Fit the few physical figures of an engine to measured serving rows, from the general to the special.

Four levels: the engine on all chips, on the chips of a vendor (where it runs on several), on a chip family, on a family
from a version on. Each level starts from the one above and is held to it by a prior in logarithms, so a figure only
moves as far as rows demand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from suanli.mapping.engine import Engine, version_key
from suanli.validation.deployment import RefusalError
from suanli.validation.loads import predict_row, split_steady
from suanli.validation.predict import Prepared

Array = NDArray[np.float64]

# Figures that are fitted and the width of their prior at the first level [log]: how far engines differ.
PRIORS = {
    "host_s": 0.8,
    "host_per_request_s": 0.8,
    "kernel_factor": 0.5,
    "matmul_factor": 0.25,
    "expert_factor": 0.35,
    "block_expert_factor": 0.35,
    "attention_factor": 0.35,
    "collective_factor": 0.5,
    "first_token_s": 0.7,
    "frontend_s": 0.7,
    "handover_steps": 0.7,
    "draft_host_s": 1.0,
    "acceptance": 0.12,
}
# Kernel times are known better where the operators were measured: their figures move by less.
KERNELS = (
    "kernel_factor",
    "matmul_factor",
    "expert_factor",
    "block_expert_factor",
    "attention_factor",
    "collective_factor",
)
MEASURED_WIDTH = 0.6
FAMILY = 2  # level of a chip family
LEVEL_WIDTH = (1.0, 0.7, 0.7, 0.5)  # prior width of the levels over the first one's
WEIGHTS = {"output_tok_s_per_chip": 1.0, "total_tok_s_per_chip": 1.0, "tpot_p50_ms": 1.0, "ttft_p50_ms": 1.0}
# Two stages: what sets the pace of steps, then the way to the first token, each on its own metrics.
FIRST_TOKEN = ("first_token_s", "frontend_s", "handover_steps")
STAGES = (
    (
        tuple(name for name in PRIORS if name not in ("first_token_s", "handover_steps")),
        ("output_tok_s_per_chip", "total_tok_s_per_chip", "tpot_p50_ms"),
    ),
    (FIRST_TOKEN, ("ttft_p50_ms",)),
)
FIRST, MILLI = "ttft_p50_ms", 1e-3
STAND_INS = {"tpot_p50_ms": "tpot_mean_ms", "ttft_p50_ms": "ttft_mean_ms"}
# Spread of measurements around a good model [log]
NOISE = {"output_tok_s_per_chip": 0.12, "total_tok_s_per_chip": 0.12, "tpot_p50_ms": 0.12, "ttft_p50_ms": 0.3}
REACH = 3.0  # widths of the prior that a figure may move
HUBER = 2.0  # residuals beyond so many spreads count linearly
LEAST_ROWS = 6  # below that a level is not fitted
SWEEP_ROWS = 4.0  # rows of a sweep that count in full; further ones are near repetitions
# Runs on hosts that are suspect: their H100 is 1.2 to 1.9 times their A100 in dense models, other sources say 2.5 to 3.
FIELD_RUNS = ("gpustack-lab",)
# Loads set as close to capacity as a latency limit allows: times there say little about an engine and much about the
# distance to the limit.
NEAR_CAPACITY = ("mlperf_server", "mlperf_interactive")
QUICK = 5  # requests per user that a fit simulates on separate pools
MOST_ROWS, MOST_SPLIT_ROWS = 100, 30  # of one fit, evenly taken from the sweeps; separate pools cost more to simulate

# Versions from which an engine may have figures of its own on a family, with the date for rows without a version.
EPOCHS: dict[str, tuple[tuple[str, str], ...]] = {
    "sglang": (("0.5.8", "2026-01-20"), ("0.5.10", "2026-04-15")),
    "trtllm": (("1.0", "2025-07"), ("1.2", "2025-12"), ("1.3", "2026-04")),
    "vllm": (("0.6.3", "2024-10"), ("0.6.4", "2024-12"), ("0.9", "2025-06"), ("0.14", "2026-01")),
    "trtllm-mlperf": (("5.1", "2025-06"), ("6.0", "2026-01")),
    "vllm-mlperf": (("0.9", "2025-06"), ("0.14", "2026-01")),
    "sglang-branch": (("0.5.11", "2026-05-08"), ("0.5.12", "2026-05-20")),
}

Values = dict[str, float]


@dataclass(frozen=True)
class Slot:
    """Where fitted values apply: vendor or family "" for all, epoch 0 before the first entry of EPOCHS."""

    engine: str
    vendor: str = ""
    family: str = ""
    epoch: int = -1


@dataclass
class Fitted:
    """Values [SI] of every slot with the spread of their logarithms, and what they were fitted on."""

    values: dict[Slot, Values] = field(default_factory=dict)
    spreads: dict[Slot, Values] = field(default_factory=dict)
    rows: dict[Slot, tuple[int, int]] = field(default_factory=dict)
    residual: dict[Slot, dict[str, float]] = field(default_factory=dict)
    chips: dict[Slot, tuple[str, ...]] = field(default_factory=dict)

    def take(self, other: Fitted) -> None:
        """Add the slots of another fit."""
        for name in ("values", "spreads", "rows", "residual", "chips"):
            getattr(self, name).update(getattr(other, name))

    def of(self, one: Prepared) -> Values:
        """Values for a row: of the most special slot that was fitted."""
        return self.values.get(self.slot(one) or Slot(""), {})

    def slot(self, one: Prepared) -> Slot | None:
        """The most special slot that was fitted for a row."""
        return next((slot for slot in reversed(slots_of(one)) if slot in self.values), None)

    def knows(self, one: Prepared) -> bool:
        """Whether the engine was fitted on the family of a row, and on its chip where operators are not measured."""
        slot = self.slot(one)
        if slot is None or not slot.family:
            return False
        return one.case.evidence == "measured_operators" or one.case.chip.id in self.chips[replace(slot, epoch=-1)]


def epoch_of(engine: str, version: str, date: str) -> int:
    """Index of the last epoch of an engine that has begun; 0 before the first."""
    key = version_key(version.removeprefix("mlperf-"))
    found = 0
    for index, (since, from_date) in enumerate(EPOCHS.get(engine, ()), start=1):
        start = version_key(since)
        if (key >= start) if key is not None and start is not None else (date >= from_date):
            found = index
    return found


def slots_of(one: Prepared) -> tuple[Slot, ...]:
    """Slots of a row, from the general to the special."""
    row, chip, engine = one.case.row, one.case.chip, one.case.engine.id
    epoch = epoch_of(engine, row.text("engine_version"), row.text("date"))
    family = Slot(engine, chip.vendor, chip.family)
    return Slot(engine), Slot(engine, chip.vendor), family, replace(family, epoch=epoch)


def apply(engine: Engine, values: Values) -> Engine:
    """The row's engine (its limits are the row's own) with fitted values."""
    return engine.with_values(**values) if values else engine


def log_errors(one: Prepared, engine: Engine, metrics: Sequence[str] = tuple(WEIGHTS)) -> dict[str, float]:
    """ln(predicted / measured) of the metrics that are fitted."""
    measured = one.case.row.measured()
    try:
        if len(one.tables) == 1:
            found = predict_row(one, engine)
        elif FIRST in metrics:
            found = predict_row(one, engine, QUICK)
        else:
            first = measured.get(FIRST, measured.get(STAND_INS[FIRST], 0.0))
            found = split_steady(one, engine, first * MILLI)
    except RefusalError:
        return {}
    errors = {}
    for name in WEIGHTS:
        column = name if name in measured else STAND_INS.get(name, name)
        if column in measured and found.get(column, 0.0) > 0.0:
            errors[name] = float(np.log(found[column] / measured[column]))
    if one.case.load == "open_loop":
        errors.pop("output_tok_s_per_chip", None)  # what was offered, not what could be served
    return errors


def _weight(one: Prepared, name: str) -> float:
    weight = WEIGHTS[name]
    row = one.case.row
    if row.text("quality") == "B":
        weight *= 0.7
    if row.text("source") in FIELD_RUNS:
        weight *= 0.5
    return weight


def thinned(rows: Sequence[Prepared], most: int) -> list[Prepared]:
    """At most `most` rows, taken in turn from the sweeps."""
    if len(rows) <= most:
        return list(rows)
    sweeps: dict[str, list[Prepared]] = {}
    for one in rows:
        sweeps.setdefault(one.case.row.text("sweep_id"), []).append(one)
    chosen: list[Prepared] = []
    depth = 0
    while len(chosen) < most:
        layer = [sweep[depth] for sweep in sweeps.values() if len(sweep) > depth]
        chosen += layer[: most - len(chosen)]
        depth += 1
    return chosen


def _names(rows: Sequence[Prepared], stage: Sequence[str]) -> list[str]:
    """Figures of a stage that rows of these kinds can tell something about."""
    silent: set[str] = set()
    if not any(one.case.drafts for one in rows):
        silent |= {"acceptance", "draft_host_s"}
    blocks = {one.tables[0].grid.blocks for one in rows}
    if True not in blocks:
        silent.add("block_expert_factor")
    if False not in blocks:
        silent.add("expert_factor")
    if not any(len(one.tables) > 1 for one in rows):
        silent.add("handover_steps")
    return [name for name in stage if name not in silent]


@dataclass(frozen=True)
class Solution:
    """Values [SI], spreads [log], median absolute residual by metric."""

    values: Values
    spreads: Values
    residual: dict[str, float]


def solve(rows: Sequence[Prepared], start: Values, width: float) -> Solution:
    """Both stages in turn, and the residuals in the end."""
    values = dict(start)
    spreads: Values = {}
    for names, metrics in STAGES:
        found = _solve_stage(rows, values, width, names, metrics)
        values |= found.values
        spreads |= found.spreads
    last = [log_errors(one, apply(one.case.engine, values)) for one in rows]
    residual = {}
    for name in WEIGHTS:
        errors = [abs(one[name]) for one in last if name in one]
        if errors:
            residual[name] = float(np.median(errors))
    return Solution(values, spreads, residual)


def _solve_stage(
    rows: Sequence[Prepared], start: Values, width: float, stage: Sequence[str], metrics: Sequence[str]
) -> Solution:
    """Least squares with pseudo-Huber residuals and a prior around `start`."""
    names = _names(rows, stage)
    kept = [one for one in rows if any(_has(one, name) for name in metrics)]
    if not names or not kept:
        return Solution({}, {}, {})
    centre = np.log([start[name] for name in names])
    measured = sum(one.case.evidence == "measured_operators" for one in kept) > len(kept) / 2
    sigma = np.array(
        [PRIORS[name] * width * (MEASURED_WIDTH if measured and name in KERNELS else 1.0) for name in names]
    )
    sweep_rows: dict[str, int] = {}
    for one in kept:
        sweep_rows[one.case.row.text("sweep_id")] = sweep_rows.get(one.case.row.text("sweep_id"), 0) + 1

    def residuals(position: Array) -> Array:
        values = start | dict(zip(names, np.exp(centre + position * sigma), strict=True))
        found = []
        for one in kept:
            repeated = max(sweep_rows[one.case.row.text("sweep_id")] / SWEEP_ROWS, 1.0)
            errors = log_errors(one, apply(one.case.engine, values), metrics)
            for name in metrics:
                scaled = errors.get(name, 0.0) / NOISE[name]
                soft = np.sign(scaled) * HUBER * np.sqrt(2.0 * (np.sqrt(1.0 + (scaled / HUBER) ** 2) - 1.0))
                found.append(soft * np.sqrt(_weight(one, name) / repeated))
        return np.concatenate([found, position])

    result = least_squares(
        residuals, np.zeros(len(names)), bounds=(-REACH, REACH), diff_step=0.08, max_nfev=7, ftol=3e-3, xtol=3e-3
    )
    covariance = np.linalg.pinv(result.jac.T @ result.jac)
    values = np.exp(centre + result.x * sigma)
    return Solution(
        {name: float(value) for name, value in zip(names, values, strict=True)},
        {name: float(value) for name, value in zip(names, np.sqrt(np.diag(covariance)) * sigma, strict=True)},
        {},
    )


def _has(one: Prepared, name: str) -> bool:
    measured = one.case.row.measured()
    return name in measured or STAND_INS.get(name, name) in measured


_fitted: dict[frozenset[str], Fitted] = {}  # per engine by the rows it was fitted on


def fit(rows: Iterable[Prepared], say: Callable[[str], None] = lambda _: None) -> Fitted:
    """All levels of all engines that have enough rows. Engines do not depend on each other."""
    by_engine: dict[str, list[Prepared]] = {}
    for one in rows:
        if one.case.load not in NEAR_CAPACITY:
            by_engine.setdefault(one.case.engine.id, []).append(one)
    total = Fitted()
    for engine, some in sorted(by_engine.items()):
        key = frozenset(one.case.row.id for one in some)
        if key not in _fitted:
            _fitted[key] = _fit_engine(engine, some, say)
        total.take(_fitted[key])
    return total


def _fit_engine(engine: str, rows: list[Prepared], say: Callable[[str], None]) -> Fitted:
    fitted = Fitted()
    base = {name: getattr(rows[0].case.engine, name).si for name in PRIORS}
    _level(fitted, Slot(engine), rows, base, 0, say)
    _below(fitted, rows, base | fitted.values.get(Slot(engine), {}), 1, say)
    return fitted


def _below(fitted: Fitted, rows: list[Prepared], above: Values, level: int, say: Callable[[str], None]) -> None:
    """Fit the slots of a level and those below them. One vendor or one version alone says what the level above says."""
    parts: dict[Slot, list[Prepared]] = {}
    for one in rows:
        parts.setdefault(slots_of(one)[level], []).append(one)
    for slot, some in sorted(parts.items(), key=lambda part: str(part[0])):
        if len(parts) > 1 or level == FAMILY:
            _level(fitted, slot, some, above, level, say)
        if level + 1 < len(LEVEL_WIDTH):
            _below(fitted, some, above | fitted.values.get(slot, {}), level + 1, say)


def _level(
    fitted: Fitted, slot: Slot, rows: list[Prepared], start: Values, level: int, say: Callable[[str], None]
) -> None:
    if len(rows) < LEAST_ROWS:
        return
    together = [one for one in rows if len(one.tables) == 1]
    apart = [one for one in rows if len(one.tables) > 1]
    chosen = thinned(together, MOST_ROWS) + thinned(apart, MOST_SPLIT_ROWS)
    solution = solve(chosen, start, LEVEL_WIDTH[level])
    fitted.values[slot] = start | solution.values
    fitted.spreads[slot] = solution.spreads
    fitted.rows[slot] = (len(rows), len({one.case.row.text("sweep_id") for one in rows}))
    fitted.residual[slot] = solution.residual
    fitted.chips[slot] = tuple(sorted({one.case.chip.id for one in rows}))
    say(
        f"{slot.engine:14s} {slot.vendor:10s} {slot.family:14s} {slot.epoch:2d} rows {len(rows):4d} residual "
        + " ".join(f"{name.split('_')[0]} {value:.2f}" for name, value in solution.residual.items())
    )
