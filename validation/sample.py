"""Choose the sample of measured rows that the tests check: some of every group, chip and engine.

python -m validation.sample --data FILE writes validation/sample.csv. Sources of the rows stand in its column
source_url_or_path.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import sys
from collections.abc import Iterable
from pathlib import Path

from suanli.validation.deployment import BRANCH
from suanli.validation.measured import METRICS, NUMBERS, Row, read_measured, unscorable
from suanli.validation.report import cases_of, facts
from validation.bars import group_of
from validation.check import SAMPLE
from validation.rows import data_file

EACH = 4  # rows of one group, chip and engine
TEXTS = (
    *("config_id", "sweep_id", "source", "source_url_or_path", "kind", "quality", "date", "chip", "system", "model"),
    *("weights_dtype", "activation_dtype", "kv_dtype", "speculative", "engine", "engine_version", "mode", "load"),
    *("length_distribution", "saturated"),
)
COLUMNS = tuple(dict.fromkeys((*TEXTS, *NUMBERS, *METRICS)))
NOTES = "notes"  # only the one word of it that chooses an engine profile


def order(row: Row) -> bytes:
    """An order that does not depend on values or on the place in the file."""
    return hashlib.sha256(row.id.encode()).digest()


def chosen(rows: Iterable[Row]) -> list[Row]:
    """At most `EACH` rows of every group, chip and engine."""
    scorable = sorted((row for row in rows if unscorable(row) is None), key=order)
    counts: dict[tuple[str, str, str], int] = {}
    found = []
    for case in cases_of(scorable, facts())[0]:
        stratum = (group_of(case), case.chip.id, case.engine.id)
        counts[stratum] = counts.get(stratum, 0) + 1
        if counts[stratum] <= EACH:
            found.append(case.row)
    return sorted(found, key=lambda row: row.id)


def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="CSV file of measured configurations, or its folder")
    options = parser.parse_args(arguments)
    with SAMPLE.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*COLUMNS, NOTES])
        for row in chosen(read_measured(data_file(options.data))):
            branch = "branch" if BRANCH.search(row.text(NOTES)) else ""
            writer.writerow([*(row.text(name) for name in COLUMNS), branch])
    return 0


if __name__ == "__main__":
    sys.exit(main())
