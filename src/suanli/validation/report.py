"""Validate a file of measurements: every row predicted or refused with a reason, scores by metric and group."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from suanli.catalog.loader import load
from suanli.search.records import load_profiles
from suanli.validation.deployment import Case, Facts, RefusalError, case_of
from suanli.validation.intervals import interval
from suanli.validation.loads import predict_row
from suanli.validation.measured import Row, read_measured, unscorable
from suanli.validation.predict import Prepared, prepare
from suanli.validation.score import Pair, Score, by_metric, group

Grouping = Literal["chip", "model", "engine", "source", "metric"]


@dataclass(frozen=True)
class Validation:
    """Outcome: pairs of all scorable rows, reasons of refusals, rows that are no measurement to be scored."""

    rows: tuple[Row, ...]
    pairs: tuple[Pair, ...]
    refused: dict[str, str]
    not_scored: dict[str, str]

    @property
    def scorable(self) -> int:
        """Rows that can be scored."""
        return len(self.rows) - len(self.not_scored)

    @property
    def coverage(self) -> float:
        """Share of scorable rows that got a prediction."""
        return 1.0 - len(self.refused) / max(self.scorable, 1)

    def metrics(self) -> dict[str, Score]:
        """Score of every metric over all rows."""
        return by_metric(self.pairs)

    def by(self, grouping: Grouping) -> dict[str, dict[str, Score]]:
        """Scores by a column of the rows."""
        column = {row.id: row.text(grouping) or "not stated" for row in self.rows}
        groups = group(self.pairs, lambda pair: column[pair.config_id])
        return {name: by_metric(groups[name]) for name in sorted(groups)}

    def to_dict(self, grouping: Grouping | None) -> dict[str, object]:
        """Plain data of the documented shape."""
        return {
            "metric": {name: one.to_dict() for name, one in self.metrics().items()},
            "by": {
                name: {metric: one.to_dict() for metric, one in scores.items()}
                for name, scores in (self.by(grouping) if grouping and grouping != "metric" else {}).items()
            },
            "refused": [{"config_id": name, "reason": reason} for name, reason in self.refused.items()],
            "not_scored": [{"config_id": name, "reason": reason} for name, reason in self.not_scored.items()],
            "rows": [
                {
                    "config_id": pair.config_id,
                    "metric": pair.metric,
                    "measured": pair.measured,
                    "predicted": pair.predicted,
                    "low": pair.low,
                    "high": pair.high,
                }
                for pair in self.pairs
                if pair.predicted is not None
            ],
        }


def facts(*, fitted: bool = True) -> Facts:
    """Catalog and profiles of the package, with or without the fitted ones. Raises CatalogError."""
    profiles = load_profiles()
    engines, unfitted = dict(profiles.engines), profiles.unfitted
    if not fitted:
        unfitted = {}
        plain = {name: [one for one in engine.profiles if one.fit is None] for name, engine in engines.items()}
        engines = {name: e.model_copy(update={"profiles": tuple(plain[name])}) for name, e in engines.items()}
    return Facts(load(), engines, dict(profiles.efficiencies), unfitted)


def cases_of(rows: Iterable[Row], known: Facts) -> tuple[list[Case], dict[str, str]]:
    """Deployments of the rows, and why some cannot be predicted."""
    cases, refused = [], {}
    for row in rows:
        try:
            cases.append(case_of(row, known))
        except RefusalError as error:
            refused[row.id] = str(error)
    return cases, refused


def predict_all(prepared: Sequence[Prepared]) -> tuple[dict[str, dict[str, float]], dict[str, str]]:
    """Metrics by config_id under each case's own engine profile, and why some have none."""
    found, refused = {}, {}
    for one in prepared:
        try:
            found[one.case.row.id] = predict_row(one, one.case.engine)
        except RefusalError as error:
            refused[one.case.row.id] = str(error)
    return found, refused


def validate_inference(path: Path) -> Validation:
    """Predict and score every row of a CSV file. Raises MeasuredError or CatalogError."""
    rows = read_measured(path)
    not_scored = {row.id: reason for row in rows if (reason := unscorable(row))}
    scorable = [row for row in rows if row.id not in not_scored]
    cases, refused = cases_of(scorable, facts())
    prepared, too_large = prepare(cases)
    found, no_load = predict_all(prepared)
    by_id = {case.row.id: case for case in cases}
    pairs = []
    for row in scorable:
        metrics = found.get(row.id, {})
        for name, measured in row.measured().items():
            value = metrics.get(name)
            low, high = interval(by_id[row.id], name, value) if value is not None else (None, None)
            pairs.append(Pair(row.id, row.text("sweep_id"), name, measured, value, low, high))
    return Validation(tuple(rows), tuple(pairs), refused | too_large | no_load, not_scored)
