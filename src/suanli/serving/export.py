"""A finished simulation for other tools: records as Parquet, steps as a Chrome trace, load over time, distributions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from suanli.serving.outcome import BINS, DONE, RECORD, SERIES, STATUS_NAMES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from suanli.serving.summary import Result

MICRO = 1e6  # Chrome traces count in microseconds (Trace Event Format)
TRACED_REQUESTS = 5000  # requests drawn in a Chrome trace; more make the viewers unusable


def write_records(result: Result, path: Path) -> None:
    """One row per request, columns as in outcome.RECORD with latencies, the status spelled out."""
    import pyarrow as pa  # noqa: PLC0415 (start-up time)
    from pyarrow import parquet  # noqa: PLC0415

    records, requests = result.records, result.setup.requests
    columns: dict[str, Any] = {"request": np.arange(records.size)}
    columns |= {name: records[name] for name in RECORD.names or () if name != "status"}
    columns["session"] = requests.session
    columns["priority"] = requests.priority
    columns["ttft_s"], columns["tpot_s"] = result.ttft_s, result.tpot_s
    columns["status"] = pa.DictionaryArray.from_arrays(pa.array(records["status"]), pa.array(STATUS_NAMES))
    table = pa.table({name: np.ascontiguousarray(c) if isinstance(c, np.ndarray) else c for name, c in columns.items()})
    with path.open("wb") as file:
        parquet.write_table(table, file)


def time_series(result: Result) -> dict[str, NDArray[np.float64]]:
    """Load of all ranks over time, in bins of equal width.

    time_s : begin of the bin.   step_power_w : power while steps run; a rank that waits draws its idle power on top.
    busy_share, batch_mean, kv_share : of the ranks that there can be.   *_token_per_s : rates.
    """
    outcome, pools = result.outcome, result.setup.pools
    width = outcome.sample_s
    used = min(int(outcome.end_s / width) + 1, BINS)
    total = dict(zip(SERIES, outcome.series[:, :used].sum(axis=0).T, strict=True))
    ranks = outcome.series.shape[0]
    blocks = sum(pool.engine.kv_blocks * pool.replicas * pool.ranks for pool in pools)
    return {
        "time_s": np.arange(used) * width,
        "step_power_w": total["energy_j"] / width,
        "busy_share": total["busy_s"] / (width * ranks),
        "batch_mean": total["batch_s"] / width,
        "kv_share": total["kv_block_s"] / (width * blocks),
        "prefill_token_per_s": total["prefill_tokens"] / width,
        "decode_token_per_s": total["decode_tokens"] / width,
    }


def distribution(values: NDArray[np.float64], points: int = 512) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Cumulative distribution for plotting: values and the share of requests [-] at or below them; nan is left out."""
    known = np.sort(values[~np.isnan(values)])
    if known.size == 0:
        return known, known
    share = np.linspace(0.0, 1.0, min(points, known.size))
    return known[np.minimum((share * known.size).astype(int), known.size - 1)], share


def chrome_trace(result: Result) -> dict[str, Any]:
    """Logged steps and the requests that were there meanwhile, for chrome://tracing and Perfetto.

    Needs a run with Recording(steps=...). Times are in microseconds.
    """
    return {"displayTimeUnit": "ms", "traceEvents": [*_step_events(result), *_request_events(result)]}


def write_chrome_trace(result: Result, path: Path) -> None:
    """Write `chrome_trace` as JSON."""
    path.write_text(json.dumps(chrome_trace(result)), encoding="utf-8")


def _step_events(result: Result) -> Iterator[dict[str, Any]]:
    for rank in np.unique(result.outcome.steps["rank"]).tolist():
        yield {"ph": "M", "name": "process_name", "pid": rank, "args": {"name": f"rank {rank}"}}
    for step in result.outcome.steps:
        start = float(step["start_s"]) * MICRO
        counts = {name: int(step[name]) for name in ("prefill_tokens", "prefill_requests", "decode_requests")}
        kind = "prefill" if counts["decode_requests"] == 0 else "mixed" if counts["prefill_requests"] else "decode"
        rank = int(step["rank"])
        length = (float(step["end_s"]) - float(step["start_s"])) * MICRO
        yield {"ph": "X", "name": kind, "pid": rank, "tid": 0, "ts": start, "dur": length, "args": counts}
        for name in ("waiting", "kv_blocks"):
            yield {"ph": "C", "name": name, "pid": rank, "ts": start, "args": {name: int(step[name])}}


def _request_events(result: Result) -> Iterator[dict[str, Any]]:
    steps, records = result.outcome.steps, result.records
    if steps.size == 0:
        return
    begin, end = float(steps["start_s"].min()), float(steps["end_s"].max())
    there = (records["arrival_s"] < end) & (records["done_s"] > begin) & (records["status"] == DONE)
    for request in np.flatnonzero(there)[:TRACED_REQUESTS].tolist():
        record = records[request]
        marks = [float(record[name]) for name in ("arrival_s", "admitted_s", "first_token_s", "done_s")]
        common = {"cat": "request", "id": request, "pid": int(record["rank"])}
        for name, first, last in zip(("queue", "prefill", "decode"), marks, marks[1:], strict=False):
            yield {"ph": "b", "name": name, "ts": first * MICRO, **common}
            yield {"ph": "e", "name": name, "ts": last * MICRO, **common}
