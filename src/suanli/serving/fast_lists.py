"""Waiting and running lists, and the two heaps of the compiled core."""

from __future__ import annotations

from suanli.serving.fast_state import NEVER, NONE, World
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
def _before(w: World, heap: int, a: int, b: int) -> bool:
    first, second = w.timed[heap, a], w.timed[heap, b]
    return bool(first.at_s < second.at_s or (first.at_s == second.at_s and first.job < second.job))


@kernel
def _swap(w: World, heap: int, a: int, b: int) -> None:
    first, second = w.timed[heap, a], w.timed[heap, b]
    first.at_s, second.at_s = second.at_s, first.at_s
    first.job, second.job = second.job, first.job


@kernel
def push_timed(w: World, heap: int, at: float, i: int) -> None:
    """Something happens to a request at `at` [s]."""
    w.timed[heap, 0].job += 1
    hole = w.timed[heap, 0].job
    w.timed[heap, hole].at_s, w.timed[heap, hole].job = at, i
    while hole > 1 and _before(w, heap, hole, hole >> 1):
        _swap(w, heap, hole, hole >> 1)
        hole >>= 1


@kernel
def first_timed(w: World, heap: int) -> float:
    """Time of the first entry [s]."""
    return float(w.timed[heap, 1].at_s) if w.timed[heap, 0].job > 0 else NEVER


@kernel
def pop_timed(w: World, heap: int) -> int:
    """Remove the first entry and return its request."""
    top = w.timed[heap, 1].job
    size = w.timed[heap, 0].job
    _swap(w, heap, 1, size)
    w.timed[heap, 0].job = size - 1
    hole = 1
    while 2 * hole < size:
        child = 2 * hole
        if child + 1 < size and _before(w, heap, child + 1, child):
            child += 1
        if not _before(w, heap, child, hole):
            break
        _swap(w, heap, child, hole)
        hole = child
    return int(top)
