"""What a plan says: ranked deployments, excuses for the rest, the sources of everything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from suanli.search.account import StepAccount
from suanli.search.cost import PoolCost
from suanli.search.estimate import Estimate, significant
from suanli.search.replayed import Replayed

if TYPE_CHECKING:
    import pandas as pd

    from suanli.search.assemble import Choice
    from suanli.search.megawatt import PowerPrice
    from suanli.search.money import Money

PLAN_SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Pool:
    """Identical engine instances on one system: all of a deployment, or its prefill or decode half."""

    role: str  # aggregated, prefill, decode
    system: str
    chip: str
    engine: str
    tp: int
    pp: int
    dp: int
    ep: int
    instances: int
    chips: int
    chips_provisioned: int  # rounded up to what can be bought or rented
    token_budget: int
    batch: float  # decoding requests per instance; 0 for a prefill pool
    load: float  # offered rate over the highest rate that meets the SLO
    memory: Mapping[str, float]  # GB per chip: weights, kv_cache, reserve, capacity

    @property
    def deployed(self) -> float:
        """Share of what is paid for that is in an instance [-]."""
        return self.chips / self.chips_provisioned

    @property
    def label(self) -> str:
        """Parallelism in one word, such as TP4·EP8."""
        parts = [f"{name}{value}" for name, value in (("TP", self.tp), ("DP", self.dp), ("PP", self.pp)) if value > 1]
        if self.ep > 1:
            parts.append(f"EP{self.ep}")
        return "·".join(parts) or "1 chip"

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        plain = dict(self.__dict__)
        plain["batch"], plain["load"] = significant(self.batch, 4), significant(self.load, 4)
        plain["memory"] = {key: significant(value, 5) for key, value in self.memory.items()}
        return plain


@dataclass(frozen=True)
class Deployment:
    """One answer. `metrics` hold estimates by name, the unit at the end of each name."""

    pools: tuple[Pool, ...]
    precision: str
    kv_cache: str
    metrics: Mapping[str, Estimate]
    time_shares: Mapping[str, float]  # of the busiest pool's step, by kind of work
    cost_parts: Mapping[str, float]  # USD/h by part
    cost_basis: str  # owned or rented, and what the capex rests on; empty without prices
    bottleneck: str
    evidence: str
    assumptions: tuple[str, ...]
    sources: tuple[str, ...]
    steps: tuple[StepAccount, ...] = ()  # one step of every pool, operator by operator
    prices: tuple[PoolCost, ...] = ()  # what the chips of every pool cost; empty without prices
    choices: tuple[Choice, ...] = ()  # what it was assembled from
    replay: Replayed | None = None  # None where it was not replayed
    unreplayed: str = ""  # why, where its rank asked for it
    also_on: tuple[str, ...] = ()  # larger or smaller systems of the same chip with the same answer
    rank: int = 0
    tie_with_best: bool = False
    p_beats_best: float = 0.0

    @property
    def mode(self) -> str:
        """Aggregated or disaggregated."""
        return "aggregated" if len(self.pools) == 1 else "disaggregated"

    @property
    def fails(self) -> bool:
        """Whether it misses the SLO when replayed, at any size that was tried."""
        return self.replay is not None and not self.replay.keeps_slo

    @property
    def layout(self) -> tuple[object, ...]:
        """What tells it from other deployments of its systems: role, system and parallelism of every pool."""
        return tuple((pool.role, pool.system, pool.label) for pool in self.pools)

    @property
    def utilisation(self) -> float:
        """Offered rate over the highest one within the SLO [-]: by the replay where there is one."""
        if self.replay is not None and self.replay.utilisation is not None:
            return self.replay.utilisation
        return max(pool.load for pool in self.pools)

    @property
    def systems(self) -> tuple[str, ...]:
        """System ids in pool order, without repetition."""
        return tuple(dict.fromkeys(pool.system for pool in self.pools))

    @property
    def name(self) -> str:
        """Short name: system and parallelism of every pool."""
        parts = [f"{pool.instances}x {pool.system} {pool.label}" for pool in self.pools]
        return " + ".join(parts)

    def value(self, metric: str) -> float:
        """Best value of one metric."""
        return self.metrics[metric].value

    def explain(self) -> str:
        """Return one line per pool on what bounds it, then the cost parts and the source ids."""
        lines = [self.name, *(f"{step.role}: {step.takeaway}" for step in self.steps)]
        lines += [f"{part}: {value:,.2f} USD/h" for part, value in self.cost_parts.items()]
        return "\n".join([*lines, f"sources: {', '.join(self.sources)}"])

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "rank": self.rank,
            "name": self.name,
            "mode": self.mode,
            "systems": list(self.systems),
            "also_on": list(self.also_on),
            "precision": self.precision,
            "kv_cache": self.kv_cache,
            "pools": [pool.to_dict() for pool in self.pools],
            "metrics": {key: estimate.to_dict() for key, estimate in self.metrics.items()},
            "time_shares": {key: significant(value, 4) for key, value in self.time_shares.items()},
            "cost_parts_usd_per_hour": {key: significant(value, 5) for key, value in self.cost_parts.items()},
            "cost_basis": self.cost_basis,
            "bottleneck": self.bottleneck,
            "evidence": self.evidence,
            "tie_with_best": self.tie_with_best,
            "p_beats_best": significant(self.p_beats_best, 3),
            "assumptions": [*self.assumptions, *([self.unreplayed] if self.unreplayed else [])],
            "sources": list(self.sources),
            **({"replay": self.replay.to_dict()} if self.replay else {}),
        }


@dataclass(frozen=True)
class Excuse:
    """Why a system has no deployment in the plan."""

    system: str
    reason: str
    kind: str  # roadmap, region, data, memory, slo, limit, price

    def to_dict(self) -> dict[str, str]:
        """Plain data for JSON."""
        return dict(self.__dict__)


@dataclass(frozen=True)
class Plan:
    """Ranked deployments of a study, best first, and what was not chosen."""

    study: Mapping[str, Any]
    model: Mapping[str, Any]
    workload: Mapping[str, Any]
    objective: str
    deployments: tuple[Deployment, ...]
    alternatives: tuple[Deployment, ...]  # further deployments of ranked systems, for the Pareto chart
    excuses: tuple[Excuse, ...]
    evaluated: int
    citations: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    inputs: tuple[Mapping[str, Any], ...] = ()
    fronts: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)  # by system, see search.front
    edition: str | None = None  # date of the facts, where the study asks for one
    money: Money | None = None  # None where nothing has a price
    power: PowerPrice | None = None  # None without a power cap

    def __len__(self) -> int:
        return len(self.deployments)

    def __getitem__(self, index: int) -> Deployment:
        return self.deployments[index]

    def __iter__(self) -> Iterator[Deployment]:
        return iter(self.deployments)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, the content of plan.json."""
        return {
            "schema_version": PLAN_SCHEMA_VERSION,
            "study": dict(self.study),
            "model": dict(self.model),
            "workload": dict(self.workload),
            "objective": self.objective,
            "evaluated_deployments": self.evaluated,
            "deployments": [deployment.to_dict() for deployment in self.deployments],
            "alternatives": [deployment.to_dict() for deployment in self.alternatives],
            "excuses": [excuse.to_dict() for excuse in self.excuses],
            "fronts": {system: [dict(point) for point in points] for system, points in self.fronts.items()},
            "inputs": [dict(item) for item in self.inputs],
            "citations": {key: dict(value) for key, value in self.citations.items()},
            **({"edition": self.edition} if self.edition else {}),
            **({"money": self.money.to_dict()} if self.money else {}),
            **({"power": self.power.to_dict()} if self.power else {}),
        }

    def to_frame(self) -> pd.DataFrame:
        """One row per deployment: names, chips, and best, low and high of every metric."""
        import pandas as pd  # noqa: PLC0415 (start-up time)

        rows = []
        for deployment in self.deployments:
            row: dict[str, Any] = {"rank": deployment.rank, "name": deployment.name, "evidence": deployment.evidence}
            for key, estimate in deployment.metrics.items():
                row |= {key: estimate.value, f"{key}_low": estimate.low, f"{key}_high": estimate.high}
            rows.append(row)
        return pd.DataFrame(rows)
