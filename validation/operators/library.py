"""Fit published kernel sweeps: ``python -m validation.operators.library --data kernels.csv``.

One file per chip in ``calibration/library/``. A lane is fitted where a kernel has at least four shapes in one precision
on one chip; its error is that of leaving each row out in turn.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from suanli.catalog.loader import DATA
from suanli.chip.efficiency import calibration_folder
from suanli.chip.formats import peak_of
from suanli.chip.lane import Lane
from suanli.chip.library import Library
from suanli.chip.packs import LaneRecord
from suanli.chip.scoring import PRECISIONS, KernelCase, case_of
from suanli.chip.work import Work
from suanli.scoring import RefusedError
from suanli.surface import encode
from validation.operators import solve
from validation.operators.fit import HERE, rounded

Array = NDArray[np.float64]

MIN_ROWS = 4
# log2 knots of each coordinate of an op: coarse, the sweeps have 5 to 20 rows
KNOTS: Mapping[str, tuple[tuple[float, ...], ...]] = {
    "matmul": ((5, 7, 9, 11, 13, 15), (5, 6, 7, 8, 9, 10, 11, 13, 15), (0,)),
    "prefill": ((8, 9, 10, 11, 12, 13, 14), (0,), (0,), (0,), (6, 7, 8)),
    "stream": ((12, 14, 16, 18, 20, 22, 24, 26, 28, 31),),
}
Measured = tuple[KernelCase, float]  # case and seconds


def stacked(cases: Sequence[KernelCase]) -> Work:
    """Works of several rows as one."""
    axes = zip(*[case.work.coordinates for case in cases], strict=True)
    flops, steps, size = (
        np.array([float(getattr(case.work, name)) for case in cases]) for name in ("flops", "steps", "bytes")
    )
    return Work(flops, steps, size, tuple(np.array([float(value) for value in axis]) for axis in axes))


def fit_lane(rows: Sequence[Measured], rate: float, bandwidth: float) -> Lane:
    """Physical numbers from the ends of a short sweep, then a smooth surface."""
    cases, seconds = [case for case, _ in rows], np.array([time for _, time in rows])
    work = stacked(cases)
    arithmetic, traffic = work.steps / rate, work.bytes / bandwidth
    compute = float(np.clip(np.max(arithmetic / seconds), 0.02, 1.0)) if arithmetic.any() else 0.7
    memory = float(np.clip(np.max(traffic / seconds), 0.02, 1.0))
    rest = seconds - np.maximum(arithmetic / compute, traffic / memory)
    lane = Lane(float(np.clip(rest.max(), 1e-6, seconds.min())), compute, memory)
    target = np.log(seconds / lane.base(work, rate, bandwidth))
    knots = [np.asarray(axis, dtype=float) for axis in KNOTS[cases[0].op]]
    surface = solve.surface_of(knots, work.coordinates, target, lambda axes: np.zeros(len(axes[0])), ())
    return Lane(lane.launch, compute, memory, surface)


def left_out_errors(rows: Sequence[Measured], rate: float, bandwidth: float) -> Array:
    """Factor error of each row, predicted from all the others."""
    errors = []
    for index, (case, seconds) in enumerate(rows):
        rest = [row for position, row in enumerate(rows) if position != index]
        predicted = rounded(fit_lane(rest, rate, bandwidth)).time(case.work, rate, bandwidth)
        errors.append(float(solve.factor_errors(np.asarray(predicted), np.asarray(seconds))))
    return np.array(errors)


def measured(rows: Sequence[Mapping[str, str]]) -> dict[tuple[str, str, str], list[Measured]]:
    """Rows that have a shape, by chip, kernel and precision; one row per shape (bandwidth rows repeat the time)."""
    found: dict[tuple[str, str, str], list[Measured]] = defaultdict(list)
    for row in rows:
        if row["metric"] == "mem_bw":
            continue
        try:
            case = case_of(row)
        except RefusedError:
            continue
        seconds = case.counted / (float(row["value"]) * case.unit)
        found[row["chip"], case.library_op, row["precision"]].append((case, seconds))
    return found


def record_of(name: tuple[str, str], rows: Sequence[Measured], rate: float, bandwidth: float) -> LaneRecord:
    """Stored form of a lane fitted to all rows, judged by leaving each out."""
    lane, errors = fit_lane(rows, rate, bandwidth), left_out_errors(rows, rate, bandwidth)
    if lane.surface is None:
        raise ValueError(f"{name}: a fitted lane has a surface")
    step, values = encode(lane.surface.values)
    return LaneRecord(
        op=name[0],
        dtype=name[1],
        version="",
        kernels=(),
        rows=len(rows),
        dropped=0,
        launch_us=float(f"{lane.launch * 1e6:.4g}"),
        compute=float(f"{lane.compute:.4g}"),
        memory=float(f"{lane.memory:.4g}"),
        knots=tuple(tuple(float(place) for place in axis) for axis in lane.surface.knots),
        step=step,
        values=values,
        median_error=float(f"{np.median(errors):.3g}"),
        p90_error=float(f"{np.quantile(errors, 0.9):.3g}"),
        spread=float(f"{1.0 + np.quantile(errors, 0.8):.3g}"),
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="CSV with the columns of a kernel table")
    given = parser.parse_args()
    facts = yaml.safe_load((HERE / "library_chips.yaml").read_text(encoding="utf-8"))["chips"]
    with given.data.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    sweeps = measured(rows)
    for chip, known in facts.items():
        peaks = {dtype: float(rate) for dtype, rate in known["peaks"].items()}
        bandwidth = float(known["bandwidth"])
        lanes = []
        for (name, kernel, precision), some in sorted(sweeps.items()):
            if name not in known["names"] or len(some) < MIN_ROWS or precision not in PRECISIONS:
                continue
            record = record_of((kernel, precision), some, peak_of(peaks, PRECISIONS[precision]), bandwidth)
            lanes.append(record)
            print(f"{chip} {kernel} {precision}: {record.rows} rows, left out {record.median_error}", flush=True)
        library = Library(
            schema_version=1,
            chip=chip,
            names=tuple(known["names"]),
            peaks=peaks,
            bandwidth=bandwidth,
            facts_source=known["source"],
            sources=tuple(known["measured"]),
            lanes=tuple(lanes),
        )
        path = calibration_folder(DATA) / "library" / f"{chip}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(library.model_dump(), separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
