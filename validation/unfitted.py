"""How much slower than predicted an engine is on a chip family that it was never fitted on, by class of evidence.

From predictions of whole families that were left out: the mean over families of each one's median error, drawn towards
none as if one more family had been predicted right.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping

import numpy as np

from suanli.mapping.calibration import evidence_of
from suanli.validation.deployment import Case
from suanli.validation.measured import METRICS

LEAST_ROWS = 5  # of a family that counts
Values = MutableMapping[tuple[str, str], dict[str, float]]


def class_of(case: Case) -> str:
    """Class of evidence of a row whose engine was not fitted on its chip family."""
    return evidence_of(case.evidence, family=False, chip=False)


def lateness(cases: Iterable[Case], values: Values) -> dict[str, dict[str, float]]:
    """Median of ln(measured time / predicted time) by class and family, of throughput and TPOT."""
    found: dict[tuple[str, str], list[float]] = {}
    for case in cases:
        for metric, measured in case.row.measured().items():
            value = values.get((case.row.id, metric), {}).get("family")
            if value is not None and METRICS[metric] in ("throughput", "tpot"):
                error = float(np.log(value / measured))
                late = error if METRICS[metric] == "throughput" else -error
                found.setdefault((class_of(case), case.chip.family), []).append(late)
    table: dict[str, dict[str, float]] = {}
    for (name, family), errors in found.items():
        if len(errors) >= LEAST_ROWS:
            table.setdefault(name, {})[family] = float(np.median(errors))
    return table


def factor(families: Mapping[str, float], without: str = "") -> float:
    """Factor on device times from some families [-]."""
    errors = [late for family, late in families.items() if family != without]
    return float(np.exp(sum(errors) / (len(errors) + 1)))


def correct(cases: Iterable[Case], values: Values, table: Mapping[str, Mapping[str, float]]) -> None:
    """Apply to every left-out family the factor that the other families give."""
    for case in cases:
        slow = factor(table.get(class_of(case), {}), case.chip.family)
        for metric in case.row.measured():
            one = values.get((case.row.id, metric), {})
            if "family" in one:
                one["family"] *= 1.0 / slow if METRICS[metric] in ("throughput",) else slow
