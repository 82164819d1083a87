"""Where the time of one step goes, operator by operator: the plain record behind `Deployment.explain`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from suanli.mapping.ledger import Array, StepCost
from suanli.search.estimate import significant

MS = 1e3
LAUNCH = " launch"
PHASES = (" decode", " prefill")  # halves of an attention operator; their work is booked together


@dataclass(frozen=True)
class OperatorTime:
    """One operator over all layers of a step [s]. `math` and `memory` are at the datasheet's peak rates."""

    name: str
    part: str  # matmul, experts, attention, pointwise, collective, host
    seconds: float = 0.0  # predicted, without launches
    launch: float = 0.0
    math: float = 0.0
    memory: float = 0.0

    @property
    def total(self) -> float:
        """Predicted time with launches [s]."""
        return self.seconds + self.launch

    @property
    def bound(self) -> str:
        """What limits it: math, memory, network, launch or host."""
        if self.part in ("collective", "host"):
            return {"collective": "network", "host": "host"}[self.part]
        if self.launch > self.seconds:
            return "launch"
        return "math" if self.math > self.memory else "memory"


@dataclass(frozen=True)
class StepAccount:
    """One step of a pool at its operating point, busiest chip [s]."""

    role: str
    system: str
    requests: float  # decoding requests of an instance
    prefill_tokens: float  # new prompt tokens of an instance per step
    operators: tuple[OperatorTime, ...]

    @property
    def seconds(self) -> float:
        """Predicted time of the step [s]."""
        return sum(operator.total for operator in self.operators)

    @property
    def math(self) -> float:
        """T_math: arithmetic of the busiest chip at peak rate [s]."""
        return sum(operator.math for operator in self.operators)

    @property
    def memory(self) -> float:
        """T_memory: memory traffic of the busiest chip at peak bandwidth [s]."""
        return sum(operator.memory for operator in self.operators)

    @property
    def comms(self) -> float:
        """T_comms: collectives [s]."""
        return sum(operator.seconds for operator in self.operators if operator.part == "collective")

    @property
    def fixed(self) -> float:
        """T_fixed: kernel launches and host time that is not hidden [s]."""
        return sum(operator.launch + operator.seconds * (operator.part == "host") for operator in self.operators)

    @property
    def lower(self) -> float:
        """Everything overlaps: the largest of the terms [s]."""
        return max(self.math, self.memory, self.comms, self.fixed)

    @property
    def upper(self) -> float:
        """Nothing overlaps, still at peak rates: the sum of the terms [s]."""
        return self.math + self.memory + self.comms + self.fixed

    @property
    def takeaway(self) -> str:
        """One sentence: the binding term, what the others would allow, and how far the prediction is above it."""
        terms = {"arithmetic": self.math, "memory traffic": self.memory, "communication": self.comms}
        terms["launches and host time"] = self.fixed
        first, second = sorted(terms, key=lambda name: -terms[name])[:2]
        return (
            f"bound by {first}: {terms[first] * MS:,.1f} ms at peak rates, next {second} {terms[second] * MS:,.1f} ms; "
            f"the predicted step of {self.seconds * MS:,.1f} ms is {self.seconds / self.lower:.1f}x that bound"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data; times in ms."""
        terms = {
            name: getattr(self, name) for name in ("seconds", "math", "memory", "comms", "fixed", "lower", "upper")
        }
        rows = [
            {"name": one.name, "part": one.part, "bound": one.bound}
            | {f"{key}_ms": significant(getattr(one, key) * MS, 4) for key in ("total", "launch", "math", "memory")}
            for one in self.operators
        ]
        head = {"role": self.role, "system": self.system, "requests": significant(self.requests, 4)}
        head["prefill_tokens"] = significant(self.prefill_tokens, 4)
        return head | {f"{name}_ms": significant(value * MS, 4) for name, value in terms.items()} | {"operators": rows}


def operator_times(step: StepCost) -> tuple[OperatorTime, ...]:
    """Operators of a traced step of one deployment, longest first; equal names of several layer groups are summed."""
    work = {index: (_number(math), _number(memory)) for index, math, memory in step.works}
    found: dict[str, OperatorTime] = {}
    for index, (name, part, seconds) in enumerate(step.operators):
        math, memory = work.get(index, (0.0, 0.0))
        key = _base(name)
        one = found.get(key, OperatorTime(key, part))
        one = replace(one, part=part) if one.part == "launch" else one
        field = "launch" if part == "launch" else "seconds"
        spent = getattr(one, field) + _number(seconds)
        found[key] = replace(one, math=one.math + math, memory=one.memory + memory, **{field: spent})
    used: Iterable[OperatorTime] = (one for one in found.values() if one.total > 0.0)
    return tuple(sorted(used, key=lambda one: -one.total))


def _base(name: str) -> str:
    base = name.removesuffix(LAUNCH)
    for phase in PHASES:
        base = base.removesuffix(phase)
    return base


def _number(values: Array) -> float:
    return float(values.ravel()[0])
