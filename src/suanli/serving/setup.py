"""One simulation, checked and prepared: the same input for both cores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from suanli.serving.config import Cluster, EngineConfig, Recording, Router, refuse
from suanli.serving.prefix import Chains, chains

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from suanli.mapping.step_table import StepTable
    from suanli.workload.requests import Requests

# SGLang's share of outstanding output that admission reserves: it starts at 0.7, falls to 0.14 of that over 600
# decode steps, starts again when the engine is idle, and after a retraction is set from the batch with 20 steps of
# headroom (sglang.srt.environ: SGLANG_INIT_NEW_TOKEN_RATIO, SGLANG_MIN_NEW_TOKEN_RATIO_FACTOR,
# SGLANG_NEW_TOKEN_RATIO_DECAY_STEPS, SGLANG_RETRACT_DECODE_STEPS).
RATIO_START, RATIO_FLOOR_FACTOR, RATIO_DECAY_STEPS, RETRACT_STEPS = 0.7, 0.14, 600, 20

MOST_SHARED = 2**31 - 1  # places of shared hash blocks are counted in 32 bits
ADVANCE_BITS = 32  # fixed point of the expected tokens per decode step


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """Engines of one kind.

    replicas : most replicas that there can be.   ranks : ranks of a replica.   first_rank : number of the first one.
    hands_over : its requests go to the next pool after their prompt.
    base_s, base_j : the table at every token count up to the budget.   advance : expected tokens per decode step and
    sequence as a fixed-point number of ADVANCE_BITS.   ratio : SGLang's (start, floor, decay per decode step).
    block_kv : KV blocks of a hash block, 0 without prefix cache.   hash_tokens : its tokens [token].
    """

    table: StepTable
    engine: EngineConfig
    router: Router
    replicas: int
    ranks: int
    first_rank: int
    hands_over: bool
    base_s: NDArray[np.float64]
    base_j: NDArray[np.float64]
    advance: int
    ratio: tuple[float, float, float]
    block_kv: int
    hash_tokens: int


@dataclass(frozen=True, slots=True, eq=False)
class Setup:
    """Checked input of a simulation; `pools` are all engines, or those for prompts and those for decode."""

    requests: Requests
    cluster: Cluster
    recording: Recording
    chains: Chains
    pools: tuple[Pool, ...]

    @property
    def ranks(self) -> int:
        """Ranks of all replicas [-]."""
        return sum(pool.replicas * pool.ranks for pool in self.pools)

    @property
    def coupled(self) -> bool:
        """True when the end of a step can send a request somewhere."""
        return (
            self.cluster.concurrency is not None
            or self.cluster.decode is not None
            or bool(np.any(self.requests.after >= 0))
        )


def prepare(
    requests: Requests, table: StepTable, engine: EngineConfig, cluster: Cluster, recording: Recording
) -> Setup:
    """Check that the parts fit together. Raises ConfigError with every problem."""
    problems = _table_problems(table, engine)
    if cluster.concurrency is not None and np.any(requests.after >= 0):
        problems.append("concurrency cannot be limited when requests follow one another in sessions")
    decode = cluster.decode
    if decode is not None:
        problems += [f"decode: {problem}" for problem in _table_problems(decode.timer, decode.engine)]
        if decode.engine.prefix_caching:
            problems.append("decode: prefix_caching belongs to the pool that computes prompts")
    refuse(problems)
    found = chains(requests, engine.block_tokens, caching=engine.prefix_caching)
    if int(found.start[-1]) > MOST_SHARED:
        refuse([f"the prompts share {int(found.start[-1]):,} hash blocks, at most {MOST_SHARED:,} can be followed"])
    first = _pool(table, engine, (cluster.router, cluster.most_replicas, cluster.ranks, 0), decode is not None, found)
    if decode is None:
        return Setup(requests, cluster, recording, found, (first,))
    place = (decode.router, decode.replicas, decode.ranks, first.replicas * first.ranks)
    return Setup(requests, cluster, recording, found, (first, _pool(decode.timer, decode.engine, place, False, None)))


def _table_problems(table: StepTable, engine: EngineConfig) -> list[str]:
    if table.tokens_per_decode == engine.query_tokens:
        return []
    return [
        f"the step table is for {table.tokens_per_decode} tokens per decoding sequence, the engine has "
        f"{engine.query_tokens} (1 + speculative_tokens)"
    ]


def _pool(
    table: StepTable,
    engine: EngineConfig,
    place: tuple[Router, int, int, int],
    hands_over: bool,
    found: Chains | None,
) -> Pool:
    router, replicas, ranks, first_rank = place
    base_s, base_j = table.dense(engine.token_budget)
    start = min(RATIO_START * engine.conservativeness, 1.0)
    floor = start * RATIO_FLOOR_FACTOR
    return Pool(
        table=table,
        engine=engine,
        router=router,
        replicas=replicas,
        ranks=ranks,
        first_rank=first_rank,
        hands_over=hands_over,
        base_s=base_s,
        base_j=base_j,
        advance=round(engine.tokens_per_step * (1 << ADVANCE_BITS)),
        ratio=(start, floor, (start - floor) / RATIO_DECAY_STEPS),
        block_kv=found.block_kv if found else 0,
        hash_tokens=found.hash_tokens if found else engine.block_tokens,
    )
