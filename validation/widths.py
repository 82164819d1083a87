"""80 % intervals from left-out residuals, by class of evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from suanli.catalog.loader import DATA
from suanli.validation.intervals import evidence_of, load_kind
from suanli.validation.measured import METRICS
from suanli.validation.predict import Prepared

FILE = DATA / "intervals" / "intervals.yaml"
LEVEL = 0.8
LEAST = 15  # residuals that a width rests on; with fewer the next wider class gives it
NARROWEST = 1.1  # repeated runs differ by that much (p90 of the same configuration within a week: 1.055)
KINDS = ("throughput", "tpot", "ttft", "ttft_loaded", "ttft_p99")
# Classes from the strongest evidence to the weakest, and the split whose residuals give their widths.
CLASSES = {
    "measured_operators": "sweep",
    "fitted_serving": "sweep",
    "pooled": "family",
    "datasheet": "family",
}
INCOMPLETE = 1.15  # widening where a needed datasheet number is an estimate; its range comes on top

Table = Mapping[tuple[str, str], Mapping[str, float]]


def residuals(rows: Sequence[Prepared], table: Table) -> dict[tuple[str, str], list[float]]:
    """|ln(predicted / measured)| of left-out rows by (class, kind).

    A row left out with its family tells what a family without a fit of its own has to expect.
    """
    found: dict[tuple[str, str], list[float]] = {}
    for one in rows:
        if one.case.load.startswith("mlperf") and one.case.load != "mlperf_offline":
            continue
        for metric, measured in one.case.row.measured().items():
            kind = load_kind(one.case, metric)
            predictions = table.get((one.case.row.id, metric), {})
            if kind not in KINDS or METRICS[metric] == "energy":
                continue
            for split, name in (("sweep", evidence_of(replace(one.case, profiled=True))), ("family", unseen(one))):
                if split in predictions:
                    found.setdefault((name, kind), []).append(abs(float(np.log(predictions[split] / measured))))
    return found


def unseen(one: Prepared) -> str:
    """Class that a row would have if its chip family had never been fitted."""
    return "pooled" if one.case.evidence in ("measured_operators", "pooled") else "datasheet"


def widths(found: Mapping[tuple[str, str], list[float]]) -> dict[str, dict[str, float]]:
    """Factor that holds 80 % of the residuals, per class and kind; never narrower than that of stronger evidence."""
    table: dict[str, dict[str, float]] = {}
    for kind in KINDS:
        least = NARROWEST
        everything = [value for (_, one), values in found.items() if one == kind for value in values]
        for name in CLASSES:
            values = found.get((name, kind), [])
            chosen = values if len(values) >= LEAST else everything
            factor = float(np.exp(np.quantile(chosen, LEVEL))) if chosen else 3.0
            least = max(least, factor) if len(values) < LEAST else factor
            table.setdefault(name, {})[kind] = round(max(least, NARROWEST), 2)
    table["datasheet_incomplete"] = {kind: round(value * INCOMPLETE, 2) for kind, value in table["datasheet"].items()}
    return table


def write_intervals(rows: Sequence[Prepared], table: Table, path: Path = FILE) -> None:
    """Write the widths with the number of residuals behind each."""
    found = residuals(rows, table)
    lines = [
        "schema_version: 1",
        "# Written by python -m validation.fit --left-out. 80 % intervals as factors: the measured value lies between",
        "# prediction / factor and prediction x factor. From rows whose whole sweep (measured_operators,",
        "# fitted_serving) or whole chip family (pooled, datasheet) was left out of the fit; with --left-out quick",
        "# one fold of sweeps, and for families the unfitted values of the engines. ttft_loaded: more than 64",
        "# users, attention data parallelism or separate pools.",
        "classes:",
    ]
    for name, kinds in widths(found).items():
        lines.append(f"  {name}:")
        for kind, factor in kinds.items():
            count = len(found.get((name, kind), []))
            note = f"{count} left-out residuals" if count >= LEAST else "too few residuals of its own; of all classes"
            facts = f"value: {factor}, unit: count, kind: derived, source: suanli-serving-fit, note: '{note}'"
            lines.append(f"    {kind}: {{{facts}}}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
