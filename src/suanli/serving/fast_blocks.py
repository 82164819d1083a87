"""KV blocks and prefix cache of a rank, compiled; the counterpart of `reference_blocks`.

Idle hash blocks hang in one list per rank, oldest first. A node is either a shared block (its number) or the unshared
rest of one prompt (number of shared blocks + request), which counts as many blocks and loses the deepest first.
"""

from __future__ import annotations

from suanli.serving.fast_state import NONE, World
from suanli.serving.kernel import kernel


@kernel
def available(w: World, r: int) -> int:
    """KV blocks that can be had, by eviction if need be."""
    return int(w.ranks[r].free + w.ranks[r].idle_kv)


@kernel
def _set_next(w: World, r: int, node: int, target: int) -> None:
    shared = w.main[0].shared_blocks
    if node < shared:
        w.blocks[r, node].next = target
    else:
        w.jobs[node - shared].lru_next = target


@kernel
def _set_prev(w: World, r: int, node: int, target: int) -> None:
    shared = w.main[0].shared_blocks
    if node < shared:
        w.blocks[r, node].prev = target
    else:
        w.jobs[node - shared].lru_prev = target


@kernel
def _append(w: World, r: int, node: int) -> None:
    rank = w.ranks[r]
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
    rank = w.ranks[r]
    shared = w.main[0].shared_blocks
    if node < shared:
        before, behind = w.blocks[r, node].prev, w.blocks[r, node].next
    else:
        before, behind = w.jobs[node - shared].lru_prev, w.jobs[node - shared].lru_next
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
    rank = w.ranks[r]
    size, shared, node = w.main[rank.pool].block_kv, w.main[0].shared_blocks, rank.lru_head
    gone = 1
    if node < shared:
        w.blocks[r, node].pins = NONE
        _unlink(w, r, node)
    else:
        job = w.jobs[node - shared]
        gone = min(job.cached_run, (wanted + size - 1) // size)
        job.cached_run -= gone
        if job.cached_run == 0:
            _unlink(w, r, node)
    rank.free += gone * size
    rank.idle_kv -= gone * size


@kernel
def take(w: World, r: int, blocks: int) -> None:
    """Hand out KV blocks; the caller has checked that they are available."""
    rank = w.ranks[r]
    while rank.free < blocks:
        _evict(w, r, blocks - rank.free)
    rank.free -= blocks


@kernel
def hits(w: World, r: int, i: int) -> int:
    """Leading hash blocks of a prompt that are cached."""
    job = w.jobs[i]
    if w.main[w.ranks[r].pool].block_kv == 0:
        return 0
    for place in range(job.shared):
        if w.blocks[r, w.chain[job.first_id + place]].pins == NONE:
            return int(place)
    return int(job.shared + job.cached_run)


@kernel
def idle_among(w: World, r: int, i: int, found: int) -> int:
    """How many of the first `found` hash blocks of a prompt are idle."""
    job = w.jobs[i]
    idle = 0
    for place in range(min(found, job.shared)):
        idle += w.blocks[r, w.chain[job.first_id + place]].pins == 0
    return int(idle + max(found - job.shared, 0))


@kernel
def _pin(w: World, r: int, block: int) -> None:
    entry = w.blocks[r, block]
    if entry.pins == 0:
        _unlink(w, r, block)
        w.ranks[r].idle_kv -= w.main[w.ranks[r].pool].block_kv
    entry.pins += 1


@kernel
def pin(w: World, r: int, i: int, found: int) -> None:
    """Use the first `found` hash blocks of a prompt, which are cached."""
    job = w.jobs[i]
    job.pinned = found
    for place in range(min(found, job.shared)):
        _pin(w, r, w.chain[job.first_id + place])
    if found > job.shared:
        _unlink(w, r, w.main[0].shared_blocks + i)
        w.ranks[r].idle_kv -= w.main[w.ranks[r].pool].block_kv * job.cached_run
        job.cached_run = 0


@kernel
def publish(w: World, r: int, i: int) -> None:
    """Turn the hash blocks that a prompt has filled into cached ones; duplicates are given back."""
    p, job = w.main[w.ranks[r].pool], w.jobs[i]
    if p.block_kv == 0:
        return
    filled = min(job.full, job.tokens // p.hash_tokens)
    for place in range(job.pinned, min(filled, job.shared)):
        entry = w.blocks[r, w.chain[job.first_id + place]]
        if entry.pins == NONE:
            entry.pins = 1
        else:
            _pin(w, r, w.chain[job.first_id + place])
            w.ranks[r].free += p.block_kv
    job.pinned = max(job.pinned, filled)


@kernel
def release(w: World, r: int, i: int, blocks: int, pinned: int) -> None:
    """Free the `blocks` KV blocks of a request; its hash blocks become idle when nobody else uses them."""
    rank, job = w.ranks[r], w.jobs[i]
    size = w.main[rank.pool].block_kv
    rank.free += blocks - pinned * size
    rank.blocked = 0
    if pinned > job.shared:
        job.cached_run, job.run_rank = pinned - job.shared, r
        rank.idle_kv += job.cached_run * size
        _append(w, r, w.main[0].shared_blocks + i)
    for place in range(min(pinned, job.shared) - 1, -1, -1):
        block = w.chain[job.first_id + place]
        w.blocks[r, block].pins -= 1
        if w.blocks[r, block].pins == 0:
            rank.idle_kv += size
            _append(w, r, block)


@kernel
def drop_run(w: World, i: int) -> None:
    """Forget the idle unshared hash blocks of a request, wherever they are."""
    job = w.jobs[i]
    if job.cached_run > 0:
        rank = w.ranks[job.run_rank]
        _unlink(w, job.run_rank, w.main[0].shared_blocks + i)
        freed = job.cached_run * w.main[rank.pool].block_kv
        rank.idle_kv -= freed
        rank.free += freed
        rank.blocked = 0
        job.cached_run = 0


@kernel
def forget(w: World, r: int) -> None:
    """Lose all idle hash blocks; no request holds any block."""
    rank = w.ranks[r]
    while rank.lru_head != NONE:
        _evict(w, r, rank.idle_kv)
