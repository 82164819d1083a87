"""Prompts as chains of hash blocks, reduced to what a prefix cache can ever find again.

A block that occurs in one request only can be hit by nobody else, so it needs no identity: a request keeps the ids of
its leading blocks that others share, and a count of the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from suanli.serving.config import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from suanli.workload.requests import Requests


@dataclass(frozen=True, slots=True, eq=False)
class Chains:
    """Hash blocks of all prompts.

    block_kv : KV blocks of a hash block; 0 when there is no prefix cache.   hash_tokens : its tokens [token].
    full : hash blocks that each prompt fills, length n.
    start, ids : leading blocks of each prompt that other requests hold too, as numbers 0 ... count - 1.
    """

    block_kv: int
    hash_tokens: int
    full: NDArray[np.int32]
    start: NDArray[np.int64]
    ids: NDArray[np.int32]
    count: int


def chains(requests: Requests, block_tokens: int, *, caching: bool) -> Chains:
    """Chains of a workload in KV blocks of `block_tokens` [token]. Raises ConfigError when the blocks do not match."""
    n, prefixes = len(requests), requests.prefixes
    if not caching:
        return _unshared(np.broadcast_to(np.int32(0), n), 0, block_tokens)
    if prefixes is None:
        return _unshared(requests.input_tokens // block_tokens, 1, block_tokens)
    if prefixes.block_tokens % block_tokens:
        raise ConfigError(
            f"hash blocks of {prefixes.block_tokens} tokens are not a multiple of block_tokens {block_tokens}"
        )
    full = (requests.input_tokens // prefixes.block_tokens).astype(np.int32)
    number, count = _numbered(prefixes.ids)
    offset = np.arange(prefixes.ids.size) - np.repeat(prefixes.start[:-1], np.diff(prefixes.start))
    filled = offset < np.repeat(full, np.diff(prefixes.start))
    times = np.bincount(number[filled], minlength=count)
    shared = filled & (times[number] > 1)
    _check_prefix_hashes(prefixes.start, filled, shared)
    start = np.zeros(n + 1, dtype=np.int64)
    np.cumsum(shared, out=(running := np.zeros(shared.size, dtype=np.int64)))
    start[1:] = np.concatenate([np.zeros(1, dtype=np.int64), running])[prefixes.start[1:]]
    dense, count = _numbered(number[shared])
    return Chains(prefixes.block_tokens // block_tokens, prefixes.block_tokens, full, start, dense, count)


def _unshared(full: NDArray[np.int32], block_kv: int, hash_tokens: int) -> Chains:
    empty = np.zeros(0, dtype=np.int32)
    start = np.broadcast_to(np.int64(0), full.size + 1)
    return Chains(block_kv, hash_tokens, full.astype(np.int32, copy=False), start, empty, 0)


def _numbered(ids: NDArray[np.integer]) -> tuple[NDArray[np.int32], int]:
    """Ids replaced by 0 ... count - 1, and the count."""
    if ids.size == 0:
        return np.zeros(0, dtype=np.int32), 0
    low, high = int(ids.min()), int(ids.max())
    if high - low < 4 * ids.size:  # compact enough to number by counting instead of sorting
        seen = np.zeros(high - low + 1, dtype=bool)
        seen[ids - low] = True
        table = np.cumsum(seen, dtype=np.int32) - 1
        return table[ids - low].astype(np.int32), int(table[-1]) + 1
    unique, inverse = np.unique(ids, return_inverse=True)
    return inverse.astype(np.int32), int(unique.size)


def _check_prefix_hashes(start: NDArray[np.int64], filled: NDArray[np.bool_], shared: NDArray[np.bool_]) -> None:
    """A block that two requests hold implies that they hold all blocks before it."""
    first = np.zeros(shared.size + 1, dtype=bool)
    first[start[:-1]] = True
    broken = filled[1:] & shared[1:] & ~shared[:-1] & ~first[1:-1]
    if np.any(broken):
        request = int(np.searchsorted(start, int(np.flatnonzero(broken)[0]) + 1, side="right")) - 1
        raise ConfigError(
            f"prefixes: ids are not hashes of prefixes (request {request} shares a block but not the one before it)"
        )
