"""Price of a chip-hour from named inputs: the link between profiles, Monte-Carlo samples and the pure formulas.

Inputs are a mapping from the keys of :data:`suanli.economics.inputs.INPUTS` to floats or to arrays of samples, in
border units. Nothing here knows where they come from.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from suanli.economics.finance import Numbers, weighted_cost_of_capital
from suanli.economics.inputs import CAPEX_LINE, OPERATIONS, OPERATIONS_LINES
from suanli.economics.price import (
    HOURS_PER_YEAR,
    CostBreakdown,
    build_usd_per_kw_month,
    payment_usd_per_chip_year,
    rented_usd_per_chip_hour,
    running_usd_per_chip_hour,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from suanli.economics.inputs import Structure


def chip_hour(structure: Structure, values: Mapping[str, Numbers]) -> CostBreakdown:
    """Cost of one chip for one paid hour by part, in the currency of the inputs."""
    if structure == "rented":
        return rented_usd_per_chip_hour(
            list_usd_per_chip_hour=values["system.rent"],
            discount_fraction=values["rent.discount"],
            support_fraction=values["rent.support"],
            opex_usd_per_chip_year=values["rent.per_chip"],
        )
    return _leased(values) if structure == "leased" else _owned(values)


def capex(values: Mapping[str, Numbers]) -> Numbers:
    """Capex per chip [money/chip]: ``system.capex``, or the sum of the lines ``capex.*``."""
    if "system.capex" in values:
        return values["system.capex"]
    total: Numbers = 0.0
    for key, value in values.items():
        if key.startswith(CAPEX_LINE):
            total = total + value
    return total


def cost_of_capital(values: Mapping[str, Numbers]) -> Numbers:
    """Discount rate [1/year]: given, or weighted from debt and equity before tax."""
    if "finance.cost_of_capital" in values:
        return values["finance.cost_of_capital"]
    return weighted_cost_of_capital(
        values["finance.debt_fraction"], values["finance.cost_of_debt"], values["finance.cost_of_equity"]
    )


def facility_per_kw_month(values: Mapping[str, Numbers]) -> Numbers:
    """Charge for housing one provisioned kW [money/kW/month]: rent, own build, or both (powered shell, own fit-out)."""
    charge: Numbers = values.get("facility.rent", 0.0)
    if "facility.build" in values:
        charge = charge + build_usd_per_kw_month(
            build_usd_per_w=values["facility.build"],
            shell_fraction=values["facility.shell_share"],
            shell_life_years=values["facility.shell_life"],
            plant_life_years=values["facility.plant_life"],
            cost_of_capital=cost_of_capital(values),
            opex_fraction_per_year=values["facility.maintenance"],
        )
    return charge


def facility_power_w(values: Mapping[str, Numbers]) -> Numbers:
    """Mean power taken from the grid per chip [W]."""
    return values["system.power"] * values["energy.load"] * values["energy.pue"]


def operations_per_chip(values: Mapping[str, Numbers]) -> Numbers:
    """Running cost per chip [money/chip/year]: ``operations.per_chip`` and its lines, as far as they are given."""
    total: Numbers = 0.0
    for key in (OPERATIONS, *OPERATIONS_LINES):
        total = total + values.get(key, 0.0)
    return total


def _running(values: Mapping[str, Numbers]) -> CostBreakdown:
    return running_usd_per_chip_hour(
        capex_usd_per_chip=capex(values),
        power_w_all_in=values["system.power"],
        average_load_fraction=values["energy.load"],
        pue=values["energy.pue"],
        usd_per_kwh=values["energy.electricity"],
        facility_usd_per_kw_month=facility_per_kw_month(values),
        opex_fraction_per_year=values["operations.of_capex"],
        opex_usd_per_chip_year=operations_per_chip(values),
        demand_usd_per_kw_month=values["energy.demand_charge"],
        provisioning_factor=values["facility.provisioning"],
    )


def _owned(values: Mapping[str, Numbers]) -> CostBreakdown:
    payment = payment_usd_per_chip_year(
        capex_usd_per_chip=capex(values),
        residual_fraction=values["hardware.residual"],
        life_years=values["hardware.life"],
        rate_per_year=cost_of_capital(values),
    )
    return replace(_running(values), capital=payment / HOURS_PER_YEAR)


def _leased(values: Mapping[str, Numbers]) -> CostBreakdown:
    """The lessor recovers the capex less the value that it keeps, at the rate implied in the lease."""
    payment = payment_usd_per_chip_year(
        capex_usd_per_chip=capex(values),
        residual_fraction=values["lease.residual"],
        life_years=values["lease.term"],
        rate_per_year=values["lease.rate"],
    )
    return replace(_running(values), rent=payment / HOURS_PER_YEAR)
