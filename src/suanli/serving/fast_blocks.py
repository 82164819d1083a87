"""KV blocks and prefix cache of a rank, compiled; the counterpart of `reference_blocks`.

Idle hash blocks hang in one list per rank, oldest first. A node is either a shared block (its number) or the unshared
rest of one prompt (number of shared blocks + request), which counts as many blocks and loses the deepest first.
"""

from __future__ import annotations

from suanli.serving.fast_records import HOST, NONE, World, block_at, chain_at, job_at, pool_at, rank_at
from suanli.serving.kernel import kernel

# --- the two lists: idle in the cache, and in the second memory --------------------------------------------------
# A shared block is in one of them at most; the unshared blocks of a prompt can be in both.


@kernel
def _set_next(w: World, r: int, host: bool, node: int, target: int) -> None:
    if node < w.shared_blocks:
        block_at(w, r, node).next = target
    elif host:
        job_at(w, node - w.shared_blocks).host_next = target
    else:
        job_at(w, node - w.shared_blocks).lru_next = target


@kernel
def _set_prev(w: World, r: int, host: bool, node: int, target: int) -> None:
    if node < w.shared_blocks:
        block_at(w, r, node).prev = target
    elif host:
        job_at(w, node - w.shared_blocks).host_prev = target
    else:
        job_at(w, node - w.shared_blocks).lru_prev = target


@kernel
def _neighbours(w: World, r: int, host: bool, node: int) -> tuple[int, int]:
    if node < w.shared_blocks:
        return int(block_at(w, r, node).prev), int(block_at(w, r, node).next)
    job = job_at(w, node - w.shared_blocks)
    if host:
        return int(job.host_prev), int(job.host_next)
    return int(job.lru_prev), int(job.lru_next)


@kernel
def _append(w: World, r: int, host: bool, node: int) -> None:
    rank = rank_at(w, r)
    tail = rank.host_tail if host else rank.lru_tail
    _set_prev(w, r, host, node, tail)
    _set_next(w, r, host, node, NONE)
    if tail != NONE:
        _set_next(w, r, host, tail, node)
    elif host:
        rank.host_head = node
    else:
        rank.lru_head = node
    if host:
        rank.host_tail = node
    else:
        rank.lru_tail = node


@kernel
def _unlink(w: World, r: int, host: bool, node: int) -> None:
    rank = rank_at(w, r)
    before, behind = _neighbours(w, r, host, node)
    if before != NONE:
        _set_next(w, r, host, before, behind)
    elif host:
        rank.host_head = behind
    else:
        rank.lru_head = behind
    if behind != NONE:
        _set_prev(w, r, host, behind, before)
    elif host:
        rank.host_tail = before
    else:
        rank.lru_tail = before


# --- eviction ----------------------------------------------------------------------------------------------------


@kernel
def _to_host(w: World, r: int, node: int, count: int) -> None:
    """Put `count` evicted hash blocks of a node into the second memory, and drop what does not fit any more."""
    rank, room = rank_at(w, r), pool_at(w, rank_at(w, r).pool).host_room
    if room == 0:
        if node < w.shared_blocks:
            block_at(w, r, node).pins = NONE
        return
    if node < w.shared_blocks:
        block_at(w, r, node).pins = HOST
    else:
        job = job_at(w, node - w.shared_blocks)
        if job.host_run > 0:
            _unlink(w, r, True, node)
        job.host_run += count
    _append(w, r, True, node)
    rank.host_used += count
    while rank.host_used > room:
        _drop_from_host(w, r, rank.host_used - room)


@kernel
def _drop_from_host(w: World, r: int, wanted: int) -> None:
    """Drop the oldest hash block of the second memory, or as many of the oldest prompt as wanted."""
    rank = rank_at(w, r)
    node = rank.host_head
    gone = 1
    if node < w.shared_blocks:
        block_at(w, r, node).pins = NONE
        _unlink(w, r, True, node)
    else:
        job = job_at(w, node - w.shared_blocks)
        gone = min(job.host_run, wanted)
        job.host_run -= gone
        if job.host_run == 0:
            _unlink(w, r, True, node)
    rank.host_used -= gone


@kernel
def _evict(w: World, r: int, wanted: int) -> None:
    """Evict the oldest idle hash block, or as many of the oldest run as `wanted` KV blocks need."""
    rank = rank_at(w, r)
    size, node = pool_at(w, rank.pool).block_kv, rank.lru_head
    gone = 1
    if node < w.shared_blocks:
        _unlink(w, r, False, node)
    else:
        job = job_at(w, node - w.shared_blocks)
        gone = min(job.cached_run, (wanted + size - 1) // size)
        job.cached_run -= gone
        if job.cached_run == 0:
            _unlink(w, r, False, node)
    rank.free += gone * size
    rank.idle_kv -= gone * size
    _to_host(w, r, node, gone)


@kernel
def available(w: World, r: int) -> int:
    """KV blocks that can be had, by eviction if need be."""
    return int(rank_at(w, r).free + rank_at(w, r).idle_kv)


@kernel
def take(w: World, r: int, blocks: int) -> None:
    """Hand out KV blocks; the caller has checked that they are available."""
    rank = rank_at(w, r)
    while rank.free < blocks:
        _evict(w, r, blocks - rank.free)
    rank.free -= blocks


# --- prompts -----------------------------------------------------------------------------------------------------


@kernel
def hits(w: World, r: int, i: int) -> int:
    """Leading hash blocks of a prompt that are cached."""
    job = job_at(w, i)
    if pool_at(w, rank_at(w, r).pool).block_kv == 0:
        return 0
    for place in range(job.shared):
        if block_at(w, r, chain_at(w, job.first_id + place).id).pins < 0:
            return int(place)
    return int(job.shared + job.cached_run)


@kernel
def host_hits(w: World, r: int, i: int, found: int) -> int:
    """Hash blocks of a prompt in the second memory, behind the first `found` that are cached."""
    job = job_at(w, i)
    if pool_at(w, rank_at(w, r).pool).host_room == 0:
        return 0
    for place in range(found, job.shared):
        if block_at(w, r, chain_at(w, job.first_id + place).id).pins != HOST:
            return int(place - found)
    return int(max(job.shared - found, 0) + job.host_run)


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
        _unlink(w, r, False, block)
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
        _unlink(w, r, False, w.shared_blocks + i)
        rank_at(w, r).idle_kv -= pool_at(w, rank_at(w, r).pool).block_kv * job.cached_run
        job.cached_run = 0


@kernel
def load(w: World, r: int, i: int, count: int) -> None:
    """Bring the next `count` hash blocks of a prompt back from the second memory and use them."""
    rank, job = rank_at(w, r), job_at(w, i)
    for place in range(job.pinned, min(job.pinned + count, job.shared)):
        block = chain_at(w, job.first_id + place).id
        _unlink(w, r, True, block)
        block_at(w, r, block).pins = 1
    if job.pinned + count > job.shared:
        _unlink(w, r, True, w.shared_blocks + i)
        job.host_run = 0
    rank.host_used -= count
    job.pinned += count
    take(w, r, count * pool_at(w, rank.pool).block_kv)


@kernel
def publish(w: World, r: int, i: int) -> None:
    """Turn the hash blocks that a prompt has filled into cached ones; duplicates are given back."""
    p, job = pool_at(w, rank_at(w, r).pool), job_at(w, i)
    if p.block_kv == 0:
        return
    filled = min(job.full, job.tokens // p.hash_tokens)
    for place in range(job.pinned, min(filled, job.shared)):
        block = chain_at(w, job.first_id + place).id
        entry = block_at(w, r, block)
        if entry.pins >= 0:
            _pin(w, r, block)
            rank_at(w, r).free += p.block_kv
            continue
        if entry.pins == HOST:
            _unlink(w, r, True, block)
            rank_at(w, r).host_used -= 1
        entry.pins = 1
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
        _append(w, r, False, w.shared_blocks + i)
    for place in range(min(pinned, job.shared) - 1, -1, -1):
        block = chain_at(w, job.first_id + place).id
        entry = block_at(w, r, block)
        entry.pins -= 1
        if entry.pins == 0:
            rank.idle_kv += size
            _append(w, r, False, block)


@kernel
def drop_run(w: World, i: int) -> None:
    """Forget the unshared hash blocks of a request that it does not use, wherever they are."""
    job = job_at(w, i)
    rank = rank_at(w, job.run_rank)
    if job.cached_run > 0:
        _unlink(w, job.run_rank, False, w.shared_blocks + i)
        freed = job.cached_run * pool_at(w, rank.pool).block_kv
        rank.idle_kv -= freed
        rank.free += freed
        rank.blocked = 0
        job.cached_run = 0
    if job.host_run > 0:
        _unlink(w, job.run_rank, True, w.shared_blocks + i)
        rank.host_used -= job.host_run
        rank.blocked = 0
        job.host_run = 0


@kernel
def forget(w: World, r: int) -> None:
    """Lose all idle hash blocks, here and in the second memory; no request holds any block."""
    rank = rank_at(w, r)
    while rank.lru_head != NONE:
        _evict(w, r, rank.idle_kv)
    while rank.host_head != NONE:
        _drop_from_host(w, r, rank.host_used)
