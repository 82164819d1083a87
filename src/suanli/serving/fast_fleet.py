"""Replicas of the compiled core: failing, coming back, being added and drained. A replica goes by its first rank."""

from __future__ import annotations

import math

from suanli.serving.fast_blocks import drop_run
from suanli.serving.fast_clients import expire, send_on, send_stranded, unstrand
from suanli.serving.fast_lists import RUN, WAIT
from suanli.serving.fast_rank import leave, let_go
from suanli.serving.fast_replica import outstanding, switch_off, turn, wipe
from suanli.serving.fast_state import DOWN, DRAINING, NEVER, NONE, OFF, OVER, STARTING, STRANDED, UP, World
from suanli.serving.kernel import kernel
from suanli.workload.requests import PRIORITIES


@kernel
def expire_all(w: World, r: int, now: float) -> None:
    """Take out those whose client gave up during the step, unless the step ended them."""
    rank = w.ranks[r]
    count = rank.expired
    rank.expired = 0
    for place in range(count):
        i = w.slots[r, place].expired
        if w.jobs[i].state != OVER:
            expire(w, i, now)


@kernel
def change_replicas(w: World, now: float) -> None:
    """Failures and repairs, replicas that become ready, and the look at their number."""
    c = w.main[0]
    while c.event < w.events.size and w.events[c.event].at_s == now:
        event = w.events[c.event]
        c.event += 1
        state = w.ranks[event.group].state
        if event.begins and state != OFF:
            _fail(w, event.group, now)
        elif not event.begins and state == DOWN:
            turn(w, event.group, UP, now)
    g = 0
    while g < w.ranks.size:
        if w.ranks[g].ready_s == now:
            w.ranks[g].ready_s = NEVER
            turn(w, g, UP, now)
        g += w.ranks[g].group_ranks
    if c.look_s == now:
        _scale(w, now)
    if c.stranded_head != NONE:
        send_stranded(w, now)


# --- failure -----------------------------------------------------------------------------------------------------


@kernel
def _fail(w: World, g: int, now: float) -> None:
    """All memory is lost; every request that was there, or whose prompt is kept there, is sent again."""
    behind = g + w.ranks[g].group_ranks
    first = last = NONE  # the lost requests, linked by `next_lost`
    for r in range(g, behind):
        expire_all(w, r, now)
        for which in (RUN, WAIT):
            for line in range(PRIORITIES):
                i = w.slots[r, which + line].head
                while i != NONE:
                    first, last = _chain(w, i, first, last)
                    i = w.jobs[i].next
    for i in range(w.jobs.size):
        if g <= w.jobs[i].hold_rank < behind:
            first, last = _chain(w, i, first, last)
    w.ranks[g].end_s = w.ranks[g].ready_s = NEVER
    turn(w, g, DOWN, now)
    i = first
    while i != NONE:
        _lose(w, i)
        i = w.jobs[i].next_lost
    wipe(w, g)
    i = first
    while i != NONE:
        behind_it = w.jobs[i].next_lost
        send_on(w, i, now)
        i = behind_it


@kernel
def _chain(w: World, i: int, first: int, last: int) -> tuple[int, int]:
    """Append a request to a list of lost ones."""
    w.jobs[i].next_lost = NONE
    if last == NONE:
        return i, i
    w.jobs[last].next_lost = i
    return first, i


@kernel
def _lose(w: World, i: int) -> None:
    """A request loses its KV everywhere and is on its way again."""
    job = w.jobs[i]
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
    c = w.main[0]
    c.look_s += c.look_interval_s
    requests, have, last_up = 0, 0, NONE
    g = 0
    while g < w.ranks.size:
        requests += outstanding(w, g)
        have += STARTING <= w.ranks[g].state <= UP
        if w.ranks[g].state == UP:
            last_up = g
        g += w.ranks[g].group_ranks
    i = c.stranded_head
    while i != NONE:
        requests += 1
        i = w.jobs[i].next
    wanted = min(max(math.ceil(requests / c.target_outstanding), c.least_replicas), c.most_replicas)
    if have > wanted and last_up != NONE:
        turn(w, last_up, DRAINING, now)
        switch_off(w, last_up, now)
    for state in (DRAINING, OFF):
        g = 0
        while g < w.ranks.size and have < wanted:
            if w.ranks[g].state == state:
                have += 1
                turn(w, g, UP if state == DRAINING else STARTING, now)
                if state == OFF:
                    w.ranks[g].ready_s = now + c.startup_s
            g += w.ranks[g].group_ranks
