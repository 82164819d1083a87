"""What a study changes in a profile: dotted input keys to amounts with units."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from pydantic import ValidationError

from suanli.economics.inputs import INPUTS, power_for_energy, unit_of
from suanli.economics.money import CURRENCIES, currency_of
from suanli.quantity import Quantity, QuantityError, parse_amount, parse_unit

STUDY = "study"  # source of a number that the user's study gives
EXCHANGE = "exchange."
RANGE = ".."


def apply_override(
    key: str, given: object, currency: str, inputs: dict[str, object], exchange: dict[str, object]
) -> list[str]:
    """Put one override into `inputs` or `exchange`; return what is wrong with it, one line each."""
    where = f"economics: {key}"
    if key.startswith(EXCHANGE):
        foreign = key.removeprefix(EXCHANGE)
        if foreign not in CURRENCIES:
            return [f"{where}: unknown currency; accepted: {', '.join(CURRENCIES)}"]
        name, unit, target = foreign, f"{foreign}/{currency}", exchange
    elif key in INPUTS:
        name, unit, target = key, unit_as_given(given, unit_of(key, currency)), inputs
    else:
        return unknown_inputs({key: given}, "economics")
    mistaken = power_for_energy(str(given), unit) if isinstance(given, str) else None
    if mistaken:
        return [f"{where}: '{given}' given, accepted: {mistaken}"]
    try:
        target[name] = study_quantity(given, unit)
    except ValidationError as error:
        return [f"{where}: {detail['msg']}; accepted: an amount in {unit}" for detail in error.errors()]
    except QuantityError as error:
        return [f"{where}: {error}; accepted: an amount in {unit}"]
    return []


def unknown_inputs(inputs: Mapping[str, object], where: str) -> list[str]:
    """Return a line for each key that the cost model does not know."""
    problems = []
    for key in inputs:
        if key not in INPUTS:
            near = difflib.get_close_matches(key, INPUTS, n=1)
            hint = f"did you mean '{near[0]}'? " if near else ""
            problems.append(f"{where}: {key}: unknown input; {hint}accepted: {', '.join(INPUTS)}")
    return problems


def study_quantity(given: object, unit: str) -> Quantity:
    """Quantity of an override: ``"0.07 USD/kWh"``, ``"0.05..0.09 USD/kWh"`` (best value in the middle), or a mapping.

    A bare number is refused because its unit would be a guess. Raises QuantityError or ValidationError.
    """
    if isinstance(given, Mapping):
        return Quantity.model_validate({"kind": "third_party", "source": STUDY, **given})
    factor = parse_unit(unit)[0]
    text = str(given).replace("%", " percent")
    if RANGE not in text:
        return Quantity(value=parse_amount(text, unit) / factor, unit=unit, kind="third_party", source=STUDY)
    low_text, _, high_text = text.partition(RANGE)
    high = parse_amount(high_text, unit) / factor
    low = parse_amount(f"{low_text} {high_text.strip().partition(' ')[2]}", unit) / factor
    middle = (low + high) / 2
    return Quantity(value=middle, low=low, high=high, unit=unit, kind="third_party", source=STUDY)


def unit_as_given(given: object, unit: str) -> str:
    """`unit` in the currency that the user wrote: a foreign amount is judged where exchange rates are known."""
    own = currency_of(unit)
    named = [currency for currency in CURRENCIES if currency in str(given)]
    return unit.replace(own, named[0]) if own and named else unit
