"""Clients and router of the compiled core: who is sent, where to, and who gives up."""

from __future__ import annotations

import math

from suanli.serving.fast_blocks import hits, host_hits
from suanli.serving.fast_lists import first_timed, push_timed
from suanli.serving.fast_meter import ended, token
from suanli.serving.fast_rank import blocks_of, enqueue, leave, let_go
from suanli.serving.fast_records import (
    ARRIVED,
    AWAY,
    NEVER,
    NONE,
    OVER,
    SENT,
    STRANDED,
    UP,
    WAITING,
    World,
    job_at,
    pool_at,
    rank_at,
    slot_at,
    timed_at,
)
from suanli.serving.fast_replica import switch_off
from suanli.serving.kernel import kernel
from suanli.serving.outcome import QUEUE_FULL, TIMED_OUT, TOO_LONG

LEAST_OUTSTANDING, LEAST_KV, PREFIX_AWARE, SESSION = 1, 2, 3, 4  # positions in ROUTERS


# --- who is sent -------------------------------------------------------------------------------------------------


@kernel
def over(w: World, i: int, now: float) -> None:
    """A request has ended, whatever way: those that wait for it are sent."""
    if w.concurrency > 0:
        send_next_in_line(w, now)
        return
    follower = job_at(w, i).first_follower
    while follower != NONE:
        job = job_at(w, follower)
        push_timed(w, SENT, max(job.due_s, now + job.think_s), follower)
        follower = job.next_follower


@kernel
def send_next_in_line(w: World, now: float) -> None:
    """Closed loop: send the next request of the list."""
    if w.stream < w.job_count:
        push_timed(w, SENT, max(job_at(w, w.stream).due_s, now + w.path_s), w.stream)
        w.stream += 1


@kernel
def stream_first(w: World) -> bool:
    """The next arrival comes from the trace, not from those sent by earlier ends."""
    while w.stream < w.job_count and job_at(w, w.stream).follows:
        w.stream += 1
    if w.concurrency > 0 or w.stream >= w.job_count:
        return False
    at, sent = job_at(w, w.stream).due_s, first_timed(w, SENT)
    return bool(at < sent or (at == sent and w.stream < timed_at(w, SENT, 1).job))


@kernel
def next_arrival(w: World) -> float:
    """Time of the next arrival [s]."""
    if stream_first(w):
        return float(job_at(w, w.stream).due_s)
    return first_timed(w, SENT)


@kernel
def arrive(w: World, i: int, now: float) -> None:
    """A request reaches the router."""
    job = job_at(w, i)
    job.arrival_s = now
    if w.last_arrived != NONE:
        job_at(w, w.last_arrived).next_arrived = i
    w.last_arrived = i
    if w.lacks_first == NONE:
        w.lacks_first = i
    if w.lacks_last == NONE:
        w.lacks_last = i
    for place in range(w.pool_count):
        p = pool_at(w, place)
        if blocks_of(w, p.first_rank, job.input_tokens + job.wanted + p.spare, True) > p.kv_blocks:
            ended(w, i, now, TOO_LONG)
            over(w, i, now)
            return
    send_on(w, i, now)


# --- where to ----------------------------------------------------------------------------------------------------


@kernel
def _score(w: World, r: int, i: int, router: int) -> int:
    rank = rank_at(w, r)
    p = pool_at(w, rank.pool)
    if router == LEAST_OUTSTANDING:
        return int(rank.running + rank.waiting)
    score = (p.kv_blocks - rank.free - rank.idle_kv) * p.block_tokens + rank.waiting_tokens
    if router == PREFIX_AWARE:
        target = job_at(w, i).target
        found = hits(w, r, i)
        score += target - min((found + host_hits(w, r, i, found)) * p.hash_tokens, target - 1)
    return int(score)


@kernel
def _route(w: World, i: int, place: int) -> int:
    """Rank of pool `place` that gets a request; NONE when no replica is up."""
    p = pool_at(w, place)
    open_ranks, best, best_score = 0, NONE, 0
    for r in range(p.first_rank, p.behind_rank):
        if rank_at(w, rank_at(w, r).group).state == UP:
            open_ranks += 1
            if LEAST_OUTSTANDING <= p.router <= PREFIX_AWARE:
                score = _score(w, r, i, p.router)
                if best == NONE or score < best_score:
                    best, best_score = r, score
    if open_ranks == 0 or best != NONE:
        return int(best)
    if p.router == SESSION and job_at(w, i).session >= 0:
        turn = job_at(w, i).session % open_ranks
    else:
        turn = p.turn % open_ranks
        p.turn += 1
    r = p.first_rank
    while turn > 0 or rank_at(w, rank_at(w, r).group).state != UP:
        turn -= rank_at(w, rank_at(w, r).group).state == UP
        r += 1
    return int(r)


@kernel
def send_on(w: World, i: int, now: float) -> None:
    """Give a request to a rank: of the next pool when its prompt is there already."""
    job = job_at(w, i)
    place = 1 if job.hold_rank != NONE else 0
    r = _route(w, i, place)
    if r == NONE:
        _strand(w, i)
        return
    if place == 0:
        job.rank = r
    else:
        job.decode_rank = r
    if rank_at(w, r).waiting >= w.max_queue:
        let_go(w, i)
        ended(w, i, now, QUEUE_FULL)
        over(w, i, now)
        return
    job.due = job.generated + 1 if pool_at(w, place).hands_over else job.wanted
    enqueue(w, r, i, False)


@kernel
def _strand(w: World, i: int) -> None:
    """No replica is up: the request waits at the router."""
    job = job_at(w, i)
    job.state = STRANDED
    job.prev, job.next = w.stranded_tail, NONE
    if w.stranded_tail == NONE:
        w.stranded_head = i
    else:
        job_at(w, w.stranded_tail).next = i
    w.stranded_tail = i


@kernel
def unstrand(w: World, i: int) -> None:
    """Take a request out of those that wait at the router."""
    job = job_at(w, i)
    if job.prev == NONE:
        w.stranded_head = job.next
    else:
        job_at(w, job.prev).next = job.next
    if job.next == NONE:
        w.stranded_tail = job.prev
    else:
        job_at(w, job.next).prev = job.prev
    job.state = AWAY


@kernel
def send_stranded(w: World, now: float) -> None:
    """Try again to place those that wait at the router."""
    i, last = w.stranded_head, w.stranded_tail
    while i != NONE:
        behind = job_at(w, i).next if i != last else NONE
        unstrand(w, i)
        send_on(w, i, now)
        i = behind


@kernel
def end_transfer(w: World, i: int, now: float) -> None:
    """The KV of a request has arrived, unless that was called off."""
    job = job_at(w, i)
    if job.fetched_s == now:
        r = job.here
        rank = rank_at(w, r)
        let_go(w, i)
        job.fetched_s = NEVER
        job.state = ARRIVED
        slot_at(w, r, rank.arrived).arrived = i
        rank.arrived += 1
        token(w, r, i, now)


# --- who gives up ------------------------------------------------------------------------------------------------


@kernel
def first_deadline(w: World) -> float:
    """When the next client without first token gives up [s]."""
    if w.ttft_timeout_s == NEVER:
        return NEVER
    while w.lacks_first != NONE:
        job = job_at(w, w.lacks_first)
        if job.state != OVER and math.isnan(job.first_token_s):
            return float(job.arrival_s + w.ttft_timeout_s)
        w.lacks_first = job.next_arrived
    return NEVER


@kernel
def last_deadline(w: World) -> float:
    """When the next client without last token gives up [s]."""
    if w.timeout_s == NEVER:
        return NEVER
    while w.lacks_last != NONE:
        job = job_at(w, w.lacks_last)
        if job.state != OVER:
            return float(job.arrival_s + w.timeout_s)
        w.lacks_last = job.next_arrived
    return NEVER


@kernel
def give_up(w: World, now: float) -> None:
    """Clients whose time is over."""
    while first_deadline(w) <= now:
        i = w.lacks_first
        w.lacks_first = job_at(w, i).next_arrived
        _give_up_on(w, i, now)
    while last_deadline(w) <= now:
        i = w.lacks_last
        w.lacks_last = job_at(w, i).next_arrived
        _give_up_on(w, i, now)


@kernel
def _give_up_on(w: World, i: int, now: float) -> None:
    """At once, or at the end of the step in progress."""
    job = job_at(w, i)
    if job.here == NONE or job.state == WAITING or rank_at(w, rank_at(w, job.here).group).end_s == NEVER:
        expire(w, i, now)
        return
    rank = rank_at(w, job.here)
    for place in range(rank.expired):
        if slot_at(w, job.here, place).expired == i:
            return
    slot_at(w, job.here, rank.expired).expired = i
    rank.expired += 1


@kernel
def expire(w: World, i: int, now: float) -> None:
    """A client has given up."""
    job = job_at(w, i)
    r = job.here
    if job.state == STRANDED:
        unstrand(w, i)
    elif r != NONE:
        leave(w, i)
    let_go(w, i)
    ended(w, i, now, TIMED_OUT)
    over(w, i, now)
    if r != NONE:
        switch_off(w, rank_at(w, r).group, now)
