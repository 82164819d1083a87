"""Thresholds that fail: error of groups of rows, and coverage, against validation/thresholds.toml.

python -m validation.check [--data FILE] checks the sample that is part of the repository, or another file.
"""

from __future__ import annotations

import argparse
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

from suanli.validation.deployment import Case
from suanli.validation.report import Validation, cases_of, facts, validate_inference
from suanli.validation.score import score
from validation.bars import PERCENT, group_of

HERE = Path(__file__).parent
SAMPLE = HERE / "sample.csv"
THRESHOLDS = HERE / "thresholds.toml"


def failures(found: Validation, cases: Mapping[str, Case], path: Path, section: str) -> list[str]:
    """One line per threshold that is not held. A group has `median` and `p90` limits in percent per metric."""
    with path.open("rb") as file:
        limits = tomllib.load(file)[section]
    lines = []
    if found.coverage < limits["coverage"]:
        lines.append(f"coverage {found.coverage:.1%} is below {limits['coverage']:.1%}")
    for name, metrics in limits["groups"].items():
        for metric, bar in metrics.items():
            pairs = [
                pair
                for pair in found.pairs
                if pair.metric == metric and pair.config_id in cases and group_of(cases[pair.config_id]) == name
            ]
            one = score(pairs)
            for key, value in (("median", one.median_error), ("p90", one.p90_error)):
                if key in bar and (value is None or value * PERCENT > bar[key]):
                    shown = "nothing predicted" if value is None else f"{value * PERCENT:.1f} %"
                    lines.append(f"{name}, {metric}: {key} {shown}, limit {bar[key]} %")
    return lines


def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=SAMPLE)
    options = parser.parse_args(arguments)
    found = validate_inference(options.data)
    cases, _ = cases_of([row for row in found.rows if row.id not in found.not_scored], facts())
    section = "sample" if options.data == SAMPLE else "file"
    broken = failures(found, {case.row.id: case for case in cases}, THRESHOLDS, section)
    for line in broken:
        print(line, file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
