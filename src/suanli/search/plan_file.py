"""A plan.json read back: what a comparison needs of it, checked on the way in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from suanli.economics.model import chip_hour
from suanli.search.cost import LOAD
from suanli.search.result import PLAN_SCHEMA_VERSION
from suanli.search.study import StudyError

PoolKey = tuple[str, str, int, int, int, int]  # role, system, tp, pp, dp, ep
KEYS = ("study", "workload", "deployments", "excuses")


@dataclass(frozen=True)
class PlanFile:
    """The content of one plan.json."""

    path: str
    content: Mapping[str, Any]

    @property
    def best(self) -> Mapping[str, Any] | None:
        """The first deployment, if there is one."""
        deployments = self.content["deployments"]
        return deployments[0] if deployments else None

    @property
    def money(self) -> Mapping[str, Any] | None:
        """The money of the plan; None where nothing has a price."""
        return self.content.get("money")

    @cached_property
    def price_of_best(self) -> Mapping[str, float] | None:
        """Value, low and high of the best deployment's USD per million tokens."""
        return self.best["metrics"].get("usd_per_mtok") if self.best else None

    @property
    def tokens(self) -> float:
        """Tokens of a request, input and output."""
        return float(self.content["workload"]["input_tokens"] + self.content["workload"]["output_tokens"])

    @cached_property
    def rates(self) -> dict[PoolKey, float]:
        """Requests/s of one instance within the SLO, by layout: what the model predicts."""
        found: dict[PoolKey, float] = {}
        for one in (*self.content["deployments"], *self.content.get("alternatives", ())):
            for pool in one["pools"]:
                if pool["load"] > 0.0:
                    found.setdefault(key_of(pool), self.served(one) / (pool["instances"] * pool["load"]))
        return found

    def served(self, deployment: Mapping[str, Any]) -> float:
        """Requests/s that a deployment serves: the rate of the workload, or what a closed loop settles at."""
        rate = self.content["workload"].get("rate")
        if rate is not None:
            return float(rate)
        load = max(pool["load"] for pool in deployment["pools"])
        return float(deployment["metrics"]["max_request_s"]["value"] * load)

    def price(self, system: str, load: float) -> float | None:
        """Price of a chip-hour [USD/h] by the inputs of this plan; None where it does not price the system."""
        machine = self.money["machines"].get(system) if self.money else None
        if machine is None or self.money is None:
            return None
        return priced(self.money["profiles"][machine["profile"]], machine["values"], load)


def priced(profile: Mapping[str, Any], machine: Mapping[str, float], load: float) -> float:
    """Price of a chip-hour [USD/h] from plain inputs."""
    values = {**profile["values"], **machine, LOAD: load}
    return float(np.asarray(chip_hour(profile["structure"], values).total)) * float(profile["usd_per_unit"])


def key_of(pool: Mapping[str, Any]) -> PoolKey:
    """What two plans call the same layout."""
    return (pool["role"], pool["system"], pool["tp"], pool["pp"], pool["dp"], pool["ep"])


def read_plan(path: Path) -> PlanFile:
    """Read and check a plan.json. Raises StudyError with one line that says what is wrong."""
    accepted = "accepted: plan.json as `suanli plan --out DIR` writes it"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StudyError([f"{path}: cannot be read ({error.strerror}); {accepted}"]) from None
    except ValueError as error:
        raise StudyError([f"{path}: not JSON ({error}); {accepted}"]) from None
    if not isinstance(content, Mapping) or "schema_version" not in content:
        raise StudyError([f"{path}: not a plan; {accepted}"])
    version = content["schema_version"]
    if version != PLAN_SCHEMA_VERSION:
        raise StudyError([f"{path}: schema_version: {version!r} given, accepted: {PLAN_SCHEMA_VERSION}"])
    missing = [key for key in KEYS if key not in content]
    if missing:
        raise StudyError([f"{path}: {', '.join(missing)}: missing; {accepted}"])
    return PlanFile(str(path), content)
