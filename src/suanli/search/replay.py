"""One deployment of a plan, replayed request by request in the serving simulator.

The planner's closed form gives every deployment its step times; here the same step times serve a list of requests, so
that bursts, queues, preemption and full caches show in the percentiles.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from suanli.catalog.loader import Catalog, load
from suanli.mapping.memory import MemoryFit, memory_fit
from suanli.mapping.placement import Placements
from suanli.mapping.step import StepModel
from suanli.mapping.step_table import StepTable
from suanli.mapping.tabulate import step_table_of
from suanli.search.demand import demand_of
from suanli.search.model import read_model
from suanli.search.records import load_profiles
from suanli.search.result import Excuse, Pool
from suanli.search.study import Study, StudyError
from suanli.search.systems import Ready, prepare
from suanli.serving.config import Cluster, ConfigError, DecodePool, EngineConfig, Link, Recording, Router, Scheduler
from suanli.serving.simulate import simulate
from suanli.serving.steady import Demand
from suanli.serving.summary import Result
from suanli.workload.arrivals import poisson
from suanli.workload.arrivals_profile import requests_of_profile
from suanli.workload.requests import Prefixes, Requests
from suanli.workload.traces import TraceError
from suanli.workload.traces_read import read_trace

BLOCK_TOKENS = 16  # tokens of a KV block: default of vLLM and SGLang's usual page
SCHEDULERS: dict[str, Scheduler] = {"trtllm": "tensorrt_llm"}  # engines that are not told by their kind of scheduler
MOST_BLOCKS = 10**9  # where nothing of the cache grows with the tokens
HEADROOM = 1.25  # sequences that the server flag allows over the planned batch, where the engine's default is lower
SECONDS = 1200.0  # of traffic that is replayed when nothing is said, within the limits below
FEWEST, MOST = 2_000, 50_000


@dataclass(frozen=True)
class Replay:
    """Result of a replay, and what was assumed for it."""

    pools: tuple[Pool, ...]
    result: Result
    assumptions: tuple[str, ...]


@dataclass(frozen=True)
class _Instance:
    """One pool as the simulator needs it."""

    pool: Pool
    ready: Ready
    fit: MemoryFit
    table: StepTable
    engine: EngineConfig


def replay(
    study: Study,
    chosen: Sequence[Pool],
    *,
    requests: Requests | None = None,
    count: int | None = None,
    seed: int = 0,
    router: Router = "least_outstanding",
    recording: Recording | None = None,
    kv_blocks: int | None = None,
    max_num_seqs: int | None = None,
    catalog: Catalog | None = None,
) -> Replay:
    """Serve the workload of a study, or `requests`, on the pools of a deployment of its plan. Raises StudyError.

    count : requests to draw where the workload is not a trace.   seed : of the drawing.
    kv_blocks, max_num_seqs : limits of a rank of the first pool as an engine logs them; predicted when not given.
    """
    facts = catalog or load(study.overlays)
    demand = demand_of(study, facts) if study.workload.trace is None else None
    drawn, notes = (requests, []) if requests is not None else workload_of(study, facts, count, seed)
    shape = demand or _demand_of(drawn)
    pools = [_instance(study, facts, pool, shape, caching=drawn.prefixes is not None) for pool in chosen]
    predicted = pools[0].engine
    blocks, seqs = kv_blocks or predicted.kv_blocks, max_num_seqs or predicted.max_num_seqs
    if kv_blocks:
        notes.append(f"kv_blocks {kv_blocks:,} given, {predicted.kv_blocks:,} predicted")
    if max_num_seqs:
        notes.append(f"max_num_seqs {max_num_seqs:,} given, {predicted.max_num_seqs:,} predicted")
    try:
        pools[0] = replace(pools[0], engine=replace(predicted, kv_blocks=blocks, max_num_seqs=seqs))
        cluster = _cluster(study, pools, router)
        result = simulate(drawn, pools[0].table, pools[0].engine, cluster, recording)
    except ConfigError as error:
        raise StudyError([f"simulate: {error}"]) from None
    notes += [note for one in pools for note in _notes(one)]
    return Replay(tuple(chosen), result, tuple(dict.fromkeys(notes)))


def _cluster(study: Study, pools: list[_Instance], router: Router) -> Cluster:
    first = pools[0]
    engine, users = first.ready.setting.engine, study.workload.concurrency
    return Cluster(
        replicas=first.pool.instances,
        ranks=first.pool.dp,
        router=router,
        concurrency=round(users) if users is not None else None,
        path_s=engine.first_token_s.si + engine.frontend_s.si,
        decode=_decode_pool(pools) if len(pools) > 1 else None,
    )


def pools_of_file(path: Path) -> tuple[Pool, ...]:
    """Pools of the best deployment of a plan.json, or of one deployment written alone. Raises StudyError."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        found = document["deployments"][0] if "deployments" in document else document
        return tuple(Pool(**pool) for pool in found["pools"])
    except (OSError, ValueError) as error:
        raise StudyError([f"{path}: cannot be read ({error})"]) from None
    except (KeyError, IndexError, TypeError) as error:
        raise StudyError([f"{path}: no deployment with pools as in plan.json ({error!r})"]) from None


def workload_of(study: Study, catalog: Catalog, count: int | None, seed: int) -> tuple[Requests, list[str]]:
    """Requests of a study, and what was assumed about them. Raises StudyError."""
    workload, rng = study.workload, np.random.default_rng(seed)
    if workload.trace is not None:
        try:
            requests = read_trace(workload.trace.path, workload.trace.format).requests
        except TraceError as error:
            raise StudyError(error.problems) from None
        return requests, []
    number = count or int(min(max((workload.rate or 0.0) * SECONDS, 20 * (workload.concurrency or 0.0), FEWEST), MOST))
    rate = workload.rate or np.inf
    if workload.profile is not None:
        requests = requests_of_profile(catalog.workloads[workload.profile], min(rate, 1e9), number, rng)
    else:
        arrivals = poisson(min(rate, 1e9), number, rng)
        requests = Requests.build(arrivals, round(workload.input_tokens or 0), round(workload.output_tokens or 0))
    if workload.rate is None:
        requests = replace(requests, arrival_s=np.zeros(number))
    if workload.prefix_hit_rate > 0.0:
        note = f"prompts share their first {workload.prefix_hit_rate:.0%} with all others"
        return _sharing(requests, workload.prefix_hit_rate), [note]
    return requests, []


def _sharing(requests: Requests, share: float) -> Requests:
    """The same requests, the first part of whose prompts is one and the same."""
    blocks = -(-requests.input_tokens.astype(np.int64) // BLOCK_TOKENS)
    start = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(blocks)])
    place = np.arange(start[-1]) - np.repeat(start[:-1], blocks)
    common = place < np.repeat(np.rint(blocks * share).astype(np.int64), blocks)
    own = int(blocks.max()) + np.arange(start[-1])
    return replace(requests, prefixes=Prefixes(BLOCK_TOKENS, start, np.where(common, place, own)))


def _demand_of(requests: Requests) -> Demand:
    """Mean lengths of a list of requests, for the load at which step tables are made."""
    inputs, outputs = requests.input_tokens, requests.output_tokens
    return Demand(
        input_tokens=float(inputs.mean()),
        output_tokens=float(outputs.mean()),
        input_cv=float(inputs.std() / inputs.mean()),
        output_cv=float(outputs.std() / outputs.mean()),
        arrival_cv=1.0,
    )


def _instance(study: Study, catalog: Catalog, pool: Pool, demand: Demand, *, caching: bool) -> _Instance:
    system, model = catalog.system(pool.system), read_model(study.model, study.weights, catalog)
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
    setting = ready.setting
    place = Placements.of([(pool.tp, pool.pp, pool.dp, pool.ep)], token_budget=float(pool.token_budget))
    fit = memory_fit(setting.graph, setting.hardware, setting.precision, setting.engine, place)
    model_of_steps = StepModel(setting.graph, setting.hardware, setting.precision, setting.engine, place)
    batch, budget = max(pool.batch / pool.dp, 1.0), float(pool.token_budget * pool.pp)
    table = step_table_of(
        model_of_steps,
        requests=batch,
        kv_tokens=demand.kv_tokens,
        chunk=min(demand.input_tokens, budget),
        max_tokens=budget,
    )
    return _Instance(pool, ready, fit, table, _engine(pool, ready, fit, batch, caching=caching))


def _engine(pool: Pool, ready: Ready, fit: MemoryFit, batch: float, *, caching: bool) -> EngineConfig:
    """Limits of one rank: KV blocks from the memory model, sequences and tokens from the engine's profile."""
    engine = ready.setting.engine
    constant = float(fit.window_kv[0] + fit.state[0])  # bytes per request whatever its length
    room = max(float(fit.budget[0]) - constant * batch, 0.0)
    tokens = room / float(fit.kv_per_token[0]) if fit.kv_per_token[0] > 0.0 else np.inf
    budget = int(pool.token_budget * pool.pp)  # the micro-batches of all stages count as one step of the instance
    most = min(max(int(engine.max_requests.si / pool.dp), int(np.ceil(HEADROOM * batch))), budget)
    default: Scheduler = "sglang" if engine.scheduler == "prefill_first" else "vllm"
    return EngineConfig(
        kv_blocks=int(min(tokens / BLOCK_TOKENS, MOST_BLOCKS)),
        block_tokens=BLOCK_TOKENS,
        max_num_seqs=most,
        token_budget=budget,
        scheduler=SCHEDULERS.get(engine.id, default),
        prefix_caching=caching and pool.role != "decode",
    )


def _decode_pool(pools: list[_Instance]) -> DecodePool:
    prefill, decode = pools
    source, sink = prefill.ready.setting.hardware, decode.ready.setting.hardware
    same = source.system == sink.system and source.network.levels
    inner = source.network.levels[-1].bandwidth * source.network.efficiency if same else 0.0
    chips = prefill.pool.tp * prefill.pool.pp  # those of one rank send together
    bandwidth = inner or min(source.scale_out_bandwidth, sink.scale_out_bandwidth)
    return DecodePool(
        timer=decode.table,
        engine=decode.engine,
        link=Link(
            bandwidth=bandwidth * chips,
            latency_s=source.scale_out_latency,
            kv_bytes_per_token=float(prefill.fit.kv_per_token[0]) * chips,
        ),
        replicas=decode.pool.instances,
        ranks=decode.pool.dp,
    )


def _notes(one: _Instance) -> list[str]:
    blocks, seqs = one.engine.kv_blocks, one.engine.max_num_seqs
    predicted = f"{one.pool.role}: {blocks:,} KV blocks of {BLOCK_TOKENS} tokens per rank"
    return [predicted, f"{one.pool.role}: {seqs} sequences and {one.engine.token_budget:,} tokens per step and rank"]
