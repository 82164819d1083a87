"""Waiting and running lists, and the two heaps of the compiled core."""

from __future__ import annotations

from suanli.serving.fast_records import NEVER, NONE, World, job_at, rank_at, slot_at, timed_at
from suanli.serving.kernel import kernel
from suanli.workload.requests import PRIORITIES

WAIT, RUN = 0, PRIORITIES  # slot of the first class of the waiting and of the running list


@kernel
def push_back(w: World, r: int, which: int, i: int) -> None:
    """Append a request to a list of its class."""
    job = job_at(w, i)
    tail = slot_at(w, r, which + job.line).tail
    job.prev, job.next = tail, NONE
    if tail == NONE:
        slot_at(w, r, which + job.line).head = i
    else:
        job_at(w, tail).next = i
    slot_at(w, r, which + job.line).tail = i


@kernel
def push_front(w: World, r: int, which: int, i: int) -> None:
    """Put a request at the head of a list of its class."""
    job = job_at(w, i)
    head = slot_at(w, r, which + job.line).head
    job.prev, job.next = NONE, head
    if head == NONE:
        slot_at(w, r, which + job.line).tail = i
    else:
        job_at(w, head).prev = i
    slot_at(w, r, which + job.line).head = i


@kernel
def unlink(w: World, r: int, which: int, i: int) -> None:
    """Take a request out of its list."""
    job = job_at(w, i)
    if job.prev == NONE:
        slot_at(w, r, which + job.line).head = job.next
    else:
        job_at(w, job.prev).next = job.next
    if job.next == NONE:
        slot_at(w, r, which + job.line).tail = job.prev
    else:
        job_at(w, job.next).prev = job.prev


@kernel
def first_waiting(w: World, r: int) -> int:
    """Head of the queue, the most urgent class first; NONE when nobody waits."""
    for line in range(PRIORITIES):
        if slot_at(w, r, WAIT + line).head != NONE:
            return int(slot_at(w, r, WAIT + line).head)
    return NONE


@kernel
def heap_push(w: World, r: int, key: int, i: int) -> None:
    """Add a decoding request that ends at `key`."""
    rank = rank_at(w, r)
    hole = rank.heap
    rank.heap += 1
    while hole > 0:
        parent = (hole - 1) >> 1
        if slot_at(w, r, parent).end_key <= key:
            break
        slot_at(w, r, hole).end_key, slot_at(w, r, hole).end_job = (
            slot_at(w, r, parent).end_key,
            slot_at(w, r, parent).end_job,
        )
        hole = parent
    slot_at(w, r, hole).end_key, slot_at(w, r, hole).end_job = key, i


@kernel
def _heap_sink(w: World, r: int, hole: int, key: int, i: int) -> None:
    size = rank_at(w, r).heap
    while True:
        child = 2 * hole + 1
        if child >= size:
            break
        if child + 1 < size and slot_at(w, r, child + 1).end_key < slot_at(w, r, child).end_key:
            child += 1
        if slot_at(w, r, child).end_key >= key:
            break
        slot_at(w, r, hole).end_key, slot_at(w, r, hole).end_job = (
            slot_at(w, r, child).end_key,
            slot_at(w, r, child).end_job,
        )
        hole = child
    slot_at(w, r, hole).end_key, slot_at(w, r, hole).end_job = key, i


@kernel
def heap_pop(w: World, r: int) -> int:
    """Remove and return the decoding request that ends first."""
    rank = rank_at(w, r)
    top = slot_at(w, r, 0).end_job
    rank.heap -= 1
    last = rank.heap
    if last > 0:
        _heap_sink(w, r, 0, slot_at(w, r, last).end_key, slot_at(w, r, last).end_job)
    return int(top)


@kernel
def heap_remove(w: World, r: int, i: int) -> None:
    """Remove a decoding request before its end."""
    rank = rank_at(w, r)
    hole = 0
    while slot_at(w, r, hole).end_job != i:
        hole += 1
    rank.heap -= 1
    last = rank.heap
    if hole == last:
        return
    key, job = slot_at(w, r, last).end_key, slot_at(w, r, last).end_job
    if hole > 0 and slot_at(w, r, (hole - 1) >> 1).end_key > key:
        while hole > 0 and slot_at(w, r, (hole - 1) >> 1).end_key > key:
            parent = (hole - 1) >> 1
            slot_at(w, r, hole).end_key, slot_at(w, r, hole).end_job = (
                slot_at(w, r, parent).end_key,
                slot_at(w, r, parent).end_job,
            )
            hole = parent
        slot_at(w, r, hole).end_key, slot_at(w, r, hole).end_job = key, job
    else:
        _heap_sink(w, r, hole, key, job)


@kernel
def _before(w: World, heap: int, a: int, b: int) -> bool:
    first, second = timed_at(w, heap, a), timed_at(w, heap, b)
    return bool(first.at_s < second.at_s or (first.at_s == second.at_s and first.job < second.job))


@kernel
def _swap(w: World, heap: int, a: int, b: int) -> None:
    first, second = timed_at(w, heap, a), timed_at(w, heap, b)
    first.at_s, second.at_s = second.at_s, first.at_s
    first.job, second.job = second.job, first.job


@kernel
def push_timed(w: World, heap: int, at: float, i: int) -> None:
    """Something happens to a request at `at` [s]."""
    timed_at(w, heap, 0).job += 1
    hole = timed_at(w, heap, 0).job
    timed_at(w, heap, hole).at_s, timed_at(w, heap, hole).job = at, i
    while hole > 1 and _before(w, heap, hole, hole >> 1):
        _swap(w, heap, hole, hole >> 1)
        hole >>= 1


@kernel
def first_timed(w: World, heap: int) -> float:
    """Time of the first entry [s]."""
    return float(timed_at(w, heap, 1).at_s) if timed_at(w, heap, 0).job > 0 else NEVER


@kernel
def pop_timed(w: World, heap: int) -> int:
    """Remove the first entry and return its request."""
    top = timed_at(w, heap, 1).job
    size = timed_at(w, heap, 0).job
    _swap(w, heap, 1, size)
    timed_at(w, heap, 0).job = size - 1
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
