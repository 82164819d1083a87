"""One deployment of a plan, replayed request by request in the serving simulator.

The planner's closed form gives every deployment its step times; here the same step times serve a list of requests, so
that bursts, queues, preemption and full caches show in the percentiles.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from suanli.catalog.files import CatalogError, reason_of
from suanli.catalog.loader import Catalog, load
from suanli.search.demand import demand_of
from suanli.search.instance import Instance, decode_pool, instance_of
from suanli.search.model import read_model
from suanli.search.records import load_profiles
from suanli.search.result import Excuse, Pool
from suanli.search.study import Study, StudyError
from suanli.search.study_serving import Serving
from suanli.search.systems import Ready, prepare
from suanli.search.traffic import demand_of_requests, workload_of
from suanli.serving.config import Autoscale, Cluster, ConfigError, Outage, Recording
from suanli.serving.simulate import simulate
from suanli.serving.steady import Demand
from suanli.serving.summary import Result
from suanli.workload.requests import Requests


@dataclass(frozen=True)
class Replay:
    """Result of a replay, and what was assumed for it."""

    pools: tuple[Pool, ...]
    result: Result
    assumptions: tuple[str, ...]


@dataclass(frozen=True)
class Bench:
    """What the replays of one study share: its requests, and its systems made ready."""

    study: Study
    demand: Demand
    requests: Requests
    notes: tuple[str, ...]
    ready: Mapping[str, Ready]

    def instances(self, chosen: Sequence[Pool]) -> list[Instance]:
        """Step tables and limits of the pools of a deployment. Raises ConfigError."""
        caching = self.requests.prefixes is not None
        serving = self.study.serving
        return [instance_of(pool, self.ready[pool.system], self.demand, serving, caching=caching) for pool in chosen]

    def run(
        self, pools: Sequence[Instance], requests: Requests | None = None, recording: Recording | None = None
    ) -> Result:
        """Serve the requests of the study, or `requests`, on the pools. Raises ConfigError."""
        first, served = pools[0], self.requests if requests is None else requests
        return simulate(served, first.table, first.engine, _cluster(self.study, pools), recording)


def bench_of(
    study: Study,
    systems: Sequence[str],
    *,
    catalog: Catalog | None = None,
    requests: Requests | None = None,
    count: int | None = None,
    seed: int = 0,
) -> Bench:
    """Make the requests of a study and some systems ready for replays. Raises StudyError."""
    try:
        facts = catalog or load(study.overlays)
    except CatalogError as error:
        raise StudyError(error.problems) from None
    own = demand_of(study, facts) if requests is None and study.workload.trace is None else None
    drawn, notes = (requests, []) if requests is not None else workload_of(study, facts, count, seed)
    demand = own or demand_of_requests(drawn)
    ready = {name: _ready(study, facts, name, demand) for name in dict.fromkeys(systems)}
    return Bench(study, demand, drawn, tuple(notes), ready)


def replay(
    study: Study,
    chosen: Sequence[Pool],
    *,
    requests: Requests | None = None,
    count: int | None = None,
    seed: int = 0,
    recording: Recording | None = None,
    catalog: Catalog | None = None,
) -> Replay:
    """Serve the workload of a study, or `requests`, on the pools of a deployment of its plan. Raises StudyError.

    count : requests to draw where the workload is not a trace.   seed : of the drawing.
    """
    systems = [pool.system for pool in chosen]
    bench = bench_of(study, systems, catalog=catalog, requests=requests, count=count, seed=seed)
    try:
        pools = bench.instances(chosen)
        result = bench.run(pools, recording=recording)
    except ConfigError as error:
        raise StudyError([f"simulate: {line}" for line in str(error).split("; ")]) from None
    notes = [*bench.notes, *(note for one in pools for note in one.notes)]
    return Replay(tuple(chosen), result, tuple(dict.fromkeys(notes)))


def _ready(study: Study, catalog: Catalog, name: str, demand: Demand) -> Ready:
    try:
        system = catalog.system(name)
    except CatalogError as error:
        raise StudyError([f"simulate: the deployment is on '{name}': {line}" for line in error.problems]) from None
    model = read_model(study.model, study.weights, catalog)
    ready = prepare(
        system,
        catalog.chip_of(system),
        study=study,
        graph=model.graph,
        weights=model.weights,
        demand=demand,
        profiles=load_profiles(),
    )
    if isinstance(ready, Excuse):
        raise StudyError([f"{ready.system}: {ready.reason}"])
    return ready


def _cluster(study: Study, pools: Sequence[Instance]) -> Cluster:
    first, serving = pools[0], study.serving
    engine, users = first.ready.setting.engine, study.workload.concurrency
    return Cluster(
        replicas=first.pool.instances,
        ranks=first.pool.dp,
        router=serving.router,
        concurrency=round(users) if users is not None else None,
        path_s=engine.first_token_s.si + engine.frontend_s.si,
        max_queue=serving.max_queue,
        ttft_timeout_s=serving.ttft_timeout,
        timeout_s=serving.timeout,
        outages=_outages(serving),
        autoscale=_autoscale(serving),
        decode=decode_pool(pools[0], pools[1]) if len(pools) > 1 else None,
    )


def _outages(serving: Serving) -> tuple[Outage, ...]:
    return tuple(
        Outage(replica=one.replica, start_s=one.start, end_s=math.inf if one.end is None else one.end)
        for one in serving.outages
    )


def _autoscale(serving: Serving) -> Autoscale | None:
    scale = serving.autoscale
    if scale is None:
        return None
    return Autoscale(
        minimum=scale.minimum,
        maximum=scale.maximum,
        target_outstanding=scale.target_outstanding,
        interval_s=scale.interval,
        startup_s=scale.startup,
    )


def pools_of_file(path: Path) -> tuple[Pool, ...]:
    """Pools of the best deployment of a plan.json, or of one deployment written alone. Raises StudyError."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        found = document["deployments"][0] if "deployments" in document else document
        pools = tuple(Pool(**pool) for pool in found["pools"])
    except (OSError, ValueError) as error:
        raise StudyError([f"{path}: cannot be read ({reason_of(error)})"]) from None
    except (KeyError, IndexError, TypeError) as error:
        raise StudyError([f"{path}: no deployment with pools as in plan.json ({error!r})"]) from None
    if problems := [f"{path}: {line}" for line in _pool_problems(pools)]:
        raise StudyError(problems)
    return pools


def _pool_problems(pools: Sequence[Pool]) -> list[str]:
    roles = tuple(pool.role for pool in pools)
    problems = []
    if roles not in (("aggregated",), ("prefill", "decode")):
        problems.append(f"pools: {', '.join(roles) or 'none'} given, accepted: aggregated, or prefill and decode")
    for number, pool in enumerate(pools):
        for name in ("tp", "pp", "dp", "ep", "instances", "token_budget"):
            value = getattr(pool, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                problems.append(f"pools.{number}.{name}: {value!r} given, accepted: a whole number from 1")
        if isinstance(pool.batch, bool) or not isinstance(pool.batch, int | float) or not 0 <= pool.batch < math.inf:
            problems.append(f"pools.{number}.batch: {pool.batch!r} given, accepted: a number from 0")
    return problems
