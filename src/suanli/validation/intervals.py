"""80 % interval of a predicted metric: the factor earned on measurements of the same class of evidence."""

from __future__ import annotations

import math

from suanli.mapping.calibration import evidence_of as class_of
from suanli.search.records import load_profiles, ttft_kind
from suanli.validation.deployment import Case
from suanli.validation.measured import METRICS


def evidence_of(case: Case) -> str:
    """Class of evidence behind a prediction: operators measured or not, engine fitted on the chip family or not."""
    return class_of(case.evidence, family=case.family_fitted, chip=case.chip_fitted)


def load_kind(case: Case, metric: str) -> str:
    """Kind of interval of a metric under the load of a case."""
    kind = METRICS[metric]
    if metric == "ttft_p99_ms":
        return "ttft_p99"
    if kind == "ttft":
        users = math.inf if case.load == "open_loop" else case.users / case.pools[-1].instances
        return ttft_kind(users, max(pool.place[2] for pool in case.pools), len(case.pools))
    return {"e2e": "throughput", "energy": "throughput"}.get(kind, kind)


def interval(case: Case, metric: str, value: float) -> tuple[float, float]:
    """(low, high) of a metric in the unit of `value`."""
    widths = load_profiles().widths[evidence_of(case)]
    factor = widths.of(load_kind(case, metric))
    return value / factor, value * factor
