"""Waiting and running lists, and the two heaps of the compiled core."""

from __future__ import annotations

from suanli.serving.fast_state import NONE, World
from suanli.serving.kernel import kernel
from suanli.workload.requests import PRIORITIES

WAIT, RUN = 0, PRIORITIES  # slot of the first class of the waiting and of the running list


@kernel
def push_back(w: World, r: int, which: int, i: int) -> None:
    """Append a request to a list of its class."""
    job = w.jobs[i]
    tail = w.slots[r, which + job.line].tail
    job.prev, job.next = tail, NONE
    if tail == NONE:
        w.slots[r, which + job.line].head = i
    else:
        w.jobs[tail].next = i
    w.slots[r, which + job.line].tail = i


@kernel
def push_front(w: World, r: int, which: int, i: int) -> None:
    """Put a request at the head of a list of its class."""
    job = w.jobs[i]
    head = w.slots[r, which + job.line].head
    job.prev, job.next = NONE, head
    if head == NONE:
        w.slots[r, which + job.line].tail = i
    else:
        w.jobs[head].prev = i
    w.slots[r, which + job.line].head = i


@kernel
def unlink(w: World, r: int, which: int, i: int) -> None:
    """Take a request out of its list."""
    job = w.jobs[i]
    if job.prev == NONE:
        w.slots[r, which + job.line].head = job.next
    else:
        w.jobs[job.prev].next = job.next
    if job.next == NONE:
        w.slots[r, which + job.line].tail = job.prev
    else:
        w.jobs[job.next].prev = job.prev


@kernel
def first_waiting(w: World, r: int) -> int:
    """Head of the queue, the most urgent class first; NONE when nobody waits."""
    for line in range(PRIORITIES):
        if w.slots[r, WAIT + line].head != NONE:
            return int(w.slots[r, WAIT + line].head)
    return NONE


@kernel
def heap_push(w: World, r: int, key: int, i: int) -> None:
    """Add a decoding request that ends at `key`."""
    rank = w.ranks[r]
    hole = rank.heap
    rank.heap += 1
    while hole > 0:
        parent = (hole - 1) >> 1
        if w.slots[r, parent].end_key <= key:
            break
        w.slots[r, hole].end_key, w.slots[r, hole].end_job = w.slots[r, parent].end_key, w.slots[r, parent].end_job
        hole = parent
    w.slots[r, hole].end_key, w.slots[r, hole].end_job = key, i


@kernel
def _heap_sink(w: World, r: int, hole: int, key: int, i: int) -> None:
    size = w.ranks[r].heap
    while True:
        child = 2 * hole + 1
        if child >= size:
            break
        if child + 1 < size and w.slots[r, child + 1].end_key < w.slots[r, child].end_key:
            child += 1
        if w.slots[r, child].end_key >= key:
            break
        w.slots[r, hole].end_key, w.slots[r, hole].end_job = w.slots[r, child].end_key, w.slots[r, child].end_job
        hole = child
    w.slots[r, hole].end_key, w.slots[r, hole].end_job = key, i


@kernel
def heap_pop(w: World, r: int) -> int:
    """Remove and return the decoding request that ends first."""
    rank = w.ranks[r]
    top = w.slots[r, 0].end_job
    rank.heap -= 1
    last = rank.heap
    if last > 0:
        _heap_sink(w, r, 0, w.slots[r, last].end_key, w.slots[r, last].end_job)
    return int(top)


@kernel
def heap_remove(w: World, r: int, i: int) -> None:
    """Remove a decoding request before its end."""
    rank = w.ranks[r]
    hole = 0
    while w.slots[r, hole].end_job != i:
        hole += 1
    rank.heap -= 1
    last = rank.heap
    if hole == last:
        return
    key, job = w.slots[r, last].end_key, w.slots[r, last].end_job
    if hole > 0 and w.slots[r, (hole - 1) >> 1].end_key > key:
        while hole > 0 and w.slots[r, (hole - 1) >> 1].end_key > key:
            parent = (hole - 1) >> 1
            w.slots[r, hole].end_key, w.slots[r, hole].end_job = w.slots[r, parent].end_key, w.slots[r, parent].end_job
            hole = parent
        w.slots[r, hole].end_key, w.slots[r, hole].end_job = key, job
    else:
        _heap_sink(w, r, hole, key, job)


@kernel
def _before(w: World, a: int, b: int) -> bool:
    return bool(w.sent[a].at_s < w.sent[b].at_s or (w.sent[a].at_s == w.sent[b].at_s and w.sent[a].job < w.sent[b].job))


@kernel
def _swap_sent(w: World, a: int, b: int) -> None:
    w.sent[a].at_s, w.sent[b].at_s = w.sent[b].at_s, w.sent[a].at_s
    w.sent[a].job, w.sent[b].job = w.sent[b].job, w.sent[a].job


@kernel
def send(w: World, at: float, i: int) -> None:
    """A client sends a request that arrives at `at` [s]."""
    driver = w.main[0]
    hole = driver.sent
    driver.sent += 1
    w.sent[hole].at_s, w.sent[hole].job = at, i
    while hole > 0 and _before(w, hole, (hole - 1) >> 1):
        _swap_sent(w, hole, (hole - 1) >> 1)
        hole = (hole - 1) >> 1


@kernel
def receive(w: World) -> int:
    """Remove and return the request that arrives first among those sent."""
    driver = w.main[0]
    top = w.sent[0].job
    driver.sent -= 1
    size = driver.sent
    w.sent[0].at_s, w.sent[0].job = w.sent[size].at_s, w.sent[size].job
    hole = 0
    while 2 * hole + 1 < size:
        child = 2 * hole + 1
        if child + 1 < size and _before(w, child + 1, child):
            child += 1
        if not _before(w, child, hole):
            break
        _swap_sent(w, child, hole)
        hole = child
    return int(top)
