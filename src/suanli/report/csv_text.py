"""A plan as CSV: one line per ranked deployment, every metric with its interval."""

from __future__ import annotations

import csv
import io
from typing import Any

from suanli.report.metrics import METRICS
from suanli.search.estimate import significant
from suanli.search.result import Deployment, Plan

FACTS = (
    "rank",
    "tie_with_best",
    "p_beats_best",
    "name",
    "systems",
    "mode",
    "precision",
    "kv_cache",
    "cost_basis",
    "bottleneck",
    "evidence",
)
DIGITS = 5


def csv_columns() -> tuple[str, ...]:
    """Column names in order; every metric is followed by its low and high end."""
    metrics = [name for metric in METRICS for name in (metric.key, f"{metric.key}_low", f"{metric.key}_high")]
    return (*FACTS, *metrics)


def csv_text(plan: Plan, top: int | None = None) -> str:
    """The ranked deployments, at most `top`; an empty cell where a metric does not exist."""
    text = io.StringIO()
    writer = csv.DictWriter(text, csv_columns(), lineterminator="\n")
    writer.writeheader()
    for deployment in plan.deployments[:top]:
        writer.writerow(_row(deployment))
    return text.getvalue()


def _row(one: Deployment) -> dict[str, Any]:
    row: dict[str, Any] = {
        "rank": one.rank,
        "tie_with_best": str(one.tie_with_best).lower(),
        "p_beats_best": significant(one.p_beats_best, 3),
        "name": one.name,
        "systems": " ".join(one.systems),
        "mode": one.mode,
        "precision": one.precision,
        "kv_cache": one.kv_cache,
        "cost_basis": one.cost_basis,
        "bottleneck": one.bottleneck,
        "evidence": one.evidence,
    }
    for metric in METRICS:
        estimate = one.metrics.get(metric.key)
        if estimate is not None:
            ends = {"": estimate.value, "_low": estimate.low, "_high": estimate.high}
            row |= {f"{metric.key}{end}": significant(value, DIGITS) for end, value in ends.items()}
    return row
