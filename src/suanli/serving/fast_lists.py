"""Waiting and running lists, and the two heaps of the compiled core."""

from __future__ import annotations

from suanli.serving.fast_state import NONE, World
from suanli.serving.kernel import kernel

WAIT, RUN = 0, 1  # second index of World.heads and World.tails


@kernel
def push_back(w: World, r: int, which: int, i: int) -> None:
    """Append a request to a list of its class."""
    job = w.jobs[i]
    tail = w.tails[r, which, job.line]
    job.prev, job.next = tail, NONE
    if tail == NONE:
        w.heads[r, which, job.line] = i
    else:
        w.jobs[tail].next = i
    w.tails[r, which, job.line] = i


@kernel
def push_front(w: World, r: int, which: int, i: int) -> None:
    """Put a request at the head of a list of its class."""
    job = w.jobs[i]
    head = w.heads[r, which, job.line]
    job.prev, job.next = NONE, head
    if head == NONE:
        w.tails[r, which, job.line] = i
    else:
        w.jobs[head].prev = i
    w.heads[r, which, job.line] = i


@kernel
def unlink(w: World, r: int, which: int, i: int) -> None:
    """Take a request out of its list."""
    job = w.jobs[i]
    if job.prev == NONE:
        w.heads[r, which, job.line] = job.next
    else:
        w.jobs[job.prev].next = job.next
    if job.next == NONE:
        w.tails[r, which, job.line] = job.prev
    else:
        w.jobs[job.next].prev = job.prev


@kernel
def first_waiting(w: World, r: int) -> int:
    """Head of the queue, the most urgent class first; NONE when nobody waits."""
    for line in range(w.heads.shape[2]):
        if w.heads[r, WAIT, line] != NONE:
            return int(w.heads[r, WAIT, line])
    return NONE


@kernel
def heap_push(w: World, r: int, key: int, i: int) -> None:
    """Add a decoding request that ends at `key`."""
    rank = w.ranks[r]
    hole = rank.heap
    rank.heap += 1
    while hole > 0:
        parent = (hole - 1) >> 1
        if w.heap_key[r, parent] <= key:
            break
        w.heap_key[r, hole], w.heap_job[r, hole] = w.heap_key[r, parent], w.heap_job[r, parent]
        hole = parent
    w.heap_key[r, hole], w.heap_job[r, hole] = key, i


@kernel
def _heap_sink(w: World, r: int, hole: int, key: int, i: int) -> None:
    size = w.ranks[r].heap
    while True:
        child = 2 * hole + 1
        if child >= size:
            break
        if child + 1 < size and w.heap_key[r, child + 1] < w.heap_key[r, child]:
            child += 1
        if w.heap_key[r, child] >= key:
            break
        w.heap_key[r, hole], w.heap_job[r, hole] = w.heap_key[r, child], w.heap_job[r, child]
        hole = child
    w.heap_key[r, hole], w.heap_job[r, hole] = key, i


@kernel
def heap_pop(w: World, r: int) -> int:
    """Remove and return the decoding request that ends first."""
    rank = w.ranks[r]
    top = w.heap_job[r, 0]
    rank.heap -= 1
    last = rank.heap
    if last > 0:
        _heap_sink(w, r, 0, w.heap_key[r, last], w.heap_job[r, last])
    return int(top)


@kernel
def heap_remove(w: World, r: int, i: int) -> None:
    """Remove a decoding request before its end."""
    rank = w.ranks[r]
    hole = 0
    while w.heap_job[r, hole] != i:
        hole += 1
    rank.heap -= 1
    last = rank.heap
    if hole == last:
        return
    key, job = w.heap_key[r, last], w.heap_job[r, last]
    if hole > 0 and w.heap_key[r, (hole - 1) >> 1] > key:
        while hole > 0 and w.heap_key[r, (hole - 1) >> 1] > key:
            parent = (hole - 1) >> 1
            w.heap_key[r, hole], w.heap_job[r, hole] = w.heap_key[r, parent], w.heap_job[r, parent]
            hole = parent
        w.heap_key[r, hole], w.heap_job[r, hole] = key, job
    else:
        _heap_sink(w, r, hole, key, job)


@kernel
def _before(w: World, a: int, b: int) -> bool:
    return bool(
        w.sent_s[a] < w.sent_s[b] or (w.sent_s[a] == w.sent_s[b] and w.sent_job[a] < w.sent_job[b])
    )


@kernel
def _swap_sent(w: World, a: int, b: int) -> None:
    w.sent_s[a], w.sent_s[b] = w.sent_s[b], w.sent_s[a]
    w.sent_job[a], w.sent_job[b] = w.sent_job[b], w.sent_job[a]


@kernel
def send(w: World, at: float, i: int) -> None:
    """A client sends a request that arrives at `at` [s]."""
    driver = w.driver[0]
    hole = driver.sent
    driver.sent += 1
    w.sent_s[hole], w.sent_job[hole] = at, i
    while hole > 0 and _before(w, hole, (hole - 1) >> 1):
        _swap_sent(w, hole, (hole - 1) >> 1)
        hole = (hole - 1) >> 1


@kernel
def receive(w: World) -> int:
    """Remove and return the request that arrives first among those sent."""
    driver = w.driver[0]
    top = w.sent_job[0]
    driver.sent -= 1
    size = driver.sent
    w.sent_s[0], w.sent_job[0] = w.sent_s[size], w.sent_job[size]
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
