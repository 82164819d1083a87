"""What a benchmark client sees, event by event: closed loops, bursts and Poisson arrivals on one engine instance.

Between two events (a request ends, a prompt is taken in) all decode steps are alike, so they are taken at once: a run
costs as much as it has requests, not as it has steps. In return KV lengths are means and nothing is preempted; the
full simulator (`suanli.serving.simulate`) knows both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Instance:
    """One engine instance as the loop sees it.

    seconds (k, b) over tokens (k,) and batch (b,): time of a step [s]. limit : most requests at once. budget : most
    tokens of a step. prefill_first : prompts pause decoding instead of sharing a step. poll : decode steps between
    two looks at new requests. hold_steps, hold_tokens : prompts are held back for at most so many steps while others
    decode, until so many prompt tokens wait. frontend_s : serial time of the front end per request. path_s : the way to the engine and back
    beside that, per request. gain : tokens that a request
    gains per decode step. query : tokens that it brings into a step.
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


def run_loop(instance: Instance, inputs: Array, outputs: Array, *, users: int = 0, sent: Array | None = None) -> Served:
    """Serve requests in order: from `users` that each wait for their answer, or sent at given times [s]."""
    count = len(inputs)
    start = np.zeros(count) if sent is None else np.asarray(sent, dtype=np.float64).copy()
    first, done = np.zeros(count), np.zeros(count)
    _compiled()(
        instance.seconds,
        instance.tokens,
        instance.batch,
        np.asarray(inputs, dtype=np.float64),
        np.asarray(outputs, dtype=np.float64),
        start,
        first,
        done,
        min(users, count) if users else count,
        max(int(instance.limit), 1),
        instance.budget,
        instance.prefill_first,
        max(int(instance.poll), 1),
        instance.frontend_s,
        instance.path_s,
        instance.gain,
        instance.query,
        int(instance.hold_steps),
        instance.hold_tokens,
    )
    return Served(start, first, done, outputs)


@lru_cache(maxsize=1)
def _compiled() -> Callable[..., None]:
    import numba  # noqa: PLC0415 (start-up time)

    module: dict[str, Any] = globals()
    for name in ("_time_of", "_push", "_pop"):
        if not hasattr(module[name], "py_func"):
            module[name] = numba.njit(cache=True)(module[name])
    code: Callable[..., None] = numba.njit(cache=True)(_run)
    return code


def _time_of(seconds: Array, tokens: Array, batch: Array, x: float, y: float) -> float:
    """Bilinear value of the table, its edge outside."""
    i = min(max(np.searchsorted(tokens, x) - 1, 0), len(tokens) - 2)
    j = min(max(np.searchsorted(batch, y) - 1, 0), len(batch) - 2)
    u = min((x - tokens[i]) / (tokens[i + 1] - tokens[i]), 1.0)
    v = min((y - batch[j]) / (batch[j + 1] - batch[j]), 1.0)
    low = seconds[i, j] * (1.0 - v) + seconds[i, j + 1] * v
    high = seconds[i + 1, j] * (1.0 - v) + seconds[i + 1, j + 1] * v
    return float(low * (1.0 - u) + high * u)


def _push(heap: NDArray[np.int64], size: int, end: int, request: int) -> None:
    """Add (end, request) to a heap of `size` entries."""
    i = size
    while i > 0:
        parent = (i - 1) // 2
        if heap[parent, 0] <= end:
            break
        heap[i] = heap[parent]
        i = parent
    heap[i, 0], heap[i, 1] = end, request


def _pop(heap: NDArray[np.int64], size: int) -> int:
    """Request with the smallest end; the heap has `size` entries before."""
    top = heap[0, 1]
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
    return int(top)


def _run(  # noqa: C901, PLR0912, PLR0915, PLR0917 (one compiled loop)
    seconds, tokens, batch, inputs, outputs, sent, first, done, known, limit, budget, prefill_first, poll, frontend_s,
    path_s, gain, query, hold_steps, hold_tokens,
) -> None:  # type: ignore[no-untyped-def]
    """Fill `first` and `done`; with a closed loop also `sent`. `known` requests are sent at the start."""
    count = len(inputs)
    ready = np.empty(count)
    front = 0.0
    for i in range(known):
        front = max(front, sent[i]) + frontend_s
        ready[i] = front + path_s
    heap = np.empty((limit + 1, 2), dtype=np.int64)
    now, step, running, ended, since = 0.0, 0, 0, 0, 0
    seen, taken, part = 0, 0, 0.0  # requests that the scheduler knows, that it has begun, tokens done of the next
    look = True
    held, waiting = 0, 0.0  # steps that prompts have been held back, prompt tokens that wait
    while ended < count:
        if look or running == 0 or since >= poll:
            while seen < known and ready[seen] <= now:
                waiting += inputs[seen]
                seen += 1
            since, look = 0, False
        if running == 0 and taken == seen:
            now = max(now, ready[seen])
            look = True
            continue
        before = running
        hold = running > 0 and part == 0.0 and held < hold_steps and waiting < hold_tokens
        if taken < seen and running < limit and not hold:
            held = 0
            room = budget if prefill_first else budget - running * query
            room = max(room, 1.0)
            chosen, begun = 0.0, taken
            while room > 0.0 and taken < seen and running + (taken - begun) < limit:
                piece = min(inputs[taken] - part, room)
                chosen += piece
                waiting -= piece
                room -= piece
                part += piece
                if part < inputs[taken]:
                    break
                taken += 1
                part = 0.0
            now += _time_of(seconds, tokens, batch, chosen, 0.0 if prefill_first else running)
            if prefill_first:
                look = True
            else:
                step += 1
                since += 1
            for i in range(begun, taken):
                first[i] = now
                _push(heap, running, step + max(int(np.ceil((outputs[i] - 1.0) / gain)), 0), i)
                running += 1
        else:
            each = _time_of(seconds, tokens, batch, 0.0, running)
            jump = heap[0, 0] - step
            if seen < known and running < limit:
                until = max(int(np.ceil((ready[seen] - now) / each)), 1)
                until += (-(since + until)) % poll
                jump = min(jump, until)
            if taken < seen and running < limit:
                jump = min(jump, hold_steps - held)
                held += jump
            jump = max(jump, 0)
            now += jump * each
            step += jump
            since += jump
        while running > 0 and heap[0, 0] <= step:
            i = _pop(heap, running)
            running -= 1
            done[i] = now
            ended += 1
            if known < count:
                sent[known] = now
                front = max(front, now) + frontend_s
                ready[known] = front + path_s
                known += 1
        if before == limit and running < limit:
            look = look or poll == 1
