"""The money of a plan: intervals of every headline, who is cheapest, what moves the answer, and how to pay for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from suanli.catalog.loader import Catalog
from suanli.economics.finance import EconomicsError
from suanli.economics.price import HOURS_PER_YEAR, SECONDS_PER_HOUR
from suanli.economics.tokens import TokenClass
from suanli.economics.uncertainty import (
    Regret,
    Swing,
    least_regret,
    probability_cheaper,
    probability_cheapest,
    quantiles,
    sample_headlines,
    tornado,
)
from suanli.search.cost import SystemCost
from suanli.search.estimate import Estimate
from suanli.search.fleet import Fleet, fleet_of
from suanli.search.market import Market
from suanli.search.megawatt import PowerPrice, power_price
from suanli.search.money_json import money_dict
from suanli.search.rank import TIE
from suanli.search.result import Deployment
from suanli.search.scenarios import costs_in, scenarios_of
from suanli.search.study import Study
from suanli.search.ways import CashPlan, Ways, class_rates, revenue_of, revenue_per_hour, ways_of
from suanli.serving.steady import Demand

TOP = 20  # deployments that are sampled
SAMPLES = 10_000
SEED = 1
# Metrics that move in proportion to the price of all tokens.
FOLLOWERS = (
    "usd_per_mtok_blended_output",
    "usd_per_mtok_uncached_input",
    "usd_per_mtok_cached_input",
    "usd_per_mtok_output",
)


@dataclass(frozen=True)
class Quantiles:
    """Where 10, 50 and 90 % of the belief lie below."""

    p10: float
    p50: float
    p90: float

    def scaled(self, factor: float) -> Quantiles:
        """All three times a factor."""
        return Quantiles(self.p10 * factor, self.p50 * factor, self.p90 * factor)


@dataclass(frozen=True)
class Bill:
    """What the hours of a deployment are paid for [USD/h]: work, waiting, broken chips, and those left over."""

    busy: float
    idle: float
    unavailable: float
    undeployed: float  # bought because machines are sold whole, in no instance
    spare_enough: bool  # the chips that work can carry the traffic while others are broken

    @property
    def total(self) -> float:
        """The whole bill [USD/h]."""
        return self.busy + self.idle + self.unavailable + self.undeployed

    @property
    def usd_per_useful_hour(self) -> float:
        """Whole bill over the share of the hours with work [USD/h]."""
        return self.total**2 / self.busy if self.busy else float("inf")


@dataclass(frozen=True)
class ClassPrice:
    """What a million tokens of one class cost [USD]: the busy time that they take, and with a share of all the rest."""

    tokens_per_s: float
    direct: float
    full: float


@dataclass(frozen=True)
class FleetMoney:
    """One deployment in money."""

    fleet: Fleet
    deployment: Deployment
    headlines: Mapping[str, Quantiles]
    p_cheapest: float
    p_beats_best: float
    p_cheaper_than_next: float | None
    bill: Bill
    classes: Mapping[TokenClass, ClassPrice]

    @cached_property
    def waterfall(self) -> dict[str, float]:
        """Cost by line [USD/h]."""
        return self.fleet.waterfall()


@dataclass(frozen=True)
class Question:
    """What of a study the money depends on."""

    study: Study
    market: Market
    catalog: Catalog
    demand: Demand
    model: str

    @property
    def revenue(self) -> dict[TokenClass, float] | None:
        """Price of each class of token [USD/Mtok]; None where the study sells nothing."""
        return revenue_of(self.study.revenue, self.market, self.model, self.demand)


@dataclass(frozen=True)
class Account:
    """One deployment in detail: what moves its price, how else it could be paid for, its cash flow."""

    one: FleetMoney
    swings: tuple[Swing, ...]  # of its price per million tokens
    ways: Ways
    cash: CashPlan


@dataclass(frozen=True)
class Money:
    """The money of a plan; the deployments are the first :data:`TOP` with a price, in the order of the plan."""

    question: Question = field(repr=False)
    deployments: tuple[FleetMoney, ...]
    account: Account  # of the first
    regret: Regret
    scenario_costs: Mapping[str, Mapping[str, float]]
    costs: Mapping[str, SystemCost] = field(repr=False)  # of every system with a price
    samples: int = SAMPLES

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return money_dict(self)


def money_of(order: Sequence[Deployment], costs: Mapping[str, SystemCost], question: Question) -> Money | None:
    """Money of a ranked plan; None where nothing has a price. Raises EconomicsError with every problem."""
    top = [one for one in order if one.prices][:TOP]
    if not top:
        return None
    scenarios = scenarios_of(question.study.scenarios, question.market.profile)
    tokens = question.demand.input_tokens + question.demand.output_tokens
    fleets = [fleet_of(one, tokens, rate_of(one)) for one in top]
    deployments, futures = sampled(top, fleets, question.demand), costs_in(fleets, scenarios)
    return Money(
        question=question,
        deployments=deployments,
        account=account_of(deployments[0], question),
        regret=least_regret(futures),
        scenario_costs=futures,
        costs=costs,
    )


def account_of(one: FleetMoney, question: Question) -> Account:
    """Work out one deployment in detail."""
    fleet, deployment, market, demand = one.fleet, one.deployment, question.market, question.demand
    prices = question.revenue
    revenue = revenue_per_hour(prices, demand, rate_of(deployment)) if prices else 0.0
    return Account(
        one=one,
        swings=tuple(swing for swing in tornado(fleet.ranges, fleet.usd_per_mtok) if swing.size > 0.0),
        ways=ways_of(deployment, fleet, market, question.catalog, demand, question.model),
        cash=CashPlan(fleet.cash_flow(revenue * HOURS_PER_YEAR), fleet.discount_rate, prices, fleet.loan()),
    )


def check(question: Question) -> None:
    """Raise EconomicsError for scenarios and revenues that cannot be read, before anything is computed."""
    problems: list[str] = []
    try:
        scenarios_of(question.study.scenarios, question.market.profile)
    except EconomicsError as error:
        problems += error.problems
    try:
        _ = question.revenue
    except EconomicsError as error:
        problems += error.problems
    if problems:
        raise EconomicsError(*problems)


def rate_of(deployment: Deployment) -> float:
    """Requests/s that a deployment serves [request/s]."""
    return deployment.value("max_request_s") * max(pool.load for pool in deployment.pools)


def sampled(
    top: Sequence[Deployment], fleets: Sequence[Fleet], demand: Demand, samples: int = SAMPLES, seed: int = SEED
) -> tuple[FleetMoney, ...]:
    """Every headline of every deployment over the ranges of all inputs and the error of the prediction together."""
    table = sample_headlines(fleets, samples, seed)
    draws = {name: headlines["usd_per_mtok"] for name, headlines in table.items()}
    cheapest = probability_cheapest(draws)
    best = draws[fleets[0].name]
    found = []
    for index, (one, fleet) in enumerate(zip(top, fleets, strict=True)):
        after = draws[fleets[index + 1].name] if index + 1 < len(fleets) else None
        found.append(
            FleetMoney(
                fleet=fleet,
                deployment=one,
                headlines=_headlines(one, table[fleet.name]),
                p_cheapest=cheapest[fleet.name],
                p_beats_best=probability_cheaper(draws[fleet.name], best) if index else 0.0,
                p_cheaper_than_next=None if after is None else probability_cheaper(draws[fleet.name], after),
                bill=bill_of(one),
                classes=classes_of(one, demand),
            )
        )
    return tuple(found)


def repriced(order: Sequence[Deployment], money: Money, objective: str) -> tuple[Deployment, ...]:
    """The deployments of a plan with the sampled intervals of their money, and ties by the sampled probabilities."""
    known = {one.deployment.rank: one for one in money.deployments}
    return tuple(_repriced(one, known[one.rank], objective) if one.rank in known else one for one in order)


def bill_of(deployment: Deployment) -> Bill:
    """Split of the price of an hour: work by the load of each pool, broken chips, those in no instance, waiting."""
    total = sum(pool.usd_per_hour for pool in deployment.prices)
    seen = deployment.utilisation / max(pool.load for pool in deployment.pools)
    busy = sum(
        price.usd_per_hour * pool.deployed * min(pool.load * seen, 1.0)
        for price, pool in zip(deployment.prices, deployment.pools, strict=True)
    )
    broken = sum(
        price.usd_per_hour * (1.0 - price.cost.quote.values.get("operations.availability", 1.0))
        for price in deployment.prices
    )
    enough = busy + broken <= total * (1.0 + 1e-9)
    unavailable = min(broken, total - busy)
    pools = zip(deployment.prices, deployment.pools, strict=True)
    spare = sum(price.usd_per_hour * (1.0 - pool.deployed) for price, pool in pools)
    undeployed = min(spare, total - busy - unavailable)
    return Bill(busy, max(total - busy - unavailable - undeployed, 0.0), unavailable, undeployed, enough)


def classes_of(deployment: Deployment, demand: Demand) -> dict[TokenClass, ClassPrice]:
    """Cost of each class of token by the machine time that it takes.

    A cached input token takes the time in which new tokens attend to its KV; the memory that holds it is paid for by
    the decoding that it leaves less room for. A reasoning token is an output token: a decode step does not know the
    difference, and the traffic counts them together.
    """
    bill, rates = bill_of(deployment), class_rates(demand, rate_of(deployment))
    busy = bill.busy / bill.total
    found = {}
    for name, rate in rates.items():
        metric = deployment.metrics.get(f"usd_per_mtok_{name}")
        full = metric.value if metric else 0.0
        found[name] = ClassPrice(rate, full * busy, full)
    return found


def _headlines(deployment: Deployment, draws: Mapping[str, np.ndarray]) -> dict[str, Quantiles]:
    found = {name: Quantiles(*quantiles(values)) for name, values in draws.items()}
    middle = deployment.value("usd_per_mtok")
    for name in FOLLOWERS:
        if name in deployment.metrics:
            found[name] = found["usd_per_mtok"].scaled(deployment.value(name) / middle)
    per_request = deployment.value("usd_per_hour") / SECONDS_PER_HOUR / rate_of(deployment)
    found["usd_per_request"] = found["usd_per_mtok"].scaled(per_request / middle)
    useful = bill_of(deployment).usd_per_useful_hour / deployment.value("usd_per_hour")
    found["usd_per_useful_hour"] = found["usd_per_hour"].scaled(useful)
    return found


def _repriced(one: Deployment, money: FleetMoney, objective: str) -> Deployment:
    changed: dict[str, Estimate] = {}
    for name, found in money.headlines.items():
        if name in one.metrics:
            old = one.metrics[name]
            changed[name] = replace(old, low=min(found.p10, old.value), high=max(found.p90, old.value))
    one = replace(one, metrics={**one.metrics, **changed})
    if objective != "usd_per_mtok":
        return one
    chance = money.p_beats_best
    return replace(one, p_beats_best=chance, tie_with_best=one.rank > 1 and chance > 1.0 - TIE)


def power_of(deployments: Sequence[Deployment], question: Question) -> PowerPrice | None:
    """Price of the power cap of a study; None without one, or where the traffic follows from the latency.

    `deployments` are the best of every system, also those that break a limit: they are what a larger cap would allow.
    """
    limits, rate, pue = question.study.limits, question.study.workload.rate, question.market.pue
    caps = [limits.power, limits.site_power / pue if limits.site_power and pue else None]
    given = [cap for cap in caps if cap is not None]
    if not given or rate is None:
        return None
    prices = question.revenue
    per_request = revenue_per_hour(prices, question.demand, 1.0) / SECONDS_PER_HOUR if prices else None
    return power_price(deployments, rate, min(given), limits.chips, per_request)
