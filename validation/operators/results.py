"""Write RESULTS.md: ``python -m validation.operators.results [--shared DIR]``.

Everything is read from the packs, the fit reports and, where given, the shared tables of kernels and collectives.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median

from suanli.catalog.loader import DATA
from suanli.chip.efficiency import calibration_folder
from suanli.chip.library import libraries
from suanli.chip.packs import LaneRecord, packs_of
from suanli.fabric.lane import load_collectives
from suanli.fabric.scoring import load_sweeps
from suanli.validation.operators import OperatorKind, validate_operators
from validation.operators.tables import ENGINES

HERE = Path(__file__).parent
FOLDER = calibration_folder(DATA)
OPS = (
    "matmul",
    "experts",
    "experts_plain",
    "prefill",
    "decode",
    "latent_prefill",
    "latent_decode",
    "sparse",
    "indexer",
    "select",
    "state_prefill",
    "state_decode",
    "stream",
)
HEAD = """# Operators and collectives: measured against predicted

Written by `python -m validation.operators.results`; do not edit. Errors are
max(predicted/measured, measured/predicted) - 1, printed as median / 90th percentile in per cent. What is measured:
tables of aiconfigurator-core 0.12.0 (Apache-2.0), and published tables of kernels and collectives.
"""


def errors(middle: float, tail: float) -> str:
    """Median and 90th percentile in per cent."""
    return f"{100 * middle:.1f} / {100 * tail:.0f}"


def pair(lanes: Sequence[LaneRecord]) -> str:
    """Median over lanes of the two errors."""
    if not lanes:
        return "-"
    return errors(median(lane.median_error for lane in lanes), median(lane.p90_error for lane in lanes))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return [*lines, *["| " + " | ".join(row) + " |" for row in rows], ""]


def chips() -> list[str]:
    """Chips with packs."""
    skip = ("collectives", "library")
    return sorted(
        path.name
        for path in FOLDER.iterdir()
        if path.is_dir() and path.name not in skip and not path.name.startswith("pooled")
    )


def held_out() -> list[str]:
    """Errors on shapes that the fit did not see."""
    lines = [
        "## Shapes that were not fitted",
        "",
        "A fifth of the shape families of every lane (all sizes of a weight matrix, a model's experts, a head",
        "layout) is left out of the fit and predicted. Median over the lanes (engine x format) of a chip. Noise of",
        "the measurements themselves: the same product at 1 to 15 rows differs by 1 to 2 % in the median and 5 to",
        "20 % in the 90th percentile.",
        "",
    ]
    rows = []
    for chip in chips():
        lanes = [lane for pack in packs_of(FOLDER, chip).values() for lane in pack.lanes]
        rows.append([chip, *[pair([lane for lane in lanes if lane.op == op]) for op in OPS]])
    return [*lines, *table(["chip", *OPS], rows)]


def pooled() -> list[str]:
    """Errors on chips that were left out."""
    lines = [
        "## Chips that were not fitted",
        "",
        "All lanes of one chip are left out, the pooled model is fitted to the other chips and predicts it; in",
        "brackets the whole family (all Hopper, all Blackwell) is left out. Medians in per cent. The 80th percentile",
        "of these errors over all chips is the interval of a chip without tables. Pooled over all engines, for",
        "families that nobody measured:",
        "",
        *left_out("pooled"),
    ]
    for engine in ENGINES:
        if any((HERE / "report" / "pooled" / engine).glob("*.json")):
            lines += [f"Pooled under {engine}, for other chips of the measured families:", "", *left_out(engine)]
    return lines


def left_out(engine: str) -> list[str]:
    """Table of leave-one-chip-out errors of one pool."""
    reports = [
        json.loads(path.read_text(encoding="utf-8"))["report"]
        for path in sorted((HERE / "report" / "pooled" / engine).glob("*.json"))
    ]
    names = sorted({chip for report in reports for chip in report["chip_out"]})
    rows = []
    for report in reports:
        cells = []
        for chip in names:
            out, family = report["chip_out"].get(chip), report["family_out"].get(chip)
            cell = "-" if out is None else f"{100 * out['median']:.0f}"
            cells.append(cell if family is None or out is None else f"{cell} ({100 * family['median']:.0f})")
        every = errors(report["all"]["median"], report["all"]["p90"])
        rows.append([f"{report['op']} {report['dtype']}", every, *cells])
    short = [name.removeprefix("nvidia-").removeprefix("intel-arc-") for name in names]
    return table(["operator", "all", *short], rows)


def collectives() -> list[str]:
    """Errors on sizes that were not fitted."""
    lines = [
        "## Collectives inside a node",
        "",
        "Every third payload is left out of the fit and predicted. In a captured graph; a call that the host starts",
        "costs 19 us more at every size.",
        "",
    ]
    rows = []
    for path in sorted((FOLDER / "collectives").glob("*.json")):
        pack = load_collectives(path)
        for lane in pack.lanes:
            found = errors(lane.median_error, lane.p90_error)
            rows.append([pack.chip, lane.library, lane.op, f"{lane.launch_us:.1f}", f"{lane.efficiency:.2f}", found])
    return [*lines, *table(["chip", "library", "collective", "shortest us", "of link", "error"], rows)]


def dropped() -> list[str]:
    """What the plausibility filter removed."""
    lines = ["## Rows that were dropped, and why", ""]
    totals: Counter[str] = Counter()
    lanes: dict[str, list[str]] = defaultdict(list)
    rows = 0
    for path in sorted((HERE / "report").glob("*.jsonl")):
        for text in path.read_text(encoding="utf-8").splitlines():
            entry: Mapping[str, object] = json.loads(text)
            rows += int(str(entry["rows"]))
            reasons = entry["dropped"]
            if isinstance(reasons, dict):
                totals.update(reasons)
                if "host in the loop (floor)" in reasons:
                    lanes["host"].append(f"{entry['lane']} ({reasons['host in the loop (floor)']} of {entry['rows']})")
    body = [[reason, str(count)] for reason, count in totals.most_common()]
    found = [*lines, f"{rows} rows read (newest version of each table).", "", *table(["reason", "rows"], body)]
    return [*found, "Lanes whose floor is a host in the loop:", "", *[f"- {lane}" for lane in lanes["host"]], ""]


def shared(folder: Path) -> list[str]:
    """Scores on the tables of kernels and collectives."""
    lines = [
        "## Published tables",
        "",
        "Kernels of libraries and sweeps over several nodes have lanes fitted to these very tables, so their scores",
        "are in sample; the table at the end gives the error of predicting each row from the others.",
        "",
    ]
    kinds: tuple[tuple[OperatorKind, str], ...] = (("kernel", "kernels.csv"), ("collective", "collectives.csv"))
    for kind, name in kinds:
        found = validate_operators(folder / name, kind)
        rows = []
        for metric, score in found.metrics().items():
            if score.median_error is None or score.p90_error is None:
                continue
            cell = errors(score.median_error, score.p90_error)
            rows.append([metric, str(score.rows), str(score.predicted), cell])
        lines += [f"### {name}: {found.coverage:.0%} of {len(found.rows)} rows predicted", ""]
        lines += table(["what", "rows", "predicted", "error"], rows)
        lines += [f"- refused {count}: {reason}" for reason, count in Counter(found.refused.values()).most_common()]
        lines += [""]
    left = [
        [library.chip, lane.op, lane.dtype, str(lane.rows), errors(lane.median_error, lane.p90_error)]
        for library in {id(one): one for one in libraries(FOLDER).values()}.values()
        for lane in library.lanes
    ]
    left += [
        [one.system, one.lane.op, one.library, str(one.lane.rows), errors(one.lane.median_error, one.lane.p90_error)]
        for one in load_sweeps(FOLDER).sweeps
    ]
    return [*lines, "### Rows predicted from the others", "", *table(["where", "what", "how", "rows", "error"], left)]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, help="folder of kernels.csv and collectives.csv")
    given = parser.parse_args()
    lines = [HEAD, *held_out(), *pooled(), *collectives()]
    if given.shared:
        lines += shared(given.shared)
    (HERE / "RESULTS.md").write_text("\n".join([*lines, *dropped()]), encoding="utf-8")


if __name__ == "__main__":
    main()
