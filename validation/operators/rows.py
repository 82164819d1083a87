"""From raw tables to rows that a fit can use: one row per shape, plausible, split into shapes fitted and held out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from suanli.catalog.loader import load
from suanli.catalog.schema import Chip
from suanli.chip.formats import peak_of
from suanli.chip.work import Work
from suanli.quantity import Quantity
from validation.operators.kinds import OPERATORS, Operator, math_dtype
from validation.operators.plausibility import Limits, Report, dominated, filter_rows, floor_of, without_duplicates
from validation.operators.tables import KINDS, Kind, Table, read

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

HELD_OUT = 0.2  # share of shape families that a fit does not see
FIT_ROWS = 8000
MIN_ROWS = 100
SEED = 20261123


@dataclass(frozen=True)
class ChipFacts:
    """Dense peaks [FLOP/s], memory bandwidth [B/s], clock [Hz], last-level cache [B] and family of a measured chip."""

    id: str
    family: str
    peaks: Mapping[str, float]
    bandwidth: float
    cache: float
    clock: float | None = None  # None where nobody published it


@dataclass(frozen=True)
class Rows:
    """Plausible rows of one lane with their work and the mask of held-out rows."""

    table: Table
    work: Work
    rate: float
    bandwidth: float
    held_out: Mask
    report: Report
    launch: float | None  # [s], only where the lane's own floor is an artefact

    @property
    def operator(self) -> Operator:
        """How this kind is fitted."""
        return OPERATORS[self.table.op]


def chip_facts(here: Path) -> dict[str, ChipFacts]:
    """Facts of every measured system: from the catalog, and from chips.yaml for chips that it does not hold."""
    given = yaml.safe_load((here / "chips.yaml").read_text(encoding="utf-8"))
    catalog = load()
    facts: dict[str, ChipFacts] = {}
    for system, chip_id in given["systems"].items():
        if chip_id in given["chips"]:
            own = given["chips"][chip_id]
            peaks = {dtype: float(rate) for dtype, rate in own["peaks"].items()}
            clock = float(own["clock"]) if own["clock"] else None
            facts[system] = ChipFacts(
                chip_id, own["family"], peaks, float(own["bandwidth"]), float(own["cache"]), clock
            )
        else:
            facts[system] = _catalogued(catalog.chip(chip_id), given["missing"].get(chip_id, {}))
    return facts


def _catalogued(chip: Chip, missing: Mapping[str, str]) -> ChipFacts:
    """Facts of a catalogued chip, completed from `missing`. Raises KeyError when no cache is known."""
    peaks = {p.dtype: p.rate.si for p in chip.peaks if p.sparsity == "dense" and p.rate.known}
    cache, clock = chip.facts.get("l2_cache"), chip.compute.clock
    return ChipFacts(
        chip.id,
        chip.family,
        peaks,
        chip.memory.bandwidth.si,
        cache.si if isinstance(cache, Quantity) else float(missing["cache"]),
        clock.si if clock is not None and clock.known else (float(missing["clock"]) if "clock" in missing else None),
    )


def take(work: Work, index: Mask | NDArray[np.intp]) -> Work:
    """Rows of a work record."""
    shape = work.flops.shape
    coordinates = tuple(np.broadcast_to(axis, shape)[index] for axis in work.coordinates)
    return Work(work.flops[index], np.broadcast_to(work.steps, shape)[index], work.bytes[index], coordinates)


def lanes_of(wheel: Path, system: str, facts: ChipFacts, kind: Kind) -> list[Rows]:
    """All lanes of one kind on one system, filtered; of each the newest version that has enough rows."""
    newest: dict[tuple[str, str, str], tuple[Table, int]] = {}
    for engine in kind.engines:
        for table in read(wheel, system, kind, engine):
            for part in _split(table):
                key = (part.op, part.dtype, engine)
                if key not in newest and len(part.seconds) >= MIN_ROWS:
                    newest[key] = without_duplicates(part)
    floors = {key: floor_of(table.seconds) for key, (table, _) in newest.items()}
    return [_rows(table, duplicates, facts, floors) for table, duplicates in newest.values()]


def _reference_floor(table: Table, floors: Mapping[tuple[str, str, str], float]) -> float:
    """Shortest kernels of the same kind and format under another engine [s]; of any format for plain products.

    A product in another format may run a second kernel (quantisation), so only half of that floor's distance counts.
    """
    own = floors[table.op, table.dtype, table.engine]
    same = [floor for key, floor in floors.items() if key[:2] == (table.op, table.dtype) and key[2] != table.engine]
    best = min(same, default=own)
    if table.op == "matmul":
        best = min(best, 2.0 * min(floors.values()))
    return best


def _split(table: Table) -> list[Table]:
    """Lanes inside one table.

    Experts: balanced routing only (the skewed ones are random draws), gated and plain networks apart. Linear attention:
    prefill and decode apart, the kernels of one call added up. Streaming: one lane.
    """
    if table.op == "state":
        return [_state(table, "context", "state_prefill"), _state(table, "generation", "state_decode")]
    if table.op == "stream":
        return [replace(table, dtype="bf16")]
    if table.op == "indexer":
        return [replace(table, dtype="fp8")]
    if table.op != "experts":
        return [table]
    columns = dict(table.columns)
    balanced = columns.pop("distribution") == "balanced"
    plain = balanced & is_plain(table)
    parts = []
    for op, keep in (("experts", balanced & ~plain), ("experts_plain", plain)):
        parts.append(replace(table, op=op, columns=columns).pick(keep))
    return parts


def _state(table: Table, phase: str, op: str) -> Table:
    """Convolution and recurrence of one call added up; calls with only one of them measured are left out."""
    columns = dict(table.columns)
    keep = columns.pop("phase").astype(str) == phase
    shapes = Table(table.system, table.engine, table.version, op, "bf16", columns, table.kernels, table.seconds).pick(
        keep
    )
    if not keep.any():
        return shapes
    key = codes(shapes, tuple(columns))
    names = np.unique(shapes.kernels)
    total = np.zeros(key.max() + 1)
    present = np.zeros(key.max() + 1, dtype=int)
    for name in names:
        here = shapes.kernels == name
        both, position = np.unique(key[here], return_index=True)
        total[both] += shapes.seconds[here][position]
        present[both] += 1
    first = np.unique(key, return_index=True)[1]
    chosen = shapes.pick(first)
    whole = present == 2  # convolution and recurrence
    return Table(table.system, table.engine, table.version, op, "bf16", chosen.columns, chosen.kernels, total).pick(
        whole
    )


def is_plain(table: Table) -> Mask:
    """Experts without a gate: named so by the kernel, or one of the Nemotron-3 shapes (relu squared)."""
    shapes = {(2688, 1856), (1024, 2688), (2048, 5120), (8192, 5120)}
    pairs = zip(table.columns["hidden"].tolist(), table.columns["inner"].tolist(), strict=True)
    named = np.char.find(table.kernels, "nongated") >= 0
    return np.asarray(named | np.array([pair in shapes for pair in pairs], dtype=bool))


def _rows(table: Table, duplicates: int, facts: ChipFacts, floors: Mapping[tuple[str, str, str], float]) -> Rows:
    operator = OPERATORS[table.op]
    work = operator.work(table)
    rate = peak_of(facts.peaks, math_dtype(table.op, table.dtype))
    own = floors[table.op, table.dtype, table.engine]
    reference = _reference_floor(table, floors)
    sizes = [table.columns[name].astype(float) for name in operator.sizes]
    spikes = dominated(sizes, table.seconds, codes(table, operator.groups))
    chip = Limits(rate, facts.bandwidth, facts.cache)
    keep, dropped = filter_rows(table, work, chip, floor=own, reference=reference, spikes=spikes)
    report = Report(f"{table.system}/{table.op}/{table.engine}/{table.version}/{table.dtype}", len(keep) + duplicates)
    report.dropped = {"duplicate shape": duplicates, **dropped} if duplicates else dropped
    kept = table.pick(keep)
    launch = 0.9 * reference if "host in the loop (floor)" in dropped else None
    return Rows(kept, take(work, keep), rate, facts.bandwidth, hold_out(kept, operator), report, launch)


def codes(table: Table, names: tuple[str, ...]) -> NDArray[np.int64]:
    """One integer per distinct combination of some columns."""
    if not names:
        return np.zeros(len(table.seconds), dtype=np.int64)
    stacked = np.stack([np.unique(table.columns[name], return_inverse=True)[1] for name in names])
    return np.unique(stacked, axis=1, return_inverse=True)[1].astype(np.int64)


def hold_out(table: Table, operator: Operator) -> Mask:
    """Whole shape families (or, where a lane has fewer than five, whole splits of them) that the fit must not see."""
    if len(table.seconds) == 0:
        return np.zeros(0, dtype=bool)
    groups = codes(table, operator.held_out)
    if groups.max(initial=0) < 4:
        finer = tuple(name for name in ("tp", "ep", "batch") if name in table.columns)
        groups = codes(table, operator.held_out + finer)
    names = np.unique(groups)
    chosen = np.random.default_rng(SEED).choice(names, max(1, int(HELD_OUT * len(names))), replace=False)
    return np.isin(groups, chosen)


def sample(index: NDArray[np.intp], count: int) -> NDArray[np.intp]:
    """At most `count` of the rows, seeded."""
    if len(index) <= count:
        return index
    return np.random.default_rng(SEED).choice(index, count, replace=False)


def kinds_by_name(names: list[str]) -> list[Kind]:
    """Kinds with these op names; all when the list is empty."""
    return [kind for kind in KINDS if not names or kind.op in names]
