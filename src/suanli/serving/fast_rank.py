"""Planning and finishing a step of one rank, compiled; the counterpart of `reference`.

All decoding requests advance together, so their KV lengths follow from one counter per rank (`count`): the sum grows by
n tokens a step, a request ends when the counter reaches a number known when it joined, and it needs a new block when
the counter has a known remainder. A step costs the same however many requests decode.
"""

from __future__ import annotations

from suanli.serving.fast_blocks import release
from suanli.serving.fast_lists import RUN, WAIT, heap_push, heap_remove, push_back, push_front, unlink
from suanli.serving.fast_state import DECODING, NONE, OVER, WAITING, World
from suanli.serving.kernel import kernel
from suanli.serving.setup import RETRACT_STEPS
from suanli.workload.requests import PRIORITIES

SGLANG, TENSORRT_LLM = 1, 2  # positions in SCHEDULERS
KEY_BITS = 32  # heap keys: decode count above, admission number below


@kernel
def blocks_of(w: World, tokens: int, spare: int) -> int:
    """KV blocks for `tokens` and `spare` slots."""
    size = w.main[0].block_tokens
    return int((tokens + spare + size - 1) // size)


@kernel
def whole(w: World, i: int) -> int:
    """KV blocks of a request when its last token is generated."""
    return blocks_of(w, w.jobs[i].input_tokens + w.jobs[i].wanted, 2 * w.main[0].spare)


@kernel
def gained(w: World, r: int, i: int) -> int:
    """Tokens that a decoding request has gained since it joined."""
    return int(w.ranks[r].count - w.jobs[i].mark)


@kernel
def generated(w: World, r: int, i: int) -> int:
    """Tokens generated so far by a running request."""
    job = w.jobs[i]
    return int(job.generated + (gained(w, r, i) if job.state == DECODING else 0))


@kernel
def _phase(w: World, i: int) -> int:
    job = w.jobs[i]
    return int((job.mark - job.tokens - w.main[0].spare) % w.main[0].block_tokens)


# --- entering and leaving ----------------------------------------------------------------------------------------


@kernel
def join_decode(w: World, r: int, i: int) -> None:
    """The prompt of a request is finished: it decodes from the next decode step on."""
    rank, job = w.ranks[r], w.jobs[i]
    job.state, job.mark = DECODING, rank.count
    rank.decoding += 1
    rank.sum_tokens += job.tokens
    w.slots[r, _phase(w, i)].phase += 1
    heap_push(w, r, ((rank.count + w.jobs[i].wanted - job.generated) << KEY_BITS) + job.order, i)
    w.slots[r, rank.fresh].fresh = i
    rank.fresh += 1


@kernel
def _leave_decode(w: World, r: int, i: int) -> int:
    """Undo `join_decode` but for the heap; returns the KV blocks that the request holds."""
    rank, job = w.ranks[r], w.jobs[i]
    w.jobs[i].energy_j += rank.decode_share_j - job.decode_mark_j
    w.slots[r, _phase(w, i)].phase -= 1
    length = job.tokens + gained(w, r, i)
    rank.decoding -= 1
    rank.sum_tokens -= length
    place = 0
    while place < rank.fresh and w.slots[r, place].fresh != i:
        place += 1
    if place < rank.fresh:
        rank.fresh -= 1
        w.slots[r, place].fresh = w.slots[r, rank.fresh].fresh
    else:
        job.last_token_s = rank.last_decode_s
    job.generated += gained(w, r, i)
    return blocks_of(w, length + rank.grown, w.main[0].spare)


@kernel
def leave(w: World, r: int, i: int) -> None:
    """Take a request out of the running ones and free its memory."""
    rank, job = w.ranks[r], w.jobs[i]
    blocks = int(job.blocks)
    if job.state == DECODING:
        blocks = _leave_decode(w, r, i)
    if rank.partial == i:
        rank.partial = NONE
    rank.unsaid -= w.jobs[i].wanted - job.generated
    rank.promised -= whole(w, i) - blocks
    job.generated = min(job.generated, w.jobs[i].wanted)
    release(w, r, i, blocks)
    unlink(w, r, RUN, i)
    rank.running -= 1
    job.tokens = job.blocks = 0
    job.state = OVER


@kernel
def enqueue(w: World, r: int, i: int, front: bool) -> None:
    """Put a request into the queue of a rank."""
    rank, job = w.ranks[r], w.jobs[i]
    job.state = WAITING
    rank.waiting += 1
    rank.waiting_tokens += job.target
    rank.blocked = 0
    if front:
        push_front(w, r, WAIT, i)
    else:
        push_back(w, r, WAIT, i)


@kernel
def _retracted_ratio(w: World, r: int) -> float:
    """SGLang's new share of outstanding output after a retraction."""
    said = outputs = count = 0
    for line in range(PRIORITIES):
        i = w.slots[r, RUN + line].head
        while i != NONE:
            if w.jobs[i].state == DECODING:
                said += generated(w, r, i)
                outputs += w.jobs[i].wanted
                count += 1
            i = w.jobs[i].next
    return min((said + RETRACT_STEPS * count) / (outputs + 1.0), 1.0)


@kernel
def preempt(w: World, r: int, i: int) -> None:
    """Give up the KV of a running request and put it back into the queue."""
    rank, job = w.ranks[r], w.jobs[i]
    if job.state == DECODING:
        heap_remove(w, r, i)
    leave(w, r, i)
    job.target = w.jobs[i].input_tokens + job.generated
    rank.preempted = 1
    w.jobs[i].preemptions += 1
    w.ranks[r].preemptions += 1
    sglang = w.main[0].scheduler == SGLANG
    enqueue(w, r, i, not sglang)
    if sglang:
        rank.ratio = _retracted_ratio(w, r)
        rank.ratio_steps = 0


@kernel
def victim(w: World, r: int) -> int:
    """Who must go: the last admitted one of the least urgent class; SGLang: the one that generated least."""
    if w.main[0].scheduler != SGLANG:
        for line in range(PRIORITIES - 1, -1, -1):
            if w.slots[r, RUN + line].tail != NONE:
                return int(w.slots[r, RUN + line].tail)
    best = NONE
    for line in range(PRIORITIES):
        i = w.slots[r, RUN + line].head
        while i != NONE:
            if w.jobs[i].state == DECODING and (best == NONE or _goes_before(w, r, i, best)):
                best = i
            i = w.jobs[i].next
    return int(best)


@kernel
def _goes_before(w: World, r: int, i: int, other: int) -> bool:
    mine = (generated(w, r, i), -w.jobs[i].input_tokens, -w.jobs[i].order)
    return mine < (generated(w, r, other), -w.jobs[other].input_tokens, -w.jobs[other].order)
