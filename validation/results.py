"""The page of results: tables of errors by group, left-out tests, intervals, peers, refusals."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from suanli.search.records import load_profiles
from suanli.validation.deployment import Case
from suanli.validation.report import Validation
from suanli.validation.score import Pair, Score, group, score
from validation.bars import (
    COVERAGE,
    GROUPS,
    INSIDE,
    LEAST_INSIDE,
    PERCENT,
    REGRET,
    THROUGHPUT,
    TPOT,
    TTFT,
    UNSEEN_FAMILY,
    easy_first_token,
    group_of,
)
from validation.split import KEYS
from validation.widths import CLASSES, KINDS, crossed, residuals

SHOWN = {THROUGHPUT: "throughput per chip", TPOT: "TPOT p50", TTFT: "TTFT p50"}
STAND_INS = {"total_tok_s_per_chip": THROUGHPUT, "tpot_mean_ms": TPOT, "ttft_mean_ms": TTFT}
LeftOut = Mapping[tuple[str, str], Mapping[str, float]]


@dataclass(frozen=True)
class Material:
    """Everything that the page shows: the validation, its cases by id, left-out predictions, the peer's."""

    found: Validation
    cases: Mapping[str, Case]
    left_out: LeftOut
    seen: Set[str]  # rows whose engine and chip other sweeps had
    peer: Mapping[tuple[str, str], float]

    def pairs(self, metric: str) -> list[Pair]:
        """Pairs of a metric; rows that have only its stand-in (mean for p50, total for output) count with that."""
        own = {pair.config_id for pair in self.found.pairs if pair.metric == metric}
        return [
            pair
            for pair in self.found.pairs
            if pair.metric == metric or (STAND_INS.get(pair.metric) == metric and pair.config_id not in own)
        ]

    def group(self, pair: Pair) -> str:
        """Group of the row of a pair."""
        case = self.cases.get(pair.config_id)
        return group_of(case) if case is not None else "refused"

    def left(self, pairs: Iterable[Pair], kind: str) -> list[Pair]:
        """The same pairs with the predictions of a left-out test."""
        found = []
        for pair in pairs:
            value = self.left_out.get((pair.config_id, pair.metric), {}).get(kind)
            if value is not None and pair.predicted is not None and pair.low and pair.high:
                factor = pair.predicted / pair.low
                found.append(replace(pair, predicted=value, low=value / factor, high=value * factor))
        return found


def read_left_out(path: Path) -> tuple[LeftOut, Set[str]]:
    """Predictions of the left-out tests, and the rows whose engine and chip other sweeps had."""
    values: dict[tuple[str, str], dict[str, float]] = {}
    seen: set[str] = set()
    with path.open(newline="", encoding="utf-8") as file:
        for line in csv.DictReader(file):
            values[line["config_id"], line["metric"]] = {kind: float(line[kind]) for kind in KEYS if line[kind]}
            if line["known"] == "1":
                seen.add(line["config_id"])
    return values, seen


def read_peer(path: Path | None) -> dict[tuple[str, str], float]:
    """Predictions of the peer by (config_id, metric)."""
    if path is None or not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        return {
            (line["config_id"], line["metric"]): float(line["predicted"])
            for line in csv.DictReader(file)
            if line["metric"] and line["predicted"]
        }


def cell(one: Score) -> str:
    """Median / p90 in percent, bias and count."""
    if one.median_error is None or one.p90_error is None or one.bias is None:
        return "-"
    return f"{one.median_error * PERCENT:.0f} / {one.p90_error * PERCENT:.0f}, {one.bias:.2f} ({one.predicted})"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Markdown table."""
    return [
        f"| {' | '.join(head)} |",
        f"|{'---|' * len(head)}",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
    ]


def bars_section(material: Material) -> list[str]:
    """Error of every group against its bar, with the shipped profiles and with whole sweeps left out."""
    lines = [
        "## Against the bars",
        "",
        "Cells: median / p90 of the factor error in percent, median of predicted over measured (rows).",
        "Why bars are missed: docs/design/accuracy.md.",
        "",
    ]
    head = ["rows", "metric", "bar", "shipped profiles", "sweeps left out", "met"]
    rows = []
    for one in GROUPS:
        for metric, name in SHOWN.items():
            pairs = [pair for pair in material.pairs(metric) if material.group(pair) == one.name]
            shown = name
            if metric == TTFT and one.name.startswith("InferenceX DeepSeek-R1, NVIDIA"):
                pairs = [pair for pair in pairs if easy_first_token(material.cases[pair.config_id])]
                shown = f"{name}, up to 64 users, no attention-DP"
            if not pairs:
                continue
            fitted, left = score(pairs), score(material.left(pairs, "sweep"))
            bar = one.limits.get(metric)
            rows.append([one.name, shown, _bar(bar), cell(fitted), cell(left), _met(left, bar)])
    rows += _unseen_rows(material)
    return [*lines, *table(head, rows)]


def _unseen_rows(material: Material) -> list[list[str]]:
    rows = []
    for metric, name in SHOWN.items():
        pairs = [pair for pair in material.pairs(metric) if _controlled(material, pair)]
        left = score(material.left(pairs, "family"))
        bar = UNSEEN_FAMILY[metric]
        rows.append(
            [
                "chip family left out, all controlled rows",
                name,
                _bar(bar),
                "-",
                cell(left),
                _met(left, bar),
            ]
        )
    return rows


def _controlled(material: Material, pair: Pair) -> bool:
    return material.group(pair) in {one.name for one in GROUPS if one.limits}


def _bar(bar: tuple[float, float] | None) -> str:
    return "reported" if bar is None else f"{bar[0]:.0f} / {bar[1]:.0f}"


def _met(one: Score, bar: tuple[float, float] | None) -> str:
    if bar is None or one.median_error is None or one.p90_error is None:
        return ""
    good = one.median_error * PERCENT <= bar[0], one.p90_error * PERCENT <= bar[1]
    return {(True, True): "yes", (True, False): "median only", (False, True): "p90 only"}.get(good, "no")


def split_section(material: Material) -> list[str]:
    """In-sample and the three left-out tests over all controlled rows."""
    lines = [
        "## In-sample and left out",
        "",
        "All rows with a bar; the same rows in every column as far as the test could predict them.",
        "",
    ]
    rows = []
    for metric, name in SHOWN.items():
        pairs = [pair for pair in material.pairs(metric) if _controlled(material, pair)]
        tests = [score(material.left(pairs, kind)) for kind in ("sweep", "family", "model")]
        rows.append([name, cell(score(pairs)), *(cell(one) for one in tests)])
    return [
        *lines,
        *table(["metric", "in-sample", "sweeps left out", "chip families left out", "models left out"], rows),
    ]


def by_section(material: Material, title: str, key: Callable[[Case], str], kind: str = "sweep") -> list[str]:
    """Left-out error by a property of the rows (controlled rows)."""
    names = sorted({key(case) for case in material.cases.values()})
    rows = []
    for name in names:
        cells = []
        for metric in SHOWN:
            pairs = [
                pair
                for pair in material.pairs(metric)
                if _controlled(material, pair) and key(material.cases[pair.config_id]) == name
            ]
            cells.append(cell(score(material.left(pairs, kind))))
        if any(one != "-" for one in cells):
            rows.append([name, *cells])
    return [f"## {title}", "", *table(["", *SHOWN.values()], rows)]


def interval_section(material: Material) -> list[str]:
    """Share of left-out measurements inside an 80 % interval that saw neither them nor their group."""
    lines = [
        "## Intervals",
        "",
        "Share of measured values inside an 80 % interval around the left-out prediction, its width taken from the",
        f"residuals of the other groups (aim {INSIDE[0]:.0%} to {INSIDE[1]:.0%}, no class under {LEAST_INSIDE:.0%}).",
        "Classes `pooled` and `datasheet`: the whole chip family was left out of the engine's fit.",
        "Rows of MLPerf server and interactive runs are not counted: their load sits at a latency limit.",
        "",
    ]
    shipped = load_profiles().widths
    found = crossed(residuals(material.cases.values(), material.left_out, material.seen))
    classes: dict[tuple[str, str], list[bool]] = {}
    for one, inside in found:
        classes.setdefault((one.name, one.kind), []).append(inside)
    rows = []
    for name in CLASSES:
        for kind in KINDS:
            values = classes.get((name, kind), [])
            width = getattr(shipped[name], kind)
            share = f"{np.mean(values):.0%}" if values else "-"
            rows.append([name, kind, str(len(values)), share, f"{width.value:g}" if width else "-"])
        rows.append(
            [f"**{name}**", "", *_share([v for (one, _), some in classes.items() if one == name for v in some]), ""]
        )
    rows.append(["**all**", "", *_share([inside for _, inside in found]), ""])
    return [*lines, *table(["class", "metric", "values", "inside", "factor shipped"], rows)]


def _share(values: Sequence[bool]) -> tuple[str, str]:
    return str(len(values)), f"{np.mean(values):.0%}" if values else "-"


def later_section(found: Validation) -> list[str]:
    """Measurements that were found after the fits and that no fit has seen."""
    lines = [
        "## Found after the fits",
        "",
        "Tables of TensorRT-LLM 0.14 (validation/later.csv: Llama 3.1 405B and 70B offline, 70B and 8B online",
        "at 2 to 32 requests per second, on H100 and H200), read when the model was finished. Llama 3 70B of the same",
        "page is in the fits. The way to the first token of the profile was fitted on servers behind HTTP; these runs",
        "went through a leaner front end.",
        "",
    ]
    rows = [[name, cell(one), f"{one.interval_coverage or 0.0:.0%}"] for name, one in sorted(found.metrics().items())]
    return [*lines, *table(["metric", "median / p90, bias (rows)", "inside the interval"], rows)]


def peer_section(material: Material) -> list[str]:
    """The peer and ours on the rows that the peer predicted."""
    if not material.peer:
        return []
    lines = [
        "## AISimulate 0.13 on the same rows",
        "",
        "Rows that the peer predicted, one variant, not fitted; its kernel data are of 2026 engines,",
        "its authors test against",
        "InferenceX rows. Ours is the prediction with the sweep left out. Factor errors, as above.",
        "",
    ]
    rows = []
    for one in GROUPS:
        for metric, name in SHOWN.items():
            pairs = [
                pair
                for pair in material.left([p for p in material.pairs(metric) if material.group(p) == one.name], "sweep")
                if (pair.config_id, pair.metric) in material.peer
            ]
            if len(pairs) < 3:
                continue
            theirs = [replace(pair, predicted=material.peer[pair.config_id, pair.metric]) for pair in pairs]
            rows.append([one.name, name, cell(score(theirs)), cell(score(pairs))])
    share = len({key[0] for key in material.peer}) / max(material.found.scorable, 1)
    lines += table(["rows", "metric", "AISimulate", "suanli, sweep left out"], rows)
    return [
        *lines,
        f"Coverage of all scorable rows: AISimulate {share:.0%} (a sample was run), "
        f"suanli {material.found.coverage:.0%}.",
        "",
    ]


CHOICES = {
    "of a sweep": ("sweep_id",),
    "of one engine version on a chip, by placement and precision": (
        "source", "chip", "model", "input_tokens", "output_tokens", "concurrency", "load", "speculative", "engine",
        "engine_version", "date",
    ),
    "on a chip, by engine, version, placement and precision": (
        "source", "chip", "model", "input_tokens", "output_tokens", "concurrency", "load", "speculative",
    ),
}  # fmt: skip


def regret(material: Material, columns: Sequence[str]) -> tuple[float, float, int]:
    """Mean and p90 loss of choosing among measured alternatives by left-out predictions, and the number of choices.

    A choice is among the rows that agree in `columns`; the loss is how much faster the best of them was than the one
    that was predicted to be best.
    """
    choices: dict[tuple[str, ...], list[Pair]] = {}
    for pair in material.left(material.pairs(THROUGHPUT), "sweep"):
        row = material.cases[pair.config_id].row
        if _controlled(material, pair) and not row.text("load").startswith("mlperf"):
            choices.setdefault(tuple(row.text(name) for name in columns), []).append(pair)
    losses = []
    for pairs in choices.values():
        if len(pairs) > 1:
            chosen = max(pairs, key=lambda pair: pair.predicted or 0.0)
            losses.append(max(pair.measured for pair in pairs) / chosen.measured - 1.0)
    if not losses:
        return 0.0, 0.0, 0
    return float(np.mean(losses)), float(np.percentile(losses, 90)), len(losses)


def summary(material: Material, seconds: float) -> list[str]:
    """Coverage, speed, choices."""
    found = material.found
    per_row = seconds / max(found.scorable, 1)
    lines = [
        f"- {len(found.rows)} rows in the file, {found.scorable} scorable; "
        f"{found.coverage:.0%} of these predicted (bar {COVERAGE:.0%}).",
        f"- {seconds:.0f} s for the whole file in one process, {per_row * 1e3:.0f} ms per row (bar 50 ms).",
    ]
    for name, columns in CHOICES.items():
        mean, high, count = regret(material, columns)
        bar = f" (bar {REGRET:.1%} mean)" if columns == ("sweep_id",) else ""
        lines.append(
            f"- Loss by choosing the alternative {name}, by left-out predictions: {mean:.1%} mean, {high:.1%} p90 over"
            f" {count} choices{bar}."
        )
    return [*lines, ""]


def refused_section(found: Validation) -> list[str]:
    """Reasons of refusals and of rows that are not scored, with counts."""
    lines = ["## Refused and not scored", ""]
    for title, reasons in (("refused", found.refused), ("not scored", found.not_scored)):
        counts = {reason: len(names) for reason, names in _by_reason(reasons).items()}
        lines += [f"- {count} {title}: {reason}" for reason, count in sorted(counts.items(), key=lambda one: -one[1])]
    return [*lines, ""]


def _by_reason(reasons: Mapping[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        found.setdefault(reason, []).append(name)
    return found


def worst_section(material: Material) -> list[str]:
    """The groups (source, chip, engine, model) with the largest left-out errors, by weight of rows."""
    lines = ["## Worst groups", "", "Sweeps left out, throughput; causes in docs/design/accuracy.md.", ""]

    def key(pair: Pair) -> str:
        case = material.cases[pair.config_id]
        return f"{case.row.text('source')}, {case.chip.id}, {case.engine.id}, {case.graph.id}"

    pairs = material.left([p for p in material.pairs(THROUGHPUT) if material.group(p) != "refused"], "sweep")
    scores = {name: score(some) for name, some in group(pairs, key).items() if len(some) >= 3}
    worst = sorted(scores.items(), key=lambda one: -(one[1].median_error or 0.0) * one[1].predicted ** 0.5)[:20]
    return [*lines, *table(["group", "throughput"], [[name, cell(one)] for name, one in worst])]
