"""What a step does and what it costs: the load going in, the account of seconds, joules and operators coming out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from suanli.mapping.hardware import Hardware

Array = NDArray[np.float64]

PARTS = ("matmul", "experts", "attention", "pointwise", "collective", "launch", "host")


@dataclass(frozen=True)
class StepLoad:
    """What one engine instance does in one step.

    prefill_tokens : new prompt tokens. prefill_pairs : query-key pairs of these tokens, the sum over chunks of
    chunk x (context before + chunk/2). prefill_requests : prompts finished. decode_requests : requests that decode a
    token. decode_kv_tokens : sum of their KV lengths [tokens]. query : tokens that each brings, counted in
    decode_requests (more than 1 with speculation).
    """

    prefill_tokens: Array
    prefill_pairs: Array
    prefill_requests: Array
    decode_requests: Array
    decode_kv_tokens: Array
    query: Array | float = 1.0

    @property
    def tokens(self) -> Array:
        """All tokens of the step [-]."""
        return self.prefill_tokens + self.decode_requests

    @property
    def last_tokens(self) -> Array:
        """Tokens whose logits are needed [-]."""
        return self.prefill_requests + self.decode_requests

    def scaled(self, factor: Array) -> StepLoad:
        """The load times `factor`: of one data-parallel rank or one micro-batch."""
        return StepLoad(
            self.prefill_tokens * factor,
            self.prefill_pairs * factor,
            self.prefill_requests * factor,
            self.decode_requests * factor,
            self.decode_kv_tokens * factor,
            self.query,
        )

    def decoding(self, tokens: Array) -> StepLoad:
        """The load with another number of decode tokens on the same cache."""
        return replace(self, decode_requests=tokens)


@dataclass
class StepCost:
    """Account of a step on the busiest chip, per pipeline stage; `stages` turns it into the step of an instance.

    parts : seconds by kind of work. flop_time, byte_time : the same work at peak arithmetic and peak bandwidth [s].
    operators : (name, part, seconds of the whole step), kept when `trace` is set. works : the arithmetic and memory
    seconds at peak of the operator with that index in `operators`.
    """

    hardware: Hardware
    stages: Array
    busy: Array  # 1 where the step has any work
    trace: bool
    parts: dict[str, Array]
    flop_time: Array
    byte_time: Array
    operators: list[tuple[str, str, Array]] = field(default_factory=list)
    works: list[tuple[int, Array, Array]] = field(default_factory=list)
    factors: Mapping[str, float] = field(default_factory=dict)  # of the engine, on the time of a part
    hideable: Array | float = 0.0  # seconds of exchange that can run beside computing, before factors

    @staticmethod
    def empty(hardware: Hardware, stages: Array, load: StepLoad, *, trace: bool) -> StepCost:
        """An account with nothing in it, of the shape that placements and load broadcast to."""
        zero = np.zeros(np.broadcast_shapes(stages.shape, load.tokens.shape))
        busy = (load.tokens > 0.0).astype(float)
        return StepCost(
            hardware, stages + zero, busy, trace, {part: zero.copy() for part in PARTS}, zero.copy(), zero.copy()
        )

    def add(self, part: str, name: str, seconds: Array) -> None:
        """Book `seconds` of one stage under a part."""
        seconds = seconds * self.factors.get(part, 1.0)
        self.parts[part] = self.parts[part] + seconds * self.busy
        if self.trace:
            self.operators.append((name, part, seconds * self.busy * self.stages))

    def hide(self) -> None:
        """Take off what runs beside other work: two half batches take turns, one computes while the other exchanges."""
        factor = self.factors.get("collective", 1.0)
        rest = reduce(np.add, self.parts.values()) - self.hideable * factor
        hidden = np.minimum(self.hideable * factor, rest) / factor
        if np.any(hidden > 0.0):
            self.add("collective", "hidden behind computing", -hidden)

    def work(self, flops: Array, rate: str, size: Array) -> None:
        """Book arithmetic [FLOP] at the peak of format `rate`, and memory traffic [B]."""
        flop_time, byte_time = flops / self.hardware.peaks[rate], size / self.hardware.bandwidth
        self.flop_time = self.flop_time + flop_time
        self.byte_time = self.byte_time + byte_time
        if self.trace:
            self.works.append((len(self.operators), flop_time * self.stages, byte_time * self.stages))

    @property
    def time(self) -> Array:
        """Time until every request of the step has advanced by one token [s]."""
        return np.asarray(reduce(np.add, self.parts.values()) * self.stages)

    @property
    def active_energy(self) -> Array:
        """Energy of one chip above its idle power [J]: memory and arithmetic while they work.

        Stages work on other micro-batches meanwhile, so a chip is busy `stages` times per step of the instance.
        """
        hw = self.hardware
        work = hw.memory_power * self.byte_time + hw.compute_power * self.flop_time
        return np.asarray(hw.chip_power * work * self.stages)

    @property
    def energy_per_chip(self) -> Array:
        """Energy of one chip over the step [J].

        Power never exceeds the chip's limit: a chip at its limit lowers its clock, which measured efficiencies contain.
        """
        return limited_energy(self.hardware, self.time, self.active_energy)


def limited_energy(hardware: Hardware, seconds: Array, active: Array) -> Array:
    """Idle energy over `seconds` plus `active` joules of one chip, at most its power limit times the time [J]."""
    whole = hardware.chip_power * hardware.idle_power * seconds + active
    return np.asarray(np.minimum(whole, hardware.chip_power * seconds))
