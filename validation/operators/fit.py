"""Make the calibration packs: ``python -m validation.operators.fit --wheel DIR [--systems h100_sxm,...]``.

One pack per (chip, engine) goes to ``src/suanli/catalog/data/calibration/<chip>/<engine>.json``; what was dropped and
how well held-out shapes are predicted goes to ``validation/operators/report/``. A system takes about a minute on one
core. Chips that the catalog does not hold are fitted for the pooled lanes only (:mod:`validation.operators.pool`).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from suanli.catalog.loader import DATA
from suanli.chip.efficiency import calibration_folder
from suanli.chip.lane import Lane
from suanli.chip.packs import LaneRecord, Pack, load_pack
from suanli.chip.work import Work
from suanli.surface import encode
from validation.operators import solve
from validation.operators.rows import (
    FIT_ROWS,
    MIN_ROWS,
    ChipFacts,
    Rows,
    chip_facts,
    kinds_by_name,
    lanes_of,
    sample,
    take,
)

Array = NDArray[np.float64]
HERE = Path(__file__).parent
SOURCE = "aiconfigurator-core-0.12.0"


def fit_rows(rows: Rows, index: NDArray[np.intp]) -> Lane:
    """Fit a lane to some of its rows."""

    def at(sizes: Sequence[Array]) -> Work:
        return rows.operator.at(rows.table.dtype, sizes)

    chosen = sample(index, FIT_ROWS)
    work, seconds = take(rows.work, chosen), rows.table.seconds[chosen]
    how = rows.operator
    return solve.fit(
        work,
        seconds,
        (rows.rate, rows.bandwidth),
        how.knots,
        at,
        rising=how.rising,
        launch=rows.launch,
        smoothness=how.smoothness,
        tolerance=how.tolerance,
        reads=how.reads,
    )


def errors_of(lane: Lane, rows: Rows, mask: NDArray[np.bool_]) -> Array:
    """Factor errors of a lane on some rows, as it would be read back from its pack."""
    predicted = rounded(lane).time(take(rows.work, mask), rows.rate, rows.bandwidth)
    return solve.factor_errors(predicted, rows.table.seconds[mask])


def rounded(lane: Lane) -> Lane:
    """The lane after its surface was stored in bytes."""
    return record_lane(lane, ("", "", ""), kernels=(), counts=(0, 0), errors=np.zeros(1)).lane()


def record_lane(
    lane: Lane,
    name: tuple[str, str, str],
    *,
    kernels: tuple[str, ...],
    counts: tuple[int, int],
    errors: Array,
    clock: float | None = None,
) -> LaneRecord:
    """Stored form of a lane named (op, dtype, version), with (kept, dropped) counts and errors on held-out rows.

    clock : [Hz] that the launch of a pooled lane holds at.
    """
    op, dtype, version = name
    surface = lane.surface
    if surface is None:
        raise ValueError(f"{op}/{dtype}: a fitted lane has a surface")
    step, values = encode(surface.values)
    return LaneRecord(
        op=op,
        dtype=dtype,
        version=version,
        kernels=kernels,
        rows=counts[0],
        dropped=counts[1],
        launch_us=float(f"{lane.launch * 1e6:.4g}"),
        compute=float(f"{lane.compute:.4g}"),
        memory=float(f"{lane.memory:.4g}"),
        knots=tuple(tuple(float(place) for place in axis) for axis in surface.knots),
        step=step,
        values=values,
        median_error=float(f"{np.median(errors):.3g}"),
        p90_error=float(f"{np.quantile(errors, 0.9):.3g}"),
        spread=float(f"{1.0 + np.quantile(errors, 0.8):.3g}"),
        clock_mhz=clock / 1e6 if clock is not None else None,
    )


def record_of(rows: Rows) -> LaneRecord:
    """Fit twice: without the held-out shapes for the error, with them for the pack."""
    table = rows.table
    judged = fit_rows(rows, np.flatnonzero(~rows.held_out))
    errors = errors_of(judged, rows, rows.held_out)
    lane = fit_rows(rows, np.arange(len(table.seconds)))
    kernels = tuple(sorted(set(table.kernels.tolist())))
    dropped = sum(rows.report.dropped.values())
    name = (table.op, table.dtype, table.version)
    return record_lane(lane, name, kernels=kernels, counts=(len(table.seconds), dropped), errors=errors)


def fit_system(
    wheel: Path, system: str, facts: ChipFacts, ops: list[str], write_packs: bool
) -> list[dict[str, object]]:
    """Fit every lane of one system, write its packs, return one line of report per lane."""
    by_engine: dict[str, list[LaneRecord]] = {}
    lines: list[dict[str, object]] = []
    for kind in kinds_by_name(ops):
        for rows in lanes_of(wheel, system, facts, kind):
            if len(rows.table.seconds) < MIN_ROWS:
                lines.append({"lane": rows.report.table, "rows": rows.report.rows, "dropped": rows.report.dropped})
                continue
            record = record_of(rows)
            by_engine.setdefault(rows.table.engine, []).append(record)
            lines.append(_line(rows, record))
            print(json.dumps(lines[-1]), flush=True)
    if write_packs:
        for engine, records in by_engine.items():
            kept = _other_lanes(facts.id, engine, records) if ops else []
            write_pack(facts.id, engine, "measured_operators", [*kept, *records])
    return lines


def _other_lanes(chip: str, engine: str, records: list[LaneRecord]) -> list[LaneRecord]:
    """Lanes of a pack on disk that were not fitted again."""
    path = calibration_folder(DATA) / chip / f"{engine}.json"
    if not path.is_file():
        return []
    again = {(record.op, record.dtype) for record in records}
    return [lane for lane in load_pack(path).lanes if (lane.op, lane.dtype) not in again]


def _line(rows: Rows, record: LaneRecord) -> dict[str, object]:
    return {
        "lane": rows.report.table,
        "rows": rows.report.rows,
        "dropped": rows.report.dropped,
        "held_out": int(rows.held_out.sum()),
        "launch_us": record.launch_us,
        "compute": record.compute,
        "memory": record.memory,
        "median_error": record.median_error,
        "p90_error": record.p90_error,
    }


def write_pack(chip: str, engine: str, evidence: str, records: list[LaneRecord]) -> Path:
    """Write one pack into the catalog, lanes in a fixed order."""
    lanes = tuple(sorted(records, key=lambda lane: (lane.op, lane.dtype)))
    pack = Pack.model_validate(
        {"schema_version": 1, "chip": chip, "engine": engine, "evidence": evidence, "source": SOURCE, "lanes": lanes}
    )
    path = calibration_folder(DATA) / chip / f"{engine}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(pack.model_dump(exclude_none=True), separators=(",", ":")) + "\n", encoding="utf-8")
    return path


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wheel", type=Path, required=True, help="folder of pip install --target")
    parser.add_argument("--systems", default="", help="comma-separated; all when empty")
    parser.add_argument("--ops", default="", help="only these kinds: merged into the packs and reports that exist")
    given = parser.parse_args()
    facts = chip_facts(HERE)
    wanted = [name for name in given.systems.split(",") if name] or list(facts)
    for system in wanted:
        held = not facts[system].id.startswith(("nvidia-l40s", "intel-"))
        lines = fit_system(given.wheel, system, facts[system], [op for op in given.ops.split(",") if op], held)
        write_report(HERE / "report" / f"{system}.jsonl", lines)


def write_report(path: Path, lines: list[dict[str, object]]) -> None:
    """Put the lines of a run into the report of a system; a lane that was fitted again replaces its old line."""
    path.parent.mkdir(exist_ok=True)
    old = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    by_lane = {str(line["lane"]): line for line in [*map(json.loads, old), *lines]}
    text = "".join(json.dumps(by_lane[lane]) + "\n" for lane in sorted(by_lane))
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
