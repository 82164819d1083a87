"""Requests from ServeGen's description of production traffic: rate and burstiness per client and time window.

ServeGen (arXiv 2505.09999) gives for each client and window of 600 s a rate, a coefficient of variation and the family
of its gaps, and histograms of lengths per pool of clients. Requests are drawn from these.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from suanli.workload.arrivals import gamma, weibull
from suanli.workload.requests import Requests
from suanli.workload.traces import Trace, TraceError, csv_columns, opened

if TYPE_CHECKING:
    from numpy.typing import NDArray

WINDOW_S = 600.0  # of the published client windows


def read_servegen(
    windows: Path,
    input_pmf: Path,
    output_pmf: Path,
    *,
    span_s: tuple[float, float],
    rng: np.random.Generator,
    scale: float = 1.0,
) -> Trace:
    """Draw the requests of all clients from `span_s` (begin, end) [s] of the windows, at `scale` times their rates.

    windows : CSV with client, window_start_s, rate_rps, cv, pattern.   *_pmf : JSON objects {length: weight}.
    """
    wanted = {
        "client": "text",
        "window_start_s": "a number",
        "rate_rps": "a number",
        "cv": "a number",
        "pattern": "text",
    }
    columns, lines = csv_columns(windows, wanted)
    families = {"Gamma": gamma, "Weibull": weibull, "Exponential": gamma}
    problems = [
        f"{windows}: line {line}: pattern '{pattern}' is none of {', '.join(families)}"
        for line, pattern in zip(lines, columns["pattern"], strict=True)
        if pattern not in families
    ]
    if problems:
        raise TraceError(problems)
    begin, end = span_s
    inside = (columns["window_start_s"] >= begin) & (columns["window_start_s"] < end) & (columns["rate_rps"] > 0)
    arrivals, clients = [], []
    _, numbers = np.unique(columns["client"], return_inverse=True)
    for row in np.flatnonzero(inside):
        times = _window(families[columns["pattern"][row]], columns["rate_rps"][row] * scale, columns["cv"][row], rng)
        arrivals.append(columns["window_start_s"][row] - begin + times)
        clients.append(np.full(times.size, numbers[row]))
    arrival = np.concatenate(arrivals) if arrivals else np.zeros(0)
    order = np.argsort(arrival, kind="stable")
    arrival = arrival[order]
    keep = arrival < end - begin
    arrival, client = arrival[keep], np.concatenate([*clients, np.zeros(0, dtype=np.int64)])[order][keep]
    return Trace(
        Requests.build(
            arrival, _draw(input_pmf, arrival.size, rng), _draw(output_pmf, arrival.size, rng), session=client
        )
    )


def _window(family: object, rate: float, cv: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Arrivals of one client inside one window [s]."""
    draw = family if callable(family) else gamma
    cv = max(cv, 0.05)  # a renewal process needs some spread; the published figure is 0 for windows of one request
    count = int(rate * WINDOW_S * 2.0) + 8
    times = draw(rate, cv, count, rng)
    while times[-1] < WINDOW_S:
        times = np.concatenate([times, times[-1] + draw(rate, cv, count, rng)])
    return np.asarray(times[times < WINDOW_S])


def _draw(path: Path, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Lengths drawn from a histogram file; lengths below 1 count as 1."""
    with opened(path) as stream:
        try:
            weights = {int(length): float(weight) for length, weight in json.load(stream).items()}
        except (ValueError, TypeError, AttributeError) as error:
            raise TraceError([f"{path}: not an object of lengths and weights ({error})"]) from None
    chance = np.array(list(weights.values()))
    if not np.all(chance >= 0.0) or not chance.sum() > 0.0:
        raise TraceError([f"{path}: weights must not be negative, and some above zero"])
    drawn = rng.choice(np.array(list(weights)), size=count, p=chance / chance.sum())
    return np.asarray(np.maximum(drawn, 1), dtype=np.int64)
