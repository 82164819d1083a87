"""Any trace by its format, and what a closed form needs to know about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from suanli.workload.requests import Requests
from suanli.workload.traces import Trace, TraceError, read_azure, read_burstgpt, read_mooncake
from suanli.workload.traces_prefix import lru_hit_rate
from suanli.workload.traces_servegen import read_servegen
from suanli.workload.traces_sessions import read_sessions


def _read_servegen_folder(path: Path) -> Trace:
    """Client windows, and beside them the histograms of lengths with the same start of their names; the first day."""
    stem = path.name.split("_client_windows")[0]
    pmfs = [path.with_name(f"{stem}_{kind}_tokens_pmf.json.gz") for kind in ("input", "output")]
    return read_servegen(path, pmfs[0], pmfs[1], span_s=(0.0, 86400.0), rng=np.random.default_rng(0))


FORMATS: dict[str, Callable[[Path], Trace]] = {
    "azure": read_azure,
    "burstgpt": read_burstgpt,
    "mooncake": read_mooncake,
    "agentic": read_sessions,
    "servegen": _read_servegen_folder,
}


def read_trace(path: Path, form: str) -> Trace:
    """Read a trace of a named format; see FORMATS. Raises TraceError."""
    if form not in FORMATS:
        raise TraceError([f"{path}: format '{form}' is none of {', '.join(FORMATS)}"])
    trace = FORMATS[form](path)
    if len(trace.requests) == 0:
        raise TraceError([f"{path}: no requests in it"])
    return trace


@dataclass(frozen=True)
class TraceStatistics:
    """Means and variations of a trace.

    rate [request/s], arrival_cv [-] : of the gaps between arrivals; nan where requests follow one another.
    hit_rate : share of hash blocks that an unlimited prefix cache finds [-], 0 without hash ids.
    """

    requests: int
    rate: float
    arrival_cv: float
    input_tokens: float
    input_cv: float
    output_tokens: float
    output_cv: float
    hit_rate: float


def statistics_of(requests: Requests) -> TraceStatistics:
    """Statistics of a workload."""
    inputs, outputs = requests.input_tokens.astype(np.float64), requests.output_tokens.astype(np.float64)
    gaps = np.diff(requests.arrival_s)
    moving = gaps.size > 0 and gaps.mean() > 0.0 and not np.any(requests.after >= 0)
    return TraceStatistics(
        requests=len(requests),
        rate=float(1.0 / gaps.mean()) if moving else np.nan,
        arrival_cv=float(gaps.std() / gaps.mean()) if moving else np.nan,
        input_tokens=float(inputs.mean()),
        input_cv=float(inputs.std() / inputs.mean()),
        output_tokens=float(outputs.mean()),
        output_cv=float(outputs.std() / outputs.mean()),
        hit_rate=0.0 if requests.prefixes is None else lru_hit_rate(requests.prefixes, None),
    )
