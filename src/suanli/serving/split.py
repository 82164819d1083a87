"""A closed loop on disaggregated pools, event by event: prompts on some instances, decoding on others.

Same simplifications as `suanli.serving.loop`. A request waits for a prefill worker, is taken in together with others
up to the token budget, moves its cache, waits for room on a decode worker and joins it between two steps. The client
sees the first token when the request has room on its decode worker.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from suanli.serving.loop import Instance, Served, pop, push, time_of

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

NEVER = 1e300
END_PREFILL, TAKE, END, JOIN = range(1, 5)  # kinds of events


@dataclass(frozen=True)
class SplitPools:
    """Workers of two pools. transfer_s : time to move one request's cache, not hidden [s]."""

    prefill: Instance
    prefill_workers: int
    decode: Instance
    decode_workers: int
    transfer_s: float


class Problem(NamedTuple):
    """Input of the compiled loop: tables of both pools, lengths of the requests [token]."""

    fill_seconds: Array
    fill_tokens: Array
    fill_batch: Array
    budget: float
    seconds: Array
    tokens: Array
    batch: Array
    limit: int
    gain: float
    frontend_s: float
    path_s: float
    transfer_s: float
    inputs: Array
    outputs: Array


class State(NamedTuple):
    """What the compiled loop changes.

    free, begin, end : of each prefill worker, when its step ends and which requests [begin, end) are in it.
    order, arrive : requests in order of arrival at the decode pool, and when. heaps : (decode step at which it ends,
    request) of each decode worker; running, step : its requests and decode steps, clock : its time at that step, each :
    time of a decode step, ends : when its next request ends.
    """

    sent: Array
    ready: Array
    first: Array
    done: Array
    free: Array
    begin: Integers
    end: Integers
    order: Integers
    arrive: Array
    heaps: Integers
    running: Integers
    step: Integers
    clock: Array
    each: Array
    ends: Array
    counts: Integers  # see KNOWN ... ENDED
    now: Array  # the time, when the front end is free [s]


# Entries of State.counts: requests sent, begun by a prefill worker, arrived at the decode pool, joined, ended.
KNOWN, TAKEN, FILLED, JOINED, ENDED = range(5)


def run_split(pools: SplitPools, inputs: Array, outputs: Array, users: int) -> Served:
    """Serve requests in order from `users` that each wait for their answer."""
    count, fillers, workers = len(inputs), pools.prefill_workers, pools.decode_workers
    fill, gen = pools.prefill, pools.decode
    limit = max(int(gen.limit), 1)
    problem = Problem(
        fill.seconds,
        fill.tokens,
        fill.batch,
        float(fill.budget),
        gen.seconds,
        gen.tokens,
        gen.batch,
        limit,
        float(gen.gain),
        float(fill.frontend_s),
        float(fill.path_s),
        float(pools.transfer_s),
        np.asarray(inputs, dtype=np.float64),
        np.asarray(outputs, dtype=np.float64),
    )
    state = State(
        np.zeros(count),
        np.zeros(count),
        np.zeros(count),
        np.zeros(count),
        np.zeros(fillers),
        np.zeros(fillers, np.int64),
        np.zeros(fillers, np.int64),
        np.zeros(count, np.int64),
        np.zeros(count),
        np.zeros((workers, limit + 1, 2), np.int64),
        np.zeros(workers, np.int64),
        np.zeros(workers, np.int64),
        np.zeros(workers),
        np.zeros(workers),
        np.full(workers, NEVER),
        np.zeros(5, np.int64),
        np.zeros(2),
    )
    compiled_run()(problem, state, min(users, count))
    return Served(state.sent, state.first, state.done, outputs)


@lru_cache(maxsize=1)
def compiled_run() -> Callable[[Problem, State, int], None]:
    """The loop as machine code; compiled by the first run on a machine, read from disk by later ones."""
    import numba  # noqa: PLC0415 (start-up time)

    shared = (time_of, push, pop)
    own = (send, set_pace, next_prefill, next_join, end_prefill, take_prompts, end_requests, join)
    module = globals()
    for part in (*shared, *own):
        plain = getattr(part, "py_func", part)
        module[plain.__name__] = numba.njit(cache=True)(plain)
    code: Callable[[Problem, State, int], None] = numba.njit(cache=True)(run)
    return code


def send(p: Problem, s: State, i: int, now: float) -> None:
    """A request leaves its client: serial front end, then the way to the prefill pool."""
    s.now[1] = max(s.now[1], now) + p.frontend_s
    s.ready[i] = s.now[1] + p.path_s


def set_pace(p: Problem, s: State, worker: int) -> None:
    """Time of a decode step of a worker and the next end, for the requests that it has now."""
    s.ends[worker] = NEVER
    if s.running[worker] > 0:
        s.each[worker] = time_of(p.seconds, p.tokens, p.batch, 0.0, s.running[worker])
        s.ends[worker] = s.clock[worker] + (s.heaps[worker, 0, 0] - s.step[worker]) * s.each[worker]


def next_prefill(s: State) -> tuple[float, int, int]:
    """(time, kind, worker) of the next event of the prefill pool."""
    when, kind, which = NEVER, 0, 0
    for worker in range(len(s.free)):
        if s.end[worker] > s.begin[worker]:
            if s.free[worker] < when:
                when, kind, which = s.free[worker], END_PREFILL, worker
        elif s.counts[TAKEN] < s.counts[KNOWN]:
            at = max(s.now[0], s.ready[s.counts[TAKEN]])
            if at < when:
                when, kind, which = at, TAKE, worker
    return when, kind, which


def next_join(p: Problem, s: State) -> tuple[float, int]:
    """(time, worker) at which the next arrived request joins the emptiest decode worker."""
    worker = int(np.argmin(s.running))
    if s.counts[JOINED] < s.counts[FILLED] and s.running[worker] < p.limit:
        return max(s.now[0], s.arrive[s.counts[JOINED]]), worker
    return NEVER, worker


def end_prefill(p: Problem, s: State, worker: int) -> None:
    """The caches of a finished prefill step set out."""
    for i in range(s.begin[worker], s.end[worker]):
        s.order[s.counts[FILLED]] = i
        s.arrive[s.counts[FILLED]] = s.now[0] + p.transfer_s
        s.counts[FILLED] += 1
    s.begin[worker] = s.end[worker]


def take_prompts(p: Problem, s: State, worker: int) -> None:
    """A prefill worker takes what waits, at least one prompt; one longer than the budget takes several steps."""
    s.begin[worker] = s.counts[TAKEN]
    chosen, seconds = p.inputs[s.counts[TAKEN]], 0.0
    s.counts[TAKEN] += 1
    while s.counts[TAKEN] < s.counts[KNOWN] and s.ready[s.counts[TAKEN]] <= s.now[0]:
        if chosen + p.inputs[s.counts[TAKEN]] > p.budget:
            break
        chosen += p.inputs[s.counts[TAKEN]]
        s.counts[TAKEN] += 1
    while chosen > 0.0:
        piece = min(chosen, p.budget)
        seconds += time_of(p.fill_seconds, p.fill_tokens, p.fill_batch, piece, 0.0)
        chosen -= piece
    s.end[worker], s.free[worker] = s.counts[TAKEN], s.now[0] + seconds


def end_requests(p: Problem, s: State, worker: int) -> None:
    """Requests of a decode worker whose last token came; their users send the next ones."""
    s.step[worker], s.clock[worker] = s.heaps[worker, 0, 0], s.now[0]
    while s.running[worker] > 0 and s.heaps[worker, 0, 0] <= s.step[worker]:
        i = pop(s.heaps[worker], s.running[worker])
        s.running[worker] -= 1
        s.done[i] = s.now[0]
        s.counts[ENDED] += 1
        if s.counts[KNOWN] < len(p.inputs):
            s.sent[s.counts[KNOWN]] = s.now[0]
            send(p, s, s.counts[KNOWN], s.now[0])
            s.counts[KNOWN] += 1
    set_pace(p, s, worker)


def join(p: Problem, s: State, worker: int) -> None:
    """A request joins a decode worker between two steps."""
    i = s.order[s.counts[JOINED]]
    s.counts[JOINED] += 1
    if s.running[worker] == 0:
        s.clock[worker] = s.now[0]
    else:
        steps = math.ceil((s.now[0] - s.clock[worker]) / s.each[worker])
        steps = min(steps, s.heaps[worker, 0, 0] - s.step[worker])
        s.clock[worker] += steps * s.each[worker]
        s.step[worker] += steps
    s.first[i] = s.now[0]
    steps = max(math.ceil((p.outputs[i] - 1.0) / p.gain), 1)
    push(s.heaps[worker], s.running[worker], s.step[worker] + steps, i)
    s.running[worker] += 1
    set_pace(p, s, worker)


def run(p: Problem, s: State, users: int) -> None:
    """Serve all requests; `users` of them are sent at the start, the others as earlier ones end."""
    s.counts[KNOWN] = users
    for i in range(users):
        send(p, s, i, 0.0)
    while s.counts[ENDED] < len(p.inputs):
        when, kind, which = next_prefill(s)
        worker = int(np.argmin(s.ends))
        if s.ends[worker] < when:
            when, kind, which = s.ends[worker], END, worker
        joins, worker = next_join(p, s)
        if joins <= when:
            when, kind, which = joins, JOIN, worker
        s.now[0] = max(s.now[0], when)
        if kind == END_PREFILL:
            end_prefill(p, s, which)
        elif kind == TAKE:
            take_prompts(p, s, which)
        elif kind == END:
            end_requests(p, s, which)
        else:
            join(p, s, which)
