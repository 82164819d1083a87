"""The same machines paid for in every way at one utilisation: bought, reserved, by the hour, or as tokens of an API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from suanli.catalog.loader import Catalog
from suanli.catalog.schema import ApiPrice
from suanli.economics.cashflow import CashFlow, with_loan
from suanli.economics.compare import Alternative, break_even, of_api
from suanli.economics.finance import EconomicsError, refuse
from suanli.economics.money import convert, value_in
from suanli.economics.offers import api_usd_per_mtok
from suanli.economics.overrides import study_quantity, unit_as_given
from suanli.economics.profile import EconomicsProfile
from suanli.economics.tokens import TokenClass
from suanli.quantity import QuantityError
from suanli.search.cost import NoPriceError, cost_of
from suanli.search.fleet import Fleet, Loan, per_hour
from suanli.search.market import Market, owner_of
from suanli.search.result import Deployment
from suanli.serving.steady import Demand

API = "api"
SOLD: tuple[TokenClass, ...] = ("uncached_input", "cached_input", "output")
UTILISATIONS = tuple(float(share) for share in np.round(np.geomspace(0.05, 1.0, 25), 3))  # of the cost curve
MTOK = 1e6


@dataclass(frozen=True)
class Way:
    """One way of paying for the work of the deployment."""

    name: str
    basis: str
    alternative: Alternative
    usd_per_mtok: float  # at the utilisation of the plan
    break_even: float | None  # utilisation at which it costs the same as the plan's own way; None where there is none
    cheaper_above: str | None  # name of the way that is cheaper above that utilisation


@dataclass(frozen=True)
class Ways:
    """All ways at one utilisation; the plan's own comes first."""

    utilisation: float  # offered over the highest rate that meets the SLO
    tokens_per_s: float  # input and output, at full utilisation
    ways: tuple[Way, ...]
    missing: Mapping[str, str]  # way -> why it has no price

    def curve(self) -> dict[str, list[float]]:
        """USD per million tokens of each way over :data:`UTILISATIONS`."""
        shares = np.array(UTILISATIONS)
        return {
            way.name: [float(value) for value in np.asarray(way.alternative.usd_per_mtok(shares, self.tokens_per_s))]
            for way in self.ways
        }


@dataclass(frozen=True)
class CashPlan:
    """Cash flow of a deployment; what needs a revenue is None without one."""

    flow: CashFlow
    discount_rate: float | None
    revenue_usd_per_mtok: Mapping[TokenClass, float] | None
    loan: Loan | None = None

    @property
    def owners_irr(self) -> float | None:
        """Internal rate of return on the money of the owners, after the loan [1/year]."""
        if self.loan is None or not self.revenue_usd_per_mtok:
            return None
        return with_loan(self.flow, self.loan.fraction, self.loan.interest, self.loan.term).irr()

    @property
    def npv(self) -> float | None:
        """Net present value [USD]; without a revenue, that of the costs."""
        return None if self.discount_rate is None else self.flow.npv(self.discount_rate)

    @property
    def irr(self) -> float | None:
        """Internal rate of return [1/year]."""
        return self.flow.irr() if self.revenue_usd_per_mtok else None

    @property
    def payback_years(self) -> float | None:
        """Years until the undiscounted flows have repaid the purchase."""
        return self.flow.payback_years() if self.revenue_usd_per_mtok else None


def class_rates(demand: Demand, rate: float) -> dict[TokenClass, float]:
    """Tokens of each class that are sold per second at `rate` requests/s [token/s]."""
    cached = demand.input_tokens - demand.new_tokens
    rates = {"uncached_input": demand.new_tokens, "cached_input": cached, "output": demand.output_tokens}
    return {name: rates[name] * rate for name in SOLD}


def ways_of(deployment: Deployment, fleet: Fleet, market: Market, catalog: Catalog, demand: Demand, model: str) -> Ways:
    """Every way of paying for the machines of a deployment, and the API prices of its model."""
    utilisation = deployment.utilisation
    served = deployment.value("max_request_s") * max(pool.load for pool in deployment.pools)
    busy = class_rates(demand, served / utilisation)
    tokens = sum(busy.values())
    own = replace(fleet.alternative(utilisation), name=_label(market.profile, deployment))
    alternatives = [(own, deployment.cost_basis)]
    missing: dict[str, str] = {}
    for profile in _others(market):
        name = label_of(profile)
        try:
            pools = tuple(
                replace(pool, cost=cost_of(catalog.system(pool.cost.system), market, profile))
                for pool in deployment.prices
            )
        except NoPriceError as error:
            missing[name] = str(error)
            continue
        one = Fleet(name, pools, fleet.tokens_per_s).alternative(utilisation)
        alternatives.append((one, "; ".join(dict.fromkeys(pool.cost.basis for pool in pools))))
    for price in api_prices(market, model):
        name = f"API of {price.seller}"
        alternatives.append((of_api(name, _api(price, market), busy), f"price of {price.as_of}"))
    return Ways(
        utilisation=utilisation,
        tokens_per_s=tokens,
        ways=tuple(_way(one, basis, own, utilisation, tokens) for one, basis in alternatives),
        missing=missing,
    )


def label_of(profile: EconomicsProfile) -> str:
    """Name of a way of paying: 'owned (hyperscaler-owned-2026)', 'rented 3y'."""
    if profile.structure == "rented":
        return f"rented {(profile.term or '').replace('_', ' ')}"
    return f"{profile.structure} ({profile.id})"


def api_prices(market: Market, model: str) -> list[ApiPrice]:
    """API prices of a model, one for each seller."""
    found = {price.seller: price for price in market.api_prices if price.model == model}
    return [found[seller] for seller in sorted(found)]


def revenue_of(
    given: str | Mapping[str, str] | None, market: Market, model: str, demand: Demand
) -> dict[TokenClass, float] | None:
    """Price of each class of token [USD/Mtok] that a study sells at; None without one.

    Raises EconomicsError with every problem.
    """
    if given is None:
        return None
    if given == API:
        offers = [_api(price, market) for price in api_prices(market, model)]
        if not offers:
            raise EconomicsError(
                f"revenue: no API price of '{model}' in the catalog; accepted: an amount in USD/Mtoken"
            )
        rates = class_rates(demand, 1.0)
        return min(offers, key=lambda offer: sum(offer[name] * rate for name, rate in rates.items()))
    classes = dict.fromkeys(SOLD, given) if isinstance(given, str) else dict(given)
    problems = [f"revenue.{key}: unknown; accepted: {', '.join(SOLD)}" for key in classes if key not in SOLD]
    rates = class_rates(demand, 1.0)
    problems += [
        f"revenue.{name}: missing; accepted: an amount in USD/Mtoken"
        for name in SOLD
        if rates[name] > 0.0 and name not in classes
    ]
    prices: dict[TokenClass, float] = {}
    for name in SOLD:
        if name in classes:
            try:
                prices[name] = _sold_at(str(classes[name]), f"revenue.{name}", market)
            except EconomicsError as error:
                problems += error.problems
    if problems:
        raise EconomicsError(*dict.fromkeys(problems))
    return prices


def revenue_per_hour(prices: Mapping[TokenClass, float], demand: Demand, rate: float) -> float:
    """What `rate` requests/s bring in [USD/h]."""
    return sum(per_hour(prices[name], tokens) for name, tokens in class_rates(demand, rate).items() if tokens > 0.0)


def _sold_at(text: str, where: str, market: Market) -> float:
    unit = f"{market.profile.currency}/token"
    try:
        quantity = study_quantity(text, unit_as_given(text, f"{market.profile.currency}/Mtoken"))
    except QuantityError as error:
        raise EconomicsError(f"{where}: {error}; accepted: an amount in USD/Mtoken") from None
    price = value_in(convert(quantity, market.profile.currency, market.profile.exchange, where), unit) * MTOK
    refuse(not price >= 0, f"{where}: accepted: at least 0", price)
    return price * _usd(market)


def _usd(market: Market) -> float:
    profile = market.profile
    return 1.0 if profile.currency == "USD" else value_in(profile.exchange["USD"], f"USD/{profile.currency}")


def _api(price: ApiPrice, market: Market) -> dict[TokenClass, float]:
    offer = api_usd_per_mtok(price, market.profile)
    return {name: value * _usd(market) for name, value in offer.items()}


def _others(market: Market) -> Sequence[EconomicsProfile]:
    """Ways of paying beside that of the study: a tenant is compared with an owner, and all with every rental."""
    own = label_of(market.profile)
    owner = owner_of(market) if market.profile.structure == "rented" else None
    others = [*([owner] if owner else []), *market.rentals]
    return [profile for profile in others if label_of(profile) != own]


def _label(profile: EconomicsProfile, deployment: Deployment) -> str:
    """The plan's own way; a machine that the profile cannot price is rented in its place."""
    used = list(dict.fromkeys(label_of(pool.cost.profile) for pool in deployment.prices))
    return " and ".join(used) if used else label_of(profile)


def _way(one: Alternative, basis: str, own: Alternative, utilisation: float, tokens: float) -> Way:
    share, above = None, None
    if one is not own and one.fixed_per_hour != own.fixed_per_hour:
        found = break_even(one, own)
        if found <= 1.0:
            share, above = found, max((one, own), key=lambda way: way.fixed_per_hour).name
    price = float(np.asarray(one.usd_per_mtok(utilisation, tokens)))
    return Way(one.name, basis, one, price, share, above)
