"""A request inside the reference core, and the batch that it is part of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from suanli.serving.reference import Rank
    from suanli.serving.reference_blocks import Key


@dataclass(slots=True)
class Hold:
    """KV that a prefill rank keeps for a request until it has been fetched."""

    rank: Rank
    blocks: int
    pinned: int


@dataclass(slots=True, eq=False)
class Job:
    """A request inside the system. `tokens` is its KV length, `target` the length that it must reach to decode."""

    index: int
    input: int
    output: int
    line: int  # class of its queue
    session: int
    keys: list[Key]  # its hash blocks
    target: int
    due: int = 0  # output tokens when it leaves the rank where it is
    tokens: int = 0
    generated: int = 0
    blocks: int = 0  # KV blocks held
    pinned: int = 0  # hash blocks held, part of `blocks`
    order: int = -1  # admission number on its rank
    last_token_s: float = 0.0
    decode_mark_j: float | None = None  # the rank's energy per decoding sequence when it joined the decoding ones
    rank: Rank | None = None  # where it waits or runs; None on its way, without open rank, or over
    hold: Hold | None = None
    fetched_s: float | None = None  # when its KV will have arrived; None when it is not on its way
    over: bool = False

    @property
    def decoding(self) -> bool:
        """True when every token before the next one is in the cache."""
        return self.tokens >= self.target and self.fetched_s is None


@dataclass(slots=True)
class Batch:
    """Content of a step: prompt chunks in order, and the sequences that decode `advance` tokens each."""

    chunks: list[tuple[Job, int]] = field(default_factory=list)
    decodes: list[Job] = field(default_factory=list)
    advance: int = 0
    pairs_twice: int = 0
    kv_tokens: int = 0
    loaded_tokens: int = 0
    preempted: bool = False

    @property
    def prefill_tokens(self) -> int:
        """Prompt tokens of the step."""
        return sum(chunk for _, chunk in self.chunks)
