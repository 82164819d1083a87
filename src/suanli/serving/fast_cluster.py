"""The course of time in the compiled core; the counterpart of `reference_cluster`.

Between two events every replica runs on by itself. Where the end of a step can send a request somewhere, a replica
runs alone only up to the next step end of any other.
"""

from __future__ import annotations

from suanli.serving.fast_blocks import available
from suanli.serving.fast_clients import (
    arrive,
    end_transfer,
    first_deadline,
    give_up,
    last_deadline,
    next_arrival,
    over,
    send_next_in_line,
    send_on,
    stream_first,
)
from suanli.serving.fast_fleet import change_replicas, expire_all
from suanli.serving.fast_lists import first_timed, pop_timed
from suanli.serving.fast_meter import account, widen
from suanli.serving.fast_plan import advance_decodes, finish, plan, plan_decodes, rank_seconds
from suanli.serving.fast_rank import KEY_BITS
from suanli.serving.fast_records import (
    DRAINING,
    MOVING,
    NEVER,
    NONE,
    OFF,
    SENT,
    UP,
    World,
    event_at,
    pool_at,
    rank_at,
    slot_at,
)
from suanli.serving.fast_replica import outstanding, switch_off, turn
from suanli.serving.kernel import inlined, kernel
from suanli.serving.setup import ADVANCE_BITS

# --- steps -------------------------------------------------------------------------------------------------------
# A replica goes by its first rank, which keeps the times of its step.


@inlined
def _begin(w: World, g: int, now: float) -> None:
    """Begin a step of a replica if there is anything to do."""
    work = 0
    for r in range(g, g + rank_at(w, g).group_ranks):
        plan(w, r, now)
        work += rank_at(w, r).chunks + rank_at(w, r).decodes
    if work > 0:
        _time(w, g, now)


@inlined
def _time(w: World, g: int, now: float) -> None:
    longest = 0.0
    for r in range(g, g + rank_at(w, g).group_ranks):
        longest = max(longest, rank_seconds(w, r))
    rank_at(w, g).start_s, rank_at(w, g).end_s = now, now + longest


@inlined
def _end(w: World, g: int) -> int:
    """End the step in progress; returns how many requests left."""
    start, end, coupled = rank_at(w, g).start_s, rank_at(w, g).end_s, w.coupled
    rank_at(w, g).end_s = NEVER
    left = 0
    for r in range(g, g + rank_at(w, g).group_ranks):
        rank = rank_at(w, r)
        finish(w, r, start, end)
        left += rank.ended + rank.handed + rank.expired
        if coupled:
            for place in range(rank.ended):
                over(w, slot_at(w, r, place).ended, end)
            for place in range(rank.handed):
                send_on(w, slot_at(w, r, place).handed, end)
        if rank.expired > 0:
            expire_all(w, r, end)
    w.now_s = max(w.now_s, end)
    switch_off(w, g, end)
    return int(left)


@kernel
def _rank_steady(w: World, r: int) -> bool:
    """The step in progress only decodes, ends no request, lets nobody in, and the next one has its memory."""
    rank = rank_at(w, r)
    p = pool_at(w, rank.pool)
    if rank.chunks + rank.preempted + rank.arrived + rank.expired > 0 or (rank.waiting > 0 and not rank.blocked):
        return False
    if rank.decodes == 0:
        return True
    count = rank.count + rank.advance
    if (slot_at(w, r, 0).end_key >> KEY_BITS) <= count:
        return False
    need = 0
    for step in range((rank.advance_part + p.advance) >> ADVANCE_BITS):
        need += slot_at(w, r, (count + step) % p.block_tokens).phase
    return need <= available(w, r)


@inlined
def _run_on(w: World, g: int, limit: float) -> None:
    """Steady steps one after the other, as long as they end before `limit` [s]."""
    behind = g + rank_at(w, g).group_ranks
    while rank_at(w, g).end_s < limit:
        start, now = rank_at(w, g).start_s, rank_at(w, g).end_s
        for r in range(g, behind):
            if not _rank_steady(w, r):
                return
        for r in range(g, behind):
            account(w, r, start, now, rank_at(w, r).advance * rank_at(w, r).decodes)
            if rank_at(w, r).decodes > 0:
                advance_decodes(w, r, now)
                plan_decodes(w, r)
        _time(w, g, now)


@inlined
def _advance(w: World, g: int, limit: float) -> float:
    """Run a replica over all steps that end before `limit` [s].

    Where ends send requests, stop at the first end; returns its time, or NEVER.
    """
    while rank_at(w, g).end_s < limit:
        _run_on(w, g, limit)
        now = rank_at(w, g).end_s
        if now >= limit:
            break
        left = _end(w, g)
        if left > 0 and w.coupled:
            return float(now)
        if UP <= rank_at(w, g).state <= DRAINING:
            _begin(w, g, now)
            limit = min(limit, first_timed(w, MOVING))  # the step may have begun with a transfer
    return NEVER


# --- time --------------------------------------------------------------------------------------------------------


@kernel
def _next_event(w: World) -> float:
    """Time of whatever happens next but the end of a step [s]; a look at the replicas alone is no event."""
    event = min(next_arrival(w), first_timed(w, MOVING), first_deadline(w), last_deadline(w))
    if w.event < w.event_count:
        event = min(event, event_at(w, w.event).at_s)
    if w.most_replicas > 0:
        for r in range(w.rank_count):
            event = min(event, rank_at(w, r).ready_s)
    return float(event)


@kernel
def _next_look(w: World, event: float) -> float:
    """Time of the next look at the number of replicas [s], if anything can follow from it."""
    useful = event < NEVER
    for r in range(w.rank_count):
        useful = useful or rank_at(w, r).end_s < NEVER
        useful = useful or (w.stranded_head != NONE and rank_at(w, r).state == OFF and rank_at(w, r).group == r)
    return float(w.look_s) if useful else NEVER


@kernel
def _next_time(w: World) -> float:
    """Time of the next event or look [s]; what it is can change while replicas run on to it."""
    event = _next_event(w)
    return min(event, _next_look(w, event)) if w.look_s < NEVER else event


@kernel
def _earliest_end(w: World) -> float:
    """Time of the next end of a step [s]."""
    first = NEVER
    for r in range(w.rank_count):
        first = min(first, rank_at(w, r).end_s)
    return float(first)


@inlined
def _instant(w: World, now: float) -> None:
    """Everything that happens at one time, in the order of `reference_cluster`."""
    w.now_s = max(w.now_s, now)
    g = 0
    while g < w.rank_count:
        if rank_at(w, g).end_s == now:
            _end(w, g)
        g += rank_at(w, g).group_ranks
    while first_timed(w, MOVING) == now:
        end_transfer(w, pop_timed(w, MOVING), now)
    if w.event_count > 0 or w.most_replicas > 0:
        change_replicas(w, now)
    while next_arrival(w) == now:
        if stream_first(w):
            i = w.stream
            w.stream += 1
        else:
            i = pop_timed(w, SENT)
        arrive(w, i, now)
    give_up(w, now)
    g = 0
    while g < w.rank_count:
        if rank_at(w, g).end_s == NEVER and outstanding(w, g) > 0 and UP <= rank_at(w, g).state <= DRAINING:
            _begin(w, g, now)
        g += rank_at(w, g).group_ranks


@kernel
def _earliest(w: World) -> tuple[int, float]:
    """The replica whose step ends first, and when the next one ends."""
    first, second, g, other = NEVER, NEVER, 0, 0
    while other < w.rank_count:
        end = rank_at(w, other).end_s
        if end < first:
            first, second, g = end, first, other
        elif end < second:
            second = end
        other += rank_at(w, other).group_ranks
    return g, second


@kernel
def _close(w: World) -> None:
    """Switch everything off, and bring the time series of all ranks to the same bin width."""
    width = 0.0
    g = 0
    while g < w.rank_count:
        turn(w, g, OFF, w.now_s)
        g += rank_at(w, g).group_ranks
    for r in range(w.rank_count):
        width = max(width, rank_at(w, r).sample_s)
    for r in range(w.rank_count):
        while rank_at(w, r).sample_s < width:
            widen(w, r)


@inlined
def simulate(w: World) -> None:
    """Run until nothing can happen any more."""
    coupled = w.coupled
    for _ in range(min(w.concurrency, w.job_count)):
        send_next_in_line(w, 0.0)
    while True:
        event = _next_time(w)
        limit, g, behind = event, 0, w.rank_count
        if coupled:
            g, second = _earliest(w)
            limit, behind = min(event, second), g + 1
        stopped = NEVER
        while g < behind:
            stopped = min(stopped, _advance(w, g, limit))
            g += rank_at(w, g).group_ranks
        now = min(stopped, _next_time(w), _earliest_end(w))
        if now == NEVER:
            break
        _instant(w, now)
    _close(w)
