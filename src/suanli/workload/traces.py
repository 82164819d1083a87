"""Request traces of others: Azure CSV, BurstGPT CSV, Mooncake JSON lines.

A reader returns all requests in order of arrival, with the first one at time 0, or raises TraceError with the number of
every line that it cannot use. Rows that the publisher marks as failed are left out and counted.
Agentic sessions are in `traces_sessions`, ServeGen's client windows in `traces_servegen`.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from suanli.catalog.files import reason_of
from suanli.workload.requests import Prefixes, Requests

if TYPE_CHECKING:
    from numpy.typing import NDArray

CHUNK = 100_000  # rows converted at once
NAMED_LINES = 20  # lines that an error spells out
MOONCAKE_BLOCK = 512  # tokens of a hash block in the published traces (Mooncake, FAST'25-release/traces)


class TraceError(ValueError):
    """A trace that cannot be read; `problems` has one line per reason, with file and line number."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        more = len(problems) - NAMED_LINES
        super().__init__("\n".join(problems[:NAMED_LINES] + ([f"... and {more} more lines"] if more > 0 else [])))


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """Requests of a file, and how many rows were left out for which reason."""

    requests: Requests
    left_out: dict[str, int] = field(default_factory=dict)


@contextmanager
def opened(path: Path) -> Iterator[TextIO]:
    """Open a text file, compressed or not. Raises TraceError."""
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as stream:
            yield stream
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise TraceError([f"{path}: cannot be read ({reason_of(error)})"]) from None


def refuse(problems: list[str]) -> None:
    """Raise TraceError when there are problems."""
    if problems:
        raise TraceError(problems)


# --- CSV ---------------------------------------------------------------------------------------------------------


def _whole(texts: list[str]) -> NDArray[Any]:
    return np.array(texts, dtype=np.str_).astype(np.int64)


def _number(texts: list[str]) -> NDArray[Any]:
    values = np.array(texts, dtype=np.str_).astype(np.float64)
    if not np.all(np.isfinite(values)):
        raise ValueError("not finite")
    return values


def _stamp(texts: list[str]) -> NDArray[Any]:
    """Seconds of UTC stamps; a zone of +00:00 or Z may stand behind them."""
    bare = [text.removesuffix("+00:00").removesuffix("Z") for text in texts]
    stamps = np.array(bare, dtype="datetime64[ns]")
    if np.any(np.isnat(stamps)):
        raise ValueError("not a time")
    return stamps.astype(np.int64) / 1e9


READERS: dict[str, Callable[[list[str]], NDArray[Any]]] = {
    "text": np.array,
    "a whole number": _whole,
    "a number": _number,
    "a time such as 2023-11-16 18:15:46.68": _stamp,
}


def csv_columns(path: Path, wanted: dict[str, str]) -> tuple[dict[str, NDArray[Any]], NDArray[np.int64]]:
    """Columns of a CSV file by name, and line numbers; `wanted` says what the columns hold, as in READERS."""
    problems: list[str] = []
    lines: list[int] = []
    parts: dict[str, list[NDArray[Any]]] = {name: [] for name in wanted}
    with opened(path) as stream:
        reader = csv.reader(stream)
        header = next(reader, [])
        refuse([f"{path}: line 1: no column '{name}'" for name in wanted if name not in header])
        places = {name: header.index(name) for name in wanted}
        numbered = ((reader.line_num, row) for row in reader if row)
        while rows := list(islice(numbered, CHUNK)):
            problems += [
                f"{path}: line {number}: {len(row)} fields where the header has {len(header)}"
                for number, row in rows
                if len(row) != len(header)
            ]
            rows = [(number, row) for number, row in rows if len(row) == len(header)]
            lines += [number for number, _ in rows]
            for name, kind in wanted.items():
                texts = [row[places[name]] for _, row in rows]
                try:
                    parts[name].append(READERS[kind](texts))
                except ValueError:
                    problems += _bad_fields(path, rows, name, (places[name], kind))
    refuse(sorted(problems, key=_line_number))
    columns = {name: np.concatenate(found) if found else np.zeros(0) for name, found in parts.items()}
    return columns, np.array(lines, dtype=np.int64)


def _bad_fields(path: Path, rows: list[tuple[int, list[str]]], name: str, column: tuple[int, str]) -> list[str]:
    place, kind = column
    problems = []
    for number, row in rows:
        try:
            READERS[kind]([row[place]])
        except ValueError:
            problems.append(f"{path}: line {number}: {name} '{row[place]}' is not {kind}")
    return problems


def _line_number(problem: str) -> int:
    return int(problem.rsplit(": line ", maxsplit=1)[-1].split(":", maxsplit=1)[0])


def _checked(path: Path, lines: NDArray[np.int64], named: dict[str, NDArray[Any]], lowest: int) -> None:
    """Every count must be at least `lowest`."""
    problems = [
        f"{path}: line {int(lines[row])}: {name} {int(values[row])} is below {lowest}"
        for name, values in named.items()
        for row in np.flatnonzero(values < lowest)
    ]
    refuse(problems)


def in_order(
    arrival_s: NDArray[np.float64], columns: dict[str, NDArray[Any]], prefixes: Prefixes | None = None
) -> Requests:
    """Requests sorted by arrival, the first at time 0."""
    if arrival_s.size == 0:
        return Requests.build([], [], [])
    order = np.argsort(arrival_s, kind="stable")
    ordered = {name: values[order] for name, values in columns.items()}
    return Requests.build(
        arrival_s[order] - arrival_s[order[0]], **ordered, prefixes=None if prefixes is None else prefixes.take(order)
    )


def read_azure(path: Path) -> Trace:
    """Azure LLM inference traces 2023 and 2024: TIMESTAMP, ContextTokens, GeneratedTokens (CC-BY-4.0).

    Rows without generated tokens are left out.
    """
    columns, lines = csv_columns(
        path,
        {
            "TIMESTAMP": "a time such as 2023-11-16 18:15:46.68",
            "ContextTokens": "a whole number",
            "GeneratedTokens": "a whole number",
        },
    )
    counts = {"input_tokens": columns["ContextTokens"], "output_tokens": columns["GeneratedTokens"]}
    return _answered((path, lines), columns["TIMESTAMP"], counts, {}, "no generated tokens")


def read_burstgpt(path: Path) -> Trace:
    """BurstGPT: Timestamp [s], Request tokens, Response tokens, and Session ID where there is one (CC-BY-4.0).

    Rows without response tokens are failures of the service and are left out.
    """
    wanted = {"Timestamp": "a number", "Request tokens": "a whole number", "Response tokens": "a whole number"}
    with opened(path) as stream:
        header = next(csv.reader(stream), [])
    if "Session ID" in header:
        wanted["Session ID"] = "a number"
    columns, lines = csv_columns(path, wanted)
    sessions = {}
    if "Session ID" in columns:
        sessions["session"] = np.unique(columns["Session ID"], return_inverse=True)[1]
    counts = {"input_tokens": columns["Request tokens"], "output_tokens": columns["Response tokens"]}
    return _answered((path, lines), columns["Timestamp"], counts, sessions, "no response tokens")


def _answered(
    origin: tuple[Path, NDArray[np.int64]],
    arrival_s: NDArray[np.float64],
    counts: dict[str, NDArray[Any]],
    more: dict[str, NDArray[Any]],
    reason: str,
) -> Trace:
    """Requests of the rows that have an output."""
    path, lines = origin
    _checked(path, lines, counts, 0)
    answered = counts["output_tokens"] > 0
    _checked(path, lines[answered], {"input_tokens": counts["input_tokens"][answered]}, 1)
    columns = {name: values[answered] for name, values in (counts | more).items()}
    missing = int(np.sum(~answered))
    return Trace(in_order(arrival_s[answered], columns), {reason: missing} if missing else {})


# --- JSON lines --------------------------------------------------------------------------------------------------


def json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Number and object of each line that is not empty; a text instead of the object says what is wrong."""
    with opened(path) as stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            try:
                value = json.loads(line)
            except ValueError:
                yield number, "not JSON"
                continue
            yield number, value if isinstance(value, dict) else "not a JSON object"


def count_problem(value: dict[str, Any], key: str, lowest: float, *, whole: bool = True) -> str | None:
    """What is wrong with a number in an object, or None."""
    if key not in value:
        return f"no '{key}'"
    number = value[key]
    if isinstance(number, bool) or not isinstance(number, int if whole else int | float) or not number >= lowest:
        return f"{key} {number!r} is not a {'whole ' if whole else ''}number of at least {lowest:g}"
    return None


def _mooncake_problem(value: dict[str, Any] | str) -> str | None:
    if isinstance(value, str):
        return value
    for key, lowest, whole in (("timestamp", 0.0, False), ("input_length", 1, True), ("output_length", 1, True)):
        if problem := count_problem(value, key, lowest, whole=whole):
            return problem
    ids = value.get("hash_ids", [])
    if not isinstance(ids, list) or not all(type(block) is int for block in ids):
        return "hash_ids is not a list of whole numbers"
    if "hash_ids" in value and len(ids) < value["input_length"] // MOONCAKE_BLOCK:
        return f"{len(ids)} hash_ids for {value['input_length']} tokens in blocks of {MOONCAKE_BLOCK}"
    return None


def read_mooncake(path: Path) -> Trace:
    """Mooncake traces: timestamp [ms], input_length, output_length, hash_ids of blocks of 512 tokens (Apache-2.0).

    The conversation trace is rounded to steps of 3 s; `arrivals.spread` undoes that.
    """
    problems: list[str] = []
    rows: list[dict[str, Any]] = []
    for number, value in json_lines(path):
        if problem := _mooncake_problem(value):
            problems.append(f"{path}: line {number}: {problem}")
        elif isinstance(value, dict):
            rows.append(value)
    refuse(problems)
    columns = {
        "input_tokens": np.array([row["input_length"] for row in rows], dtype=np.int64),
        "output_tokens": np.array([row["output_length"] for row in rows], dtype=np.int64),
    }
    with_ids = [row for row in rows if "hash_ids" in row]
    if with_ids and len(with_ids) < len(rows):
        raise TraceError([f"{path}: {len(with_ids)} of {len(rows)} lines have hash_ids; all or none must have them"])
    prefixes = Prefixes.build(MOONCAKE_BLOCK, [row["hash_ids"] for row in rows]) if with_ids else None
    return Trace(in_order(np.array([row["timestamp"] for row in rows], dtype=np.float64) / 1e3, columns, prefixes))
