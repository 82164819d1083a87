"""Fit the engine profiles, test them on what was left out, and derive the intervals.

python -m validation.fit --data FILE [--left-out quick|full] writes
- src/suanli/catalog/data/engines/fits/*.yaml, the profiles fitted on all rows;
- with --left-out also validation/left_out.csv (predictions of rows by fits that did not see their sweep, their chip
  family, their model) and src/suanli/catalog/data/intervals/intervals.yaml (80 % widths from the left-out residuals).
"""

from __future__ import annotations

import argparse
import csv
import datetime
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

import yaml

from suanli.catalog.loader import DATA
from suanli.mapping.engine import Engine, read_engines
from suanli.validation.deployment import RefusalError
from suanli.validation.loads import predict_row
from suanli.validation.predict import Prepared
from validation.profiles import EPOCHS, Fitted, Slot, apply, fit
from validation.rows import prepared_rows
from validation.split import KEYS, groups
from validation.unfitted import correct, factor, lateness
from validation.widths import write_intervals

HERE = Path(__file__).parent
LEFT_OUT = HERE / "left_out.csv"
FITS = DATA / "engines" / "fits"
UNITS = {
    "host_s": ("ms", 1e3),
    "host_per_request_s": ("us", 1e6),
    "first_token_s": ("ms", 1e3),
    "frontend_s": ("ms", 1e3),
    "draft_host_s": ("ms", 1e3),
}
KEPT = (
    "output_tok_s_per_chip",
    "total_tok_s_per_chip",
    "tpot_p50_ms",
    "tpot_mean_ms",
    "ttft_p50_ms",
    "ttft_mean_ms",
    "ttft_p99_ms",
    "e2e_mean_ms",
    "e2e_batch_ms",
    "prefill_tok_s_per_chip",
    "decode_tok_s_per_chip",
)


def predictions(rows: Iterable[Prepared], fitted: Fitted) -> dict[tuple[str, str], float]:
    """Metric values by (config_id, metric) under fitted values, for metrics that were measured."""
    found = {}
    for one in rows:
        try:
            metrics = predict_row(one, apply(one.case.engine, fitted.of(one)))
        except RefusalError:
            continue
        for name in one.case.row.measured():
            if name in metrics and name in KEPT:
                found[one.case.row.id, name] = metrics[name]
    return found


@dataclass
class LeftOut:
    """Predictions by fits that did not see a row's group.

    values : by (config_id, metric) and kind of group. seen : rows whose engine and chip the fit without their sweep
    knew from other sweeps. unfitted : factor on device times of engines not fitted on a family, by class.
    """

    values: dict[tuple[str, str], dict[str, float]] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)
    unfitted: dict[str, float] = field(default_factory=dict)


def left_out(rows: list[Prepared], kinds: Iterable[str], jobs: int = 1) -> LeftOut:
    """Predictions of every row by fits that did not see its group, for every kind of group.

    jobs : processes; they start with the fits that this one has made, and repeat only those of engines that lose rows.
    """
    _rows[:] = rows
    tasks = [(kind, name) for kind in kinds for name in groups(rows, kind)]
    found = LeftOut()
    with get_context("fork").Pool(jobs) as pool:
        for kind, values, seen in pool.imap_unordered(_one_group, tasks):
            for key, value in values.items():
                found.values.setdefault(key, {})[kind] = value
            found.seen |= seen
    cases = [one.case for one in rows]
    table = lateness(cases, found.values)
    correct(cases, found.values, table)
    found.unfitted = {name: factor(families) for name, families in table.items()}
    return found


_rows: list[Prepared] = []  # what the processes of `left_out` share


def _one_group(task: tuple[str, str]) -> tuple[str, dict[tuple[str, str], float], set[str]]:
    kind, name = task
    start = time.monotonic()
    seen, unseen = groups(_rows, kind)[name]
    fitted = fit(seen)
    values = predictions(unseen, fitted)
    known = {one.case.row.id for one in unseen if fitted.knows(one)}
    print(f"left out {kind} {name}: {len(unseen)} rows, {time.monotonic() - start:.0f} s", flush=True)
    return kind, values, known if kind == "sweep" else set()


def write_left_out(found: LeftOut) -> None:
    """One line per row and metric: predictions of the tests, and whether other sweeps had the chip family."""
    with LEFT_OUT.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["config_id", "metric", *KEYS, "known"])
        for (config, metric), values in sorted(found.values.items()):
            numbers = (f"{values[kind]:.5g}" if kind in values else "" for kind in KEYS)
            writer.writerow([config, metric, *numbers, int(config in found.seen)])


def write_profiles(fitted: Fitted, engines: dict[str, Engine]) -> None:
    """One file per engine: the general fit first, then vendors, families, versions of families."""
    FITS.mkdir(exist_ok=True)
    for path in FITS.glob("*.yaml"):
        path.unlink()
    by_engine: dict[str, list[Slot]] = {}
    for slot in sorted(fitted.values, key=lambda one: (one.engine, one.vendor, one.family, one.epoch)):
        by_engine.setdefault(slot.engine, []).append(slot)
    for engine, slots in by_engine.items():
        profiles = [_profile(slot, fitted, engines[engine]) for slot in slots]
        document = {"schema_version": 1, "engine": engine, "profiles": profiles}
        text = yaml.safe_dump(document, sort_keys=False, width=180, default_flow_style=None)
        (FITS / f"{engine}.yaml").write_text(f"# Written by python -m validation.fit\n{text}", encoding="utf-8")


def _profile(slot: Slot, fitted: Fitted, engine: Engine) -> dict[str, object]:
    rows, sweeps = fitted.rows[slot]
    since, from_date = ("0", "0000")
    if slot.epoch > 0:
        since, from_date = EPOCHS[slot.engine][slot.epoch - 1]
    values = {}
    for name, value in fitted.values[slot].items():
        if name not in fitted.spreads[slot]:
            continue
        unit, factor = UNITS.get(name, (getattr(engine, name).unit, 1.0))
        width = min(fitted.spreads[slot][name], 1.5)
        low, high = (value * factor * grow for grow in (2.718281828**-width, 2.718281828**width))
        if name == "acceptance":
            high = min(high, 1.0)
        values[name] = {
            "value": _round(value * factor), "low": _round(low), "high": _round(high), "unit": unit,
            "kind": "derived", "source": "suanli-serving-fit",
        }  # fmt: skip
    return {
        "vendors": [slot.vendor] if slot.vendor else [],
        "families": [slot.family] if slot.family else [],
        "since": since,
        "from_date": from_date,
        "fit": {
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "command": "python -m validation.fit",
            "rows": rows,
            "sweeps": sweeps,
            "residual": {name: round(value, 3) for name, value in fitted.residual[slot].items()},
            "chips": list(fitted.chips[slot]),
        },
        "set": values,
    }


def _round(value: float) -> float:
    return float(f"{value:.4g}")


def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="CSV file of measured configurations, or its folder")
    parser.add_argument("--left-out", action="store_true", help="also test on left-out groups (takes an hour)")
    parser.add_argument("--jobs", type=int, default=1, help="processes for --left-out")
    options = parser.parse_args(arguments)
    _, rows = prepared_rows(options.data, fitted=False)
    engines = read_engines(DATA / "engines")
    write_profiles(fit(rows, print), engines)
    if options.left_out:
        found = left_out(rows, KEYS, options.jobs)
        write_left_out(found)
        write_intervals([one.case for one in rows], found.values, found.seen, found.unfitted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
