"""Flow-level simulator: fluid flows share links max-min fairly; collectives are chains of steps.

For what has no closed form: concurrent collectives on the same links, a failed link, an odd slice. A job is a chain of
steps; a step is a set of flows that start together, and ends one `latency` after its last flow. Jobs run at the same
time and compete for links.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from suanli.fabric.graph import Graph, Index
from suanli.fabric.routes import Routes

Array = NDArray[np.float64]

DONE = 1e-9  # share of a flow below which the rest counts as rounding
# Flows that would end within this share of the time so far end together: keeps odd cases at a few hundred events, makes
# them at most this much too fast, and changes nothing where flows end together anyway.
TOGETHER = 0.01
# Links whose fair share is within this share of the tightest one are full together: flows there go at most this much
# too slow.
ALIKE = 0.01


@dataclass(frozen=True)
class Step:
    """Flows that start together: their routes, bytes each, and the time [s] added after the last one ended."""

    routes: Routes
    size: Array
    latency: float = 0.0


@njit(cache=True)
def _freeze(
    flow: int, share: float, pointer: Index, links: Index, left: Array, open_flows: Index
) -> None:  # pragma: no cover
    """Take a flow that goes at `share` off the links it crosses."""
    for hop in range(pointer[flow], pointer[flow + 1]):
        open_flows[links[hop]] -= 1
        left[links[hop]] = max(left[links[hop]] - share, 0.0)


@njit(cache=True)
def _fair_rates(
    pointer: Index, links: Index, users: Index, crossing: Index, capacity: Array
) -> Array:  # pragma: no cover
    """Max-min fair rates: fill all flows alike, freeze those on the link that is full first, repeat."""
    rates = np.full(len(pointer) - 1, np.inf)  # a flow that crosses no link is never held up
    frozen = np.diff(pointer) == 0
    left, open_flows = capacity.copy(), np.diff(users)
    while not frozen.all():
        share = np.inf
        for link in range(len(capacity)):
            if open_flows[link] > 0:
                share = min(share, left[link] / open_flows[link])
        for link in range(len(capacity)):
            if open_flows[link] == 0 or left[link] > share * open_flows[link] * (1.0 + ALIKE):
                continue
            for position in range(users[link], users[link + 1]):
                flow = crossing[position]
                if not frozen[flow]:
                    frozen[flow], rates[flow] = True, share
                    _freeze(flow, share, pointer, links, left, open_flows)
    return rates


@njit(cache=True)
def _users(pointer: Index, links: Index, count: int) -> tuple[Index, Index]:  # pragma: no cover
    """Flows that cross each link, as (start of each link's list, flows)."""
    starts = np.zeros(count + 1, dtype=np.int64)
    for link in links:
        starts[link + 1] += 1
    starts = np.cumsum(starts)
    place, crossing = starts[:-1].copy(), np.empty(len(links), dtype=np.int64)
    for flow in range(len(pointer) - 1):
        for hop in range(pointer[flow], pointer[flow + 1]):
            crossing[place[links[hop]]] = flow
            place[links[hop]] += 1
    return starts, crossing


def fair_rates(routes: Routes, capacity: Array) -> Array:
    """Max-min fair rate of every flow [B/s]; infinite for a flow that crosses no link."""
    pointer, links = routes
    users, crossing = _users(pointer, links, len(capacity))
    return np.asarray(_fair_rates(pointer, links, users, crossing, capacity))


def joined(parts: Sequence[Routes]) -> Routes:
    """Routes of several sets of flows, one after the other."""
    offsets = np.cumsum([0, *(len(links) for _, links in parts)])
    pointers = [pointer[:-1] + offset for (pointer, _), offset in zip(parts, offsets, strict=False)]
    return np.concatenate([*pointers, offsets[-1:]]), np.concatenate([links for _, links in parts])


@dataclass
class _Running:
    """Where one job stands: its step, what is left of each flow [B], or the time it waits for."""

    steps: Sequence[Step]
    step: int = -1
    left: Array | None = None
    wait: float = 0.0  # [s] until the next step starts, while `left` is None
    spent: float = 0.0  # [s] since the step started

    @property
    def finished(self) -> bool:
        return self.left is None and self.step + 1 >= len(self.steps) and self.wait <= 0.0


def simulate(graph: Graph, jobs: Sequence[Sequence[Step]]) -> Array:
    """Time [s] at which each job ends when all start at 0 and share the links of `graph` fairly."""
    running = [_Running(steps) for steps in jobs]
    ends, clock = np.zeros(len(jobs)), 0.0
    while True:
        for number, job in enumerate(running):
            _start_next(job)
            if job.finished and ends[number] == 0.0:
                ends[number] = clock
        sending = [job for job in running if job.left is not None]
        waits = [job.wait for job in running if job.left is None and job.wait > 0.0]
        if not sending and not waits:
            return ends
        clock += _advance(graph, sending, [job for job in running if job.left is None], min(waits, default=np.inf))


def _start_next(job: _Running) -> None:
    """Start the next step of a job that waits for nothing; steps without flows only cost their latency."""
    while job.left is None and job.wait <= 0.0 and job.step + 1 < len(job.steps):
        job.step += 1
        step = job.steps[job.step]
        if (step.size > 0.0).any():
            job.left, job.spent = step.size.astype(float).copy(), 0.0
        else:
            job.wait = step.latency


def _advance(graph: Graph, sending: Sequence[_Running], waiting: Sequence[_Running], limit: float) -> float:
    """Run until the next flow ends or the next wait is over; returns the time passed [s]."""
    if sending:
        routes = joined([job.steps[job.step].routes for job in sending])
        left = np.concatenate([_left(job) for job in sending])
        active = left > 0.0
        rates = np.zeros(len(left))
        rates[active] = fair_rates(_chosen(routes, active), graph.capacity)
        passed = min(limit, float((left[active] / rates[active]).min()))
        start = 0
        for job in sending:
            rest = _left(job)
            stop = start + len(rest)
            job.spent += passed
            sent = rates[start:stop] * (passed + TOGETHER * job.spent)
            moved = np.where(sent >= rest * (1.0 - DONE), rest, rates[start:stop] * passed)
            rest = rest - moved
            job.left, start = (rest if rest.any() else None), stop
            if job.left is None:
                job.wait = job.steps[job.step].latency
    else:
        passed = limit
    for job in waiting:
        job.wait -= passed
        if job.wait < 1e-15:
            job.wait = 0.0
    return passed


def _left(job: _Running) -> Array:
    if job.left is None:
        raise ValueError("a job that sends nothing has no flows")
    return job.left


def _chosen(routes: Routes, active: NDArray[np.bool_]) -> Routes:
    """Routes of the active flows only."""
    if active.all():
        return routes
    pointer, links = routes
    counts = np.diff(pointer)
    return np.concatenate([[0], np.cumsum(counts[active])]), links[np.repeat(active, counts)]
