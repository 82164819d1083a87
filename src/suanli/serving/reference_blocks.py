"""KV blocks of one rank in the reference core: free, in use, or cached and evictable."""

from __future__ import annotations

from collections import OrderedDict

Key = int | tuple[int, int]  # a shared hash block; or request and place of one that no other request shares


class BlockPool:
    """A pool of KV blocks with a prefix cache over hash blocks of `block_kv` KV blocks each.

    A hash block is either pinned by running requests or idle; idle ones stay until their room is needed and go in
    the order in which they became idle (deepest first within a prompt, so what is left of a prompt is always its
    beginning). Blocks without hash (outputs, the unfilled end of a prompt) are free at once.

    Evicted hash blocks go to a second memory of `host` hash blocks, from which the longest unused are dropped. There
    the unshared blocks of one request count as one thing: when another one joins them all are recent, and the deepest
    is dropped first. What is brought back leaves the second memory.
    """

    def __init__(self, total: int, block_kv: int, host: int) -> None:
        self.total = total
        self.block_kv = block_kv
        self.free = total
        self.pins: dict[Key, int] = {}
        self.idle: OrderedDict[Key, None] = OrderedDict()
        self.host_room = host
        self.host: OrderedDict[Key, int] = OrderedDict()  # blocks of a shared hash block, or of a request

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
            self._to_host(key)
        self.free -= blocks

    def _to_host(self, key: Key) -> None:
        group = _group(key)
        self.host[group] = self.host.get(group, 0) + 1
        self.host.move_to_end(group)
        while sum(self.host.values()) > self.host_room:
            oldest = next(iter(self.host))
            self.host[oldest] -= 1
            if self.host[oldest] == 0:
                del self.host[oldest]

    def give(self, blocks: int) -> None:
        """Take blocks back that hold nothing worth keeping."""
        self.free += blocks

    def hits(self, keys: list[Key]) -> tuple[int, int]:
        """Leading hash blocks that are cached here, and those after them that are in the second memory."""
        here = 0
        while here < len(keys) and keys[here] in self.pins:
            here += 1
        there = 0
        while here + there < len(keys) and isinstance(key := keys[here + there], int) and key in self.host:
            there += 1
        if here + there < len(keys) and isinstance(key := keys[here + there], tuple):
            there += self.host.get(_group(key), 0)
        return here, there

    def idle_among(self, keys: list[Key]) -> int:
        """How many of these cached hash blocks are idle."""
        return sum(key in self.idle for key in keys)

    def pin(self, key: Key) -> None:
        """Use a cached hash block."""
        self.idle.pop(key, None)
        self.pins[key] += 1

    def load(self, keys: list[Key]) -> None:
        """Bring hash blocks back from the second memory and use them; they need KV blocks like new ones."""
        for key in keys:
            self.host.pop(_group(key), None)
        self.take(len(keys) * self.block_kv)
        self.pins.update(dict.fromkeys(keys, 1))

    def publish(self, key: Key) -> None:
        """Turn KV blocks of a request into a cached hash block; a duplicate is given back and the old one used."""
        if key in self.pins:
            self.pin(key)
            self.give(self.block_kv)
        else:
            self.pins[key] = 1
            if isinstance(key, int):
                self.host.pop(key, None)

    def drop(self, key: Key) -> None:
        """Forget a hash block if it is idle or in the second memory."""
        self.host.pop(_group(key), None)
        if key in self.idle:
            del self.idle[key], self.pins[key]
            self.free += self.block_kv

    def unpin(self, key: Key) -> None:
        """Stop using a hash block; it becomes idle when nobody uses it."""
        self.pins[key] -= 1
        if self.pins[key] == 0:
            self.idle[key] = None


def _group(key: Key) -> Key:
    """What a hash block counts as in the second memory."""
    return key if isinstance(key, int) else (key[0], -1)
