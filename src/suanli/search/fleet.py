"""A deployment as the cost model sees it: one function from named inputs to dollars per million tokens.

Inputs of the market (tariff, cost of capital, life ...) have one name for all deployments; what belongs to a machine
has its record behind an @ (`capex.rack@nvidia-gb200-nvl72-hyperscaler`), so that two deployments that
rest on the same bill are wrong together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from suanli.catalog.capped import base_id
from suanli.economics.cashflow import CashFlow, cash_flow, waterfall
from suanli.economics.compare import Alternative, of_quote
from suanli.economics.finance import EconomicsError, Numbers
from suanli.economics.inputs import CAPEX_LINE
from suanli.economics.model import capex, chip_hour, cost_of_capital, facility_power_w
from suanli.economics.price import SECONDS_PER_HOUR, TOKENS_PER_MTOK, usd_per_mtok
from suanli.economics.tokens import JOULES_PER_KWH, WATTS_PER_MW
from suanli.economics.uncertainty import ERROR, Draws, Range, best_values, draw_inputs
from suanli.search.cost import LOAD, PoolCost
from suanli.search.result import Deployment

EXCHANGE = "exchange.USD"
# Inputs that shaped the lines of the capex, or that no price depends on: moving them afterwards changes nothing.
SPENT = frozenset(
    {"hardware.beyond_server", "hardware.beyond_chip", "finance.debt_term", "operations.availability", LOAD}
)
CERTAIN = Range(1.0, 1.0, 1.0)
RENTED_YEARS = {"1y": 1.0, "3y": 3.0, "5y": 5.0}  # what a rental term binds for; others are shown for one year


@dataclass(frozen=True)
class Loan:
    """Borrowed money: share of the purchase, interest [1/year], whole years until it is repaid, within the life."""

    fraction: float
    interest: float
    term: int


@dataclass(frozen=True)
class Fleet:
    """All pools of one deployment with what they make."""

    name: str
    pools: tuple[PoolCost, ...]
    tokens_per_s: float  # input and output, at the offered rate
    error: Range = CERTAIN  # achieved over predicted rate
    error_group: str = ""  # deployments of one group err together

    @cached_property
    def ranges(self) -> dict[str, Range]:
        """Every input by its full name; those of the market last."""
        found: dict[str, Range] = {}
        for pool, names in zip(self.pools, self._names, strict=True):
            found |= {name: _moving(key, pool.cost.quote.ranges[key]) for key, name in names.items()}
            if pool.cost.usd.low < pool.cost.usd.high:
                found[EXCHANGE] = pool.cost.usd
        return found | {ERROR: self.error}

    @cached_property
    def _names(self) -> tuple[dict[str, str], ...]:
        """Full name of each input, by pool."""
        return tuple({key: self._full(key, pool) for key in pool.cost.quote.ranges} for pool in self.pools)

    def _full(self, key: str, pool: PoolCost) -> str:
        record = pool.cost.quote.record
        if key == "system.power" or (key.startswith((CAPEX_LINE, "system.")) and record == "study"):
            return f"{key}@{pool.cost.system}"
        if key.startswith((CAPEX_LINE, "system.")):
            return f"{key}@{record}"
        own = pool.cost.quote.ranges[key]
        same = all(other.cost.quote.ranges.get(key, own) == own for other in self.pools)
        return key if same else f"{key}@{pool.cost.profile.id}"

    def columns(self) -> dict[str, str]:
        """Name of the random column of each uncertain input."""
        uncertain = [key for key, one in self.ranges.items() if one.low < one.high]
        return {key: f"{ERROR}@{self.error_group or self.name}" if key == ERROR else key for key in uncertain}

    def draw(self, shares: Draws, memo: dict[tuple[str, Range], NDArray[np.float64]]) -> dict[str, Numbers]:
        """Inputs for the columns of uniform numbers."""
        return draw_inputs(self.ranges, self.columns(), shares, memo)

    @property
    def best(self) -> dict[str, float]:
        """Best value of every input."""
        return best_values(self.ranges)

    def _inputs(self, values: Mapping[str, Numbers]) -> Iterator[tuple[PoolCost, dict[str, Numbers]]]:
        """Every pool with its inputs under the plain keys of the cost model."""
        for pool, names in zip(self.pools, self._names, strict=True):
            yield pool, {key: values[name] for key, name in names.items()} | {LOAD: pool.load}

    def _usd(self, pool: PoolCost, values: Mapping[str, Numbers]) -> Numbers:
        return values.get(EXCHANGE, pool.cost.usd.best) if pool.cost.profile.currency != "USD" else 1.0

    def usd_per_hour(self, values: Mapping[str, Numbers]) -> Numbers:
        """Price of all chips [USD/h] when the inputs are `values`."""
        total: Numbers = 0.0
        for pool, inputs in self._inputs(values):
            price = chip_hour(pool.cost.quote.structure, inputs).total
            total = total + price * pool.chips * self._usd(pool, values)
        return total

    def usd_per_mtok(self, values: Mapping[str, Numbers]) -> Numbers:
        """Cost of a million tokens [USD] when the inputs are `values`."""
        return usd_per_mtok(self.usd_per_hour(values), self.tokens_per_s * values[ERROR])

    def headlines(self, values: Mapping[str, Numbers]) -> dict[str, Numbers]:
        """Every headline when the inputs are `values`; a tenant does not know the power from the grid."""
        hourly, rate = self.usd_per_hour(values), self.tokens_per_s * values[ERROR]
        found = {
            "usd_per_hour": hourly,
            "usd_per_chip_hour": hourly / sum(pool.chips for pool in self.pools),
            "usd_per_mtok": usd_per_mtok(hourly, rate),
        }
        paid = [
            capex(inputs) * pool.chips * self._usd(pool, values)
            for pool, inputs in self._inputs(values)
            if pool.cost.quote.structure == "owned"
        ]
        if paid:
            found["capex_musd"] = sum(paid) / TOKENS_PER_MTOK
        watts, grams_per_s = self._grid(values)
        if watts is not None:
            found["tokens_per_s_per_mw"] = rate / watts * WATTS_PER_MW
            found["tokens_per_grid_joule"] = rate / watts
        if grams_per_s is not None:
            found["g_co2_per_mtok"] = grams_per_s / rate * TOKENS_PER_MTOK
        return found

    def _grid(self, values: Mapping[str, Numbers]) -> tuple[Numbers | None, Numbers | None]:
        """Mean power from the grid [W] and CO2 per second [g/s]; None where a pool is rented or has no intensity."""
        watts: Numbers = 0.0
        grams: Numbers | None = 0.0
        for pool, inputs in self._inputs(values):
            if pool.cost.quote.structure == "rented":
                return None, None
            power = facility_power_w(inputs) * pool.chips
            watts = watts + power
            carbon = inputs.get("energy.carbon")
            grams = None if grams is None or carbon is None else grams + power * carbon / JOULES_PER_KWH
        return watts, grams

    def waterfall(self) -> dict[str, float]:
        """Cost by the finest lines known [USD/h]; they add up to the price of all chips."""
        lines: dict[str, float] = {}
        for pool in self.pools:
            for line, value in waterfall(pool.cost.quote.structure, pool.values).items():
                lines[line] = lines.get(line, 0.0) + value * pool.chips * pool.cost.usd.best
        return lines

    def cash_flow(self, revenue_per_year: float = 0.0) -> CashFlow:
        """Yearly flows of all pools [USD] over the longest life, lease or term; revenue is that of the whole fleet."""
        flows = [
            cash_flow(pool.cost.quote.structure, pool.values, pool.chips * pool.cost.usd.best, "USD", self._term(pool))
            for pool in self.pools
        ]
        lines = {name: np.sum([flow.lines[name] for flow in flows], axis=0) for name in flows[0].lines}
        lines["revenue"][1:] += revenue_per_year * np.diff(flows[0].times)
        return replace(flows[0], lines=lines)

    def loan(self) -> Loan | None:
        """What is borrowed for the purchase; None where the way of paying names no loan."""
        values = self.pools[0].values
        keys = ("finance.debt_fraction", "finance.cost_of_debt", "finance.debt_term")
        if self.pools[0].cost.quote.structure != "owned" or any(key not in values for key in keys):
            return None
        term = min(int(values["finance.debt_term"]), int(self.years))
        return Loan(values["finance.debt_fraction"], values["finance.cost_of_debt"], term) if term >= 1 else None

    @property
    def years(self) -> float:
        """Years of the cash flow: the longest life, lease or term of a pool."""
        return max(float(self._years(pool)) for pool in self.pools)

    def _years(self, pool: PoolCost) -> float:
        structure, values = pool.cost.quote.structure, pool.values
        if structure == "rented":
            return RENTED_YEARS.get(pool.cost.profile.term or "", 1.0)
        return values["hardware.life"] if structure == "owned" else values["lease.term"]

    def _term(self, pool: PoolCost) -> float | None:
        """A rented pool is renewed as long as an owned one beside it lives; the others know their own life."""
        return self.years if pool.cost.quote.structure == "rented" else None

    @property
    def discount_rate(self) -> float | None:
        """Cost of capital of the first pool that has one [1/year]; None for a rent that states none."""
        for pool in self.pools:
            try:
                return float(np.asarray(cost_of_capital(pool.values)))
            except KeyError:
                continue
        return None

    def alternative(self, utilisation: float) -> Alternative:
        """Its chips as a fixed cost per hour and a cost per busy hour [USD/h].

        `utilisation` is what the offered rate is of the highest one: the power between waiting and the offered rate
        goes on in a straight line to the highest rate.
        """
        fixed, variable = 0.0, 0.0
        for pool in self.pools:
            busy = min(pool.idle_load + (pool.load - pool.idle_load) / utilisation, 1.0)
            one = of_quote(self.name, pool.cost.quote, pool.chips, pool.idle_load, busy)
            fixed += one.fixed_per_hour * pool.cost.usd.best
            variable += one.variable_per_busy_hour * pool.cost.usd.best
        return Alternative(self.name, fixed, variable)


def _moving(key: str, one: Range) -> Range:
    """The range of an input; one on which no price depends any more stays where it is."""
    return Range(one.best, one.best, one.best) if key in SPENT else one


def fleet_of(deployment: Deployment, tokens_per_request: float, rate: float) -> Fleet:
    """Return a deployment that serves `rate` requests/s as a fleet. Raises EconomicsError when it has no price."""
    if not deployment.prices:
        raise EconomicsError(f"{deployment.name}: no price")
    capacity = deployment.metrics["max_request_s"]
    error = Range(capacity.low / capacity.value, 1.0, capacity.high / capacity.value, "interval80")
    group = "+".join(dict.fromkeys(f"{base_id(pool.chip)}/{pool.engine}" for pool in deployment.pools))
    return Fleet(deployment.name, deployment.prices, rate * tokens_per_request, error, group)


def per_hour(usd_per_mtok_: float, tokens_per_s: float) -> float:
    """Revenue [USD/h] of tokens sold at a price per million."""
    return usd_per_mtok_ * tokens_per_s * SECONDS_PER_HOUR / TOKENS_PER_MTOK
