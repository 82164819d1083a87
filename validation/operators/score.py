"""Score tables of kernels and collectives: ``python -m validation.operators.score --kind kernel --data kernels.csv``.

Prints rows, median and 90th percentile of the factor error by chip and by kernel or collective, and the refused rows
with their reasons; exits with 1 when a threshold of thresholds.yaml is broken.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

import yaml

from suanli.validation.measured import MeasuredError
from suanli.validation.operators import OperatorKind, validate_operators
from suanli.validation.report import Validation
from suanli.validation.score import Score

HERE = Path(__file__).parent
FEW = 5  # rows below which a group has no 90th percentile worth a threshold


def line(name: str, score: Score) -> str:
    """One row of the printed table."""
    if score.median_error is None or score.p90_error is None or score.bias is None:
        return f"{name:<52} {score.rows:>5} {0:>5}"
    errors = f"{100 * score.median_error:>7.1f} {100 * score.p90_error:>7.1f} {score.bias:>6.2f}"
    return f"{name:<52} {score.rows:>5} {score.predicted:>5} {errors}"


def broken(found: Validation, kind: OperatorKind) -> list[str]:
    """Thresholds that the scores do not keep."""
    limits = yaml.safe_load((HERE / "thresholds.yaml").read_text(encoding="utf-8"))
    problems = []
    if found.coverage < limits["coverage"]:
        problems.append(f"coverage {found.coverage:.0%} below {limits['coverage']:.0%}")
    for name, score in found.metrics().items():
        if score.median_error is None or score.p90_error is None or score.predicted < FEW:
            continue
        median, tail = limits[kind].get(name, limits[kind]["default"])
        if score.median_error > median:
            problems.append(f"{name}: median error {score.median_error:.1%} above {median:.0%}")
        if score.p90_error > tail:
            problems.append(f"{name}: 90th percentile {score.p90_error:.1%} above {tail:.0%}")
    return problems


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", choices=("kernel", "collective"), required=True)
    parser.add_argument("--data", type=Path, required=True)
    given = parser.parse_args()
    try:
        found = validate_operators(given.data, given.kind)
    except MeasuredError as error:
        sys.stderr.write("\n".join(error.problems) + "\n")
        sys.exit(2)
    print(f"{'':<52} {'rows':>5} {'done':>5} {'median':>7} {'p90':>7} {'bias':>6}")
    for name, score in found.metrics().items():
        print(line(name, score))
    for chip, scores in found.by("chip").items():
        for name, score in scores.items():
            print(line(f"{chip}: {name}", score))
    for reason, count in Counter(found.refused.values()).most_common():
        print(f"refused {count:>3}: {reason}")
    problems = broken(found, given.kind)
    for problem in problems:
        sys.stderr.write(problem + "\n")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
