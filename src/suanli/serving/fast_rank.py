"""Planning and finishing a step of one rank, compiled; the counterpart of `reference`.

All decoding requests advance together, so their KV lengths follow from one counter per rank (`count`): the sum grows by
n tokens a step, a request ends when the counter reaches a number known when it joined, and it needs a new block when
the counter has a known remainder. A step costs the same however many requests decode.
"""

from __future__ import annotations

from suanli.serving.fast_blocks import release
from suanli.serving.fast_lists import RUN, WAIT, heap_push, heap_remove, push_back, push_front, unlink
from suanli.serving.fast_records import (
    ARRIVED,
    AWAY,
    DECODING,
    LOADING,
    NEVER,
    NONE,
    WAITING,
    World,
    job_at,
    pool_at,
    rank_at,
    slot_at,
)
from suanli.serving.kernel import kernel
from suanli.serving.setup import RETRACT_STEPS
from suanli.workload.requests import PRIORITIES

SGLANG, TENSORRT_LLM = 1, 2  # positions in SCHEDULERS
KEY_BITS = 32  # heap keys: decode count above, admission number below


@kernel
def blocks_of(w: World, r: int, tokens: int, finished: bool) -> int:
    """KV blocks for `tokens`, with the slots of draft tokens once the prompt is finished."""
    p = pool_at(w, rank_at(w, r).pool)
    return int((tokens + (p.spare if finished else 0) + p.block_tokens - 1) // p.block_tokens)


@kernel
def whole(w: World, r: int, i: int) -> int:
    """KV blocks of a request when its last token here is generated."""
    slots = job_at(w, i).input_tokens + job_at(w, i).due + pool_at(w, rank_at(w, r).pool).spare
    return blocks_of(w, r, slots, True)


@kernel
def gained(w: World, r: int, i: int) -> int:
    """Tokens that a running request has gained since it joined the decoding ones."""
    return int(rank_at(w, r).count - job_at(w, i).mark) if job_at(w, i).state == DECODING else 0


@kernel
def _phase(w: World, r: int, i: int) -> int:
    job, p = job_at(w, i), pool_at(w, rank_at(w, r).pool)
    return int((job.mark - job.tokens - p.spare) % p.block_tokens)


# --- entering and leaving ----------------------------------------------------------------------------------------


@kernel
def join_decode(w: World, r: int, i: int) -> None:
    """All tokens of a request are in the cache: it decodes from the next decode step on."""
    rank, job = rank_at(w, r), job_at(w, i)
    job.state, job.mark = DECODING, rank.count
    job.decode_mark_j = rank.decode_share_j
    rank.decoding += 1
    rank.sum_tokens += job.tokens
    slot_at(w, r, _phase(w, r, i)).phase += 1
    heap_push(w, r, ((rank.count + job.wanted - job.generated) << KEY_BITS) + job.order, i)
    slot_at(w, r, rank.fresh).fresh = i
    rank.fresh += 1


@kernel
def _leave_decode(w: World, r: int, i: int) -> int:
    """Undo `join_decode` but for the heap; returns the KV blocks that the request holds."""
    rank, job = rank_at(w, r), job_at(w, i)
    job.energy_j += rank.decode_share_j - job.decode_mark_j
    slot_at(w, r, _phase(w, r, i)).phase -= 1
    gain = gained(w, r, i)
    length = job.tokens + gain
    rank.decoding -= 1
    rank.sum_tokens -= length
    place = 0
    while place < rank.fresh and slot_at(w, r, place).fresh != i:
        place += 1
    if place < rank.fresh:
        rank.fresh -= 1
        slot_at(w, r, place).fresh = slot_at(w, r, rank.fresh).fresh
    else:
        job.last_token_s = rank.last_decode_s
    job.generated += gain
    return blocks_of(w, r, length + rank.grown, True)


@kernel
def _unlist_arrived(w: World, r: int, i: int) -> None:
    rank = rank_at(w, r)
    place = 0
    while slot_at(w, r, place).arrived != i:
        place += 1
    rank.arrived -= 1
    for later in range(place, rank.arrived):
        slot_at(w, r, later).arrived = slot_at(w, r, later + 1).arrived


@kernel
def leave_running(w: World, r: int, i: int) -> int:
    """Take a request out of the running ones; returns the KV blocks that it holds."""
    rank, job = rank_at(w, r), job_at(w, i)
    blocks = int(job.blocks)
    if job.state == DECODING:
        blocks = _leave_decode(w, r, i)
    elif job.state == ARRIVED:
        _unlist_arrived(w, r, i)
    if rank.partial == i:
        rank.partial = NONE
    rank.unsaid -= job.due - job.generated
    rank.promised -= whole(w, r, i) - blocks
    rank.running -= 1
    rank.blocked = 0
    job.generated = min(job.generated, job.wanted)
    unlink(w, r, RUN, i)
    job.state = AWAY
    return blocks


@kernel
def leave(w: World, i: int) -> None:
    """Take a request out of the queue or the running ones of its rank and free its memory there."""
    job = job_at(w, i)
    r = job.here
    rank = rank_at(w, r)
    if job.state == WAITING:
        unlink(w, r, WAIT, i)
        rank.waiting -= 1
        rank.waiting_tokens -= job.target
        rank.blocked = 0
    else:
        if job.state == DECODING:
            heap_remove(w, r, i)
        blocks = leave_running(w, r, i)
        release(w, r, i, blocks, job.pinned)
    job.tokens = job.blocks = job.pinned = 0
    job.target = job.input_tokens + job.generated
    job.fetched_s = NEVER
    job.state, job.here = AWAY, NONE


@kernel
def hand_over(w: World, r: int, i: int) -> None:
    """The prompt is finished and the request goes on elsewhere; its KV stays until it has been fetched."""
    job = job_at(w, i)
    job.hold_rank, job.hold_blocks, job.hold_pinned = r, leave_running(w, r, i), job.pinned
    job.tokens = job.blocks = job.pinned = 0
    job.here = NONE


@kernel
def let_go(w: World, i: int) -> None:
    """The KV kept for a request is not needed any more."""
    job = job_at(w, i)
    if job.hold_rank != NONE:
        release(w, job.hold_rank, i, job.hold_blocks, job.hold_pinned)
        job.hold_rank = NONE


@kernel
def enqueue(w: World, r: int, i: int, front: bool) -> None:
    """Put a request into the queue of a rank."""
    rank, job = rank_at(w, r), job_at(w, i)
    job.state, job.here = WAITING, r
    rank.waiting += 1
    rank.waiting_tokens += job.target
    rank.blocked = 0
    if front:
        push_front(w, r, WAIT, i)
    else:
        push_back(w, r, WAIT, i)


# --- preemption --------------------------------------------------------------------------------------------------


@kernel
def _retracted_ratio(w: World, r: int) -> float:
    """SGLang's new share of outstanding output after a retraction."""
    said = due = count = 0
    for line in range(PRIORITIES):
        i = slot_at(w, r, RUN + line).head
        while i != NONE:
            if job_at(w, i).state == DECODING:
                said += job_at(w, i).generated + gained(w, r, i)
                due += job_at(w, i).due
                count += 1
            i = job_at(w, i).next
    return min((said + RETRACT_STEPS * count) / (due + 1.0), 1.0)


@kernel
def preempt(w: World, r: int, i: int) -> None:
    """Give up the KV of a running request and put it back into the queue."""
    rank = rank_at(w, r)
    leave(w, i)
    rank.preempted = 1
    job_at(w, i).preemptions += 1
    rank.preemptions += 1
    sglang = pool_at(w, rank.pool).scheduler == SGLANG
    enqueue(w, r, i, not sglang)
    if sglang:
        rank.ratio = _retracted_ratio(w, r)
        rank.ratio_steps = 0


@kernel
def victim(w: World, r: int) -> int:
    """Who must go: the last admitted one of the least urgent class; SGLang: the one that generated least."""
    if pool_at(w, rank_at(w, r).pool).scheduler == SGLANG:
        return _least_said(w, r)
    for line in range(PRIORITIES - 1, -1, -1):
        i = slot_at(w, r, RUN + line).tail
        while i != NONE and job_at(w, i).state == LOADING:
            i = job_at(w, i).prev
        if i != NONE:
            return int(i)
    return NONE


@kernel
def _least_said(w: World, r: int) -> int:
    best, best_key = NONE, (0, 0, 0)
    for line in range(PRIORITIES):
        i = slot_at(w, r, RUN + line).head
        while i != NONE:
            job = job_at(w, i)
            key = (int(job.generated + gained(w, r, i)), -int(job.input_tokens), -int(job.order))
            if job.state == DECODING and (best == NONE or key < best_key):
                best, best_key = i, key
            i = job.next
    return int(best)
