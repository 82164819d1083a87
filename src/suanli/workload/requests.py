"""Requests of a workload as arrays: when they arrive, how long they are, what they share and what they wait for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

PRIORITIES = 8  # classes; 0 is the most urgent


class RequestsError(ValueError):
    """A workload that cannot be simulated; the message lists every problem."""


@dataclass(frozen=True, slots=True, eq=False)
class Prefixes:
    """Hash ids of the prompts, block by block: what a prefix cache compares.

    An id stands for the tokens of its block and of all blocks before it, so equal ids mean equal prefixes.

    block_tokens : tokens of a block.   start : offset of the first id of each request, length n + 1.
    ids : the ids of all requests one after the other; the last one of a prompt may stand for a block partly filled.
    """

    block_tokens: int
    start: NDArray[np.int64]
    ids: NDArray[np.int32] | NDArray[np.int64]

    @classmethod
    def build(cls, block_tokens: int, lists: list[ArrayLike]) -> Self:
        """From one sequence of ids per request."""
        parts = [np.asarray(part, dtype=np.int64) for part in lists]
        start = np.zeros(len(parts) + 1, dtype=np.int64)
        np.cumsum([part.size for part in parts], out=start[1:])
        return cls(block_tokens, start, np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64))

    def take(self, order: NDArray[np.intp]) -> Prefixes:
        """The prefixes of the requests `order`, in that order."""
        if np.array_equal(order, np.arange(self.start.size - 1)):
            return self
        sizes = np.diff(self.start)[order]
        start = np.zeros(order.size + 1, dtype=np.int64)
        np.cumsum(sizes, out=start[1:])
        source = np.repeat(self.start[:-1][order] - start[:-1], sizes) + np.arange(start[-1])
        return Prefixes(self.block_tokens, start, self.ids[source])


@dataclass(frozen=True, slots=True, eq=False)
class Requests:
    """A workload of n requests in order of arrival.

    arrival_s : time of arrival [s]. For a request that follows another one it is a lower bound, usually 0.
    input_tokens, output_tokens : lengths, at least 1 [token].
    priority : class 0 ... 7, 0 the most urgent.   session : id of the conversation, -1 for none.
    after : index of the request that must end before this one is sent, -1 for none.
    think_s : time between that end and the arrival of this request [s].
    prefixes : hash ids of the prompts; None when unknown, then no request shares anything with another.
    """

    arrival_s: NDArray[np.float64]
    input_tokens: NDArray[np.int32]
    output_tokens: NDArray[np.int32]
    priority: NDArray[np.int8]
    session: NDArray[np.int32]
    after: NDArray[np.int32]
    think_s: NDArray[np.float64]
    prefixes: Prefixes | None = None

    @classmethod
    def build(
        cls,
        arrival_s: ArrayLike,
        input_tokens: ArrayLike,
        output_tokens: ArrayLike,
        *,
        priority: ArrayLike = 0,
        session: ArrayLike = -1,
        after: ArrayLike = -1,
        think_s: ArrayLike = 0.0,
        prefixes: Prefixes | None = None,
    ) -> Self:
        """From anything array-like; scalars are spread over all requests. Raises RequestsError."""
        arrival = np.asarray(arrival_s, dtype=np.float64)

        def spread(values: ArrayLike, dtype: type) -> NDArray[Any]:
            array = np.asarray(values)
            if array.dtype.kind == "f" and dtype is not np.float64 and np.any(array != np.floor(array)):
                raise RequestsError("token counts, classes and indices must be whole numbers")
            return np.broadcast_to(array.astype(dtype, copy=False), arrival.shape)

        requests = cls(
            np.ascontiguousarray(arrival),
            spread(input_tokens, np.int32),
            spread(output_tokens, np.int32),
            spread(priority, np.int8),
            spread(session, np.int32),
            spread(after, np.int32),
            spread(think_s, np.float64),
            prefixes,
        )
        requests.check()
        return requests

    def __len__(self) -> int:
        return int(self.arrival_s.size)

    def check(self) -> None:
        """Raise RequestsError with every problem found."""
        order = np.arange(len(self))
        rules = {
            "arrival times must be finite, not negative and in order": (
                np.isfinite(self.arrival_s) & (self.arrival_s >= 0.0) & (np.diff(self.arrival_s, prepend=0.0) >= 0.0)
            ),
            "input_tokens must be at least 1": self.input_tokens >= 1,
            "output_tokens must be at least 1": self.output_tokens >= 1,
            f"priority must be 0 ... {PRIORITIES - 1}": (self.priority >= 0) & (self.priority < PRIORITIES),
            "after must name an earlier request": (self.after >= -1) & (self.after < order),
            "think_s must be finite and not negative": np.isfinite(self.think_s) & (self.think_s >= 0.0),
        }
        problems = [
            f"{rule} (request {int(np.flatnonzero(~good)[0])} and {int(np.sum(~good)) - 1} more)"
            for rule, good in rules.items()
            if not np.all(good)
        ]
        if self.prefixes is not None:
            problems += _prefix_problems(self.prefixes, self.input_tokens)
        if problems:
            raise RequestsError("; ".join(problems))

    def take(self, order: ArrayLike) -> Requests:
        """The requests `order`, in that order; they must not follow one another."""
        index = np.asarray(order, dtype=np.intp)
        if np.any(self.after[index] >= 0):
            raise RequestsError("requests of a session cannot be picked one by one")
        columns = {
            name: np.ascontiguousarray(getattr(self, name)[index])
            for name in ("arrival_s", "input_tokens", "output_tokens", "priority", "session", "after", "think_s")
        }
        prefixes = None if self.prefixes is None else self.prefixes.take(index)
        return replace(self, prefixes=prefixes, **columns)

    def at_rate(self, factor: float) -> Requests:
        """The same requests arriving `factor` times as fast [-]; think times stay."""
        return replace(self, arrival_s=self.arrival_s / factor)

    def clipped(self, context: int) -> Requests:
        """Prompts cut so that input + output fits into `context` [token]; outputs are cut to context - 1 at most."""
        output = np.minimum(self.output_tokens, context - 1)
        return replace(
            self,
            output_tokens=output.astype(np.int32),
            input_tokens=np.minimum(self.input_tokens, context - output).astype(np.int32),
        )


def _prefix_problems(prefixes: Prefixes, input_tokens: NDArray[np.int32]) -> list[str]:
    problems = []
    if prefixes.block_tokens < 1:
        problems.append("prefixes: block_tokens must be at least 1")
    elif prefixes.start.size != input_tokens.size + 1:
        problems.append("prefixes: one list of ids per request is needed")
    elif np.any(short := np.diff(prefixes.start) < input_tokens // prefixes.block_tokens):
        problems.append(f"prefixes: request {int(np.flatnonzero(short)[0])} has fewer ids than full blocks")
    return problems
