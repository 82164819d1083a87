"""80 % interval of a predicted metric: the factor earned on measurements of the same class of evidence."""

from __future__ import annotations

from suanli.search.records import load_profiles
from suanli.validation.deployment import Case
from suanli.validation.measured import METRICS

KINDS = {"throughput": "throughput", "tpot": "tpot", "ttft": "ttft", "e2e": "throughput", "energy": "throughput"}


def interval(case: Case, metric: str, value: float) -> tuple[float, float]:
    """(low, high) of a metric in the unit of `value`."""
    widths = load_profiles().widths[case.evidence]
    factor = getattr(widths, KINDS[METRICS[metric]]).si
    return value / factor, value * factor
