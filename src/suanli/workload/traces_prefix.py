"""What a prefix cache of a given size would have found in a trace, engine and time aside."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from suanli.workload.requests import Prefixes


def lru_hit_rate(prefixes: Prefixes, capacity: int | None) -> float:
    """Share of hash blocks [-] found in a cache of `capacity` blocks (None: unlimited), request after request.

    Blocks are looked up and stored in the order of the prompt; the least recently used one makes room. Since an id
    stands for all blocks before it too, only leading blocks count as found.
    """
    if capacity is None:
        return 1.0 - _distinct(prefixes.ids) / max(prefixes.ids.size, 1)
    cache: OrderedDict[int, None] = OrderedDict()
    found = 0
    for first, behind in zip(prefixes.start[:-1].tolist(), prefixes.start[1:].tolist(), strict=True):
        leading = True
        for block in prefixes.ids[first:behind].tolist():
            leading = leading and block in cache
            found += leading
            cache[block] = None
            cache.move_to_end(block)
            if len(cache) > capacity:
                cache.popitem(last=False)
    return found / max(prefixes.ids.size, 1)


def _distinct(ids: NDArray[np.integer]) -> int:
    """Number of different ids [-]; by marking them where they are dense, which takes less than sorting."""
    if ids.size == 0:
        return 0
    low = int(ids.min())
    span = int(ids.max()) - low + 1
    if span > 8 * ids.size:
        return int(np.unique(ids).size)
    seen = np.zeros(span, dtype=bool)
    seen[ids - low] = True
    return int(seen.sum())
