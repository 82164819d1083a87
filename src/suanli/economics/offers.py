"""Rents and API prices of the catalog as inputs of the cost model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from suanli.catalog.schema import ApiPrice, Price
from suanli.economics.capex import Range3, newest
from suanli.economics.finance import EconomicsError
from suanli.economics.money import convert, range_in, value_in
from suanli.economics.profile import EconomicsProfile
from suanli.economics.tokens import TokenClass


def rent_per_chip_hour(
    subjects: Sequence[str], chips: int, prices: Iterable[Price], profile: EconomicsProfile, region: str | None = None
) -> tuple[Range3, Price]:
    """Rent of one chip for one hour in the profile's currency as low, best, high, and the price that it is.

    Of the offers with the profile's term, the newest not after its edition wins; offers of the same edition span the
    range, and their median is the best value. `subjects` are ids to look for, best first.

    Raises EconomicsError when nobody offers it for that term.
    """
    fitting = [price for price in prices if price.what == "rent" and price.term == profile.term and price.price.known]
    if region is not None:
        fitting = [price for price in fitting if price.region == region]
    for subject in subjects:
        offers = [price for price in fitting if price.subject == subject]
        chosen = newest(offers, profile.edition)
        if chosen is None:
            continue
        same = [price for price in offers if price.edition == chosen.edition]
        spans = sorted((_per_hour(price, chips, profile) for price in same), key=lambda span: span[1])
        low, best, high = min(span[0] for span in spans), _median([span[1] for span in spans]), max(s[2] for s in spans)
        return (low, best, high), chosen
    place = "" if region is None else f" in {region}"
    raise EconomicsError(
        f"{subjects[0]}: no rent for the term {profile.term}{place}; accepted: another term, or system.rent"
    )


def api_usd_per_mtok(price: ApiPrice, profile: EconomicsProfile) -> dict[TokenClass, float]:
    """API price by class of token [money/Mtok].

    Reasoning is billed as output; cached input is billed as input by a seller that has no price for it.
    """
    unit = f"{profile.currency}/token"
    own = {
        name: value_in(convert(quantity, profile.currency, profile.exchange, price.id), unit) * 1e6
        for name, quantity in (
            ("uncached_input", price.uncached_input),
            ("cached_input", price.cached_input or price.uncached_input),
            ("output", price.output),
        )
    }
    return {
        "uncached_input": own["uncached_input"],
        "cached_input": own["cached_input"],
        "output": own["output"],
        "reasoning": own["output"],
    }


def _per_hour(price: Price, chips: int, profile: EconomicsProfile) -> Range3:
    quantity = convert(price.price, profile.currency, profile.exchange, price.id)
    per_system = "system" in quantity.unit
    unit = f"{profile.currency}/system/h" if per_system else f"{profile.currency}/chip/h"
    divisor = chips if per_system else 1
    low, best, high = range_in(quantity, unit)
    return low / divisor, best / divisor, high / divisor


def _median(values: Sequence[float]) -> float:
    middle = len(values) // 2
    return values[middle] if len(values) % 2 else (values[middle - 1] + values[middle]) / 2
