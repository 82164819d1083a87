"""Agentic sessions: one JSON object per session, prompts as run-length coded hash ids (the WEKA coding traces).

A request is sent when the one before it has been answered and the user or tool has taken its think time. Sub-agents
run beside their session: their first request follows the answer that started them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from suanli.workload.requests import Prefixes, Requests
from suanli.workload.traces import Trace, TraceError, count_problem, json_lines

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(slots=True)
class _Rows:
    """Requests of all sessions in the making."""

    input_tokens: list[int] = field(default_factory=list)
    output_tokens: list[int] = field(default_factory=list)
    session: list[int] = field(default_factory=list)
    after: list[int] = field(default_factory=list)
    think_s: list[float] = field(default_factory=list)
    runs: list[tuple[int, int]] = field(default_factory=list)  # first id, length
    blocks: list[int] = field(default_factory=list)  # ids per request
    problems: list[str] = field(default_factory=list)
    next_id: int = 0  # above all ids so far

    def add(self, request: dict[str, Any], session: int, after: int, first_id: int) -> int:
        """Append a request; returns its number."""
        self.input_tokens.append(request["in"])
        self.output_tokens.append(request["out"])
        self.session.append(session)
        self.after.append(after)
        self.think_s.append(float(request.get("think_time") or 0.0) if after >= 0 else 0.0)
        for start, count in request["hash_rle"]:
            self.runs.append((first_id + start, count))
            self.next_id = max(self.next_id, first_id + start + count)
        self.blocks.append(sum(count for _, count in request["hash_rle"]))
        return len(self.after) - 1


def _request_problem(request: object, block_tokens: int) -> str | None:
    if not isinstance(request, dict):
        return "not an object"
    for key, lowest in (("in", 1), ("out", 1)):
        if problem := count_problem(request, key, lowest):
            return problem
    if request.get("think_time") is not None and (problem := count_problem(request, "think_time", 0.0, whole=False)):
        return problem
    runs = request.get("hash_rle")
    if not isinstance(runs, list) or not all(
        isinstance(run, list) and len(run) == 2 and all(type(part) is int and part >= 0 for part in run) for run in runs
    ):
        return "hash_rle is not a list of [start, count]"
    blocks = sum(count for _, count in runs)
    if blocks < request["in"] // block_tokens:
        return f"{blocks} hash ids for {request['in']} tokens in blocks of {block_tokens}"
    return None


def read_sessions(path: Path, *, start_s: NDArray[np.float64] | float = 0.0, limit: int | None = None) -> Trace:
    """Sessions as a closed loop of turns.

    start_s : when each session begins [s], one number or one per session.   limit : read so many sessions only.
    Ids hold within their session. A request without output tokens (an aborted one) is left out. Raises TraceError.
    """
    rows, block_tokens, sessions, left_out = _Rows(), 0, 0, 0
    for place, (number, value) in enumerate(json_lines(path)):
        if limit is not None and place >= limit:
            break
        where = f"{path}: line {number}"
        if isinstance(value, str):
            rows.problems.append(f"{where}: {value}")
            continue
        problem = count_problem(value, "block_size", 1)
        if problem or not isinstance(value.get("requests"), list):
            rows.problems.append(f"{where}: {problem or 'requests is not a list'}")
            continue
        block_tokens = block_tokens or value["block_size"]
        if value["block_size"] != block_tokens:
            rows.problems.append(f"{where}: block_size {value['block_size']} where others have {block_tokens}")
            continue
        left_out += _add_session(rows, value, where, sessions)
        sessions += 1
    if rows.problems:
        raise TraceError(rows.problems)
    starts = np.broadcast_to(np.asarray(start_s, dtype=np.float64), sessions)
    return Trace(_requests(rows, starts, block_tokens), {"no output tokens": left_out} if left_out else {})


def _add_session(rows: _Rows, value: dict[str, Any], where: str, session: int) -> int:
    """Append a session; returns how many requests were left out."""
    block, first_id, before, left_out = value["block_size"], rows.next_id, -1, 0
    for turn, request in enumerate(value["requests"]):
        inner = request["requests"] if isinstance(request, dict) and request.get("type") == "subagent" else None
        mine = before
        for step in [request] if inner is None else inner:
            if isinstance(step, dict) and step.get("out") == 0:
                left_out += 1
                continue
            if problem := _request_problem(step, block):
                rows.problems.append(f"{where}: request {turn}: {problem}")
                continue
            mine = rows.add(step, session, mine, first_id)
        if inner is None:
            before = mine
    return left_out


def _requests(rows: _Rows, starts: NDArray[np.float64], block_tokens: int) -> Requests:
    """In order of the earliest possible arrival: sessions by their start, turns in order behind it."""
    session = np.array(rows.session, dtype=np.int64)
    if session.size == 0:
        return Requests.build([], [], [])
    order = np.lexsort((np.arange(session.size), starts[session]))
    place = np.empty_like(order)
    place[order] = np.arange(order.size)
    after = np.array(rows.after)[order]
    prefixes = Prefixes(block_tokens, _offsets(rows.blocks), _expanded(rows.runs)).take(order)
    return Requests.build(
        starts[session][order],
        np.array(rows.input_tokens)[order],
        np.array(rows.output_tokens)[order],
        session=session[order],
        after=np.where(after >= 0, place[np.maximum(after, 0)], -1),
        think_s=np.array(rows.think_s)[order],
        prefixes=prefixes,
    )


def _offsets(sizes: list[int]) -> NDArray[np.int64]:
    offsets = np.zeros(len(sizes) + 1, dtype=np.int64)
    np.cumsum(sizes, out=offsets[1:])
    return offsets


def _expanded(runs: list[tuple[int, int]]) -> NDArray[np.int32]:
    """Ids of runs of (first, length), one after the other."""
    first, length = np.array(runs, dtype=np.int64).reshape(-1, 2).T
    begins = _offsets(length.tolist())
    ids = np.arange(begins[-1], dtype=np.int32)
    ids += np.repeat((first - begins[:-1]).astype(np.int32), length)
    return ids
