"""KV blocks and prefix cache of a rank, compiled; the counterpart of `reference_blocks`.

Idle hash blocks hang in one list per rank, oldest first. A node is either a shared block (its number) or the unshared
rest of one prompt (number of shared blocks + request), which counts as many blocks and loses the deepest first.
"""

from __future__ import annotations

from suanli.serving.fast_records import NONE, World, block_at, chain_at, job_at, pool_at, rank_at
from suanli.serving.kernel import kernel


@kernel
def available(w: World, r: int) -> int:
    """KV blocks that can be had, by eviction if need be."""
    return int(rank_at(w, r).free + rank_at(w, r).idle_kv)


@kernel
def _set_next(w: World, r: int, node: int, target: int) -> None:
    shared = w.shared_blocks
    if node < shared:
        block_at(w, r, node).next = target
    else:
        job_at(w, node - shared).lru_next = target


@kernel
def _set_prev(w: World, r: int, node: int, target: int) -> None:
    shared = w.shared_blocks
    if node < shared:
        block_at(w, r, node).prev = target
    else:
        job_at(w, node - shared).lru_prev = target


@kernel
def _append(w: World, r: int, node: int) -> None:
    rank = rank_at(w, r)
    tail = rank.lru_tail
    _set_prev(w, r, node, tail)
    _set_next(w, r, node, NONE)
    if tail == NONE:
        rank.lru_head = node
    else:
        _set_next(w, r, tail, node)
    rank.lru_tail = node


@kernel
def _unlink(w: World, r: int, node: int) -> None:
    rank = rank_at(w, r)
    shared = w.shared_blocks
    if node < shared:
        before, behind = block_at(w, r, node).prev, block_at(w, r, node).next
    else:
        before, behind = job_at(w, node - shared).lru_prev, job_at(w, node - shared).lru_next
    if before == NONE:
        rank.lru_head = behind
    else:
        _set_next(w, r, before, behind)
    if behind == NONE:
        rank.lru_tail = before
    else:
        _set_prev(w, r, behind, before)


@kernel
def _evict(w: World, r: int, wanted: int) -> None:
    """Forget the oldest idle hash block, or as many of the oldest run as `wanted` KV blocks need."""
    rank = rank_at(w, r)
    size, shared, node = pool_at(w, rank.pool).block_kv, w.shared_blocks, rank.lru_head
    gone = 1
    if node < shared:
        block_at(w, r, node).pins = NONE
        _unlink(w, r, node)
    else:
        job = job_at(w, node - shared)
        gone = min(job.cached_run, (wanted + size - 1) // size)
        job.cached_run -= gone
        if job.cached_run == 0:
            _unlink(w, r, node)
    rank.free += gone * size
    rank.idle_kv -= gone * size


@kernel
def take(w: World, r: int, blocks: int) -> None:
    """Hand out KV blocks; the caller has checked that they are available."""
    rank = rank_at(w, r)
    while rank.free < blocks:
        _evict(w, r, blocks - rank.free)
    rank.free -= blocks


@kernel
def hits(w: World, r: int, i: int) -> int:
    """Leading hash blocks of a prompt that are cached."""
    job = job_at(w, i)
    if pool_at(w, rank_at(w, r).pool).block_kv == 0:
        return 0
    for place in range(job.shared):
        if block_at(w, r, chain_at(w, job.first_id + place).id).pins == NONE:
            return int(place)
    return int(job.shared + job.cached_run)


@kernel
def idle_among(w: World, r: int, i: int, found: int) -> int:
    """How many of the first `found` hash blocks of a prompt are idle."""
    job = job_at(w, i)
    idle = 0
    for place in range(min(found, job.shared)):
        idle += block_at(w, r, chain_at(w, job.first_id + place).id).pins == 0
    return int(idle + max(found - job.shared, 0))


@kernel
def _pin(w: World, r: int, block: int) -> None:
    entry = block_at(w, r, block)
    if entry.pins == 0:
        _unlink(w, r, block)
        rank_at(w, r).idle_kv -= pool_at(w, rank_at(w, r).pool).block_kv
    entry.pins += 1


@kernel
def pin(w: World, r: int, i: int, found: int) -> None:
    """Use the first `found` hash blocks of a prompt, which are cached."""
    job = job_at(w, i)
    job.pinned = found
    for place in range(min(found, job.shared)):
        _pin(w, r, chain_at(w, job.first_id + place).id)
    if found > job.shared:
        _unlink(w, r, w.shared_blocks + i)
        rank_at(w, r).idle_kv -= pool_at(w, rank_at(w, r).pool).block_kv * job.cached_run
        job.cached_run = 0


@kernel
def publish(w: World, r: int, i: int) -> None:
    """Turn the hash blocks that a prompt has filled into cached ones; duplicates are given back."""
    p, job = pool_at(w, rank_at(w, r).pool), job_at(w, i)
    if p.block_kv == 0:
        return
    filled = min(job.full, job.tokens // p.hash_tokens)
    for place in range(job.pinned, min(filled, job.shared)):
        entry = block_at(w, r, chain_at(w, job.first_id + place).id)
        if entry.pins == NONE:
            entry.pins = 1
        else:
            _pin(w, r, chain_at(w, job.first_id + place).id)
            rank_at(w, r).free += p.block_kv
    job.pinned = max(job.pinned, filled)


@kernel
def release(w: World, r: int, i: int, blocks: int, pinned: int) -> None:
    """Free the `blocks` KV blocks of a request; its hash blocks become idle when nobody else uses them."""
    rank, job = rank_at(w, r), job_at(w, i)
    size = pool_at(w, rank.pool).block_kv
    rank.free += blocks - pinned * size
    rank.blocked = 0
    if pinned > job.shared:
        job.cached_run, job.run_rank = pinned - job.shared, r
        rank.idle_kv += job.cached_run * size
        _append(w, r, w.shared_blocks + i)
    for place in range(min(pinned, job.shared) - 1, -1, -1):
        block = chain_at(w, job.first_id + place).id
        block_at(w, r, block).pins -= 1
        if block_at(w, r, block).pins == 0:
            rank.idle_kv += size
            _append(w, r, block)


@kernel
def drop_run(w: World, i: int) -> None:
    """Forget the idle unshared hash blocks of a request, wherever they are."""
    job = job_at(w, i)
    if job.cached_run > 0:
        rank = rank_at(w, job.run_rank)
        _unlink(w, job.run_rank, w.shared_blocks + i)
        freed = job.cached_run * pool_at(w, rank.pool).block_kv
        rank.idle_kv -= freed
        rank.free += freed
        rank.blocked = 0
        job.cached_run = 0


@kernel
def forget(w: World, r: int) -> None:
    """Lose all idle hash blocks; no request holds any block."""
    rank = rank_at(w, r)
    while rank.lru_head != NONE:
        _evict(w, r, rank.idle_kv)
