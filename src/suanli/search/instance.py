"""One pool of a deployment as the serving simulator needs it: step table, limits of a rank, link to the next pool."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from suanli.mapping.memory import MemoryFit, memory_fit
from suanli.mapping.placement import Placements
from suanli.mapping.step import StepModel
from suanli.mapping.step_table import StepTable
from suanli.mapping.tabulate import ranks_with_prompts, step_table_of
from suanli.search.result import Pool
from suanli.search.study_serving import Serving
from suanli.search.systems import Ready
from suanli.search.traffic import BLOCK_TOKENS
from suanli.serving.config import DecodePool, EngineConfig, Link, Scheduler
from suanli.serving.steady import Demand

SCHEDULERS: dict[str, Scheduler] = {"trtllm": "tensorrt_llm"}  # engines that are not told by their kind of scheduler
MOST_BLOCKS = 10**9  # where nothing of the cache grows with the tokens
HEADROOM = 1.25  # sequences that the server flag allows over the planned batch, where the engine's default is lower


@dataclass(frozen=True)
class Instance:
    """One pool as the simulator needs it. `notes` say what was assumed, and predicted where something is given."""

    pool: Pool
    ready: Ready
    fit: MemoryFit
    table: StepTable
    engine: EngineConfig
    notes: tuple[str, ...]

    @property
    def rank_chips(self) -> int:
        """Chips of one attention-data-parallel rank [-]."""
        return self.pool.tp * self.pool.pp


def instance_of(pool: Pool, ready: Ready, demand: Demand, serving: Serving, *, caching: bool) -> Instance:
    """Step table and limits of a pool under the settings of a study. Raises ConfigError for settings that cannot be.

    caching : the requests say what they share.
    """
    setting = ready.setting
    place = Placements.of([(pool.tp, pool.pp, pool.dp, pool.ep)], token_budget=float(pool.token_budget))
    fit = memory_fit(setting.graph, setting.hardware, setting.precision, setting.engine, place)
    steps = StepModel(setting.graph, setting.hardware, setting.precision, setting.engine, place)
    batch, budget = max(pool.batch / pool.dp, 1.0), float(pool.token_budget * pool.pp)
    chunk = min(demand.input_tokens, budget)
    often = pool.load if pool.role == "prefill" else batch * demand.new_tokens / demand.output_tokens / chunk
    table = step_table_of(
        steps,
        requests=batch,
        kv_tokens=demand.kv_tokens,
        chunk=chunk,
        max_tokens=budget,
        together=ranks_with_prompts(pool.dp, often),
    )
    predicted = _engine(pool, ready, fit, batch)
    engine, notes = _given(predicted, pool, fit, serving, caching=caching)
    return Instance(pool, ready, fit, _drafting(table, ready, serving), engine, (*notes, *_limits(pool, engine)))


def _engine(pool: Pool, ready: Ready, fit: MemoryFit, batch: float) -> EngineConfig:
    """Limits of one rank: KV blocks from the memory model, sequences and tokens from the engine's profile."""
    engine = ready.setting.engine
    mean = ready.setting.demand.kv_tokens
    # Bytes of a request that do not grow with the blocks that the simulator counts: windows and states.
    constant = float(fit.held(np.array([[mean]]))[0, 0] - fit.kv_per_token[0] * mean)
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
    )


def _given(
    predicted: EngineConfig, pool: Pool, fit: MemoryFit, serving: Serving, *, caching: bool
) -> tuple[EngineConfig, list[str]]:
    """The limits with what the study says; `kv_blocks` and `max_num_seqs` are those of the first pool."""
    first, notes = pool.role != "decode", []
    blocks = (serving.kv_blocks if first else None) or predicted.kv_blocks
    most = predicted.token_budget // (1 + serving.speculative_tokens)
    seqs = (serving.max_num_seqs if first else None) or min(predicted.max_num_seqs, most)
    if blocks != predicted.kv_blocks:
        notes.append(f"kv_blocks {blocks:,} given, {predicted.kv_blocks:,} predicted")
    if first and serving.max_num_seqs:
        notes.append(f"max_num_seqs {seqs:,} given, {predicted.max_num_seqs:,} predicted")
    cached = first and (caching if serving.prefix_caching is None else serving.prefix_caching)
    per_token = float(fit.kv_per_token[0])  # bytes per chip
    host_blocks, seconds = 0, 0.0
    if cached and serving.host_kv and serving.host_bandwidth and per_token > 0.0:
        host_blocks = int(serving.host_kv / (per_token * BLOCK_TOKENS))
        seconds = per_token / serving.host_bandwidth
        notes.append(f"{pool.role}: {host_blocks:,} blocks of evicted KV in the second memory, per rank")
    engine = replace(
        predicted,
        kv_blocks=blocks,
        max_num_seqs=seqs,
        policy=serving.policy,
        prefix_caching=cached,
        host_kv_blocks=host_blocks,
        host_load_s_per_token=seconds,
        speculative_tokens=serving.speculative_tokens,
        acceptance=serving.acceptance or 0.0,
    )
    return engine, notes


def _drafting(table: StepTable, ready: Ready, serving: Serving) -> StepTable:
    """The table for sequences that bring drafted tokens: every one of them goes through the head and is sampled.

    The sequences of prompts are charged with that too, so that the time is a little high where prompts are many.
    """
    if not serving.speculative_tokens:
        return table
    tokens = 1 + serving.speculative_tokens
    return replace(
        table,
        tokens_per_decode=tokens,
        per_request_s=table.per_request_s * tokens,
        per_request_j=table.per_request_j * tokens,
        host_s=table.host_s + (serving.draft_time or 0.0) + ready.setting.engine.draft_host_s.si,
    )


def _limits(pool: Pool, engine: EngineConfig) -> list[str]:
    return [
        f"{pool.role}: {engine.kv_blocks:,} KV blocks of {BLOCK_TOKENS} tokens per rank",
        f"{pool.role}: {engine.max_num_seqs:,} sequences and {engine.token_budget:,} tokens per step and rank",
    ]


def decode_pool(prefill: Instance, decode: Instance) -> DecodePool:
    """The second pool with its link: inside one system its own network, between two the slower way out of either."""
    source, sink = prefill.ready.setting.hardware, decode.ready.setting.hardware
    same = source.system == sink.system and source.network.levels
    inner = source.network.levels[-1].bandwidth * source.network.efficiency if same else 0.0
    chips = prefill.rank_chips  # those of one rank send together
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
