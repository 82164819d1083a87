"""Planning and finishing the step of one rank, compiled; see `fast_rank`."""

from __future__ import annotations

import math

from suanli.serving.cost import step_seconds
from suanli.serving.fast_blocks import available, hits, host_hits, idle_among, load, pin, publish, release, take
from suanli.serving.fast_lists import RUN, WAIT, first_waiting, heap_pop, push_back, push_timed, unlink
from suanli.serving.fast_meter import account, ended, gaps, token
from suanli.serving.fast_rank import (
    KEY_BITS,
    SGLANG,
    TENSORRT_LLM,
    blocks_of,
    hand_over,
    join_decode,
    leave_running,
    preempt,
    victim,
    whole,
)
from suanli.serving.fast_records import (
    LOADING,
    MOVING,
    NONE,
    PREFILLING,
    World,
    cost_at,
    job_at,
    pool_at,
    rank_at,
    slot_at,
)
from suanli.serving.kernel import kernel
from suanli.serving.outcome import DONE
from suanli.serving.setup import ADVANCE_BITS

FRACTION = (1 << ADVANCE_BITS) - 1


@kernel
def plan(w: World, r: int, now: float) -> None:
    """Decide what the next step of a rank does and take its memory."""
    rank = rank_at(w, r)
    rank.chunks = rank.chunk_tokens = rank.pairs_twice = rank.step_loaded_tokens = 0
    rank.decodes = rank.advance = rank.preempted = rank.blocked = 0
    for place in range(rank.arrived):
        join_decode(w, r, slot_at(w, r, place).arrived)
    rank.arrived = 0
    if pool_at(w, rank.pool).scheduler == SGLANG:
        _plan_prompts(w, r, now)
        if rank.chunks == 0:
            plan_decodes(w, r)
    else:
        plan_decodes(w, r)
        _plan_prompts(w, r, now)
    if rank.grown > 0:  # victims of prompts have left since
        rank.decodes = rank.decoding


@kernel
def decode_need(w: World, r: int) -> int:
    """KV blocks that the decoding requests need to advance."""
    rank = rank_at(w, r)
    size = pool_at(w, rank.pool).block_tokens
    need = 0
    for step in range(rank.advance):
        need += slot_at(w, r, (rank.count + step) % size).phase
    return int(need)


@kernel
def next_advance(w: World, r: int) -> None:
    """Tokens that decoding requests gain in the step being planned."""
    rank = rank_at(w, r)
    rank.advance_part += pool_at(w, rank.pool).advance
    rank.advance = rank.advance_part >> ADVANCE_BITS
    rank.advance_part &= FRACTION


@kernel
def plan_decodes(w: World, r: int) -> None:
    """Let every decoding request advance; preempt until their blocks fit."""
    rank = rank_at(w, r)
    if rank.decoding == 0:
        return
    next_advance(w, r)
    need = decode_need(w, r)
    while need > available(w, r):
        preempt(w, r, victim(w, r))
        need = decode_need(w, r)
    take(w, r, need)
    rank.promised -= need
    rank.grown = rank.advance
    rank.decodes = rank.decoding


@kernel
def _plan_prompts(w: World, r: int, now: float) -> None:
    rank = rank_at(w, r)
    p = pool_at(w, rank.pool)
    budget = p.token_budget - p.query_tokens * rank.decodes
    if rank.partial != NONE:
        budget -= _chunk(w, r, rank.partial, budget)
    reserve = 0.0
    while budget > 0 and rank.preempted == 0 and rank.waiting > 0:
        i = first_waiting(w, r)
        if rank.running >= p.max_num_seqs:
            rank.blocked = 1
            return
        if not _admissible(w, r, i, budget, reserve):
            rank.blocked = p.scheduler != SGLANG  # its reserve shrinks with every decode step
            return
        reserve += (1.0 - _ratio(w, r)) * (job_at(w, i).due - job_at(w, i).generated)
        if job_at(w, i).hold_rank != NONE:
            _admit_computed(w, r, i, now)
        else:
            _admit(w, r, i, now)
            budget -= _chunk(w, r, i, budget)


@kernel
def _chunk(w: World, r: int, i: int, budget: int) -> int:
    """Put the next chunk of a prompt into the step; returns its tokens, 0 when there is no room."""
    rank, job = rank_at(w, r), job_at(w, i)
    p = pool_at(w, rank.pool)
    chunk = min(job.target - job.tokens, budget)
    finished = job.tokens + chunk == job.target
    need = max(blocks_of(w, r, job.tokens + chunk, finished) - job.blocks, 0)
    while need > available(w, r):
        gone = i if p.scheduler == SGLANG else victim(w, r)
        preempt(w, r, gone)
        if gone == i:
            return 0
    take(w, r, need)
    rank.promised -= need
    job.blocks += need
    slot_at(w, r, rank.chunks).chunk_job, slot_at(w, r, rank.chunks).chunk = i, chunk
    rank.chunks += 1
    rank.chunk_tokens += chunk
    rank.pairs_twice += chunk * (2 * job.tokens + chunk)
    job.tokens += chunk
    rank.partial = NONE if finished else i
    publish(w, r, i)
    return int(chunk)


@kernel
def _ratio(w: World, r: int) -> float:
    rank = rank_at(w, r)
    p = pool_at(w, rank.pool)
    return float(max(rank.ratio - p.ratio_decay * rank.ratio_steps, p.ratio_floor))


@kernel
def _admissible(w: World, r: int, i: int, budget: int, reserve: float) -> bool:
    rank, job = rank_at(w, r), job_at(w, i)
    p = pool_at(w, rank.pool)
    found = hits(w, r, i)
    room = available(w, r) - p.block_kv * idle_among(w, r, i, found)
    held = found * p.block_kv
    stored = (found + host_hits(w, r, i, found)) * p.hash_tokens
    cached = job.target if job.hold_rank != NONE else min(stored, job.target - 1)
    if p.chunked_prefill == 0 and budget < job.target - cached <= p.token_budget:
        return False
    if p.scheduler == TENSORRT_LLM:
        return bool(whole(w, r, i) - held <= room - rank.promised)
    if p.scheduler == SGLANG:
        own = job.due - job.generated + 2 * p.spare
        wanted = max(job.target - held * p.block_tokens, 0) + own
        return bool(wanted <= room * p.block_tokens - _ratio(w, r) * rank.unsaid - reserve)
    if rank.running > 0:
        room -= p.watermark_blocks
    tokens = job.target if p.admit_whole_prompt else min(cached + budget, job.target)
    return bool(blocks_of(w, r, tokens, tokens == job.target) - held <= room)


@kernel
def _enter(w: World, r: int, i: int, blocks: int) -> None:
    """From the queue to the running ones, with `blocks` KV blocks held."""
    rank, job = rank_at(w, r), job_at(w, i)
    unlink(w, r, WAIT, i)
    rank.waiting -= 1
    rank.waiting_tokens -= job.target
    push_back(w, r, RUN, i)
    job.blocks = blocks
    job.order = rank.admissions
    rank.admissions += 1
    rank.running += 1
    rank.promised += whole(w, r, i) - blocks
    rank.unsaid += job.due - job.generated


@kernel
def _admit(w: World, r: int, i: int, now: float) -> None:
    rank, job = rank_at(w, r), job_at(w, i)
    p = pool_at(w, rank.pool)
    found = hits(w, r, i)
    loads = host_hits(w, r, i, found)
    pin(w, r, i, found)
    if loads > 0:
        load(w, r, i, loads)
        rank.step_loaded_tokens += loads * p.hash_tokens
    _enter(w, r, i, job.pinned * p.block_kv)
    job.state = PREFILLING
    job.tokens = min(job.pinned * p.hash_tokens, job.target - 1)
    if math.isnan(job.admitted_s):
        job.admitted_s = now
        job.cached_tokens = job.tokens


@kernel
def _admit_computed(w: World, r: int, i: int, now: float) -> None:
    """Make room for a request whose prompt was computed elsewhere, and begin to move its KV here.

    A transfer occupies the links of either rank; it begins when both are free.
    """
    job = job_at(w, i)
    blocks = blocks_of(w, r, job.target, True)
    take(w, r, blocks)
    _enter(w, r, i, blocks)
    job.state, job.tokens = LOADING, job.target
    source, here = rank_at(w, job.hold_rank), rank_at(w, r)
    begin = max(now, source.link_free_s, here.link_free_s)
    size = job.target * w.kv_bytes_per_token
    job.fetched_s = begin + (w.link_latency_s + size / w.link_bandwidth)
    source.link_free_s = here.link_free_s = job.fetched_s
    push_timed(w, MOVING, job.fetched_s, i)


@kernel
def rank_seconds(w: World, r: int) -> float:
    """Duration of the planned step on a rank [s]; 0 when it is empty."""
    rank = rank_at(w, r)
    p = pool_at(w, rank.pool)
    tokens = rank.chunk_tokens + p.query_tokens * rank.decodes
    if tokens == 0:
        return 0.0
    kv_tokens = rank.sum_tokens + rank.decodes if rank.decodes > 0 else 0
    sequences = rank.chunks + rank.decodes
    seconds = step_seconds(p, cost_at(w, rank.pool, tokens).base_s, sequences, 0.5 * rank.pairs_twice, kv_tokens)
    return float(seconds + p.host_load_s_per_token * rank.step_loaded_tokens)


@kernel
def advance_decodes(w: World, r: int, end: float) -> None:
    """Every decoding request gets its tokens; none of them ends by it (those that do have left the heap)."""
    rank = rank_at(w, r)
    for place in range(rank.fresh):
        gaps(w, r, end - job_at(w, slot_at(w, r, place).fresh).last_token_s, 1)
    if rank.decodes > rank.fresh:
        gaps(w, r, end - rank.last_decode_s, rank.decodes - rank.fresh)
    rank.fresh = 0
    rank.last_decode_s = end
    rank.count += rank.advance
    rank.sum_tokens += rank.advance * rank.decodes
    rank.unsaid -= rank.advance * rank.decodes
    rank.ratio_steps += 1
    rank.grown = 0


@kernel
def _finish_prompts(w: World, r: int, end: float) -> None:
    rank = rank_at(w, r)
    hands_over = pool_at(w, rank.pool).hands_over
    for place in range(rank.chunks):
        i = slot_at(w, r, place).chunk_job
        job = job_at(w, i)
        if job.tokens == job.target:
            job.generated += 1
            rank.unsaid -= 1
            if hands_over and job.generated < job.wanted:
                slot_at(w, r, rank.handed).handed = i
                rank.handed += 1
                continue
            token(w, r, i, end)
            if job.generated == job.wanted:
                slot_at(w, r, rank.ended).ended = i
                rank.ended += 1
            else:
                join_decode(w, r, i)


@kernel
def finish(w: World, r: int, start: float, end: float) -> None:
    """Let the planned step take effect; who is done or handed over stands in `ended` and `handed`, in order."""
    rank = rank_at(w, r)
    rank.ended = rank.handed = surplus = 0
    if rank.decodes > 0:
        count = rank.count + rank.advance
        while rank.heap > 0 and (slot_at(w, r, 0).end_key >> KEY_BITS) <= count:
            surplus += count - (slot_at(w, r, 0).end_key >> KEY_BITS)
            slot_at(w, r, rank.ended).ended = heap_pop(w, r)
            rank.ended += 1
    account(w, r, start, end, rank.advance * rank.decodes - surplus)
    if rank.decodes > 0:
        advance_decodes(w, r, end)
    _finish_prompts(w, r, end)
    for place in range(rank.ended):
        i = slot_at(w, r, place).ended
        release(w, r, i, leave_running(w, r, i), job_at(w, i).pinned)
        job_at(w, i).here = NONE
        ended(w, i, end, DONE)
    for place in range(rank.handed):
        hand_over(w, r, slot_at(w, r, place).handed)
    if rank.running + rank.waiting == 0:
        rest(w, r)
    drop_batch(w, r)


@kernel
def rest(w: World, r: int) -> None:
    """SGLang's reserve starts again when a rank has nothing to do."""
    rank = rank_at(w, r)
    rank.ratio, rank.ratio_steps = pool_at(w, rank.pool).ratio_start, 0


@kernel
def drop_batch(w: World, r: int) -> None:
    """Nothing is planned."""
    rank = rank_at(w, r)
    rank.chunks = rank.chunk_tokens = rank.pairs_twice = rank.decodes = rank.grown = 0
    rank.step_loaded_tokens = 0
