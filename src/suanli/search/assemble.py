"""From a chosen row of the tables to an answer: metrics with intervals, cost, what binds, what was assumed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from suanli.catalog.schema import Chip, System
from suanli.economics.price import CostBreakdown
from suanli.mapping.ledger import StepCost, StepLoad
from suanli.search.account import StepAccount, operator_times
from suanli.search.candidates import Column, State, operating_point
from suanli.search.classes import PoolTime, cached_share, class_prices
from suanli.search.clocks import clock_note
from suanli.search.cost import PoolCost, SystemCost
from suanli.search.estimate import Estimate, combine, spread
from suanli.search.provision import provisioned_chips
from suanli.search.records import Widths, ttft_kind
from suanli.search.result import Deployment, Pool
from suanli.serving.steady import QUANTILES, TAILS, Demand, Point, PrefillPoint, decode_load, mixed_load

SECONDS_PER_HOUR = 3600.0
MTOK = 1e6
MS = 1e3
GB = 1e9


@dataclass(frozen=True)
class Choice:
    """One pool of a deployment before it is described."""

    column: Column
    row: int
    system: System
    chip: Chip
    cost: SystemCost | None
    widths: Widths
    evidence: str
    input_width: float  # factor from the ranges of guessed chip data, 1 where all is published
    sources: tuple[str, ...]
    instances: int | None = None  # given, or as many as the rate needs
    chip_power: float | None = None  # mean W per chip, where a replay has it

    @property
    def best_rate(self) -> float:
        """Requests/s of one instance at the SLO."""
        return float(self.column.rate[self.row])

    def instances_for(self, rate: float) -> int:
        """Instances that serve `rate` requests/s."""
        if self.instances is not None:
            return self.instances
        return max(int(np.ceil(rate / self.best_rate - 1e-9)), 1)


@dataclass(frozen=True)
class Running:
    """A pool at its operating point."""

    choice: Choice
    state: State
    instances: int
    instance_chips: int
    chips: int
    load: float
    chip_power: float  # mean W per chip of the instances
    work: StepLoad  # of one instance in one step
    step: StepCost

    @property
    def provisioned(self) -> int:
        """Chips paid for."""
        size = np.array([float(self.instance_chips)])
        return int(provisioned_chips(self.choice.system, size, np.array([float(self.instances)]))[0])

    @property
    def all_in_power(self) -> float:
        """Provisioned IT power [W]."""
        return self.provisioned * self.state.setting.hardware.all_in_power

    def price(self) -> PoolCost | None:
        """What its chips cost; None without a price."""
        if self.choice.cost is None:
            return None
        hw = self.state.setting.hardware
        waiting = hw.all_in_power - hw.chip_power * (1.0 - hw.idle_power)
        idle = min(max(waiting, 0.0) / hw.all_in_power, 1.0)
        mean = max(min(self.mean_power / self.all_in_power, 1.0), idle)
        return PoolCost(self.choice.cost, self.provisioned, mean, idle)

    @property
    def mean_power(self) -> float:
        """Mean IT power [W]: chips at work, idle spares, and everything around the chips."""
        hw = self.state.setting.hardware
        idle = (self.provisioned - self.chips) * hw.idle_power * hw.chip_power
        around = max(hw.all_in_power - hw.chip_power, 0.0) * self.provisioned
        return self.chips * self.chip_power + idle + around


def run_pool(choice: Choice, rate: float) -> Running:
    """Operating point of a pool that serves `rate` requests/s in total."""
    instances = choice.instances_for(rate)
    per_instance = rate / instances
    state = operating_point(choice.column, choice.row, per_instance)
    size = int(choice.column.placements.chips[choice.row])
    point, demand = state.point, state.setting.demand
    if isinstance(point, PrefillPoint):
        tokens = point.tokens
        zero = np.zeros_like(tokens)
        load = StepLoad(tokens, tokens * demand.pairs_per_token, tokens / max(demand.new_tokens, 1.0), zero, zero)
        power = float(point.energy_per_chip[0, 0])
    else:
        load = (
            mixed_load(point.batch, point.batch * demand.new_tokens / demand.output_tokens, demand)
            if point.mixed_share.max() > 0.0
            else decode_load(point.batch, demand)
        )
        power = float(point.energy_per_chip[0, 0] / point.tpot[0, 0])
    power = power if choice.chip_power is None else choice.chip_power
    step = state.model.cost(load, trace=True)
    load_share = per_instance / choice.best_rate
    return Running(choice, state, instances, size, size * instances, load_share, power, load, step)


def account_of(running: Running) -> StepAccount:
    """Where the time of one step of a pool goes."""
    return StepAccount(
        role=running.choice.column.role,
        system=running.choice.system.id,
        requests=float(running.work.decode_requests.ravel()[0]),
        prefill_tokens=float(running.work.prefill_tokens.ravel()[0]),
        operators=operator_times(running.step),
    )


def describe_pool(running: Running) -> Pool:
    """The plain description of a pool."""
    column, row, setting = running.choice.column, running.choice.row, running.state.setting
    place, fit, point = column.placements, running.state.fit, running.state.point
    batch = float(point.batch[0, 0]) if isinstance(point, Point) else 0.0
    kv = batch * setting.demand.kv_tokens * float(fit.kv_per_token[0]) / float(fit.ranks[0])
    memory = {
        "weights_gb": float(fit.weights[0]) / GB,
        "kv_cache_gb": kv / GB,
        "reserve_gb": fit.reserve / GB,
        "capacity_gb": fit.capacity / GB,
    }
    return Pool(
        role=column.role,
        system=running.choice.system.id,
        chip=running.choice.chip.id,
        engine=setting.engine.id,
        tp=int(place.tp[row]),
        pp=int(place.pp[row]),
        dp=int(place.dp[row]),
        ep=int(place.ep[row]),
        instances=running.instances,
        chips=running.chips,
        chips_provisioned=running.provisioned,
        token_budget=int(running.state.token_budget),
        batch=batch,
        load=running.load,
        memory=memory,
    )


def transfer_seconds(prefill: State, decode: State) -> float:
    """Send one request's KV cache over the slower network of the two pools, all chips of a group together [s]."""
    source, sink = prefill.setting.hardware, decode.setting.hardware
    same = source.system == sink.system
    inner = source.network.levels[-1].bandwidth * source.network.efficiency if source.network.levels else 0.0
    link = inner if same else min(source.scale_out_bandwidth, sink.scale_out_bandwidth)
    demand = prefill.setting.demand
    fit = prefill.fit
    per_chip = float(fit.held(np.array([[demand.input_tokens]]))[0, 0])
    return source.scale_out_latency + per_chip / link if link > 0.0 else np.inf


def latencies(runs: tuple[Running, ...], demand: Demand) -> dict[str, float]:
    """TTFT and TPOT by percentile [ms]."""
    last = cast("Point", runs[-1].state.point)
    engine = runs[-1].state.setting.engine
    found: dict[str, float] = {}
    for percentile in QUANTILES:
        if len(runs) == 1:
            first = last.ttft(demand, engine.first_token_s.si, engine.frontend_s.si, percentile, TAILS[percentile])
            seconds = float(first[0, 0])
        else:
            pool = cast("PrefillPoint", runs[0].state.point)
            fixed = engine.first_token_s.si + engine.frontend_s.si + transfer_seconds(runs[0].state, runs[1].state)
            seconds = float(pool.ttft(demand, percentile, TAILS[percentile])[0, 0]) + fixed
        found[f"ttft_{percentile}_ms"] = seconds * MS
        found[f"tpot_{percentile}_ms"] = float(last.tpot_at(demand, percentile)[0, 0]) * MS
    return found


def assemble(choices: tuple[Choice, ...], rate: float, demand: Demand) -> Deployment:
    """Describe a deployment of one pool, or of a prefill and a decode pool, that serves `rate` requests/s."""
    runs = tuple(run_pool(choice, rate) for choice in choices)
    pools = tuple(describe_pool(run) for run in runs)
    worst = max(choices, key=lambda choice: choice.widths.throughput.si * choice.input_width)
    offers = [run.price() for run in runs]
    prices = tuple(offer for offer in offers if offer is not None) if None not in offers else ()
    parts, width = _hourly(prices)
    metrics = _metrics(runs, pools, rate, demand, worst) | _prices(runs, prices, width, rate, demand, worst)
    busiest = runs[-1]
    setting = busiest.state.setting
    notes = [*setting.precision.notes, f"KV cache in {setting.precision.kv}", f"engine profile {setting.engine.id}"]
    notes += [
        f"token budget {int(busiest.state.token_budget)} per step (assumed)",
        "experts evenly popular up to the skew",
    ]
    if len(runs) > 1:
        notes.append(
            f"KV transfer {transfer_seconds(runs[0].state, runs[1].state) * MS:.1f} ms per request, not hidden"
        )
    notes += dict.fromkeys(clock_note(choice.chip) for choice in choices if choice.chip.rated_power is not None)
    sources = tuple(sorted({name for choice in choices for name in choice.sources}))
    return Deployment(
        pools=pools,
        precision=setting.precision.label,
        kv_cache=setting.precision.kv,
        metrics=metrics,
        time_shares=_shares(busiest.step),
        cost_parts=parts,
        cost_basis="; ".join(dict.fromkeys(choice.cost.basis for choice in choices if choice.cost)),
        bottleneck=_bottleneck(busiest),
        evidence=worst.evidence,
        assumptions=tuple(notes),
        sources=sources,
        steps=tuple(account_of(run) for run in runs),
        prices=prices,
        choices=choices,
    )


def _metrics(
    runs: tuple[Running, ...], pools: tuple[Pool, ...], rate: float, demand: Demand, worst: Choice
) -> dict[str, Estimate]:
    widths, basis, extra = worst.widths, worst.evidence, worst.input_width
    found: dict[str, Estimate] = {}
    kind = ttft_kind(pools[-1].batch, max(pool.dp for pool in pools), len(pools))
    for name, value in latencies(runs, demand).items():
        first = widths.first_token(kind, tail="p50" not in name)
        width = combine(first if name.startswith("ttft") else widths.tpot.si, extra)
        found[name] = spread(value, width, width, basis)
    chips = sum(pool.chips_provisioned for pool in pools)
    capacity = min(run.instances * run.choice.best_rate for run in runs)
    width = combine(widths.throughput.si, extra)
    tokens = demand.input_tokens + demand.output_tokens
    found["chips"] = spread(chips, 1.0, 1.0, "counted")
    found["max_request_s"] = spread(capacity, width, width, basis)
    found["max_output_tok_s_per_chip"] = spread(capacity * demand.output_tokens / chips, width, width, basis)
    found["max_total_tok_s_per_chip"] = spread(capacity * tokens / chips, width, width, basis)
    tpot = found["tpot_p50_ms"]
    found["output_tok_s_per_user"] = Estimate(MS / tpot.value, MS / tpot.high, MS / tpot.low, basis)
    found["power_kw"] = spread(sum(run.all_in_power for run in runs) / MS, 1.0, 1.0, "catalog")
    mean_power = sum(run.mean_power for run in runs)
    # Power is bounded by the chip limit: its own error is smaller than that of throughput (one measured point within
    # 25 %, ix-0043); energy per token inherits the throughput width.
    found["joules_per_output_token"] = spread(mean_power / (rate * demand.output_tokens), width, width, basis)
    found["tokens_per_joule"] = spread(rate * tokens / mean_power, width, width, basis)
    return found


def _hourly(prices: Sequence[PoolCost]) -> tuple[dict[str, float], tuple[float, float]]:
    """Cost per hour by part [USD/h], and the factors of its interval; empty without prices."""
    if not prices:
        return {}, (1.0, 1.0)
    total = CostBreakdown()
    down, up, hourly = 0.0, 0.0, sum(price.usd_per_hour for price in prices)
    for price in prices:
        hour = price.cost.per_chip_hour(price.load).scaled(price.chips)
        total = CostBreakdown(**{k: v + hour.parts()[k] for k, v in total.parts().items()})
        # Price errors of two pools of one study are taken as common: the same market and the same financing.
        down, up = (
            log + price.usd_per_hour / hourly * np.log(width)
            for log, width in zip((down, up), price.cost.width, strict=True)
        )
    parts = {name: float(value) for name, value in total.parts().items() if float(value) > 0.0}
    return parts, (float(np.exp(down)), float(np.exp(up)))


def _prices(
    runs: tuple[Running, ...],
    prices: Sequence[PoolCost],
    cost_width: tuple[float, float],
    rate: float,
    demand: Demand,
    worst: Choice,
) -> dict[str, Estimate]:
    if not prices:
        return {}
    hourly = sum(price.usd_per_hour for price in prices)
    # A plan that is too slow by a factor needs that many more chips: throughput error is cost error.
    down, up = (combine(worst.widths.throughput.si, worst.input_width, one) for one in cost_width)
    tokens = demand.input_tokens + demand.output_tokens
    found = {
        "usd_per_hour": spread(hourly, *cost_width, "prices"),
        "usd_per_mtok": spread(hourly / SECONDS_PER_HOUR / (rate * tokens) * MTOK, down, up, worst.evidence),
        "usd_per_mtok_blended_output": spread(
            hourly / SECONDS_PER_HOUR / (rate * demand.output_tokens) * MTOK, down, up, worst.evidence
        ),
    }
    times = [_pool_time(run, price, hourly, demand) for run, price in zip(runs, prices, strict=True)]
    for name, value in class_prices(times, hourly, rate, demand).items():
        found[name] = spread(value, down, up, worst.evidence)
    capex = sum((price.cost.capex_per_chip or 0.0) * price.chips for price in prices)
    if capex:
        found["capex_musd"] = spread(capex / MTOK, *cost_width, "prices")
    return found


def _pool_time(run: Running, price: PoolCost, hourly: float, demand: Demand) -> PoolTime:
    """How the chips of a pool spend an hour."""
    point, prefill = run.state.point, 1.0
    if isinstance(point, Point):
        prefill = float(((point.tpot_mixed - point.tpot_decode) * point.mixed_share / point.tpot)[0, 0])
    cached = cached_share(run.state.model, run.work, demand) if prefill > 0.0 else 0.0
    return PoolTime(price.usd_per_hour / hourly, run.load * run.chips / run.provisioned, prefill, cached)


def _shares(step: StepCost) -> dict[str, float]:
    total = float(np.sum([value[0, 0] for value in step.parts.values()]))
    return {part: float(value[0, 0]) / total for part, value in step.parts.items()}


def _bottleneck(run: Running) -> str:
    """What takes most of a step, and whether arithmetic or memory traffic is the larger bound."""
    shares = _shares(run.step)
    fixed = shares["launch"] + shares["host"]
    part = max(shares, key=lambda name: shares[name])
    if fixed > shares[part]:
        return f"launch and host time ({fixed:.0%} of a step)"
    if part == "collective":
        return f"collectives ({shares[part]:.0%} of a step)"
    bound = "memory bandwidth" if run.step.byte_time[0, 0] > run.step.flop_time[0, 0] else "arithmetic"
    return f"{bound}, mostly {part} ({shares[part]:.0%} of a step)"
