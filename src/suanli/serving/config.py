"""What is simulated: the limits of one engine, and how many of them stand behind which router."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from suanli.mapping.step_table import StepTable

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
    host_kv_blocks : KV blocks of a second memory (host DRAM, SSD) that takes what the prefix cache evicts [block].
    host_load_s_per_token : time to bring a token's KV back from there, which the step waits for [s].
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
    host_kv_blocks: int = 0
    host_load_s_per_token: float = 0.0
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
        problems += [
            f"{name} must not be negative, not {getattr(self, name)}"
            for name in ("host_kv_blocks", "host_load_s_per_token")
            if not getattr(self, name) >= 0
        ]
        if self.host_kv_blocks and not self.prefix_caching:
            problems.append("host_kv_blocks needs prefix_caching")
        if self.speculative_tokens < 0:
            problems.append(f"speculative_tokens must not be negative, not {self.speculative_tokens}")
        if self.token_budget < self.max_num_seqs * (1 + self.speculative_tokens):
            each = f" of {1 + self.speculative_tokens} tokens" if self.speculative_tokens else ""
            problems.append(
                f"token_budget {self.token_budget} must hold max_num_seqs {self.max_num_seqs} decoding sequences{each}"
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
class Outage:
    """A replica fails at `start_s` and is back at `end_s` [s], with empty memory.

    Its requests lose their KV and are sent again, with the tokens that they already have; the step in progress is lost.
    """

    replica: int
    start_s: float
    end_s: float = math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Autoscale:
    """Add and drain replicas by the number of requests in the system, looked at every `interval_s` [s].

    Wanted are outstanding / target_outstanding replicas, rounded up, between minimum and maximum. A new replica serves
    after `startup_s` [s]; one replica at most is drained per look, the last one first.
    """

    minimum: int
    maximum: int
    target_outstanding: float
    interval_s: float
    startup_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """Way of the KV cache from prefill to decode.

    bandwidth : of the chips of one rank, one way [B/s].   latency_s : per transfer [s].   kv_bytes_per_token [B].
    """

    bandwidth: float
    latency_s: float
    kv_bytes_per_token: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodePool:
    """Engines that take over after the prompt (prefill/decode disaggregation), possibly on another system.

    A prompt keeps its memory in the prefill pool until its KV cache has arrived; a transfer begins when the decode
    engine has room (back-pressure). Transfers queue on the links of either rank. A preempted request is recomputed
    by its decode engine. The first token counts as delivered when the KV cache has arrived.
    """

    timer: StepTable
    engine: EngineConfig
    link: Link
    replicas: int = 1
    ranks: int = 1
    router: Router = "least_kv"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Replicas of one engine behind a router, and how clients drive them.

    replicas : engines.   ranks : attention-data-parallel ranks of each; they step together, as slow as the slowest.
    router : which rank a request goes to.
    concurrency : closed loop: at most so many requests are in the system, the next is sent when one ends.
    path_s : fixed time from the client to the router and back: network, API, tokenizer, first response [s].
    max_queue : a rank where so many requests wait refuses further ones.
    ttft_timeout_s, timeout_s : a client gives up without first token, or without last token, after this time at the
        router [s].
    outages : failures and repairs; replicas of the decode pool are numbered behind the others.
    """

    replicas: int = 1
    ranks: int = 1
    router: Router = "round_robin"
    concurrency: int | None = None
    path_s: float = 0.0
    max_queue: int | None = None
    ttft_timeout_s: float | None = None
    timeout_s: float | None = None
    outages: tuple[Outage, ...] = ()
    autoscale: Autoscale | None = None
    decode: DecodePool | None = None

    def __post_init__(self) -> None:
        problems = _below(self, 1, "replicas", "ranks", "concurrency", "max_queue")
        problems += _not_positive(self, "ttft_timeout_s", "timeout_s")
        if not 0.0 <= self.path_s < math.inf:
            problems.append(f"path_s must be finite and not negative, not {self.path_s}")
        problems += self._unknown_routers() + self._outage_problems()
        if self.decode is not None:
            problems += [f"decode: {problem}" for problem in _below(self.decode, 1, "replicas", "ranks")]
            problems += [f"link: {problem}" for problem in _not_positive(self.decode.link, "bandwidth")]
            problems += [
                f"link: {name} must not be negative"
                for name in ("latency_s", "kv_bytes_per_token")
                if not getattr(self.decode.link, name) >= 0.0
            ]
        if self.autoscale is not None:
            problems += self._scaling_problems(self.autoscale)
        refuse(problems)

    def _unknown_routers(self) -> list[str]:
        routers = [self.router] + ([self.decode.router] if self.decode else [])
        return [f"router must be one of {', '.join(ROUTERS)}, not {name}" for name in routers if name not in ROUTERS]

    @property
    def most_replicas(self) -> int:
        """Replicas of the first pool that there can ever be."""
        return max(self.replicas, self.autoscale.maximum) if self.autoscale else self.replicas

    def _outage_problems(self) -> list[str]:
        count = self.most_replicas + (self.decode.replicas if self.decode else 0)
        problems = [
            f"outage of replica {outage.replica} from {outage.start_s} to {outage.end_s} s: {reason}"
            for outage in self.outages
            for reason, wrong in (
                (f"replicas are 0 ... {count - 1}", not 0 <= outage.replica < count),
                ("it must start at 0 or later and end after that", not 0.0 <= outage.start_s < outage.end_s),
            )
            if wrong
        ]
        ordered = sorted(self.outages, key=lambda outage: (outage.replica, outage.start_s))
        problems += [
            f"outages of replica {first.replica} overlap"
            for first, second in pairwise(ordered)
            if first.replica == second.replica and second.start_s <= first.end_s
        ]
        return problems

    def _scaling_problems(self, scale: Autoscale) -> list[str]:
        problems = [f"autoscale: {problem}" for problem in _below(scale, 1, "minimum")]
        problems += [f"autoscale: {problem}" for problem in _not_positive(scale, "target_outstanding", "interval_s")]
        if not scale.minimum <= self.replicas <= scale.maximum:
            problems.append(f"autoscale: replicas {self.replicas} must lie between minimum and maximum")
        if not scale.startup_s >= 0.0:
            problems.append("autoscale: startup_s must not be negative")
        if self.decode is not None:
            problems.append("autoscale: not available together with a decode pool")
        return problems


def _below(item: object, least: int, *names: str) -> list[str]:
    values = {name: getattr(item, name) for name in names}
    return [f"{name} must be at least {least}, not {v}" for name, v in values.items() if v is not None and v < least]


def _not_positive(item: object, *names: str) -> list[str]:
    values = {name: getattr(item, name) for name in names}
    return [f"{name} must be above zero, not {v}" for name, v in values.items() if v is not None and not v > 0.0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """What is kept besides one record per request.

    steps : most steps to log, for a Chrome trace.   steps_from_s : log steps that start at this time or later [s].
    sample_s : width of the first time-series bins [s]; doubled until the run fits into the bins.
    """

    steps: int = 0
    steps_from_s: float = 0.0
    sample_s: float = 0.0625
