"""What a cash flow comes to, in words."""

from __future__ import annotations

from collections.abc import Mapping

from suanli.economics.tokens import TokenClass
from suanli.report.wording import compact
from suanli.search.ways import SOLD, CashPlan


def cash_words(cash: CashPlan) -> str:
    """Present value, return and payback, as far as there is a rate, a revenue and something to repay."""
    words = [_sold(cash.revenue_usd_per_mtok)] if cash.revenue_usd_per_mtok else []
    if cash.npv is not None and cash.discount_rate is not None:
        what = "net present value" if cash.revenue_usd_per_mtok else "present value of the costs"
        words.append(f"{what} at {cash.discount_rate:.1%}: {cash.npv:,.0f}")
    if cash.revenue_usd_per_mtok and cash.flow.net[0] < 0.0:
        rate = "none" if cash.irr is None else f"{cash.irr:.1%}"
        years = "never repaid" if cash.payback_years is None else f"repaid after {cash.payback_years:.1f} years"
        words += [f"internal rate of return: {rate}", years]
    if cash.loan is not None and cash.owners_irr is not None:
        borrowed = f"{cash.loan.fraction:.0%} borrowed at {cash.loan.interest:.1%}"
        words.append(f"on the owners' money, with {borrowed}: {cash.owners_irr:.1%}")
    return "; ".join(words)


def _sold(prices: Mapping[TokenClass, float]) -> str:
    """At what the tokens are sold."""
    sold = {name: compact(prices[name]) for name in SOLD if name in prices}
    if len(set(sold.values())) == 1:
        return f"sold at ${next(iter(sold.values()))} a million tokens"
    each = [f"${price} {name.replace('_', ' ')}" for name, price in sold.items()]
    return f"sold at {', '.join(each)}, a million tokens"
