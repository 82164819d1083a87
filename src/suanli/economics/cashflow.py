"""The cash flow of a purchase, a lease or a rent, year by year, that adds up.

Year 0 is the purchase; running costs are paid at the end of each year, the last one in proportion where the life is
not a whole number of years. An own building is charged at its yearly annuity, because it outlives the machines. All of
it is before tax.
"""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from suanli.economics.finance import (
    EconomicsError,
    Numbers,
    capital_recovery_factor,
    discount_factor,
    irr,
    payback,
)
from suanli.economics.inputs import OPERATIONS_LINES
from suanli.economics.model import capex, chip_hour, facility_per_kw_month
from suanli.economics.price import HOURS_PER_MONTH, HOURS_PER_YEAR, WATTS_PER_KW

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from suanli.economics.inputs import Structure

LINES = ("purchase", "resale", "rent", "facility", "energy", "operations", "revenue")
LOAN_LINES = ("loan", "interest", "repayment")


@dataclass(frozen=True)
class CashFlow:
    """Yearly flows by line [money]; outlays are negative. `net` is the sum of the lines in every year."""

    times: NDArray[np.float64]  # years after the purchase; the last may be fractional
    lines: dict[str, NDArray[np.float64]]
    currency: str

    @property
    def net(self) -> NDArray[np.float64]:
        """Sum of all lines by year [money]."""
        total: NDArray[np.float64] = np.sum(list(self.lines.values()), axis=0)
        return total

    def totals(self) -> dict[str, float]:
        """Sum of each line over the years [money]."""
        return {name: float(flows.sum()) for name, flows in self.lines.items()}

    def npv(self, rate_per_year: float) -> float:
        """Net present value at a discount rate [money]."""
        return float(np.sum(self.net * discount_factor(rate_per_year, self.times)))

    def irr(self) -> float | None:
        """Internal rate of return [1/year]; None where there is none, several, or the last year is a part of one."""
        return irr(self.net) if float(self.times[-1]).is_integer() else None

    def payback_years(self, rate_per_year: float = 0.0) -> float | None:
        """Years until the (discounted) flows have repaid the outlay; None if they never do."""
        return payback(self.net, rate_per_year, self.times)

    def table(self) -> list[dict[str, float]]:
        """One row per year with every line and the net."""
        return [
            {"year": float(time)}
            | {name: float(flows[row]) for name, flows in self.lines.items()}
            | {"net": float(self.net[row])}
            for row, time in enumerate(self.times)
        ]

    def to_csv(self) -> str:
        """Return the table as CSV text, the currency in the header of each column."""
        out = io.StringIO()
        rows = self.table()
        heads = ["year", *(f"{name}_{self.currency.lower()}" for name in rows[0] if name != "year")]
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(heads)
        writer.writerows([list(row.values()) for row in rows])
        return out.getvalue()


def cash_flow(
    structure: Structure,
    values: Mapping[str, float],
    chips: float,
    currency: str,
    years: float | None = None,
    revenue_per_year: float | Sequence[float] = 0.0,
) -> CashFlow:
    """Cash flow of `chips` chips over their life, their lease, or `years` of rent.

    Parameters
    ----------
    values : best values of the inputs of the cost model, in border units
    years : horizon; by default the life or the term of the lease; a rent needs it
    revenue_per_year : sales, or what is saved elsewhere; one number or one for each (begun) year [money/year]
    """
    horizon = _horizon(structure, values, years)
    times = _times(horizon)
    lengths = np.diff(times)
    running = chip_hour(structure, values).scaled(chips * HOURS_PER_YEAR)
    lines = {name: np.zeros(len(times)) for name in LINES}
    for name, part in (("facility", running.facility), ("energy", running.energy), ("rent", running.rent)):
        lines[name][1:] = -_number(part) * lengths
    lines["operations"][1:] = -_number(running.opex) * lengths
    if structure == "owned":
        price = _number(capex(values)) * chips
        lines["purchase"][0] = -price
        lines["resale"][-1] = price * values["hardware.residual"]
    lines["revenue"][1:] = _revenue(revenue_per_year, len(lengths)) * lengths
    return CashFlow(times=times, lines=lines, currency=currency)


def with_loan(flow: CashFlow, debt_fraction: float, cost_of_debt: float, term_years: int) -> CashFlow:
    """Flow to the owners when a share of the purchase is borrowed and repaid in equal yearly payments.

    The term is a whole number of years within the horizon. Interest and repayment of every year add up to the payment;
    the repayments add up to the loan.
    """
    if not 0 <= debt_fraction <= 1:
        raise EconomicsError(f"finance.debt_fraction: {debt_fraction} given, accepted: between 0 and 1")
    if not 1 <= term_years <= len(flow.times) - 1:
        raise EconomicsError(f"finance.debt_term: {term_years} years given, accepted: 1 to {len(flow.times) - 1}")
    loan = -float(flow.lines["purchase"][0]) * debt_fraction
    payment = loan * _number(capital_recovery_factor(cost_of_debt, term_years))
    added = {name: np.zeros(len(flow.times)) for name in LOAN_LINES}
    added["loan"][0] = loan
    owed = loan
    for year in range(1, term_years + 1):
        interest = owed * cost_of_debt
        added["interest"][year] = -interest
        added["repayment"][year] = -(payment - interest)
        owed -= payment - interest
    return CashFlow(times=flow.times, lines={**flow.lines, **added}, currency=flow.currency)


def waterfall(structure: Structure, values: Mapping[str, float]) -> dict[str, float]:
    """Cost of a chip-hour by the finest lines that the inputs know [money/chip/h]; they add up to the price.

    Capital, or what a lessor gets, is shared out over the lines of the capex; the facility over rent and own building;
    the energy over tariff and demand charge.
    """
    cost = chip_hour(structure, values)
    lines: dict[str, float] = {}
    bill = {key.removeprefix("capex."): value for key, value in values.items() if key.startswith("capex.")}
    total = sum(bill.values())
    name, payment = ("capital", _number(cost.capital)) if structure == "owned" else ("lease", _number(cost.rent))
    if structure == "rented":
        lines["rent"] = payment
    elif total > 0 and "system.capex" not in values:
        lines |= {f"{name}: {line}": payment * value / total for line, value in bill.items()}
    else:
        lines[name] = payment
    if structure != "rented":
        lines |= _housing_lines(values, _number(cost.facility), _number(cost.energy))
    return lines | _operations_lines(values, _number(cost.opex))


def _operations_lines(values: Mapping[str, float], opex: float) -> dict[str, float]:
    """Operations by line where a profile tells them apart; `other` is insurance, property tax and spares."""
    found = {
        f"operations: {key.partition('.')[2]}": values[key] / HOURS_PER_YEAR
        for key in OPERATIONS_LINES
        if values.get(key, 0.0)
    }
    rest = opex - sum(found.values())
    if not found:
        return {"operations": rest}
    return found | ({"operations: other": rest} if rest > opex * 1e-9 else {})


def _number(value: Numbers) -> float:
    return float(np.asarray(value))


def _housing_lines(values: Mapping[str, float], facility: float, energy: float) -> dict[str, float]:
    paid_kw = values["system.power"] / WATTS_PER_KW * values["facility.provisioning"]
    demand = paid_kw * values["energy.pue"] * values["energy.demand_charge"] / HOURS_PER_MONTH
    charge = _number(facility_per_kw_month(values))
    rented = values.get("facility.rent", 0.0) / charge if charge else 0.0
    parts = {
        "facility: rent": facility * rented,
        "facility: own building": facility * (1.0 - rented),
        "energy: tariff": energy - demand,
        "energy: demand charge": demand,
    }
    return {name: value for name, value in parts.items() if value}


def _horizon(structure: Structure, values: Mapping[str, float], years: float | None) -> float:
    own = {"owned": "hardware.life", "leased": "lease.term"}.get(structure)
    if own is None and years is None:
        raise EconomicsError("years: missing; the cash flow of a rent needs a horizon")
    natural = values[own] if own is not None else years
    horizon = natural if years is None else years
    if horizon is None or not horizon > 0:
        raise EconomicsError(f"years: {horizon} given, accepted: above 0")
    if natural is not None and horizon > natural:
        raise EconomicsError(f"years: {horizon} given, accepted: up to {own} ({natural}); after it there is no machine")
    if structure == "owned" and horizon < (natural or 0.0):
        raise EconomicsError(f"years: {horizon} given; set {own} to it, because the residual belongs to the life")
    return float(horizon)


def _times(horizon: float) -> NDArray[np.float64]:
    whole = np.arange(math.floor(horizon) + 1, dtype=float)
    return whole if whole[-1] == horizon else np.append(whole, horizon)


def _revenue(given: float | Sequence[float], years: int) -> NDArray[np.float64]:
    flows = np.asarray(given, dtype=float)
    if flows.ndim == 0:
        return np.full(years, float(flows))
    if flows.size != years:
        raise EconomicsError(f"revenue_per_year: {flows.size} years given, accepted: one number or {years} of them")
    return flows
