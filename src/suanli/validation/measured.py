"""A file of measurements as rows with typed access; blank means not known."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from suanli.catalog.files import reason_of

REQUIRED = ("config_id", "chip", "model")

# Metrics that are scored: column -> kind of interval.
METRICS = {
    "output_tok_s_per_chip": "throughput",
    "total_tok_s_per_chip": "throughput",
    "prefill_tok_s_per_chip": "throughput",
    "decode_tok_s_per_chip": "throughput",
    "tpot_p50_ms": "tpot",
    "tpot_mean_ms": "tpot",
    "ttft_p50_ms": "ttft",
    "ttft_mean_ms": "ttft",
    "ttft_p99_ms": "ttft",
    "e2e_mean_ms": "e2e",
    "e2e_batch_ms": "e2e",
    "joules_per_output_token": "energy",
}


class MeasuredError(ValueError):
    """The file cannot be used; `problems` has one line each."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


@dataclass(frozen=True)
class Row:
    """One measured configuration."""

    values: Mapping[str, str]

    def text(self, name: str) -> str:
        """Text of a column, "" when blank or absent."""
        return self.values.get(name) or ""

    def number(self, name: str) -> float | None:
        """Number of a column, None when blank or absent."""
        text = self.text(name)
        return float(text) if text else None

    def flag(self, name: str) -> bool:
        """Whether a 0/1 column is 1."""
        return self.text(name) == "1"

    @property
    def id(self) -> str:
        """config_id."""
        return self.values["config_id"]

    @property
    def speculative(self) -> bool:
        """Whether speculative decoding is marked."""
        return self.text("speculative") not in ("", "none", "unknown")

    def measured(self) -> dict[str, float]:
        """Metrics that may be scored: column -> measured value.

        Time to first token counts only where admission is not the bottleneck, time per token only from 16 tokens on.
        """
        found = {name: value for name in METRICS if (value := self.number(name)) is not None and value > 0.0}
        if "output_tok_s_per_chip" in found:
            found.pop("total_tok_s_per_chip", None)  # the same measurement twice
        short = (self.number("output_tokens") or 1e9) < 16.0
        for name in list(found):
            if (METRICS[name] == "ttft" and self.flag("saturated")) or (METRICS[name] == "tpot" and short):
                del found[name]
        return found


def unscorable(row: Row) -> str | None:
    """Why a row is not a measurement that can be scored, None when it is one."""
    if row.text("quality") == "C":
        return "quality C: the source is contradictory or the configuration is not known"
    if row.text("kind") not in ("", "measured"):
        return f"kind '{row.text('kind')}': not a measurement"
    if row.text("mode") == "operator":
        return "a measurement of an operator, not of a deployment"
    if not row.measured():
        return "no metric that can be scored (saturated TTFT and outputs below 16 tokens are not)"
    return None


def read_csv(path: Path, required: Sequence[str]) -> tuple[list[dict[str, str]], list[str]]:
    """Rows of a CSV file, and a line for each column that it lacks. Raises MeasuredError where it cannot be read."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            columns, rows = reader.fieldnames or [], list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        problem = f"{path}: cannot be read ({reason_of(error)}); expected a CSV file with a header"
        raise MeasuredError([problem]) from None
    missing = [name for name in required if name not in columns]
    return rows, [f"{path}: no column '{name}'; required: {', '.join(required)}" for name in missing]


def read_measured(path: Path) -> list[Row]:
    """Rows of a CSV file. Raises MeasuredError naming every missing column and every value that is not a number."""
    lines, problems = read_csv(path, REQUIRED)
    rows = [Row(line) for line in lines]
    present = [name for name in (*METRICS, *NUMBERS) if rows and name in rows[0].values]
    problems += _not_numbers(path, rows, present)
    if not problems and not rows:
        problems = [f"{path}: no rows"]
    if problems:
        raise MeasuredError(problems)
    return rows


NUMBERS = (
    *("chips", "tp", "pp", "ep", "attn_dp", "replicas", "concurrency", "prompts", "request_rate"),
    *("prefill_workers", "prefill_tp", "prefill_pp", "prefill_ep", "prefill_attn_dp"),
    *("decode_workers", "decode_tp", "decode_pp", "decode_ep", "decode_attn_dp"),
    *("max_num_seqs", "max_num_batched_tokens", "input_tokens", "output_tokens", "prefix_hit_rate"),
    "speculative_tokens",
)


FROM_ZERO = ("output_tokens", "speculative_tokens", "prefix_hit_rate")  # 0 means something


def _not_numbers(path: Path, rows: list[Row], columns: list[str]) -> list[str]:
    problems = []
    for line, row in enumerate(rows, start=2):
        for name in columns:
            text = row.text(name)
            wanted = _wanted(name, text) if text else None
            if wanted is not None:
                problems.append(f"{path}:{line}: {name}: '{text}' given, {wanted} or blank is accepted")
    return problems


def _wanted(name: str, text: str) -> str | None:
    """What a column accepts, where a value is not that."""
    try:
        value = float(text)
    except ValueError:
        return "a number"
    if not math.isfinite(value):
        return "a finite number"
    if name in METRICS:
        return None if value >= 0.0 else "a number from 0 on"
    if name in FROM_ZERO:
        return None if value >= 0.0 else "a number from 0 on"
    return None if value > 0.0 else "a number above 0"
