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
from suanli.serving.fast_state import NEVER, World
from suanli.serving.kernel import kernel
from suanli.serving.outcome import TOO_LONG
from suanli.serving.setup import ADVANCE_BITS

LEAST_OUTSTANDING, LEAST_KV, PREFIX_AWARE, SESSION = 1, 2, 3, 4  # positions in ROUTERS

# --- groups ------------------------------------------------------------------------------------------------------


@kernel
def _begin(w: World, g: int, now: float) -> None:
    """Begin a step of a group if there is anything to do."""
    group, size = w.groups[g], w.params[0].group_ranks
    work = 0
    for r in range(g * size, (g + 1) * size):
        plan(w, r, now)
        work += w.ranks[r].chunks + w.ranks[r].decodes
    if work > 0:
        _time(w, g, now)


@kernel
def _time(w: World, g: int, now: float) -> None:
    group, size = w.groups[g], w.params[0].group_ranks
    longest = 0.0
    for r in range(g * size, (g + 1) * size):
        longest = max(longest, rank_seconds(w, r))
    group.start_s, group.end_s = now, now + longest


@kernel
def _end(w: World, g: int) -> int:
    """End the step in progress; returns how many requests are done."""
    group, size = w.groups[g], w.params[0].group_ranks
    end = group.end_s
    group.end_s = NEVER
    done = 0
    for r in range(g * size, (g + 1) * size):
        finish(w, r, group.start_s, end)
        done += w.ranks[r].ended
    w.driver[0].now_s = max(w.driver[0].now_s, end)
    if done > 0 and w.params[0].coupled:
        for r in range(g * size, (g + 1) * size):
            for place in range(w.ranks[r].ended):
                _over(w, w.ended[r, place], end)
    return done


@kernel
def _rank_steady(w: World, r: int) -> bool:
    """The step in progress only decodes, ends no request, lets nobody in, and the next one has its memory."""
    p, rank = w.params[0], w.ranks[r]
    if rank.chunks > 0 or rank.preempted or (rank.waiting > 0 and not rank.blocked):
        return False
    if rank.decodes == 0:
        return True
    count = rank.count + rank.advance
    if (w.heap_key[r, 0] >> KEY_BITS) <= count:
        return False
    need = 0
    for step in range((rank.advance_part + p.advance) >> ADVANCE_BITS):
        need += w.phases[r, (count + step) % p.block_tokens]
    return need <= available(w, r)


@kernel
def _run_on(w: World, g: int, limit: float) -> None:
    """Steady steps one after the other, as long as they end before `limit` [s]."""
    group, size = w.groups[g], w.params[0].group_ranks
    while group.end_s < limit:
        now = group.end_s
        for r in range(g * size, (g + 1) * size):
            if not _rank_steady(w, r):
                return
        for r in range(g * size, (g + 1) * size):
            account(w, r, group.start_s, now, w.ranks[r].advance * w.ranks[r].decodes)
            if w.ranks[r].decodes > 0:
                advance_decodes(w, r, now)
                plan_decodes(w, r)
        _time(w, g, now)


@kernel
def _advance(w: World, g: int, limit: float) -> float:
    """Run a group over all steps that end before `limit` [s].

    Where ends send requests, stop at the first end; returns its time, or NEVER.
    """
    group = w.groups[g]
    while group.end_s < limit:
        _run_on(w, g, limit)
        now = group.end_s
        if now >= limit:
            break
        done = _end(w, g)
        if done > 0 and w.params[0].coupled:
            return float(now)
        _begin(w, g, now)
    return NEVER


# --- clients and router ------------------------------------------------------------------------------------------


@kernel
def _over(w: World, i: int, now: float) -> None:
    """A request has ended, whatever way: those that wait for it are sent."""
    if w.params[0].concurrency > 0:
        _send_next_in_line(w, now)
    elif w.follow.size > 0:
        for place in range(w.follow_start[i], w.follow_start[i + 1]):
            follower = w.follow[place]
            send(w, max(w.arrival_s[follower], now + w.think_s[follower]), follower)


@kernel
def _send_next_in_line(w: World, now: float) -> None:
    driver = w.driver[0]
    if driver.line < w.stream.size:
        send(w, max(w.arrival_s[driver.line], now), driver.line)
        driver.line += 1


@kernel
def _best_rank(w: World, i: int, router: int) -> int:
    p, best, best_score = w.params[0], 0, -1
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
    router, driver = w.params[0].router, w.driver[0]
    if router == SESSION and w.session[i] >= 0:
        return int(w.session[i] % w.ranks.size)
    if router in (LEAST_OUTSTANDING, LEAST_KV, PREFIX_AWARE):
        return _best_rank(w, i, router)
    driver.turn += 1
    return int((driver.turn - 1) % w.ranks.size)


@kernel
def _arrive(w: World, i: int, now: float) -> None:
    record = w.records[i]
    record.arrival_s = now
    r = _route(w, i)
    record.rank = r
    if whole(w, i) > w.params[0].kv_blocks:
        ended(w, i, now, TOO_LONG)
        _over(w, i, now)
    else:
        enqueue(w, r, i, False)


# --- time --------------------------------------------------------------------------------------------------------


@kernel
def _stream_first(w: World) -> bool:
    """The next arrival comes from the trace, not from those sent by earlier ends."""
    driver = w.driver[0]
    if w.params[0].concurrency > 0 or driver.stream >= w.stream.size:
        return False
    if driver.sent == 0:
        return True
    i = w.stream[driver.stream]
    at = w.arrival_s[i]
    return bool(at < w.sent_s[0] or (at == w.sent_s[0] and i < w.sent_job[0]))


@kernel
def _next_arrival(w: World) -> float:
    driver = w.driver[0]
    if _stream_first(w):
        return float(w.arrival_s[w.stream[driver.stream]])
    if driver.sent > 0:
        return float(w.sent_s[0])
    return NEVER


@kernel
def _instant(w: World, now: float) -> None:
    """Everything that happens at one time: ends, arrivals, beginnings."""
    driver = w.driver[0]
    driver.now_s = max(driver.now_s, now)
    for g in range(w.groups.size):
        if w.groups[g].end_s == now:
            _end(w, g)
    while _next_arrival(w) == now:
        if _stream_first(w):
            i = w.stream[driver.stream]
            driver.stream += 1
        else:
            i = receive(w)
        _arrive(w, i, now)
    size = w.params[0].group_ranks
    for g in range(w.groups.size):
        if w.groups[g].end_s == NEVER:
            work = 0
            for r in range(g * size, (g + 1) * size):
                work += w.ranks[r].running + w.ranks[r].waiting
            if work > 0:
                _begin(w, g, now)


@kernel
def _alone(w: World, event: float) -> float:
    """Coupled: run the group whose step ends first as long as nothing else happens; returns the next time."""
    first, second, g = NEVER, NEVER, 0
    for other in range(w.groups.size):
        end = w.groups[other].end_s
        if end < first:
            first, second, g = end, first, other
        elif end < second:
            second = end
    limit = min(event, second)
    if first < limit:
        stopped = _advance(w, g, limit)
        if stopped < NEVER:
            return float(stopped)
        return float(min(limit, w.groups[g].end_s))
    return float(min(first, event))


@kernel
def align(w: World) -> None:
    """Bring the time series of all ranks to the same bin width."""
    width = 0.0
    for r in range(w.ranks.size):
        width = max(width, w.ranks[r].sample_s)
    for r in range(w.ranks.size):
        while w.ranks[r].sample_s < width:
            widen(w, r)


@kernel
def simulate(w: World) -> None:
    """Run until nothing can happen any more."""
    for _ in range(min(w.params[0].concurrency, w.stream.size)):
        _send_next_in_line(w, 0.0)
    while True:
        now = _next_arrival(w)
        if w.params[0].coupled:
            now = _alone(w, now)
        else:
            for g in range(w.groups.size):
                _advance(w, g, now)
        if now == NEVER:
            break
        _instant(w, now)
    align(w)
