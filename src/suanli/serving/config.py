"""What is simulated: the limits of one engine, and how many of them stand behind which router."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Scheduler = Literal["vllm", "sglang", "tensorrt_llm"]
Policy = Literal["fcfs", "priority"]
Router = Literal["round_robin", "least_outstanding", "least_kv", "prefix_aware", "session"]

SCHEDULERS: tuple[Scheduler, ...] = ("vllm", "sglang", "tensorrt_llm")
ROUTERS: tuple[Router, ...] = ("round_robin", "least_outstanding", "least_kv", "prefix_aware", "session")


class ConfigError(ValueError):
    """A configuration that cannot run; the message lists every problem."""


def refuse(problems: list[str]) -> None:
    """Raise ConfigError when there are problems."""
    if problems:
        raise ConfigError("; ".join(problems))


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """Limits of one engine rank, as its log prints them or as the memory model predicts them.

    kv_blocks : KV blocks of the pool [block].   block_tokens : tokens of a block [token].
    max_num_seqs : most sequences running at once.   token_budget : most tokens in a step [token].
    scheduler : vllm (V1: decode first, prompts chunked into the rest of the budget, preemption with recompute),
        sglang (prompts first, decode pauses, retraction), tensorrt_llm (GUARANTEED_NO_EVICT: admits a request only
        when all its tokens will fit).
    policy : order of waiting requests and choice of victims; `priority` as vLLM's, by class, then arrival.
    admit_whole_prompt : vllm only: a prompt is admitted when all of it fits, not only its first chunk.
    watermark : share of the blocks that admission leaves free while others run [-].
    chunked_prefill : False admits a prompt only when all its new tokens fit into the budget of the step.
    conservativeness : sglang only: factor on the share of outstanding output that admission reserves [-].
    prefix_caching : prompts reuse cached blocks with the same hash; least recently used blocks are evicted.
    speculative_tokens, acceptance : draft tokens per step and the probability that each is accepted [-]. Progress
        per step is the expectation 1 + a + a^2 + ..., spread evenly over the steps.
    """

    kv_blocks: int
    block_tokens: int = 16
    max_num_seqs: int = 256
    token_budget: int = 8192
    scheduler: Scheduler = "vllm"
    policy: Policy = "fcfs"
    admit_whole_prompt: bool = True
    watermark: float = 0.0
    chunked_prefill: bool = True
    conservativeness: float = 1.0
    prefix_caching: bool = False
    speculative_tokens: int = 0
    acceptance: float = 0.0

    def __post_init__(self) -> None:
        problems = [
            f"{name} must be at least 1, not {getattr(self, name)}"
            for name in ("kv_blocks", "block_tokens", "max_num_seqs", "token_budget")
            if getattr(self, name) < 1
        ]
        if self.scheduler not in SCHEDULERS:
            problems.append(f"scheduler must be one of {', '.join(SCHEDULERS)}, not {self.scheduler}")
        if self.policy not in ("fcfs", "priority"):
            problems.append(f"policy must be fcfs or priority, not {self.policy}")
        problems += [
            f"{name} must lie between 0 and 1, not {getattr(self, name)}"
            for name in ("watermark", "acceptance")
            if not 0.0 <= getattr(self, name) <= 1.0
        ]
        if not self.conservativeness > 0.0:
            problems.append(f"conservativeness must be positive, not {self.conservativeness}")
        if self.speculative_tokens < 0:
            problems.append(f"speculative_tokens must not be negative, not {self.speculative_tokens}")
        if self.token_budget < self.max_num_seqs * (1 + self.speculative_tokens):
            problems.append(
                f"token_budget {self.token_budget} must hold max_num_seqs {self.max_num_seqs} decoding sequences"
                f" of {1 + self.speculative_tokens} tokens"
            )
        refuse(problems)

    @property
    def query_tokens(self) -> int:
        """Tokens that a decoding sequence brings into a step [token]."""
        return 1 + self.speculative_tokens

    @property
    def tokens_per_step(self) -> float:
        """Expected tokens that a decoding sequence gains in a step [token]; Leviathan et al. 2023, equation 1."""
        return sum(self.acceptance**position for position in range(self.speculative_tokens + 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Replicas of one engine behind a router, and how clients drive them.

    replicas : engines.   ranks : attention-data-parallel ranks of each; they step together, as slow as the slowest.
    router : which rank a request goes to.
    concurrency : closed loop: at most so many requests are in the system, the next is sent when one ends.
    """

    replicas: int = 1
    ranks: int = 1
    router: Router = "round_robin"
    concurrency: int | None = None

    def __post_init__(self) -> None:
        problems = [
            f"{name} must be at least 1, not {getattr(self, name)}"
            for name in ("replicas", "ranks")
            if getattr(self, name) < 1
        ]
        if self.router not in ROUTERS:
            problems.append(f"router must be one of {', '.join(ROUTERS)}, not {self.router}")
        if self.concurrency is not None and self.concurrency < 1:
            problems.append(f"concurrency must be at least 1, not {self.concurrency}")
        refuse(problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """What is kept besides one record per request.

    steps : most steps to log, for a Chrome trace.   steps_from_s : log steps that start at this time or later [s].
    sample_s : width of the first time-series bins [s]; doubled until the run fits into the bins.
    """

    steps: int = 0
    steps_from_s: float = 0.0
    sample_s: float = 0.0625
