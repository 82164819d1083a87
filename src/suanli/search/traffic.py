"""The requests of a study: read from its trace, or drawn with the statistics that it names."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from suanli.catalog.loader import Catalog
from suanli.search.study import Study, StudyError, TraceFile, Workload
from suanli.serving.steady import Demand
from suanli.workload.arrivals import bursts, conversations, diurnal, gamma
from suanli.workload.arrivals_profile import requests_of_profile
from suanli.workload.requests import Prefixes, Requests
from suanli.workload.traces import TraceError
from suanli.workload.traces_read import read_trace, statistics_of

BLOCK_TOKENS = 16  # tokens of a KV block: default of vLLM and SGLang's usual page
SECONDS = 1200.0  # of traffic that is replayed when nothing is said, within the limits below
FEWEST, MOST = 2_000, 50_000
CROWD = 1e9  # request/s: all of a closed loop are there at once


def trace_requests(trace: TraceFile, rate: float | None) -> Requests:
    """Requests of a recorded trace, faster or slower where the study gives a rate. Raises StudyError."""
    try:
        stamp = trace.path.stat().st_mtime_ns
    except OSError as error:
        raise StudyError([f"workload.trace: {trace.path}: cannot be read ({error.strerror})"]) from None
    requests = _read(trace.path, trace.format, stamp)
    if rate is None:
        return requests
    own = statistics_of(requests).rate
    if not np.isfinite(own):
        raise StudyError(
            ["workload.rate: the requests of this trace wait for one another, or come all at once: it has no rate"]
        )
    return requests.at_rate(rate / own)


@lru_cache(maxsize=2)
def _read(path: Path, form: str, _stamp: int) -> Requests:
    try:
        return read_trace(path, form).requests
    except TraceError as error:
        raise StudyError(error.problems) from None


def workload_of(study: Study, catalog: Catalog, count: int | None, seed: int) -> tuple[Requests, list[str]]:
    """Requests of a study, and what was assumed about them. Raises StudyError.

    count : how many to draw; without it SECONDS of traffic. A trace is taken whole.   seed : of the drawing.
    """
    workload, rng = study.workload, np.random.default_rng(seed)
    if workload.trace is not None:
        return _with_classes(trace_requests(workload.trace, workload.rate), workload, rng), []
    number = count or int(min(max((workload.rate or 0.0) * SECONDS, 20 * (workload.concurrency or 0.0), FEWEST), MOST))
    requests = _drawn(workload, catalog, number, rng)
    notes = []
    if workload.prefix_hit_rate > 0.0:
        notes.append(f"prompts share their first {workload.prefix_hit_rate:.0%} with all others")
        requests = _sharing(requests, workload.prefix_hit_rate)
    return _with_classes(requests, workload, rng), notes


def _drawn(workload: Workload, catalog: Catalog, number: int, rng: np.random.Generator) -> Requests:
    if workload.sessions is not None:
        return _conversations(workload, number, rng)
    rate = workload.rate or CROWD
    if workload.profile is not None:
        requests = requests_of_profile(catalog.workloads[workload.profile], rate, number, rng)
    else:
        requests = Requests.build(
            gamma(rate, 1.0, number, rng), round(workload.input_tokens or 0), round(workload.output_tokens or 0)
        )
    if workload.rate is None:
        return replace(requests, arrival_s=np.zeros(number))
    if workload.arrivals.process is not None:
        return _at(requests, arrivals_of(workload, number, rng))
    return requests


def _at(requests: Requests, arrivals: NDArray[np.float64]) -> Requests:
    """The first requests at given times, as many as there are times."""
    return replace(requests.take(np.arange(arrivals.size)), arrival_s=arrivals)


def arrivals_of(workload: Workload, number: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """At most `number` times of arrival [s] by the process of a study."""
    rate, found = workload.rate or 0.0, workload.arrivals
    if found.process == "diurnal":
        ratio, period = found.peak_to_mean or 1.0, found.period or 1.0
        return diurnal(rate, ratio, number / rate, rng, period_s=period)[:number]
    if found.process == "bursts":
        return bursts(rate, found.factor or 1.0, found.calm or 1.0, found.burst or 1.0, number, rng)
    return gamma(rate, found.cv or 1.0, number, rng)


def _conversations(workload: Workload, number: int, rng: np.random.Generator) -> Requests:
    sessions = workload.sessions
    if sessions is None:
        raise ValueError("a workload without sessions")
    count = max(number // sessions.turns, 1)
    return conversations(
        gamma((workload.rate or CROWD) / sessions.turns, 1.0, count, rng),
        sessions.turns,
        round(workload.input_tokens or 0),
        sessions.new_tokens,
        round(workload.output_tokens or 0),
        sessions.think,
        block_tokens=BLOCK_TOKENS,
    )


def _with_classes(requests: Requests, workload: Workload, rng: np.random.Generator) -> Requests:
    """The same requests with classes of priority in the shares of the study."""
    if not workload.priorities:
        return requests
    shares = np.asarray(workload.priorities)
    classes = rng.choice(shares.size, len(requests), p=shares / shares.sum())
    return replace(requests, priority=classes.astype(np.int8))


def _sharing(requests: Requests, share: float) -> Requests:
    """The same requests, the first part of whose prompts is one and the same."""
    blocks = -(-requests.input_tokens.astype(np.int64) // BLOCK_TOKENS)
    start = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(blocks)])
    place = np.arange(start[-1]) - np.repeat(start[:-1], blocks)
    common = place < np.repeat(np.rint(blocks * share).astype(np.int64), blocks)
    own = int(blocks.max()) + np.arange(start[-1])
    return replace(requests, prefixes=Prefixes(BLOCK_TOKENS, start, np.where(common, place, own)))


def demand_of_requests(requests: Requests) -> Demand:
    """What the closed form and the step tables need to know about a list of requests.

    Prefixes count as found wherever an unlimited cache would find them; arrivals without a rate count as Poisson.
    """
    found = statistics_of(requests)
    return Demand(
        input_tokens=found.input_tokens,
        output_tokens=found.output_tokens,
        input_cv=found.input_cv,
        output_cv=found.output_cv,
        arrival_cv=found.arrival_cv if np.isfinite(found.arrival_cv) else 1.0,
        hit_rate=min(found.hit_rate, 1.0 - 1.0 / found.input_tokens),
    )
