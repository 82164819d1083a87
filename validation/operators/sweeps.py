"""Fit published collective sweeps: ``python -m validation.operators.sweeps --data collectives.csv``.

One lane per (system, library, collective) with at least two rows, over payload and ranks; its error is that of
leaving each row out. Sweeps inside a node of a chip that has its own collective pack are left out: they test the pack.
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
from suanli.fabric.lane import MOVED, CollectiveLane, CollectiveRecord
from suanli.fabric.scoring import CollectiveCase, Sweep, SweepFile, case_of
from suanli.scoring import RefusedError
from suanli.surface import encode
from validation.operators import solve
from validation.operators.fit import HERE
from validation.operators.fit_collectives import stored

Array = NDArray[np.float64]
Measured = tuple[CollectiveCase, float]

MIN_ROWS = 2
SIZE_KNOTS, RANK_KNOTS = np.arange(3.0, 36.0), np.arange(1.0, 9.0)


def fit_sweep(rows: Sequence[Measured], bandwidth: float) -> CollectiveLane:
    """Launch from the shortest time, efficiency from the best rate, then a surface over the payloads and ranks seen."""
    op = rows[0][0].op
    ranks, size = (np.array([getattr(case, name) for case, _ in rows]) for name in ("ranks", "payload"))
    seconds = np.array([time for _, time in rows])
    moved = MOVED[op](ranks) * size
    efficiency = float(np.max(moved / seconds) / bandwidth)
    rest = seconds - moved / (efficiency * bandwidth)
    # where one payload was measured there is no telling start from transfer: half of what is left
    launch = float(np.clip(rest.max() * 0.5, 1e-6, 0.95 * seconds.min()))
    if len(np.unique(size)) > 1:
        launch = 0.95 * float(seconds.min())
    lane = CollectiveLane(op, launch, efficiency)
    target = np.log(seconds / lane.base(ranks, size, bandwidth))
    knots = (_inside(SIZE_KNOTS, np.log2(size)), _inside(RANK_KNOTS, np.log2(ranks)))
    surface = solve.surface_of(
        knots, (np.log2(size), np.log2(ranks)), target, lambda axes: np.zeros(len(axes[0])), (), smoothness=0.02
    )
    return CollectiveLane(op, launch, efficiency, stored(surface))


def _inside(knots: Array, values: Array) -> Array:
    """Knots around the values, at least one."""
    kept = knots[(knots >= np.floor(values.min())) & (knots <= np.ceil(values.max()))]
    return kept if len(kept) else np.array([round(float(values.mean()))])


def left_out_errors(rows: Sequence[Measured], bandwidth: float) -> Array:
    """Factor error of each row, predicted from all the others."""
    errors = []
    for index, (case, seconds) in enumerate(rows):
        lane = fit_sweep([row for position, row in enumerate(rows) if position != index], bandwidth)
        predicted = lane.time(case.ranks, case.payload, bandwidth)
        errors.append(float(solve.factor_errors(np.asarray(predicted), np.asarray(seconds))))
    return np.array(errors)


def record_of(rows: Sequence[Measured], library: str, bandwidth: float) -> CollectiveRecord:
    """Stored form of a lane fitted to all rows, judged by leaving each out."""
    lane, errors = fit_sweep(rows, bandwidth), left_out_errors(rows, bandwidth)
    if lane.surface is None:
        raise ValueError(f"{library}: a fitted lane has a surface")
    step, values = encode(lane.surface.values)
    return CollectiveRecord(
        op=lane.op,
        library=library,
        version="",
        rows=len(rows),
        dropped=0,
        launch_us=float(f"{lane.launch * 1e6:.4g}"),
        efficiency=float(f"{lane.efficiency:.4g}"),
        knots=tuple(tuple(float(place) for place in axis) for axis in lane.surface.knots),
        step=step,
        values=values,
        median_error=float(f"{np.median(errors):.3g}"),
        p90_error=float(f"{np.quantile(errors, 0.9):.3g}"),
        spread=float(f"{1.0 + np.quantile(errors, 0.8):.3g}"),
    )


def measured(rows: Sequence[Mapping[str, str]], skip: frozenset[str]) -> dict[tuple[str, str, str], list[Measured]]:
    """Rows by system, library and collective; where a time and a rate of one call are given, the time."""
    found: dict[tuple[str, str, str], dict[tuple[float, float], Measured]] = defaultdict(dict)
    for row in sorted(rows, key=lambda row: row["metric"] == "latency"):
        try:
            case = case_of(row)
        except RefusedError:
            continue
        if row["chip"] in skip and case.nodes == 1 and not case.op.startswith("ep_"):
            continue
        where = found[row["system"], row["library"], case.op]
        where[case.ranks, case.payload] = (case, case.seconds(float(row["value"])))
    return {key: list(some.values()) for key, some in found.items()}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="CSV with the columns of a collective table")
    given = parser.parse_args()
    links = yaml.safe_load((HERE / "links.yaml").read_text(encoding="utf-8"))
    with given.data.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    chips = {row["system"]: row["chip"] for row in rows}
    sweeps = []
    for (system, library, op), some in sorted(measured(rows, frozenset(links["own_pack"])).items()):
        if len(some) < MIN_ROWS:
            continue
        bandwidth = float(links["sweeps_gb_s"].get(system, 100.0))
        record = record_of(some, library, bandwidth * 1e9)
        print(f"{system} {library} {op}: {record.rows} rows, left out {record.median_error} {record.p90_error}")
        sweeps.append(Sweep(system=system, library=library, chip=chips[system], bandwidth_gb_s=bandwidth, lane=record))
    file_ = SweepFile(
        schema_version=1,
        sources=tuple(sorted({row["source"] for row in rows if row.get("kind") != "spec"})),
        host_timed=tuple(links["host_timed"]),
        sweeps=tuple(sweeps),
    )
    path = calibration_folder(DATA) / "library" / "sweeps" / "collectives.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(file_.model_dump(), separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
