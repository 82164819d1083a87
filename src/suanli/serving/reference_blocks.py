"""KV blocks of one rank in the reference core: free, in use, or cached and evictable."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable


class BlockPool:
    """A pool of KV blocks with a prefix cache over hash blocks of `block_kv` KV blocks each.

    A hash block is either pinned by running requests or idle; idle ones stay until their room is needed and go in
    the order in which they became idle (deepest first within a prompt, so what is left of a prompt is always its
    beginning). Blocks without hash (outputs, the unfilled end of a prompt) are free at once.
    """

    def __init__(self, total: int, block_kv: int) -> None:
        self.total = total
        self.block_kv = block_kv
        self.free = total
        self.pins: dict[Hashable, int] = {}
        self.idle: OrderedDict[Hashable, None] = OrderedDict()

    @property
    def available(self) -> int:
        """Blocks that can be had, by eviction if need be."""
        return self.free + self.block_kv * len(self.idle)

    @property
    def used(self) -> int:
        """Blocks that requests hold."""
        return self.total - self.available

    def take(self, blocks: int) -> None:
        """Hand out blocks; the caller has checked that they are available."""
        while self.free < blocks:
            key, _ = self.idle.popitem(last=False)
            del self.pins[key]
            self.free += self.block_kv
        self.free -= blocks

    def give(self, blocks: int) -> None:
        """Take blocks back that hold nothing worth keeping."""
        self.free += blocks

    def hits(self, keys: list[Hashable]) -> int:
        """Leading hash blocks that are cached."""
        for position, key in enumerate(keys):
            if key not in self.pins:
                return position
        return len(keys)

    def idle_among(self, keys: list[Hashable]) -> int:
        """How many of these cached hash blocks are idle."""
        return sum(key in self.idle for key in keys)

    def pin(self, key: Hashable) -> None:
        """Use a cached hash block."""
        self.idle.pop(key, None)
        self.pins[key] += 1

    def publish(self, key: Hashable) -> None:
        """Turn KV blocks of a request into a cached hash block; a duplicate is given back and the old one used."""
        if key in self.pins:
            self.pin(key)
            self.give(self.block_kv)
        else:
            self.pins[key] = 1

    def drop(self, key: Hashable) -> None:
        """Forget a hash block if it is idle."""
        if key in self.idle:
            del self.idle[key], self.pins[key]
            self.free += self.block_kv

    def unpin(self, key: Hashable) -> None:
        """Stop using a hash block; it becomes idle when nobody uses it."""
        self.pins[key] -= 1
        if self.pins[key] == 0:
            self.idle[key] = None
