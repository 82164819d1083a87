"""Write validation/RESULTS.md and its pictures, and fail where the thresholds are not held.

python -m validation.run --data FILE_OR_FOLDER [--peers FILE]
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from suanli.validation.report import cases_of, facts, validate_inference
from validation import pictures
from validation.bars import THROUGHPUT, TPOT, TTFT
from validation.check import failures
from validation.results import (
    Material,
    bars_section,
    by_section,
    interval_section,
    later_section,
    peer_section,
    read_left_out,
    read_peer,
    refused_section,
    split_section,
    summary,
    worst_section,
)
from validation.rows import data_file

HERE = Path(__file__).parent
PICTURES = HERE / "pictures"
PEERS = "peers/aisimulate_predictions.csv"  # beside the folder of measurements
UNITS = {THROUGHPUT: ("throughput", "token/s per chip"), TPOT: ("tpot", "ms"), TTFT: ("ttft", "ms")}


def draw(material: Material) -> list[str]:
    """Pictures of left-out predictions; returns the lines of the page that show them."""
    PICTURES.mkdir(exist_ok=True)
    lines = ["## Pictures", "", "Predictions with the sweep left out.", ""]
    for metric, (name, unit) in UNITS.items():
        pairs = material.left([p for p in material.pairs(metric) if material.group(p) != "refused"], "sweep")
        pairs = pairs or [p for p in material.pairs(metric) if p.predicted]
        dots = [(pair.measured, float(pair.predicted or 0.0), material.group(pair)) for pair in pairs]
        pictures.against(PICTURES / f"{name}.svg", f"{name}: predicted against measured", unit, dots)
        loads = [
            (material.cases[pair.config_id].users, float(pair.predicted or 0.0) / pair.measured, material.group(pair))
            for pair in pairs
            if material.cases[pair.config_id].users > 0.0
        ]
        pictures.by_load(PICTURES / f"{name}_by_load.svg", f"{name}: error by load", loads)
        lines += [f"![{name}](pictures/{name}.svg) ![{name} by load](pictures/{name}_by_load.svg)", ""]
    return lines


def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="CSV file of measured configurations, or its folder")
    parser.add_argument("--peers", type=Path, help="predictions of a peer: config_id, metric, predicted")
    options = parser.parse_args(arguments)
    path = data_file(options.data)
    start = time.monotonic()
    found = validate_inference(path)
    seconds = time.monotonic() - start
    cases, _ = cases_of([row for row in found.rows if row.id not in found.not_scored], facts())
    peers = options.peers or path.parent.parent / PEERS
    left_out, seen = read_left_out(HERE / "left_out.csv")
    material = Material(found, {case.row.id: case for case in cases}, left_out, seen, read_peer(peers))
    page = [
        "# Measured against predicted",
        "",
        "Written by `python -m validation.run`. Error is max(predicted / measured, measured / predicted) - 1, so half",
        "counts like double. Measurements: 2,079 public serving configurations (the file is not part of this",
        "repository). Engine profiles are fitted by `python -m validation.fit`; what counts",
        "is the column with whole sweeps left out of the fit.",
        "",
        *summary(material, seconds),
        *bars_section(material),
        *split_section(material),
        *by_section(material, "By chip (sweeps left out)", lambda case: case.chip.id),
        *by_section(material, "By engine (sweeps left out)", lambda case: case.engine.id),
        *by_section(material, "By chip family (left out)", lambda case: case.chip.family, "family"),
        *by_section(material, "By model (left out)", lambda case: case.graph.id, "model"),
        *interval_section(material),
        *later_section(validate_inference(HERE / "later.csv")),
        *peer_section(material),
        *worst_section(material),
        *refused_section(found),
        *draw(material),
    ]
    (HERE / "RESULTS.md").write_text("\n".join(page).rstrip() + "\n", encoding="utf-8")
    broken = failures(found, material.cases, HERE / "thresholds.toml", "file")
    for line in broken:
        print(line, file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
