"""Currencies. Money of two currencies is never added: a conversion needs a rate that the user has written down."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from suanli.economics.finance import EconomicsError
from suanli.quantity import Quantity, parse_unit

if TYPE_CHECKING:
    from collections.abc import Mapping

CURRENCIES = ("USD", "CNY", "EUR")  # the money units of quantity.UNIT_TABLE


def currency_of(unit: str) -> str | None:
    """Currency in a unit such as ``USD/kWh``, or None for a unit without money. Raises QuantityError."""
    dimension = parse_unit(unit)[1]
    found = [name for name in CURRENCIES if f"[{name.lower()}]" in dimension]
    return found[0] if found else None


def value_in(quantity: Quantity, unit: str) -> float:
    """Best value of `quantity` in `unit`, which has the same dimension. Raises QuantityError when it is unknown."""
    return quantity.si / parse_unit(unit)[0]


def range_in(quantity: Quantity, unit: str) -> tuple[float, float, float]:
    """Low end, best value and high end of `quantity` in `unit`. Raises QuantityError when it is unknown."""
    factor = parse_unit(unit)[0]
    low, high = quantity.si_range
    return low / factor, quantity.si / factor, high / factor


def convert(quantity: Quantity, currency: str, exchange: Mapping[str, Quantity], where: str) -> Quantity:
    """Express `quantity` in `currency`.

    Parameters
    ----------
    exchange : rates by foreign currency, each in foreign units per unit of `currency`, as ``7.1 CNY/USD``
    where : key that an error names

    Notes
    -----
    The range of the result covers the range of the amount only; the rate's own range is an input of its own.
    """
    given = currency_of(quantity.unit)
    if given is None or given == currency:
        return quantity
    if given not in exchange:
        raise EconomicsError(
            f"{where}: given in {given}, accepted: {currency}, or exchange.{given} such as '7 {given}/{currency}'"
        )
    rate = value_in(exchange[given], f"{given}/{currency}")
    unit = re.sub(rf"\b([kMG]?){given}\b", rf"\1{currency}", quantity.unit)
    return quantity.model_copy(
        update={
            "value": None if quantity.value is None else quantity.value / rate,
            "low": None if quantity.low is None else quantity.low / rate,
            "high": None if quantity.high is None else quantity.high / rate,
            "unit": unit,
            "note": f"converted at {rate:g} {given}/{currency} ({exchange[given].source})",
            "alternatives": (),
        }
    )
