"""One simulation, checked and prepared: the same input for both cores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from suanli.serving.config import Cluster, ConfigError, EngineConfig, Recording
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

ADVANCE_BITS = 32  # fixed point of the expected tokens per decode step


@dataclass(frozen=True, slots=True, eq=False)
class Setup:
    """Checked input of a simulation.

    base_s, base_j : the table at every token count up to the budget.   advance : expected tokens per decode step and
    sequence as a fixed-point number of ADVANCE_BITS.   ratio : SGLang's (start, floor, decay per decode step).
    """

    requests: Requests
    table: StepTable
    engine: EngineConfig
    cluster: Cluster
    recording: Recording
    chains: Chains
    base_s: NDArray[np.float64]
    base_j: NDArray[np.float64]
    advance: int
    ratio: tuple[float, float, float]

    @property
    def ranks(self) -> int:
        """Ranks of all replicas [-]."""
        return self.cluster.replicas * self.cluster.ranks

    @property
    def coupled(self) -> bool:
        """True when the end of a request can send another one."""
        return self.cluster.concurrency is not None or bool(np.any(self.requests.after >= 0))


def prepare(
    requests: Requests, table: StepTable, engine: EngineConfig, cluster: Cluster, recording: Recording
) -> Setup:
    """Check that the parts fit together. Raises ConfigError with every problem."""
    problems = []
    if table.tokens_per_decode != engine.query_tokens:
        problems.append(
            f"the step table is for {table.tokens_per_decode} tokens per decoding sequence, the engine has "
            f"{engine.query_tokens} (1 + speculative_tokens)"
        )
    if cluster.concurrency is not None and np.any(requests.after >= 0):
        problems.append("concurrency cannot be limited when requests follow one another in sessions")
    if problems:
        raise ConfigError("; ".join(problems))
    base_s, base_j = table.dense(engine.token_budget)
    start = min(RATIO_START * engine.conservativeness, 1.0)
    floor = min(start * RATIO_FLOOR_FACTOR, 1.0)
    return Setup(
        requests,
        table,
        engine,
        cluster,
        recording,
        chains(requests, engine.block_tokens, caching=engine.prefix_caching),
        base_s,
        base_j,
        round(engine.tokens_per_step * (1 << ADVANCE_BITS)),
        (start, floor, (start - floor) / RATIO_DECAY_STEPS),
    )
