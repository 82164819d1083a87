"""Several ranks behind a router, compiled; the counterpart of `reference_cluster`.

Between two arrivals every group of ranks runs on by itself. Where the end of a request can send another one, a group
runs alone only up to the next step end of any other group.
"""

from __future__ import annotations

from suanli.serving.fast_blocks import available, hits
from suanli.serving.fast_lists import receive, send
from suanli.serving.fast_meter import account, ended, widen
from suanli.serving.fast_plan import advance_decodes, finish, plan, plan_decodes, rank_seconds
from suanli.serving.fast_rank import KEY_BITS, enqueue, whole
from suanli.serving.fast_state import NEVER, NONE, World
from suanli.serving.kernel import inlined, kernel
from suanli.serving.outcome import TOO_LONG
from suanli.serving.setup import ADVANCE_BITS

LEAST_OUTSTANDING, LEAST_KV, PREFIX_AWARE, SESSION = 1, 2, 3, 4  # positions in ROUTERS

# --- groups ------------------------------------------------------------------------------------------------------
# A group is named by its first rank, which keeps the times of its step.


@inlined
def _begin(w: World, g: int, now: float) -> None:
    """Begin a step of a group if there is anything to do."""
    work = 0
    for r in range(g, g + w.main[0].group_ranks):
        plan(w, r, now)
        work += w.ranks[r].chunks + w.ranks[r].decodes
    if work > 0:
        _time(w, g, now)


@inlined
def _time(w: World, g: int, now: float) -> None:
    longest = 0.0
    for r in range(g, g + w.main[0].group_ranks):
        longest = max(longest, rank_seconds(w, r))
    w.ranks[g].start_s, w.ranks[g].end_s = now, now + longest


@inlined
def _end(w: World, g: int) -> int:
    """End the step in progress; returns how many requests are done."""
    start, end, size = w.ranks[g].start_s, w.ranks[g].end_s, w.main[0].group_ranks
    w.ranks[g].end_s = NEVER
    done = 0
    for r in range(g, g + size):
        finish(w, r, start, end)
        done += w.ranks[r].ended
    w.main[0].now_s = max(w.main[0].now_s, end)
    if done > 0 and w.main[0].coupled:
        for r in range(g, g + size):
            for place in range(w.ranks[r].ended):
                _over(w, w.slots[r, place].ended, end)
    return int(done)


@kernel
def _rank_steady(w: World, r: int) -> bool:
    """The step in progress only decodes, ends no request, lets nobody in, and the next one has its memory."""
    p, rank = w.main[0], w.ranks[r]
    if rank.chunks > 0 or rank.preempted or (rank.waiting > 0 and not rank.blocked):
        return False
    if rank.decodes == 0:
        return True
    count = rank.count + rank.advance
    if (w.slots[r, 0].end_key >> KEY_BITS) <= count:
        return False
    need = 0
    for step in range((rank.advance_part + p.advance) >> ADVANCE_BITS):
        need += w.slots[r, (count + step) % p.block_tokens].phase
    return need <= available(w, r)


@inlined
def _run_on(w: World, g: int, limit: float) -> None:
    """Steady steps one after the other, as long as they end before `limit` [s]."""
    behind = g + w.main[0].group_ranks
    while w.ranks[g].end_s < limit:
        start, now = w.ranks[g].start_s, w.ranks[g].end_s
        for r in range(g, behind):
            if not _rank_steady(w, r):
                return
        for r in range(g, behind):
            account(w, r, start, now, w.ranks[r].advance * w.ranks[r].decodes)
            if w.ranks[r].decodes > 0:
                advance_decodes(w, r, now)
                plan_decodes(w, r)
        _time(w, g, now)


@inlined
def _advance(w: World, g: int, limit: float) -> float:
    """Run a group over all steps that end before `limit` [s].

    Where ends send requests, stop at the first end; returns its time, or NEVER.
    """
    while w.ranks[g].end_s < limit:
        _run_on(w, g, limit)
        now = w.ranks[g].end_s
        if now >= limit:
            break
        done = _end(w, g)
        if done > 0 and w.main[0].coupled:
            return float(now)
        _begin(w, g, now)
    return NEVER


# --- clients and router ------------------------------------------------------------------------------------------


@kernel
def _over(w: World, i: int, now: float) -> None:
    """A request has ended, whatever way: those that wait for it are sent."""
    if w.main[0].concurrency > 0:
        _send_next_in_line(w, now)
        return
    follower = w.jobs[i].first_follower
    while follower != NONE:
        job = w.jobs[follower]
        send(w, max(job.due_s, now + job.think_s), follower)
        follower = job.next_follower


@kernel
def _send_next_in_line(w: World, now: float) -> None:
    driver = w.main[0]
    if driver.stream < w.jobs.size:
        send(w, max(w.jobs[driver.stream].due_s, now), driver.stream)
        driver.stream += 1


@kernel
def _best_rank(w: World, i: int, router: int) -> int:
    p, best, best_score = w.main[0], 0, -1
    for r in range(w.ranks.size):
        rank = w.ranks[r]
        if router == LEAST_OUTSTANDING:
            score = rank.running + rank.waiting
        else:
            score = (p.kv_blocks - rank.free - rank.idle_kv) * p.block_tokens + rank.waiting_tokens
            if router == PREFIX_AWARE:
                target = w.jobs[i].target
                score += target - min(hits(w, r, i) * p.hash_tokens, target - 1)
        if best_score < 0 or score < best_score:
            best, best_score = r, score
    return int(best)


@kernel
def _route(w: World, i: int) -> int:
    router, driver = w.main[0].router, w.main[0]
    if router == SESSION and w.jobs[i].session >= 0:
        return int(w.jobs[i].session % w.ranks.size)
    if router in (LEAST_OUTSTANDING, LEAST_KV, PREFIX_AWARE):
        return _best_rank(w, i, router)
    driver.turn += 1
    return int((driver.turn - 1) % w.ranks.size)


@kernel
def _arrive(w: World, i: int, now: float) -> None:
    record = w.jobs[i]
    record.arrival_s = now
    r = _route(w, i)
    record.rank = r
    if whole(w, i) > w.main[0].kv_blocks:
        ended(w, i, now, TOO_LONG)
        _over(w, i, now)
    else:
        enqueue(w, r, i, False)


# --- time --------------------------------------------------------------------------------------------------------


@kernel
def _stream_first(w: World) -> bool:
    """The next arrival comes from the trace, not from those sent by earlier ends."""
    driver = w.main[0]
    while driver.stream < w.jobs.size and w.jobs[driver.stream].follows:
        driver.stream += 1
    if driver.concurrency > 0 or driver.stream >= w.jobs.size:
        return False
    if driver.sent == 0:
        return True
    at = w.jobs[driver.stream].due_s
    return bool(at < w.sent[0].at_s or (at == w.sent[0].at_s and driver.stream < w.sent[0].job))


@kernel
def _next_arrival(w: World) -> float:
    driver = w.main[0]
    if _stream_first(w):
        return float(w.jobs[driver.stream].due_s)
    if driver.sent > 0:
        return float(w.sent[0].at_s)
    return NEVER


@inlined
def _instant(w: World, now: float) -> None:
    """Everything that happens at one time: ends, arrivals, beginnings."""
    driver = w.main[0]
    driver.now_s = max(driver.now_s, now)
    for g in range(0, w.ranks.size, driver.group_ranks):
        if w.ranks[g].end_s == now:
            _end(w, g)
    while _next_arrival(w) == now:
        if _stream_first(w):
            i = driver.stream
            driver.stream += 1
        else:
            i = receive(w)
        _arrive(w, i, now)
    for g in range(0, w.ranks.size, driver.group_ranks):
        if w.ranks[g].end_s == NEVER:
            work = 0
            for r in range(g, g + driver.group_ranks):
                work += w.ranks[r].running + w.ranks[r].waiting
            if work > 0:
                _begin(w, g, now)


@inlined
def _earliest(w: World) -> tuple[int, float]:
    """The group whose step ends first, and when the next one ends."""
    first, second, g = NEVER, NEVER, 0
    for other in range(0, w.ranks.size, w.main[0].group_ranks):
        end = w.ranks[other].end_s
        if end < first:
            first, second, g = end, first, other
        elif end < second:
            second = end
    return g, second


@kernel
def align(w: World) -> None:
    """Bring the time series of all ranks to the same bin width."""
    width = 0.0
    for r in range(w.ranks.size):
        width = max(width, w.ranks[r].sample_s)
    for r in range(w.ranks.size):
        while w.ranks[r].sample_s < width:
            widen(w, r)


@inlined
def simulate(w: World) -> None:
    """Run until nothing can happen any more."""
    size, coupled = w.main[0].group_ranks, w.main[0].coupled
    for _ in range(min(w.main[0].concurrency, w.jobs.size)):
        _send_next_in_line(w, 0.0)
    while True:
        event = _next_arrival(w)
        now, limit, first, behind = event, event, 0, w.ranks.size
        if coupled:
            first, second = _earliest(w)
            limit, behind = min(event, second), first + size
            now = min(event, second)
        for g in range(first, behind, size):
            stopped = _advance(w, g, limit)
            now = min(now, stopped)
            if coupled:
                now = min(now, w.ranks[g].end_s)
        if now == NEVER:
            break
        _instant(w, now)
    align(w)
