"""Time and energy of one engine step as a small table: all that the serving simulator knows about hardware.

A step of continuous batching mixes prompt chunks and decoding sequences. Its cost depends on four sums over the batch
(tokens, query-key pairs of the prompts, sequences, cached tokens read), so a table in the number of tokens plus three
linear terms describes it. Whoever knows a chip builds the table; queueing tests use :func:`constant_step`.
What it does not model: the skew of cached lengths inside a batch (only their sum counts).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Array = NDArray[np.float64]
Numbers = float | Array


class StepTimer(Protocol):
    """What a simulator may ask about hardware; arguments may be numbers or arrays of equal shape.

    prefill_tokens : prompt tokens computed in this step [token].
    prefill_pairs : query-key pairs of the prompt chunks, sum of chunk * (context before + chunk / 2) [-].
    decode_requests : sequences that decode in this step [-].
    decode_kv_tokens : sum of their lengths, the token of this step included [token].
    prefill_requests : sequences that have a prompt chunk in this step [-].
    """

    def step_time(
        self,
        prefill_tokens: Numbers,
        prefill_pairs: Numbers,
        decode_requests: Numbers,
        decode_kv_tokens: Numbers,
        prefill_requests: Numbers = 0.0,
    ) -> Array:
        """Duration of the step [s]."""
        ...

    def step_energy(
        self,
        prefill_tokens: Numbers,
        prefill_pairs: Numbers,
        decode_requests: Numbers,
        decode_kv_tokens: Numbers,
        prefill_requests: Numbers = 0.0,
    ) -> Array:
        """Energy of the step, idle power included [J]."""
        ...


def _array(values: ArrayLike) -> Array:
    array = np.atleast_1d(np.asarray(values, dtype=np.float64))
    array.setflags(write=False)
    return array


@dataclass(frozen=True, slots=True, eq=False)
class StepTable:
    """Affine-plus-table cost of a step.

    With T = prefill_tokens + decode_requests * tokens_per_decode and R = prefill_requests + decode_requests::

        device = base_s(T) + per_request_s * R + per_pair_s * prefill_pairs + per_kv_token_s * decode_kv_tokens
        host   = host_s + host_per_request_s * R
        time   = device + host, or max(device, host) when `overlapped` (asynchronous scheduling)
        energy = idle_w * time + base_j(T) + per_request_j * R + per_pair_j * pairs + per_kv_token_j * kv_tokens

    base_s and base_j are read by linear interpolation over `tokens`; past the last grid point they follow the last
    segment, below the first the first value holds.

    tokens : increasing grid [token].   base_s : device time at the grid [s].   base_j : energy above idle [J].
    per_request_s : sampling, LM head and launch work per sequence; an engine samples for every sequence of the
        batch, also for one whose prompt is not finished (vLLM V1 discards that sample) [s].
    tokens_per_decode : query tokens of a decoding sequence, 1 + draft tokens under speculative decoding [token].
    idle_w : power of the whole replica (or rank) when it does nothing [W].
    """

    tokens: Array
    base_s: Array
    per_request_s: float = 0.0
    per_pair_s: float = 0.0
    per_kv_token_s: float = 0.0
    host_s: float = 0.0
    host_per_request_s: float = 0.0
    overlapped: bool = False
    tokens_per_decode: int = 1
    idle_w: float = 0.0
    base_j: Array = field(default_factory=lambda: _array(0.0))
    per_request_j: float = 0.0
    per_pair_j: float = 0.0
    per_kv_token_j: float = 0.0

    def __post_init__(self) -> None:
        for name in ("tokens", "base_s", "base_j"):
            object.__setattr__(self, name, _array(getattr(self, name)))
        if self.base_j.size == 1:
            object.__setattr__(self, "base_j", _array(np.full(self.tokens.size, self.base_j[0])))
        problems = list(self._problems())
        if problems:
            raise ValueError("; ".join(problems))

    def _problems(self) -> list[str]:
        problems = []
        if self.tokens.size != self.base_s.size or self.tokens.size != self.base_j.size:
            problems.append("tokens, base_s and base_j must have the same length")
        if np.any(np.diff(self.tokens) <= 0):
            problems.append("tokens must increase")
        numbers = (
            *("base_s", "base_j", "per_request_s", "per_pair_s", "per_kv_token_s", "host_s", "host_per_request_s"),
            *("idle_w", "per_request_j", "per_pair_j", "per_kv_token_j"),
        )
        problems += [
            f"{name} must be finite and not negative"
            for name in numbers
            if not np.all(np.isfinite(getattr(self, name))) or np.any(np.asarray(getattr(self, name)) < 0)
        ]
        if self.tokens_per_decode < 1:
            problems.append("tokens_per_decode must be at least 1")
        return problems

    def step_time(
        self,
        prefill_tokens: Numbers,
        prefill_pairs: Numbers,
        decode_requests: Numbers,
        decode_kv_tokens: Numbers,
        prefill_requests: Numbers = 0.0,
    ) -> Array:
        """Duration of a step [s]; see the class for the formula."""
        requests = prefill_requests + decode_requests
        device = (
            self._interpolate(self.base_s, prefill_tokens + decode_requests * self.tokens_per_decode)
            + self.per_request_s * requests
            + self.per_pair_s * prefill_pairs
            + self.per_kv_token_s * decode_kv_tokens
        )
        host = self.host_s + self.host_per_request_s * requests
        return np.asarray(np.maximum(device, host) if self.overlapped else device + host)

    def step_energy(
        self,
        prefill_tokens: Numbers,
        prefill_pairs: Numbers,
        decode_requests: Numbers,
        decode_kv_tokens: Numbers,
        prefill_requests: Numbers = 0.0,
    ) -> Array:
        """Energy of a step, idle power included [J]; see the class for the formula."""
        time = self.step_time(prefill_tokens, prefill_pairs, decode_requests, decode_kv_tokens, prefill_requests)
        return np.asarray(
            self.idle_w * time
            + self._interpolate(self.base_j, prefill_tokens + decode_requests * self.tokens_per_decode)
            + self.per_request_j * (prefill_requests + decode_requests)
            + self.per_pair_j * prefill_pairs
            + self.per_kv_token_j * decode_kv_tokens
        )

    def _interpolate(self, values: Array, tokens: Numbers) -> Array:
        inside = np.interp(tokens, self.tokens, values)
        if self.tokens.size == 1:
            return np.asarray(inside)
        slope = (values[-1] - values[-2]) / (self.tokens[-1] - self.tokens[-2])
        return np.asarray(inside + slope * np.maximum(tokens - self.tokens[-1], 0.0))

    def dense(self, last: int) -> tuple[Array, Array]:
        """base_s [s] and base_j [J] at every token count 0 ... last, for look-up without interpolation."""
        grid = np.arange(last + 1.0)
        return self._interpolate(self.base_s, grid), self._interpolate(self.base_j, grid)

    def scaled(self, factor: float) -> StepTable:
        """The same table on hardware that takes `factor` times as long [-] for everything, at the same energy."""
        return StepTable(
            tokens=self.tokens,
            base_s=self.base_s * factor,
            per_request_s=self.per_request_s * factor,
            per_pair_s=self.per_pair_s * factor,
            per_kv_token_s=self.per_kv_token_s * factor,
            host_s=self.host_s * factor,
            host_per_request_s=self.host_per_request_s * factor,
            overlapped=self.overlapped,
            tokens_per_decode=self.tokens_per_decode,
            idle_w=self.idle_w / factor,
            base_j=self.base_j,
            per_request_j=self.per_request_j,
            per_pair_j=self.per_pair_j,
            per_kv_token_j=self.per_kv_token_j,
        )


def constant_step(seconds: float, idle_w: float = 0.0) -> StepTable:
    """Every step takes `seconds` [s], whatever is in it: a server with a known service time for queueing tests."""
    return StepTable(tokens=_array(0.0), base_s=_array(seconds), idle_w=idle_w)


def per_token_step(seconds_per_token: float, idle_w: float = 0.0) -> StepTable:
    """A step takes `seconds_per_token` [s] for each of its tokens: service time proportional to length."""
    return StepTable(tokens=_array([0.0, 1.0]), base_s=_array([0.0, seconds_per_token]), idle_w=idle_w)
