"""Replicas of the compiled core: failing, coming back, being added and drained. A replica goes by its first rank."""

from __future__ import annotations

import math

from suanli.serving.fast_blocks import drop_run
from suanli.serving.fast_clients import expire, send_on, send_stranded, unstrand
from suanli.serving.fast_lists import RUN, WAIT
from suanli.serving.fast_rank import leave, let_go
from suanli.serving.fast_records import (
    DOWN,
    DRAINING,
    NEVER,
    NONE,
    OFF,
    OVER,
    STARTING,
    STRANDED,
    UP,
    World,
    event_at,
    job_at,
    rank_at,
    slot_at,
)
from suanli.serving.fast_replica import outstanding, switch_off, turn, wipe
from suanli.serving.kernel import kernel
from suanli.workload.requests import PRIORITIES


@kernel
def expire_all(w: World, r: int, now: float) -> None:
    """Take out those whose client gave up during the step, unless the step ended them."""
    rank = rank_at(w, r)
    count = rank.expired
    rank.expired = 0
    for place in range(count):
        i = slot_at(w, r, place).expired
        if job_at(w, i).state != OVER:
            expire(w, i, now)


@kernel
def change_replicas(w: World, now: float) -> None:
    """Failures and repairs, replicas that become ready, and the look at their number."""
    while w.event < w.event_count and event_at(w, w.event).at_s == now:
        event = event_at(w, w.event)
        w.event += 1
        state = rank_at(w, event.group).state
        if event.begins and state != OFF:
            _fail(w, event.group, now)
        elif not event.begins and state == DOWN:
            turn(w, event.group, UP, now)
    g = 0
    while g < w.rank_count:
        if rank_at(w, g).ready_s == now:
            rank_at(w, g).ready_s = NEVER
            turn(w, g, UP, now)
        g += rank_at(w, g).group_ranks
    if w.look_s == now:
        _scale(w, now)
    if w.stranded_head != NONE:
        send_stranded(w, now)


# --- failure -----------------------------------------------------------------------------------------------------


@kernel
def _fail(w: World, g: int, now: float) -> None:
    """All memory is lost; every request that was there, or whose prompt is kept there, is sent again."""
    behind = g + rank_at(w, g).group_ranks
    first = last = NONE  # the lost requests, linked by `next_lost`
    for r in range(g, behind):
        expire_all(w, r, now)
        for which in (RUN, WAIT):
            for line in range(PRIORITIES):
                i = slot_at(w, r, which + line).head
                while i != NONE:
                    first, last = _chain(w, i, first, last)
                    i = job_at(w, i).next
    for i in range(w.job_count):
        if g <= job_at(w, i).hold_rank < behind:
            first, last = _chain(w, i, first, last)
    rank_at(w, g).end_s = rank_at(w, g).ready_s = NEVER
    turn(w, g, DOWN, now)
    i = first
    while i != NONE:
        _lose(w, i)
        i = job_at(w, i).next_lost
    wipe(w, g)
    i = first
    while i != NONE:
        behind_it = job_at(w, i).next_lost
        send_on(w, i, now)
        i = behind_it


@kernel
def _chain(w: World, i: int, first: int, last: int) -> tuple[int, int]:
    """Append a request to a list of lost ones."""
    job_at(w, i).next_lost = NONE
    if last == NONE:
        return i, i
    job_at(w, last).next_lost = i
    return first, i


@kernel
def _lose(w: World, i: int) -> None:
    """A request loses its KV everywhere and is on its way again."""
    job = job_at(w, i)
    if job.state == STRANDED:
        unstrand(w, i)
        job.target = job.input_tokens + job.generated
    else:
        leave(w, i)
    let_go(w, i)
    drop_run(w, i)
    job.retries += 1


# --- scaling -----------------------------------------------------------------------------------------------------


@kernel
def _scale(w: World, now: float) -> None:
    """Compare the replicas that there are with those that the load wants; see Autoscale."""
    w.look_s += w.look_interval_s
    requests, have, last_up = 0, 0, NONE
    g = 0
    while g < w.rank_count:
        requests += outstanding(w, g)
        have += STARTING <= rank_at(w, g).state <= UP
        if rank_at(w, g).state == UP:
            last_up = g
        g += rank_at(w, g).group_ranks
    i = w.stranded_head
    while i != NONE:
        requests += 1
        i = job_at(w, i).next
    wanted = min(max(math.ceil(requests / w.target_outstanding), w.least_replicas), w.most_replicas)
    if have > wanted and last_up != NONE:
        turn(w, last_up, DRAINING, now)
        switch_off(w, last_up, now)
    for state in (DRAINING, OFF):
        g = 0
        while g < w.rank_count and have < wanted:
            if rank_at(w, g).state == state:
                have += 1
                turn(w, g, UP if state == DRAINING else STARTING, now)
                if state == OFF:
                    rank_at(w, g).ready_s = now + w.startup_s
            g += rank_at(w, g).group_ranks
