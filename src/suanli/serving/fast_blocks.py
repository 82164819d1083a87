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
    size, shared, node = w.main[0].block_kv, w.main[0].shared_blocks, rank.lru_head
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
    first, last = w.jobs[i].first_id, w.jobs[i].first_id + w.jobs[i].shared
    for position in range(first, last):
        if w.blocks[r, w.chain[position]].pins == NONE:
            return int(position - first)
    return int(last - first + w.jobs[i].cached_run)


@kernel
def idle_among(w: World, r: int, i: int, found: int) -> int:
    """How many of the first `found` hash blocks of a prompt are idle."""
    first, last = w.jobs[i].first_id, w.jobs[i].first_id + w.jobs[i].shared
    idle = 0
    for position in range(first, min(first + found, last)):
        idle += w.blocks[r, w.chain[position]].pins == 0
    return int(idle + max(found - (last - first), 0))


@kernel
def _pin(w: World, r: int, block: int) -> None:
    entry = w.blocks[r, block]
    if entry.pins == 0:
        _unlink(w, r, block)
        w.ranks[r].idle_kv -= w.main[0].block_kv
    entry.pins += 1


@kernel
def pin(w: World, r: int, i: int, found: int) -> None:
    """Use the first `found` hash blocks of a prompt, which are cached."""
    job = w.jobs[i]
    first, last = w.jobs[i].first_id, w.jobs[i].first_id + w.jobs[i].shared
    for position in range(first, min(first + found, last)):
        _pin(w, r, w.chain[position])
    if job.cached_run > 0:
        _unlink(w, r, w.main[0].shared_blocks + i)
        w.ranks[r].idle_kv -= w.main[0].block_kv * job.cached_run
        job.cached_run = 0
    job.pinned = found


@kernel
def publish(w: World, r: int, i: int) -> None:
    """Turn the hash blocks that a prompt has filled into cached ones; duplicates are given back."""
    p, job = w.main[0], w.jobs[i]
    first, last = w.jobs[i].first_id, w.jobs[i].first_id + w.jobs[i].shared
    while job.pinned < job.full and (job.pinned + 1) * p.hash_tokens <= job.tokens:
        position = first + job.pinned
        if position < last:
            entry = w.blocks[r, w.chain[position]]
            if entry.pins == NONE:
                entry.pins = 1
            else:
                _pin(w, r, w.chain[position])
                w.ranks[r].free += p.block_kv
            job.pinned += 1
        else:
            job.pinned = min(job.full, job.tokens // p.hash_tokens)


@kernel
def release(w: World, r: int, i: int, blocks: int) -> None:
    """Free the `blocks` KV blocks of a request; its hash blocks become idle when nobody else uses them."""
    p, rank, job = w.main[0], w.ranks[r], w.jobs[i]
    rank.free += blocks - job.pinned * p.block_kv
    first, last = w.jobs[i].first_id, w.jobs[i].first_id + w.jobs[i].shared
    own = job.pinned - (last - first)
    if own > 0:
        job.cached_run = own
        rank.idle_kv += own * p.block_kv
        _append(w, r, p.shared_blocks + i)
    for position in range(min(first + job.pinned, last) - 1, first - 1, -1):
        entry = w.blocks[r, w.chain[position]]
        entry.pins -= 1
        if entry.pins == 0:
            rank.idle_kv += p.block_kv
            _append(w, r, w.chain[position])
    job.pinned = 0
