"""What a benchmark client sees, event by event: closed loops, bursts and Poisson arrivals on one engine instance.

Between two events (a request ends, a prompt is taken in) all decode steps are alike, so they are taken at once: a run
costs as much as it has requests, not as it has steps. In return KV lengths are means and nothing is preempted; the
full simulator (`suanli.serving.simulate`) knows both.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Instance:
    """One engine instance as the loop sees it.

    seconds (k, b) over tokens (k,) and batch (b,): time of a step [s]. limit : most requests at once. budget : most
    tokens of a step. prefill_first : prompts pause decoding instead of sharing a step. poll : decode steps between
    two looks at new requests. hold_steps, hold_tokens : prompts are held back for at most so many steps while others
    decode, until so many prompt tokens wait. frontend_s : serial time of the front end per request. path_s : the way
    to the engine and back beside that. gain : tokens that a request gains per decode step. query : tokens that it
    brings into a step.
    """

    seconds: Array
    tokens: Array
    batch: Array
    limit: int
    budget: float
    prefill_first: bool
    poll: int
    frontend_s: float
    path_s: float = 0.0
    hold_steps: int = 0
    hold_tokens: float = 0.0
    gain: float = 1.0
    query: float = 1.0


@dataclass(frozen=True)
class Served:
    """Times of every request [s], from the start of the run: sent by the client, first token, end."""

    sent: Array
    first: Array
    done: Array
    outputs: Array

    @property
    def ttft(self) -> Array:
        """Time to first token [s]."""
        return self.first - self.sent

    @property
    def tpot(self) -> Array:
        """Time per output token after the first [s], of requests with at least two."""
        several = self.outputs > 1.0
        return np.asarray((self.done - self.first)[several] / (self.outputs[several] - 1.0))

    @property
    def seconds(self) -> float:
        """Length of the run [s]."""
        return float(self.done.max() - self.sent.min())


class Problem(NamedTuple):
    """Input of the compiled loop: an Instance and the lengths of the requests [token]."""

    seconds: Array
    tokens: Array
    batch: Array
    limit: int
    budget: float
    prefill_first: bool
    poll: int
    frontend_s: float
    path_s: float
    hold_steps: int
    hold_tokens: float
    gain: float
    query: float
    inputs: Array
    outputs: Array


class State(NamedTuple):
    """What the compiled loop changes. heap : (decode step at which it ends, request) of the running ones."""

    sent: Array
    ready: Array  # when the engine has it
    first: Array
    done: Array
    heap: Integers
    counts: Integers  # see KNOWN ... LOOK
    clock: Array  # see NOW ... WAITING


# Entries of State.counts: requests that were sent, that the scheduler has seen, has begun, that run, that ended;
# decode steps since the start, since the last look, of the present hold; whether to look at once.
KNOWN, SEEN, TAKEN, RUNNING, ENDED, STEP, SINCE, HELD, LOOK = range(9)
# Entries of State.clock: the time, when the front end is free [s], tokens done of the prompt in progress, prompt tokens
# that wait.
NOW, FRONT, PART, WAITING = range(4)


def run_loop(instance: Instance, inputs: Array, outputs: Array, *, users: int = 0, sent: Array | None = None) -> Served:
    """Serve requests in order: from `users` that each wait for their answer, or sent at given times [s]."""
    count = len(inputs)
    limit = max(int(instance.limit), 1)
    problem = Problem(
        instance.seconds,
        instance.tokens,
        instance.batch,
        limit,
        float(instance.budget),
        bool(instance.prefill_first),
        max(int(instance.poll), 1),
        float(instance.frontend_s),
        float(instance.path_s),
        int(instance.hold_steps),
        float(instance.hold_tokens),
        float(instance.gain),
        float(instance.query),
        np.asarray(inputs, dtype=np.float64),
        np.asarray(outputs, dtype=np.float64),
    )
    state = State(
        np.zeros(count) if sent is None else np.array(sent, dtype=np.float64),
        np.empty(count),
        np.zeros(count),
        np.zeros(count),
        np.empty((limit + 1, 2), dtype=np.int64),
        np.zeros(9, dtype=np.int64),
        np.zeros(4),
    )
    compiled_run()(problem, state, min(users, count) if users else count)
    return Served(state.sent, state.first, state.done, outputs)


@lru_cache(maxsize=1)
def compiled_run() -> Callable[[Problem, State, int], None]:
    """The loop as machine code; compiled by the first run on a machine, read from disk by later ones."""
    import numba  # noqa: PLC0415 (start-up time)

    parts = (time_of, push, pop, send, look, held_back, take_prompts, decode, end_requests)
    module = globals()
    for part in parts:
        module[part.__name__] = numba.njit(cache=True)(part)
    code: Callable[[Problem, State, int], None] = numba.njit(cache=True)(run)
    return code


def time_of(seconds: Array, tokens: Array, batch: Array, x: float, y: float) -> float:
    """Bilinear value of a table at x tokens and y requests, its edge outside [s]."""
    i = min(max(int(np.searchsorted(tokens, x)) - 1, 0), len(tokens) - 2)
    j = min(max(int(np.searchsorted(batch, y)) - 1, 0), len(batch) - 2)
    u = min((x - tokens[i]) / (tokens[i + 1] - tokens[i]), 1.0)
    v = min((y - batch[j]) / (batch[j + 1] - batch[j]), 1.0)
    low = seconds[i, j] * (1.0 - v) + seconds[i, j + 1] * v
    high = seconds[i + 1, j] * (1.0 - v) + seconds[i + 1, j + 1] * v
    return float(low * (1.0 - u) + high * u)


def push(heap: Integers, size: int, end: int, request: int) -> None:
    """Add (end, request) to a heap of `size` entries."""
    i = size
    while i > 0:
        parent = (i - 1) // 2
        if heap[parent, 0] <= end:
            break
        heap[i] = heap[parent]
        i = parent
    heap[i, 0], heap[i, 1] = end, request


def pop(heap: Integers, size: int) -> int:
    """Request with the smallest end; the heap has `size` entries before."""
    top = int(heap[0, 1])
    end, request = heap[size - 1, 0], heap[size - 1, 1]
    i = 0
    while True:
        child = 2 * i + 1
        if child >= size - 1:
            break
        if child + 1 < size - 1 and heap[child + 1, 0] < heap[child, 0]:
            child += 1
        if heap[child, 0] >= end:
            break
        heap[i] = heap[child]
        i = child
    heap[i, 0], heap[i, 1] = end, request
    return top


def send(p: Problem, s: State, i: int, now: float) -> None:
    """A request leaves its client: serial front end, then the way to the engine."""
    s.clock[FRONT] = max(s.clock[FRONT], now) + p.frontend_s
    s.ready[i] = s.clock[FRONT] + p.path_s


def look(p: Problem, s: State) -> None:
    """The scheduler sees what has arrived."""
    while s.counts[SEEN] < s.counts[KNOWN] and s.ready[s.counts[SEEN]] <= s.clock[NOW]:
        s.clock[WAITING] += p.inputs[s.counts[SEEN]]
        s.counts[SEEN] += 1
    s.counts[SINCE] = 0
    s.counts[LOOK] = 0


def held_back(p: Problem, s: State) -> bool:
    """Whether prompts wait for more of them while others decode."""
    waits = s.counts[RUNNING] > 0 and s.clock[PART] == 0.0
    return bool(waits and s.counts[HELD] < p.hold_steps and s.clock[WAITING] < p.hold_tokens)


def take_prompts(p: Problem, s: State) -> None:
    """One step with prompt tokens, up to the budget and the limit of requests; long prompts in pieces."""
    running = s.counts[RUNNING]
    room = p.budget if p.prefill_first else p.budget - running * p.query
    room = max(room, 1.0)
    chosen, begun = 0.0, s.counts[TAKEN]
    while room > 0.0 and s.counts[TAKEN] < s.counts[SEEN] and running + s.counts[TAKEN] - begun < p.limit:
        length = p.inputs[s.counts[TAKEN]]
        piece = min(length - s.clock[PART], room)
        chosen += piece
        room -= piece
        s.clock[PART] += piece
        if s.clock[PART] < length:
            break
        s.counts[TAKEN] += 1
        s.clock[PART] = 0.0
    s.clock[WAITING] -= chosen
    s.clock[NOW] += time_of(p.seconds, p.tokens, p.batch, chosen, 0.0 if p.prefill_first else running)
    if p.prefill_first:
        s.counts[LOOK] = 1
    else:
        s.counts[STEP] += 1
        s.counts[SINCE] += 1
    s.counts[HELD] = 0
    for i in range(begun, s.counts[TAKEN]):
        s.first[i] = s.clock[NOW]
        steps = max(math.ceil((p.outputs[i] - 1.0) / p.gain), 0)
        push(s.heap, s.counts[RUNNING], s.counts[STEP] + steps, i)
        s.counts[RUNNING] += 1


def decode(p: Problem, s: State) -> None:
    """Decode steps up to the next event: a request ends, another one is seen, a hold is over."""
    running = s.counts[RUNNING]
    each = time_of(p.seconds, p.tokens, p.batch, 0.0, running)
    steps = s.heap[0, 0] - s.counts[STEP]
    room = running < p.limit
    if room and s.counts[SEEN] < s.counts[KNOWN]:
        wait = max(math.ceil((s.ready[s.counts[SEEN]] - s.clock[NOW]) / each), 1)
        wait += (-(s.counts[SINCE] + wait)) % p.poll
        steps = min(steps, wait)
    if room and s.counts[TAKEN] < s.counts[SEEN]:
        steps = min(steps, p.hold_steps - s.counts[HELD])
        s.counts[HELD] += max(steps, 0)
    steps = max(steps, 0)
    s.clock[NOW] += steps * each
    s.counts[STEP] += steps
    s.counts[SINCE] += steps


def end_requests(p: Problem, s: State) -> None:
    """Requests whose last token came; in a closed loop their users send the next ones."""
    full = s.counts[RUNNING] == p.limit
    while s.counts[RUNNING] > 0 and s.heap[0, 0] <= s.counts[STEP]:
        i = pop(s.heap, s.counts[RUNNING])
        s.counts[RUNNING] -= 1
        s.done[i] = s.clock[NOW]
        s.counts[ENDED] += 1
        if s.counts[KNOWN] < len(p.inputs):
            s.sent[s.counts[KNOWN]] = s.clock[NOW]
            send(p, s, s.counts[KNOWN], s.clock[NOW])
            s.counts[KNOWN] += 1
    if full and s.counts[RUNNING] < p.limit and p.poll == 1:
        s.counts[LOOK] = 1


def run(p: Problem, s: State, known: int) -> None:
    """Serve all requests; `known` of them are sent at the start, the others as earlier ones end."""
    s.counts[KNOWN], s.counts[LOOK] = known, 1
    for i in range(known):
        send(p, s, i, s.sent[i])
    while s.counts[ENDED] < len(p.inputs):
        if s.counts[LOOK] or s.counts[RUNNING] == 0 or s.counts[SINCE] >= p.poll:
            look(p, s)
        if s.counts[RUNNING] == 0 and s.counts[TAKEN] == s.counts[SEEN]:
            s.clock[NOW] = max(s.clock[NOW], s.ready[s.counts[SEEN]])
            s.counts[LOOK] = 1
            continue
        if s.counts[TAKEN] < s.counts[SEEN] and s.counts[RUNNING] < p.limit and not held_back(p, s):
            take_prompts(p, s)
        else:
            decode(p, s)
        end_requests(p, s)
