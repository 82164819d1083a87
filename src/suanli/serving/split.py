"""A closed loop on disaggregated pools, event by event: prompts on some instances, decoding on others.

Same simplifications as `suanli.serving.loop`. A request waits for a prefill worker, is taken in together with others
up to the token budget, moves its cache, waits for room on a decode worker and joins it between two steps. The client
sees the first token when the request has room on its decode worker.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from suanli.serving.loop import Instance, Served, _pop, _push, _time_of

Array = NDArray[np.float64]


@dataclass(frozen=True)
class SplitPools:
    """Workers of two pools. transfer_s : time to move one request's cache, not hidden [s]."""

    prefill: Instance
    prefill_workers: int
    decode: Instance
    decode_workers: int
    transfer_s: float


def run_split(pools: SplitPools, inputs: Array, outputs: Array, users: int) -> Served:
    """Serve requests in order from `users` that each wait for their answer."""
    count = len(inputs)
    sent, first, done = np.zeros(count), np.zeros(count), np.zeros(count)
    fill, gen = pools.prefill, pools.decode
    _compiled()(
        (fill.seconds, fill.tokens, fill.batch, fill.budget, pools.prefill_workers, fill.frontend_s, fill.path_s),
        (gen.seconds, gen.tokens, gen.batch, max(int(gen.limit), 1), pools.decode_workers, gen.gain),
        np.asarray(inputs, dtype=np.float64),
        np.asarray(outputs, dtype=np.float64),
        (sent, first, done),
        min(users, count),
        pools.transfer_s,
    )
    return Served(sent, first, done, outputs)


@lru_cache(maxsize=1)
def _compiled() -> Callable[..., None]:
    import numba  # noqa: PLC0415 (start-up time)

    module: dict[str, Any] = globals()
    for name in ("_time_of", "_push", "_pop"):
        if not hasattr(module[name], "py_func"):
            module[name] = numba.njit(cache=True)(module[name])
    code: Callable[..., None] = numba.njit(cache=True)(_run)
    return code


def _run(fill, gen, inputs, outputs, times, users, transfer_s) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001, C901, PLR0912, PLR0915 (one compiled loop)
    """Fill the times (sent, first, done) of every request."""
    fill_s, fill_tokens, fill_batch, budget, fillers, frontend_s, path_s = fill
    gen_s, gen_tokens, gen_batch, limit, workers, gain = gen
    sent, first, done = times
    count = len(inputs)
    never = 1e300
    ready = np.zeros(count)
    front, now = 0.0, 0.0
    for i in range(users):
        front += frontend_s
        ready[i] = front + path_s
    known, taken = users, 0
    # A prefill worker has the requests [begin, end) in its step, which ends at `free`.
    free, begin, end = np.zeros(fillers), np.zeros(fillers, np.int64), np.zeros(fillers, np.int64)
    order, arrive = np.zeros(count, np.int64), np.zeros(count)  # in order of arrival at the decode pool
    filled, joined = 0, 0
    heaps = np.zeros((workers, limit + 1, 2), np.int64)
    running, step, clock = np.zeros(workers, np.int64), np.zeros(workers, np.int64), np.zeros(workers)
    ended = 0
    while ended < count:
        when, kind, which = never, 0, 0
        for p in range(fillers):
            if end[p] > begin[p]:
                if free[p] < when:
                    when, kind, which = free[p], 1, p
            elif taken < known:
                at = max(now, ready[taken])
                if at < when:
                    when, kind, which = at, 2, p
        emptiest = 0
        for d in range(workers):
            if running[d] < running[emptiest]:
                emptiest = d
            if running[d] > 0:
                each = _time_of(gen_s, gen_tokens, gen_batch, 0.0, running[d])
                at = clock[d] + (heaps[d, 0, 0] - step[d]) * each
                if at < when:
                    when, kind, which = at, 3, d
        if joined < filled and running[emptiest] < limit:
            at = max(now, arrive[joined])
            if at <= when:
                when, kind, which = at, 4, emptiest
        now = max(now, when)
        if kind == 1:  # a prefill step ends
            for i in range(begin[which], end[which]):
                order[filled], arrive[filled] = i, now + transfer_s
                filled += 1
            begin[which] = end[which]
        elif kind == 2:  # a prefill worker takes what waits, at least one prompt, cut into pieces of the budget
            begin[which], chosen, seconds = taken, inputs[taken], 0.0
            taken += 1
            while taken < known and ready[taken] <= now and chosen + inputs[taken] <= budget:
                chosen += inputs[taken]
                taken += 1
            while chosen > 0.0:
                piece = min(chosen, budget)
                seconds += _time_of(fill_s, fill_tokens, fill_batch, piece, 0.0)
                chosen -= piece
            end[which], free[which] = taken, now + seconds
        elif kind == 3:  # requests end on a decode worker
            step[which], clock[which] = heaps[which, 0, 0], now
            while running[which] > 0 and heaps[which, 0, 0] <= step[which]:
                i = _pop(heaps[which], running[which])
                running[which] -= 1
                done[i] = now
                ended += 1
                if known < count:
                    sent[known] = now
                    front = max(front, now) + frontend_s
                    ready[known] = front + path_s
                    known += 1
        else:  # a request joins a decode worker
            i = order[joined]
            joined += 1
            if running[which] == 0:
                clock[which] = now
            else:
                each = _time_of(gen_s, gen_tokens, gen_batch, 0.0, running[which])
                jump = min(int(np.ceil((now - clock[which]) / each)), heaps[which, 0, 0] - step[which])
                clock[which] += jump * each
                step[which] += jump
            first[i] = now
            _push(heaps[which], running[which], step[which] + max(int(np.ceil((outputs[i] - 1.0) / gain)), 1), i)
            running[which] += 1
