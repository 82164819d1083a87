"""Named futures in which the candidates are priced, for the choice that is regretted least.

A scenario is a change of inputs: to a number that the study gives, or to an end of each candidate's own range.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from suanli.economics.finance import EconomicsError, Numbers
from suanli.economics.inputs import CAPEX_LINE, INPUTS, power_for_energy, unit_of
from suanli.economics.money import convert, value_in
from suanli.economics.overrides import study_quantity, unit_as_given, unknown_inputs
from suanli.economics.profile import EconomicsProfile
from suanli.economics.uncertainty import ERROR
from suanli.quantity import QuantityError
from suanli.search.fleet import Fleet

LOW, HIGH = "low end", "high end"
End = float | str  # a value in the border unit, or an end of the range
AS_PLANNED = "as planned"
PRICES = "prices"  # stands for every price of the machine itself

# One future per thing that a buyer worries about, each at the bad end of what the inputs themselves say.
BUILT_IN: Mapping[str, Mapping[str, End]] = {
    AS_PLANNED: {},
    "short life": {"hardware.life": LOW, "lease.term": LOW},
    "dear capital": {"finance.cost_of_capital": HIGH, "finance.cost_of_debt": HIGH, "lease.rate": HIGH},
    "dear power": {"energy.electricity": HIGH, "energy.pue": HIGH},
    "dear machines": {PRICES: HIGH},
    "slower than predicted": {ERROR: LOW},
}


def scenarios_of(given: Mapping[str, Mapping[str, str]], profile: EconomicsProfile) -> dict[str, dict[str, End]]:
    """Built-in scenarios and those of a study. Raises EconomicsError with every problem."""
    found = {name: dict(changed) for name, changed in BUILT_IN.items()}
    problems: list[str] = []
    for name, changes in given.items():
        values: dict[str, End] = {}
        for key, amount in changes.items():
            where = f"scenarios.{name}: {key}"
            if key not in INPUTS:
                problems += unknown_inputs({key: amount}, f"scenarios.{name}")
                continue
            unit = unit_of(key, profile.currency)
            mistaken = power_for_energy(amount, unit)
            if mistaken:
                problems.append(f"{where}: '{amount}' given, accepted: {mistaken}")
                continue
            try:
                quantity = study_quantity(amount, unit_as_given(amount, unit))
                values[key] = value_in(convert(quantity, profile.currency, profile.exchange, where), unit)
            except QuantityError as error:
                problems.append(f"{where}: {error}; accepted: an amount in {unit}")
                continue
            except EconomicsError as error:
                problems += error.problems
                continue
            if not INPUTS[key].possible(float(values[key])):
                accepted = INPUTS[key].accepted.replace("{money}", profile.currency)
                problems.append(f"{where}: {amount} given, accepted: {accepted}")
        found[name] = values
    if problems:
        raise EconomicsError(*problems)
    return found


def costs_in(fleets: Sequence[Fleet], scenarios: Mapping[str, Mapping[str, End]]) -> dict[str, dict[str, float]]:
    """USD per million tokens by scenario and by name of the fleet; built-in scenarios that change nothing are left out.

    (A tenant does not feel the life of the machines.)
    """
    costs = {
        name: {fleet.name: float(fleet.usd_per_mtok(_inputs(fleet, changed))) for fleet in fleets}
        for name, changed in scenarios.items()
    }
    same = {name for name, row in costs.items() if name in BUILT_IN and name != AS_PLANNED and row == costs[AS_PLANNED]}
    return {name: row for name, row in costs.items() if name not in same}


def _inputs(fleet: Fleet, changed: Mapping[str, End]) -> dict[str, Numbers]:
    values: dict[str, Numbers] = {}
    for name, one in fleet.ranges.items():
        key = name.split("@")[0]
        price = key.startswith((CAPEX_LINE, "system.")) and key != "system.power"
        end = changed.get(key, changed.get(PRICES) if price else None)
        values[name] = {LOW: one.low, HIGH: one.high, None: one.best}.get(end, end)  # type: ignore[arg-type,assignment]
    return values
