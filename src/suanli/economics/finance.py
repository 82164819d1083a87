"""Time value of money: annuities, present value, internal rate of return, payback.

Pure functions of floats or numpy arrays; they broadcast. Money is nominal and of one currency: what currency is the
caller's business (see :mod:`suanli.economics.money`). Taxes are not modelled here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Numbers: TypeAlias = "float | NDArray[np.float64]"


class EconomicsError(ValueError):
    """Inputs of the cost model are impossible or missing. `problems` has one line for each, and names it."""

    def __init__(self, *problems: str) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


def refuse(wrong: object, message: str, given: Numbers) -> None:
    """Raise EconomicsError with `message` and the first offending element of `given` where `wrong` holds."""
    mask = np.asarray(wrong)
    if mask.any():
        shown = np.broadcast_to(np.asarray(given), mask.shape)[mask].flat[0]
        raise EconomicsError(f"{message} (given {float(shown):g})")


def capital_recovery_factor(rate_per_year: Numbers, years: Numbers) -> Numbers:
    """Constant yearly payment that repays one unit of money, paid at the end of each year.

    Parameters
    ----------
    rate_per_year : discount rate, at least 0 [1/year]
    years : number of yearly payments, above 0; fractions are allowed [year]

    Returns
    -------
    r / (1 - (1 + r)^-n) [1/year]; 1/n at a zero rate.
    """
    rate, life = np.asarray(rate_per_year, dtype=float), np.asarray(years, dtype=float)
    refuse(~(life > 0), "life must be above 0 years", years)
    refuse(~(rate >= 0), "discount rate must be at least 0 per year", rate_per_year)
    # Below 1e-12 per year the rate differs from zero by less than the rounding of the division.
    zero = rate < 1e-12
    safe = np.where(zero, 1.0, rate)
    return _plain(np.where(zero, 1.0 / life, safe / -np.expm1(-life * np.log1p(safe))))


def annuity(present_value: Numbers, rate_per_year: Numbers, years: Numbers) -> Numbers:
    """Constant yearly payment [money/year] whose present value is `present_value` [money]."""
    return _plain(np.asarray(present_value, dtype=float) * capital_recovery_factor(rate_per_year, years))


def discount_factor(rate_per_year: Numbers, years: Numbers) -> Numbers:
    """Present value of one unit of money paid after `years`: (1 + r)^-n [-]."""
    return _plain(np.power(1.0 + np.asarray(rate_per_year, dtype=float), -np.asarray(years, dtype=float)))


def npv(rate_per_year: float, flows: Sequence[float] | NDArray[np.float64]) -> float:
    """Net present value [money] of yearly flows; the first one is today and is not discounted."""
    cash = np.asarray(flows, dtype=float)
    return float(np.sum(cash * discount_factor(rate_per_year, np.arange(cash.size, dtype=float))))


def irr(flows: Sequence[float] | NDArray[np.float64]) -> float | None:
    """Internal rate of return [1/year] of yearly flows, or None where there is none.

    Only flows that change sign once have a single root (Descartes' rule on 1/(1+r)); any other pattern has none or
    several, and None is returned rather than one of them.
    """
    cash = np.asarray(flows, dtype=float)
    signs = np.sign(cash[cash != 0])
    if np.count_nonzero(np.diff(signs)) != 1:
        return None
    from scipy.optimize import brentq  # noqa: PLC0415 (start-up time)

    # x = 1/(1+r) is bracketed by doubling: with one sign change the polynomial has one positive root in x.
    low, high = 1.0, 1.0
    while np.sign(_polynomial(cash, low)) == np.sign(_polynomial(cash, high)):
        low, high = low / 2.0, high * 2.0
        if high > 2.0**60:
            return None
    root = low if low == high else brentq(lambda x: _polynomial(cash, x), low, high, xtol=1e-15, rtol=1e-14)
    return float(1.0 / root - 1.0)


def payback(
    flows: Sequence[float] | NDArray[np.float64],
    rate_per_year: float = 0.0,
    times: Sequence[float] | NDArray[np.float64] | None = None,
) -> float | None:
    """Years until the (discounted) flows have repaid the first outlay, linear inside a year; None if they never do.

    `times` are the years of the flows; by default 0, 1, 2 ...
    """
    cash = np.asarray(flows, dtype=float)
    at = np.arange(cash.size, dtype=float) if times is None else np.asarray(times, dtype=float)
    balance = np.cumsum(cash * discount_factor(rate_per_year, at))
    below = np.flatnonzero(balance < 0)
    if below.size == 0:
        return 0.0
    last = int(below[-1])
    if last + 1 >= cash.size:
        return None
    share = balance[last] / (balance[last] - balance[last + 1])
    return float(at[last] + share * (at[last + 1] - at[last]))


def weighted_cost_of_capital(
    debt_fraction: Numbers, cost_of_debt: Numbers, cost_of_equity: Numbers, tax_rate: Numbers = 0.0
) -> Numbers:
    """Weighted average cost of capital [1/year]; interest is deductible at `tax_rate` [-]."""
    share = np.asarray(debt_fraction, dtype=float)
    refuse(~((share >= 0) & (share <= 1)), "debt fraction must be between 0 and 1", debt_fraction)
    after_tax = np.asarray(cost_of_debt, dtype=float) * (1.0 - np.asarray(tax_rate, dtype=float))
    return _plain(share * after_tax + (1.0 - share) * np.asarray(cost_of_equity, dtype=float))


def _polynomial(cash: NDArray[np.float64], x: float) -> float:
    return float(np.polynomial.polynomial.polyval(x, cash))


def _plain(result: NDArray[np.float64]) -> Numbers:
    """A zero-dimensional array becomes a float."""
    return float(result) if np.ndim(result) == 0 else result
