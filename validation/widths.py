"""80 % intervals from left-out residuals, by class of evidence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from suanli.catalog.loader import DATA
from suanli.validation.deployment import Case
from suanli.validation.intervals import evidence_of, load_kind
from suanli.validation.measured import METRICS
from validation.profiles import NEAR_CAPACITY
from validation.split import KEYS

FILE = DATA / "intervals" / "intervals.yaml"
LEVEL = 0.8
LEAST = 15  # residuals that a width rests on; with fewer the next wider class gives it
UNKNOWN = 3.0  # factor where no test has any residual
NARROWEST = 1.1  # repeated runs differ by that much (p90 of the same configuration within a week: 1.055)
KINDS = ("throughput", "tpot", "ttft", "ttft_loaded", "ttft_split", "ttft_p99")
CLASSES = ("measured_operators", "fitted_serving", "pooled", "datasheet")  # from the strongest evidence to the weakest
INCOMPLETE = 1.15  # widening where a needed datasheet number is an estimate; its range comes on top

Table = Mapping[tuple[str, str], Mapping[str, float]]


@dataclass(frozen=True)
class Residual:
    """|ln(predicted / measured)| of one metric of a row that was left out with its group."""

    config_id: str
    metric: str
    name: str  # class of evidence
    kind: str
    group: str
    error: float


def residuals(cases: Iterable[Case], table: Table, seen: Set[str]) -> list[Residual]:
    """Residuals of the left-out tests.

    A row left out with its sweep stands for chip families that have been fitted if other sweeps had its family, else,
    like one left out with its family, for those that have not.
    """
    found = []
    for case in cases:
        if case.load in NEAR_CAPACITY:
            continue
        for metric, measured in case.row.measured().items():
            kind = load_kind(case, metric)
            if kind not in KINDS or METRICS[metric] == "energy":
                continue
            for split, known in (("sweep", case.row.id in seen), ("family", False)):
                value = table.get((case.row.id, metric), {}).get(split)
                if value is not None and (known or split == "family"):
                    name = evidence_of(replace(case, family_fitted=known, chip_fitted=known))
                    error = abs(float(np.log(value / measured)))
                    found.append(Residual(case.row.id, metric, name, kind, f"{split} {KEYS[split](case)}", error))
    return found


def rank(count: int) -> float:
    """Quantile of `count` residuals that holds a further one with probability LEVEL (split conformal, Vovk 2005)."""
    return min(LEVEL * (count + 1) / count, 1.0)


def widths(found: Iterable[Residual]) -> dict[str, dict[str, float]]:
    """Factor that holds 80 % of the residuals, per class and kind; never narrower than that of stronger evidence."""
    by_class: dict[tuple[str, str], list[float]] = {}
    for one in found:
        by_class.setdefault((one.name, one.kind), []).append(one.error)
    table: dict[str, dict[str, float]] = {}
    for kind in KINDS:
        least = NARROWEST
        everything = [value for (_, one), values in by_class.items() if one == kind for value in values]
        for name in CLASSES:
            values = by_class.get((name, kind), [])
            chosen = values if len(values) >= LEAST else everything
            factor = float(np.exp(np.quantile(chosen, rank(len(chosen))))) if chosen else UNKNOWN
            least = max(least, factor)
            table.setdefault(name, {})[kind] = round(least, 2)
    table["datasheet_incomplete"] = {kind: round(value * INCOMPLETE, 2) for kind, value in table["datasheet"].items()}
    return table


def crossed(found: Sequence[Residual]) -> list[tuple[Residual, bool]]:
    """Each residual with whether it lies inside the width that the residuals of the other groups give."""
    inside = []
    for group in sorted({one.group for one in found}):
        table = widths(one for one in found if one.group != group)
        inside += [(one, one.error <= np.log(table[one.name][one.kind])) for one in found if one.group == group]
    return inside


def write_intervals(
    cases: Sequence[Case], table: Table, seen: Set[str], unfitted: Mapping[str, float], path: Path = FILE
) -> None:
    """Write the widths with the number of residuals behind each, and the factors of engines without a fit."""
    found = residuals(cases, table, seen)
    counts = Counter((one.name, one.kind) for one in found)
    lines = [
        "schema_version: 1",
        "# Written by python -m validation.fit --left-out. 80 % intervals as factors: the measured value lies between",
        "# prediction / factor and prediction x factor. From rows whose whole sweep (measured_operators,",
        "# fitted_serving) or whole chip family (pooled, datasheet) was left out of the fit. ttft_loaded: more than 64",
        "# users or attention data parallelism; ttft_split: separate pools.",
        "classes:",
    ]
    for name, kinds in widths(found).items():
        lines.append(f"  {name}:")
        for kind, factor in kinds.items():
            count = counts[name, kind]
            note = f"{count} left-out residuals" if count >= LEAST else "too few residuals of its own; of all classes"
            facts = f"value: {factor}, unit: count, kind: derived, source: suanli-serving-fit, note: '{note}'"
            lines.append(f"    {kind}: {{{facts}}}")
    lines += [
        "# Factor on device times of an engine not fitted on the chip family, from families left out.",
        "unfitted:",
    ]
    for name, value in sorted(unfitted.items()):
        lines.append(f"  {name}: {{value: {value:.3f}, unit: count, kind: derived, source: suanli-serving-fit}}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
