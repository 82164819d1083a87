"""The money of a plan as plain data: the key `money` of plan.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from suanli.economics.uncertainty import ERROR, Swing
from suanli.search.cost import SystemCost, money_unit
from suanli.search.estimate import significant
from suanli.search.fleet import EXCHANGE, Fleet
from suanli.search.ways import UTILISATIONS, CashPlan, Ways

if TYPE_CHECKING:
    from suanli.search.money import Bill, FleetMoney, Money

DIGITS = 5
Plain = dict[str, Any]


def rounded(value: float | None) -> float | None:
    """Significant digits; nothing stays nothing."""
    return None if value is None else significant(value, DIGITS)


def money_dict(money: Money) -> Plain:
    """Plain data of the money of a plan."""
    return {
        "profile": money.question.market.profile.id,
        "currency": "USD",
        "samples": money.samples,
        "deployments": [fleet_dict(one) for one in money.deployments],
        "tornado": [swing_dict(swing, money.account.one.fleet) for swing in money.account.swings],
        "regret": regret_dict(money),
        "ways": ways_dict(money.account.ways),
        "cash_flow": cash_dict(money.account.cash),
        "profiles": {cost.profile.id: _profile(cost) for cost in money.costs.values()},
        "machines": {system: _machine(cost) for system, cost in sorted(money.costs.items())},
    }


def _rounded(values: Mapping[Any, float]) -> Plain:
    return {key: rounded(value) for key, value in values.items()}


def regret_dict(money: Money) -> Plain:
    """Plain data of the choice that is regretted least."""
    return {
        "choice": money.regret.choice,
        "worst_usd_per_mtok": _rounded(money.regret.worst_regret),
        "usd_per_mtok": {name: _rounded(row) for name, row in money.scenario_costs.items()},
    }


def fleet_dict(one: FleetMoney) -> Plain:
    """Plain data of one deployment in money."""
    return {
        "rank": one.deployment.rank,
        "name": one.fleet.name,
        "headlines": {name: _rounded(found.__dict__) for name, found in one.headlines.items()},
        "p_cheapest": rounded(one.p_cheapest),
        "p_cheaper_than_next": rounded(one.p_cheaper_than_next),
        "bill_usd_per_hour": _bill(one.bill),
        "classes": {
            name: {
                "tokens_per_s": rounded(price.tokens_per_s),
                "direct_usd_per_mtok": rounded(price.direct),
                "full_usd_per_mtok": rounded(price.full),
            }
            for name, price in one.classes.items()
        },
        "lines_usd_per_hour": _rounded(one.waterfall),
        "pools": [
            {"system": pool.cost.system, "chips": pool.chips, "power_load": rounded(pool.load)}
            for pool in one.fleet.pools
        ],
    }


def _bill(bill: Bill) -> Plain:
    return {
        "busy": rounded(bill.busy),
        "idle": rounded(bill.idle),
        "unavailable": rounded(bill.unavailable),
        "undeployed": rounded(bill.undeployed),
        "spare_enough": bill.spare_enough,
    }


def swing_dict(swing: Swing, fleet: Fleet) -> Plain:
    """Plain data of what one input does alone."""
    one = fleet.ranges[swing.key]
    key, _, subject = swing.key.partition("@")
    return {
        "key": key,
        "subject": subject,
        "low": rounded(one.low),
        "high": rounded(one.high),
        "unit": unit_of_input(key, fleet),
        "usd_per_mtok_at_low": rounded(swing.at_low),
        "usd_per_mtok_at_high": rounded(swing.at_high),
    }


def unit_of_input(key: str, fleet: Fleet) -> str:
    """Unit of an input by its plain key."""
    profile = fleet.pools[0].cost.profile
    if key == ERROR:
        return "achieved over predicted"
    return f"USD/{profile.currency}" if key == EXCHANGE else money_unit(key, profile)


def ways_dict(found: Ways) -> Plain:
    """Plain data of the ways of paying."""
    return {
        "utilisation": rounded(found.utilisation),
        "tokens_per_s": rounded(found.tokens_per_s),
        "ways": [
            {
                "name": way.name,
                "basis": way.basis,
                "fixed_usd_per_hour": rounded(way.alternative.fixed_per_hour),
                "variable_usd_per_busy_hour": rounded(way.alternative.variable_per_busy_hour),
                "usd_per_mtok": rounded(way.usd_per_mtok),
                "break_even_utilisation": rounded(way.break_even),
                "cheaper_above": way.cheaper_above,
            }
            for way in found.ways
        ],
        "missing": dict(found.missing),
        "curve": {
            "utilisation": list(UTILISATIONS),
            "usd_per_mtok": {name: [rounded(value) for value in values] for name, values in found.curve().items()},
        },
    }


def cash_dict(cash: CashPlan) -> Plain:
    """Plain data of a cash flow."""
    return {
        "discount_rate": rounded(cash.discount_rate),
        "revenue_usd_per_mtok": _rounded(cash.revenue_usd_per_mtok) if cash.revenue_usd_per_mtok else None,
        "rows_usd": [{key: significant(value, 12) for key, value in row.items()} for row in cash.flow.table()],
        "totals_usd": {key: significant(value, 12) for key, value in cash.flow.totals().items()},
        "npv_usd": rounded(cash.npv),
        "irr": rounded(cash.irr),
        "owners_irr": rounded(cash.owners_irr),
        "payback_years": rounded(cash.payback_years),
    }


def _profile(cost: SystemCost) -> Plain:
    """Inputs of a way of paying that do not belong to a machine."""
    own = cost.prices.keys() | {"system.power"}
    return {
        "structure": cost.quote.structure,
        "term": cost.profile.term,
        "currency": cost.profile.currency,
        "usd_per_unit": cost.usd.best,
        "values": {key: value for key, value in cost.quote.values.items() if key not in own},
    }


def _machine(cost: SystemCost) -> Plain:
    """Inputs of a machine, with what it pays differently from others under the same profile."""
    values = {key: one.best for key, one in cost.prices.items()}
    for key in ("system.power", "energy.electricity"):
        if key in cost.quote.values:
            values[key] = cost.quote.values[key]
    return {"profile": cost.profile.id, "basis": cost.basis, "record": cost.quote.record, "values": values}
