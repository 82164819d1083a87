"""Pooled lanes for chips without tables, and what they cost: ``python -m validation.operators.pool --wheel DIR``.

Every operator and format is fitted to the rows of all measured chips together, once under all engines and once under
each: the three physical numbers are medians over lanes, the surface is common. A launch is a number of cycles, so it is
pooled at one clock. Leaving one chip out (all its engines) and predicting it gives the error that a chip without tables
has to expect; leaving out its whole family (all Hopper, all Blackwell) is harder still. The packs keep the first as
their spread; both are reported per chip.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from suanli.chip.lane import Lane
from suanli.chip.packs import LaneRecord
from suanli.chip.work import Work
from validation.operators import solve
from validation.operators.fit import HERE, record_lane, rounded, write_pack
from validation.operators.kinds import Operator
from validation.operators.plausibility import FLOOR_KEEP, FLOOR_RATIO
from validation.operators.rows import MIN_ROWS, ChipFacts, Rows, chip_facts, kinds_by_name, lanes_of, sample, take
from validation.operators.tables import ENGINES

Array = NDArray[np.float64]

LANE_ROWS = 1200  # rows of each lane that enter a pooled fit
MIN_CHIPS = 3
CLOCK = 1.83e9  # Hz; that pooled launches hold at (H100, H200), and taken for chips that publish none


@dataclass(frozen=True)
class Part:
    """Sampled rows of one lane on one chip, with its own physical numbers; the launch is at `CLOCK`."""

    chip: str
    family: str
    engine: str
    dtype: str
    operator: Operator
    work: Work
    seconds: Array
    rate: float
    bandwidth: float
    clock: float
    lane: Lane

    def priced(self, lane: Lane) -> Array:
        """Times [s] of the rows by a pooled lane without its surface, at the chip's clock."""
        return self.at_clock(lane).base(self.work, self.rate, self.bandwidth)

    def at_clock(self, lane: Lane) -> Lane:
        """A pooled lane at the chip's clock."""
        return replace(lane, launch=lane.launch * CLOCK / self.clock)


def part_of(rows: Rows, facts: ChipFacts) -> Part:
    """Sample the rows of a lane."""
    index = sample(np.arange(len(rows.table.seconds)), LANE_ROWS)
    clock = facts.clock or CLOCK
    lane = solve.physical(rows.work, rows.table.seconds, rows.rate, rows.bandwidth)
    launch = (rows.launch or lane.launch) * clock / CLOCK
    memory = rows.operator.pooled_memory or lane.memory
    return Part(
        facts.id,
        facts.family,
        rows.table.engine,
        rows.table.dtype,
        rows.operator,
        take(rows.work, index),
        rows.table.seconds[index],
        rows.rate,
        rows.bandwidth,
        clock,
        Lane(launch, lane.compute, memory),
    )


def without_host(parts: Sequence[Part]) -> list[Part]:
    """Parts whose shortest kernels are several times those of the other chips keep only rows far from that floor.

    The host was in the loop there, as in the importer's check among the engines of one chip, which cannot see it where
    a chip has one engine.
    """
    usual = float(np.median([part.lane.launch for part in parts]))
    found = []
    for part in parts:
        if part.lane.launch > FLOOR_RATIO * usual:
            keep = part.seconds > FLOOR_KEEP * part.lane.launch * CLOCK / part.clock
            lane = replace(part.lane, launch=usual)
            found.append(replace(part, work=take(part.work, keep), seconds=part.seconds[keep], lane=lane))
        else:
            found.append(part)
    return [part for part in found if len(part.seconds) >= MIN_ROWS]


def pooled_lane(parts: Sequence[Part]) -> Lane:
    """One lane for all parts."""
    operator, dtype = parts[0].operator, parts[0].dtype
    launch, compute, memory = (
        float(np.median([getattr(part.lane, name) for part in parts])) for name in ("launch", "compute", "memory")
    )
    lane = Lane(launch, compute, memory)
    rate, bandwidth = (float(np.median([getattr(part, name) for part in parts])) for name in ("rate", "bandwidth"))

    def log_base_at(sizes: Sequence[Array]) -> Array:
        return np.asarray(np.log(lane.base(operator.at(dtype, sizes), rate, bandwidth)))

    target = np.concatenate([np.log(part.seconds / part.priced(lane)) for part in parts])
    axes = [np.asarray(axis, dtype=float) for axis in operator.knots]
    coordinates = [
        np.concatenate([np.broadcast_to(part.work.coordinates[axis], part.seconds.shape) for part in parts])
        for axis in range(len(axes))
    ]
    surface = solve.surface_of(
        axes,
        coordinates,
        target,
        log_base_at,
        operator.rising,
        smoothness=operator.smoothness,
        tolerance=operator.tolerance,
    )
    return Lane(launch, compute, memory, surface)


def not_falling(lane: Lane, parts: Sequence[Part]) -> Lane:
    """A pooled lane whose times do not fall with size on the fastest chip of the pool, where the base rises least."""
    operator, dtype = parts[0].operator, parts[0].dtype
    if lane.surface is None:
        raise ValueError("a pooled lane has a surface")
    rate, bandwidth = (max(getattr(part, name) for part in parts) for name in ("rate", "bandwidth"))
    sizes = [2.0 ** axis.ravel() for axis in np.meshgrid(*lane.surface.knots, indexing="ij")]
    log_base = np.asarray(np.log(lane.base(operator.at(dtype, sizes), rate, bandwidth)))
    return replace(lane, surface=solve.not_falling(lane.surface, log_base, operator.rising))


def errors_on(lane: Lane, parts: Sequence[Part]) -> Array:
    """Factor errors of a lane on the sampled rows of some parts."""
    stored = rounded(lane)
    return np.concatenate(
        [
            solve.factor_errors(part.at_clock(stored).time(part.work, part.rate, part.bandwidth), part.seconds)
            for part in parts
        ]
    )


def judge(parts: Sequence[Part], by: str) -> dict[str, Array]:
    """Errors on each chip when it (``chip``) or its whole family (``family``) is left out of the fit."""
    errors: dict[str, Array] = {}
    for name in sorted({getattr(part, by) for part in parts}):
        rest = [part for part in parts if getattr(part, by) != name]
        if len({part.chip for part in rest}) < 2:
            continue
        lane = not_falling(pooled_lane(rest), rest)
        for chip in sorted({part.chip for part in parts if getattr(part, by) == name}):
            errors[chip] = errors_on(lane, [part for part in parts if part.chip == chip])
    return errors


def collect(wheel: Path, facts: dict[str, ChipFacts], ops: list[str]) -> dict[tuple[str, str], list[Part]]:
    """Sampled parts of every lane of every system by (op, dtype)."""
    parts: dict[tuple[str, str], list[Part]] = defaultdict(list)
    for kind in kinds_by_name(ops):
        for system, chip in facts.items():
            for rows in lanes_of(wheel, system, chip, kind):
                if len(rows.table.seconds) >= MIN_ROWS:
                    parts[rows.table.op, rows.table.dtype].append(part_of(rows, chip))
    return {name: without_host(some) for name, some in parts.items()}


def summary(errors: Mapping[str, Array]) -> dict[str, dict[str, float]]:
    """Median and 90th percentile by name."""
    return {
        name: {"median": float(f"{np.median(one):.3g}"), "p90": float(f"{np.quantile(one, 0.9):.3g}")}
        for name, one in errors.items()
    }


def pool(op: str, dtype: str, engine: str, parts: Sequence[Part]) -> dict[str, object] | None:
    """Report and stored lane of one operator and format; None where too few chips have it. Families: all engines."""
    if len({part.chip for part in parts}) < MIN_CHIPS:
        return None
    chip_out = judge(parts, "chip")
    family_out = judge(parts, "family") if engine == "pooled" else {}
    every = np.concatenate(list(chip_out.values()))
    count = sum(len(part.seconds) for part in parts)
    record = record_lane(
        not_falling(pooled_lane(parts), parts),
        (op, dtype, "pooled"),
        kernels=(),
        counts=(count, 0),
        errors=every,
        clock=CLOCK,
    )
    line = {
        "op": op,
        "dtype": dtype,
        "engine": engine,
        "all": summary({"all": every})["all"],
        "chip_out": summary(chip_out),
        "family_out": summary(family_out),
    }
    return {"report": line, "lane": record.model_dump(exclude_none=True)}


def stored(folder: Path) -> dict[str, LaneRecord]:
    """Lanes of one pool by the name of their report."""
    return {
        path.stem: LaneRecord.model_validate(json.loads(path.read_text(encoding="utf-8"))["lane"])
        for path in sorted(folder.glob("*.json"))
    }


def write_packs(folder: Path) -> None:
    """One pack of all engines, and one per engine with lanes that predict chips left out better than those of all."""
    every = stored(folder / "pooled")
    write_pack("pooled-gpu", "pooled", "pooled", list(every.values()))
    for engine in ENGINES:
        own = stored(folder / engine)
        kept = [lane for name, lane in own.items() if lane.median_error < every[name].median_error]
        write_pack("pooled-gpu", engine, "pooled", kept)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wheel", type=Path, required=True, help="folder of pip install --target")
    parser.add_argument("--ops", default="", help="only these kinds: merged into the packs that exist")
    given = parser.parse_args()
    folder = HERE / "report" / "pooled"
    found = collect(given.wheel, chip_facts(HERE), [name for name in given.ops.split(",") if name])
    for engine in ("pooled", *ENGINES):
        (folder / engine).mkdir(parents=True, exist_ok=True)
        for (op, dtype), parts in found.items():
            chosen = [part for part in parts if engine in ("pooled", part.engine)]
            entry = pool(op, dtype, engine, chosen)
            if entry is not None:
                print(json.dumps(entry["report"]), flush=True)
                path = folder / engine / f"{op}.{dtype}.json"
                path.write_text(json.dumps(entry) + "\n", encoding="utf-8")
    write_packs(folder)


if __name__ == "__main__":
    main()
