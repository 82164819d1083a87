"""Closed-form serving: the steady state of continuous batching, for many deployments and batch sizes at once.

An instance with B decoding requests finishes B/O requests per step (O output tokens each) and in steady state admits
as many, so a step also carries B I / O prompt tokens (I input tokens). With a token budget these arrive as chunks:
a fraction f of the steps carries a chunk, the others only decode. The mean step is TPOT, B over the mean step is the
output rate (Little's law). Prompts queue for the prefill capacity that decode leaves over (an M/G/1 queue with bulk
service; Kingman's formula for other arrival processes). What this form does not know - bursts, preemption, prefix
hits - the simulator replays.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from suanli.chip import largest_of
from suanli.mapping.ledger import StepLoad, limited_energy
from suanli.mapping.memory import MemoryFit
from suanli.mapping.step import StepModel

Array = NDArray[np.float64]

# Standard normal quantiles used for percentiles.
QUANTILES = {"p50": 0.0, "p90": 1.2816, "p95": 1.6449, "p99": 2.3263}
TAILS = {"p50": 0.5, "p90": 0.1, "p95": 0.05, "p99": 0.01}


@dataclass(frozen=True)
class Demand:
    """Requests as the closed form sees them: mean and coefficient of variation of lengths, burstiness of arrivals.

    input_tokens, output_tokens : means [tokens]. input_cv, output_cv, arrival_cv [-]. hit_rate : share of the input
    that a prefix cache serves [-].
    """

    input_tokens: float
    output_tokens: float
    input_cv: float
    output_cv: float
    arrival_cv: float
    hit_rate: float = 0.0

    @property
    def new_tokens(self) -> float:
        """Input tokens that are really computed [tokens]."""
        return self.input_tokens * (1.0 - self.hit_rate)

    @property
    def kv_tokens(self) -> float:
        """Mean KV length of a decoding request [tokens], as a request in progress is met at a random step.

        Input plus half the output, output length-biased: E[O^2]/(2 E[O]).
        """
        return self.input_tokens + self.output_tokens * (1.0 + self.output_cv**2) / 2.0

    @property
    def kv_cv(self) -> float:
        """Coefficient of variation of the KV length of decoding requests [-]: input length and uniform progress."""
        progress = (self.output_tokens * (1.0 + self.output_cv**2)) ** 2 / 12.0
        return float(np.sqrt((self.input_tokens * self.input_cv) ** 2 + progress) / self.kv_tokens)

    @property
    def pairs_per_token(self) -> float:
        """Query-key pairs per new prompt token: cached context plus half of the (length-biased) new part."""
        cached = self.input_tokens * self.hit_rate
        return cached + self.new_tokens * (1.0 + self.input_cv**2) / 2.0


@dataclass(frozen=True)
class Point:
    """Steady states of n deployments at g batch sizes, every array (n, g); times [s], rates per instance [1/s]."""

    batch: Array  # decoding requests
    tpot: Array
    tpot_decode: Array  # step without prompt chunk
    tpot_mixed: Array  # step with a prompt chunk
    chunk: Array  # prompt tokens in a step that carries some
    mixed_share: Array  # fraction of steps that carry prompt tokens
    prefill_use: Array  # prompt tokens over the prompt capacity of the steps
    chunks: Array  # steps that one prompt takes
    request_rate: Array
    energy_per_chip: Array  # J per mean step
    feasible: NDArray[np.bool_]  # batch within memory, sequence limit and prefill capacity

    def ttft(self, demand: Demand, first_token_s: float, frontend_s: float, percentile: str, tail: float) -> Array:
        """Time to first token [s] at a percentile (p50 ... p99).

        Waiting for the running step, queueing for prefill capacity, the prompt's own chunks, then the fixed path. The
        wait is taken as exponential with the mean of Kingman's formula; input length gives the spread of the service.
        """
        use = np.minimum(self.prefill_use, 1.0)
        service = np.maximum(self.chunks, 1.0) * self.tpot_mixed
        burst = (demand.arrival_cv**2 + demand.input_cv**2) / 2.0
        with np.errstate(divide="ignore"):
            queue = np.where(use < 1.0, use / (1.0 - use) * burst * self.tpot_mixed, np.inf)
        residual = self.tpot / 2.0
        front = frontend_s / np.maximum(1.0 - self.request_rate * frontend_s, 1e-9)
        front = np.where(self.request_rate * frontend_s < 1.0, front, np.inf)
        long_prompt = np.ceil(np.maximum(self.chunks * (1.0 + QUANTILES[percentile] * demand.input_cv), 1.0))
        own = np.where(self.chunks > 0.0, long_prompt * self.tpot_mixed, service)
        waits = queue + residual
        return np.asarray(first_token_s + front + own + waits * (-np.log(tail)))

    def tpot_at(self, demand: Demand, percentile: str) -> Array:
        """Per-request mean time per output token [s] at a percentile over requests.

        A request averages O steps, of which a binomial number carries a chunk; the batch it meets varies like a
        Poisson count. Short outputs average less, hence the length-biased number of steps.
        """
        steps = max(demand.output_tokens / (1.0 + demand.output_cv**2), 1.0)
        share = self.mixed_share
        spread = np.sqrt(share * (1.0 - share) / steps) * (self.tpot_mixed - self.tpot_decode)
        drift = self.tpot * 0.5 / np.sqrt(np.maximum(self.batch, 1.0))
        return np.asarray(self.tpot + QUANTILES[percentile] * np.hypot(spread, drift * (share > 0.0)))


def decode_load(batch: Array, demand: Demand) -> StepLoad:
    """Step that only decodes `batch` requests."""
    zero = np.zeros_like(batch)
    return StepLoad(zero, zero, zero, batch, batch * demand.kv_tokens)


def mixed_load(batch: Array, chunk: Array, demand: Demand) -> StepLoad:
    """Step that decodes `batch` requests and takes in `chunk` prompt tokens."""
    new = max(demand.new_tokens, 1.0)
    return StepLoad(chunk, chunk * demand.pairs_per_token, chunk / new, batch, batch * demand.kv_tokens)


def side_by_side(first: StepLoad, second: StepLoad) -> StepLoad:
    """Two loads of shape (n, g) as one of shape (n, 2 g): one call of the step model instead of two."""

    def join(name: str) -> Array:
        left, right = np.broadcast_arrays(getattr(first, name), getattr(second, name))
        return np.concatenate([left, right], axis=1)

    loads = (name for name in first.__dataclass_fields__ if name != "query")
    return StepLoad(**{name: join(name) for name in loads}, query=first.query)


def batch_limit(fit: MemoryFit, demand: Demand, max_requests: float) -> Array:
    """Most requests that an instance can run at once: KV memory and the engine's sequence limit, shape (n,)."""
    held = np.array([[demand.kv_tokens]])
    return np.minimum(fit.requests(held)[:, 0], max_requests * fit.ranks)


def aggregated(model: StepModel, fit: MemoryFit, demand: Demand, batch: Array, token_budget: Array | float) -> Point:
    """Steady states with prefill and decode mixed on the same chips, at `batch` (n, g) decoding requests.

    A prompt is taken in by one lane: one data-parallel rank of one micro-batch. A step is as slow as its slowest lane,
    so with L lanes, each with a chunk in a share f of its steps, a share 1 - (1 - f)^L of the steps is slow.
    """
    ranks, stages = model.placements.dp, model.placements.pp
    lanes = ranks * stages
    limit = batch_limit(fit, demand, model.engine.max_requests.si)[:, None]
    prompt = batch / lanes * demand.new_tokens / demand.output_tokens  # per lane and step
    room = token_budget - batch / lanes
    # Prompts come whole, cut by the budget: a chunk is at least min(prompt length, budget).
    whole = np.minimum(np.maximum(demand.new_tokens, prompt), np.maximum(room, 1.0))
    often = np.minimum(prompt / np.maximum(whole, 1e-9), 1.0)
    chunk = prompt / np.maximum(often, 1e-12)
    share = 1.0 - (1.0 - often) ** lanes
    together = ranks * often / np.maximum(1.0 - (1.0 - often) ** ranks, 1e-12)  # ranks with a chunk, when any has one
    load = side_by_side(decode_load(batch, demand), mixed_load(batch, chunk * together * stages, demand))
    lane = side_by_side(decode_load(batch / lanes, demand), mixed_load(batch / lanes, chunk, demand))
    both = model.cost(load, busiest=_uneven(lane, demand, ranks))
    (plain, slow), (idle_work, busy_work) = (np.split(part, 2, axis=1) for part in (both.time, both.active_energy))
    tpot = (1.0 - share) * plain + share * slow
    # The booked work is the busiest lane's; the mean lane only has its share of the prompt tokens.
    mean_work = idle_work + np.maximum(busy_work - idle_work, 0.0) * prompt / np.maximum(chunk, 1e-12)
    return Point(
        batch=batch,
        tpot=tpot,
        tpot_decode=plain,
        tpot_mixed=slow,
        chunk=chunk,
        mixed_share=share,
        prefill_use=prompt / np.maximum(room, 1e-9),
        chunks=demand.new_tokens / np.maximum(np.minimum(room, np.maximum(chunk, 1.0)), 1.0),
        request_rate=batch / (tpot * demand.output_tokens),
        energy_per_chip=limited_energy(model.hardware, tpot, mean_work),
        feasible=(batch <= limit * (1.0 + 1e-9)) & (prompt < room) & (fit.budget[:, None] > 0.0),
    )


def _uneven(lane: StepLoad, demand: Demand, ranks: Array) -> StepLoad:
    """The lane whose requests are longest: 1 + cv z / sqrt(B) with z the largest of `ranks` normal variables."""
    requests = np.maximum(lane.decode_requests, 1.0)
    longest = 1.0 + demand.kv_cv * largest_of(np.maximum(ranks, 1.0)) / np.sqrt(requests)
    return replace(lane, decode_kv_tokens=lane.decode_kv_tokens * longest)


@dataclass(frozen=True)
class ClosedLoop:
    """Steady state with a fixed number of users, arrays (n, g): what benchmarks measure."""

    point: Point
    waiting: Array  # users that cannot be admitted
    ttft_p50: Array


def closed_loop(
    model: StepModel, fit: MemoryFit, demand: Demand, users: Array, token_budget: float, first_token_s: float
) -> ClosedLoop:
    """Steady state of `users` (n, g) that each send the next request when the last is answered.

    N = B + rate x TTFT (Little's law): some users wait for their first token, B decode. Solved by fixed-point steps on
    the share that decodes; users above the limit of the instance queue and see its departures.
    """
    limit = batch_limit(fit, demand, model.engine.max_requests.si)[:, None]
    frontend = model.engine.frontend_s.si
    held = np.minimum(users, np.maximum(limit, 1.0))
    decoding = held * 0.9
    for _ in range(12):
        point = aggregated(model, fit, demand, decoding, token_budget)
        first = point.ttft(demand, first_token_s, frontend, "p50", np.exp(-1.0))
        first = np.minimum(first, held / point.request_rate)  # a closed loop cannot queue more than its users
        wanted = held / (1.0 + first / (point.tpot * demand.output_tokens))
        decoding = np.sqrt(decoding * np.maximum(wanted, held * 1e-3))
    waiting = np.maximum(users - held, 0.0)
    median = point.ttft(demand, first_token_s, frontend, "p50", 0.5)
    median = np.minimum(median, first_token_s + held / point.request_rate) + waiting / point.request_rate
    return ClosedLoop(point, waiting, median)


@dataclass(frozen=True)
class PrefillPoint:
    """A pool that only prefills, per instance, arrays (n, g) over utilisation."""

    use: Array
    request_rate: Array
    step: Array  # time of a step [s]
    chunks: Array
    tokens: Array  # prompt tokens per step
    energy_per_chip: Array  # J per second of wall time, averaged over busy and idle

    def ttft(self, demand: Demand, percentile: str, tail: float) -> Array:
        """Queueing plus own prefill [s] at a percentile; transfer and fixed path are added by the caller."""
        burst = (demand.arrival_cv**2 + demand.input_cv**2) / 2.0
        queue = self.use / (1.0 - self.use) * burst * self.step
        own = np.maximum(self.chunks * (1.0 + QUANTILES[percentile] * demand.input_cv), self.chunks * 0.5) * self.step
        return np.asarray(own + (queue + self.use * self.step / 2.0) * (-np.log(tail)))


def prefill_pool(
    model: StepModel, fit: MemoryFit, demand: Demand, use: Array, token_budget: Array | float
) -> PrefillPoint:
    """Instances that only take prompts in, at utilisations `use` (1, g) of their capacity."""
    place = model.placements
    tokens = np.minimum(demand.new_tokens, token_budget) * place.dp * place.pp + 0.0 * use
    zero = np.zeros_like(tokens)
    load = StepLoad(tokens, tokens * demand.pairs_per_token, tokens / max(demand.new_tokens, 1.0), zero, zero)
    cost = model.cost(load)
    chunks = np.maximum(demand.new_tokens / token_budget, 1.0) + zero
    rate = tokens / max(demand.new_tokens, 1.0) / cost.time * use
    fits = (fit.budget[:, None] > fit.kv_per_token[:, None] * demand.input_tokens) & (tokens > 0.0)
    power = use * cost.energy_per_chip / cost.time + (1.0 - use) * model.hardware.idle_power * model.hardware.chip_power
    return PrefillPoint(use + zero, np.where(fits, rate, 0.0), cost.time, chunks, tokens, power)


def decode_pool(model: StepModel, fit: MemoryFit, demand: Demand, batch: Array) -> Point:
    """Instances that only decode, at `batch` (n, g) requests."""
    limit = batch_limit(fit, demand, model.engine.max_requests.si)[:, None]
    place = model.placements
    lane = decode_load(batch / (place.dp * place.pp), demand)
    cost = model.cost(decode_load(batch, demand), busiest=_uneven(lane, demand, place.dp))
    zero = np.zeros_like(cost.time)
    return Point(
        batch=batch + zero,
        tpot=cost.time,
        tpot_decode=cost.time,
        tpot_mixed=cost.time,
        chunk=zero,
        mixed_share=zero,
        prefill_use=zero,
        chunks=zero,
        request_rate=batch / (cost.time * demand.output_tokens),
        energy_per_chip=cost.energy_per_chip,
        feasible=(batch <= limit * (1.0 + 1e-9)) & (fit.budget[:, None] > 0.0),
    )
