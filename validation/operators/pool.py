"""Pooled lanes for chips without tables, and what they cost: ``python -m validation.operators.pool --wheel DIR``.

Every operator and format is fitted to the rows of all measured chips and engines together: the three physical numbers
are medians over lanes, the surface is common. Leaving one chip out (all its engines) and predicting it gives the error
that a chip without tables has to expect; leaving out its whole family (all Hopper, all Blackwell) is harder still. The
pack keeps the first as its spread; both are reported per chip.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from suanli.chip.lane import Lane
from suanli.chip.packs import LaneRecord
from validation.operators import solve
from validation.operators.fit import HERE, record_lane, rounded, write_pack
from validation.operators.rows import MIN_ROWS, ChipFacts, Rows, chip_facts, kinds_by_name, lanes_of, sample, take

Array = NDArray[np.float64]

LANE_ROWS = 1200  # rows of each lane that enter a pooled fit
MIN_CHIPS = 3


class Part:
    """Sampled rows of one lane on one chip, with its own physical numbers."""

    def __init__(self, rows: Rows, facts: ChipFacts) -> None:
        index = sample(np.arange(len(rows.table.seconds)), LANE_ROWS)
        self.chip = facts.id
        self.family = facts.family
        self.rows = rows
        self.work = take(rows.work, index)
        self.seconds = rows.table.seconds[index]
        self.lane = solve.physical(rows.work, rows.table.seconds, rows.rate, rows.bandwidth)
        if rows.launch is not None:
            self.lane = Lane(rows.launch, self.lane.compute, self.lane.memory)


def pooled_lane(parts: Sequence[Part]) -> Lane:
    """One lane for all parts."""
    operator, dtype = parts[0].rows.operator, parts[0].rows.table.dtype
    launch, compute, memory = (
        float(np.median([getattr(part.lane, name) for part in parts])) for name in ("launch", "compute", "memory")
    )
    lane = Lane(launch, compute, memory)
    rate, bandwidth = (float(np.median([getattr(part.rows, name) for part in parts])) for name in ("rate", "bandwidth"))

    def log_base_at(sizes: Sequence[Array]) -> Array:
        return np.asarray(np.log(lane.base(operator.at(dtype, sizes), rate, bandwidth)))

    target = np.concatenate(
        [np.log(part.seconds / lane.base(part.work, part.rows.rate, part.rows.bandwidth)) for part in parts]
    )
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


def errors_on(lane: Lane, parts: Sequence[Part]) -> Array:
    """Factor errors of a lane on the sampled rows of some parts."""
    stored = rounded(lane)
    return np.concatenate(
        [
            solve.factor_errors(stored.time(part.work, part.rows.rate, part.rows.bandwidth), part.seconds)
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
        lane = pooled_lane(rest)
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
                    parts[rows.table.op, rows.table.dtype].append(Part(rows, chip))
    return parts


def summary(errors: Array) -> dict[str, float]:
    """Median and 90th percentile."""
    return {"median": float(f"{np.median(errors):.3g}"), "p90": float(f"{np.quantile(errors, 0.9):.3g}")}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wheel", type=Path, required=True, help="folder of pip install --target")
    parser.add_argument("--ops", default="", help="only these kinds: merged into the pack that exists")
    given = parser.parse_args()
    folder = HERE / "report" / "pooled"
    folder.mkdir(parents=True, exist_ok=True)
    for (op, dtype), parts in collect(
        given.wheel, chip_facts(HERE), [name for name in given.ops.split(",") if name]
    ).items():
        if len({part.chip for part in parts}) < MIN_CHIPS:
            continue
        chip_out, family_out = judge(parts, "chip"), judge(parts, "family")
        every = np.concatenate(list(chip_out.values()))
        count = sum(len(part.seconds) for part in parts)
        record = record_lane(pooled_lane(parts), (op, dtype, "pooled"), kernels=(), counts=(count, 0), errors=every)
        line = {
            "op": op,
            "dtype": dtype,
            "all": summary(every),
            "chip_out": {chip: summary(errors) for chip, errors in chip_out.items()},
            "family_out": {chip: summary(errors) for chip, errors in family_out.items()},
        }
        print(json.dumps(line), flush=True)
        (folder / f"{op}.{dtype}.json").write_text(
            json.dumps({"report": line, "lane": record.model_dump()}) + "\n", encoding="utf-8"
        )
    records = [
        LaneRecord.model_validate(json.loads(path.read_text(encoding="utf-8"))["lane"])
        for path in sorted(folder.glob("*.json"))
    ]
    write_pack("pooled-gpu", "pooled", "pooled", records)


if __name__ == "__main__":
    main()
