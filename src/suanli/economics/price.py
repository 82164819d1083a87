"""Price of one chip-hour, owned or rented, by part.

The owned price is the annuity model that public cost models share (the eight components of SemiAnalysis as summarised
on buzzberg.ai, Bernstein's bill of a rack, CoreWeave's filings)::

    $/h = ((capex - residual * capex * (1+r)^-n) * CRF(r, n) + facility + opex * capex) / hours
          + kW * load * PUE * $/kWh

Hours are those of a year in which the chip is there, used or not: utilisation enters later, in cost per token.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from suanli.economics.finance import Numbers, capital_recovery_factor, refuse

HOURS_PER_YEAR = 8766.0  # 365.25 days, as `year` in quantity.UNIT_TABLE
HOURS_PER_MONTH = HOURS_PER_YEAR / 12.0
WATTS_PER_KW = 1000.0
SECONDS_PER_HOUR = 3600.0
TOKENS_PER_MTOK = 1e6


@dataclass(frozen=True)
class CostBreakdown:
    """Cost per chip-hour by part [money/chip/h]. Parts that do not apply are 0."""

    capital: Numbers = 0.0
    facility: Numbers = 0.0
    energy: Numbers = 0.0
    opex: Numbers = 0.0
    rent: Numbers = 0.0

    @property
    def total(self) -> Numbers:
        """Sum of the parts [money/chip/h]."""
        return self.capital + self.facility + self.energy + self.opex + self.rent

    def parts(self) -> dict[str, Numbers]:
        """Name of each part and its value [money/chip/h]."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def scaled(self, factor: Numbers) -> CostBreakdown:
        """Every part times `factor` (chips, hours, an allocation ...)."""
        return CostBreakdown(**{name: value * factor for name, value in self.parts().items()})


def owned_usd_per_chip_hour(
    *,
    capex_usd_per_chip: Numbers,
    residual_fraction: Numbers,
    life_years: Numbers,
    cost_of_capital: Numbers,
    power_w_all_in: Numbers,
    average_load_fraction: Numbers,
    pue: Numbers,
    usd_per_kwh: Numbers,
    facility_usd_per_kw_month: Numbers,
    opex_fraction_per_year: Numbers = 0.0,
    opex_usd_per_chip_year: Numbers = 0.0,
    demand_usd_per_kw_month: Numbers = 0.0,
    provisioning_factor: Numbers = 1.0,
) -> CostBreakdown:
    """Cost of owning one chip for one hour, used or not.

    Parameters
    ----------
    capex_usd_per_chip : everything that is bought, per chip [USD/chip]
    residual_fraction : resale value at the end of the life over capex [-]
    life_years : economic life of the hardware [year]
    cost_of_capital : discount rate [1/year]
    others : as in :func:`running_usd_per_chip_hour`
    """
    running = running_usd_per_chip_hour(
        capex_usd_per_chip=capex_usd_per_chip,
        power_w_all_in=power_w_all_in,
        average_load_fraction=average_load_fraction,
        pue=pue,
        usd_per_kwh=usd_per_kwh,
        facility_usd_per_kw_month=facility_usd_per_kw_month,
        opex_fraction_per_year=opex_fraction_per_year,
        opex_usd_per_chip_year=opex_usd_per_chip_year,
        demand_usd_per_kw_month=demand_usd_per_kw_month,
        provisioning_factor=provisioning_factor,
    )
    payment = payment_usd_per_chip_year(
        capex_usd_per_chip=capex_usd_per_chip,
        residual_fraction=residual_fraction,
        life_years=life_years,
        rate_per_year=cost_of_capital,
    )
    return replace(running, capital=payment / HOURS_PER_YEAR)


def payment_usd_per_chip_year(
    *, capex_usd_per_chip: Numbers, residual_fraction: Numbers, life_years: Numbers, rate_per_year: Numbers
) -> Numbers:
    """Yearly payment that repays the capex less the present value of what is left of it [USD/chip/year]."""
    refuse(~(np.asarray(capex_usd_per_chip) >= 0), "capex must be at least 0 USD/chip", capex_usd_per_chip)
    refuse(_outside_unit(residual_fraction), "residual must be between 0 and 1", residual_fraction)
    # capex * (1 - R (1+r)^-n) * CRF without the difference: what is lost is repaid, what is kept costs interest.
    recovery = capital_recovery_factor(rate_per_year, life_years)
    return capex_usd_per_chip * ((1.0 - residual_fraction) * recovery + residual_fraction * rate_per_year)


def running_usd_per_chip_hour(
    *,
    capex_usd_per_chip: Numbers,
    power_w_all_in: Numbers,
    average_load_fraction: Numbers,
    pue: Numbers,
    usd_per_kwh: Numbers,
    facility_usd_per_kw_month: Numbers,
    opex_fraction_per_year: Numbers = 0.0,
    opex_usd_per_chip_year: Numbers = 0.0,
    demand_usd_per_kw_month: Numbers = 0.0,
    provisioning_factor: Numbers = 1.0,
) -> CostBreakdown:
    """Cost of housing, powering and running one chip for one hour, without paying for it.

    Parameters
    ----------
    power_w_all_in : IT power that must be provisioned, chip plus its share of host, NIC, switch [W/chip]
    average_load_fraction : mean IT power over `power_w_all_in` [-]
    pue : facility energy over IT energy, at least 1 [-]
    usd_per_kwh : electricity [USD/kWh]
    facility_usd_per_kw_month : hosting, or own build as :func:`build_usd_per_kw_month`, per provisioned kW
    opex_fraction_per_year : support, spares, insurance ... per year over `capex_usd_per_chip` [1/year]
    opex_usd_per_chip_year : staff, software, network per chip [USD/chip/year]
    demand_usd_per_kw_month : demand charge of the utility on provisioned facility kW [USD/kW/month]
    provisioning_factor : kW paid for over `power_w_all_in`, at least 1 [-]
    """
    refuse(~(np.asarray(pue) >= 1), "PUE must be at least 1", pue)
    refuse(~(np.asarray(usd_per_kwh) >= 0), "electricity must be at least 0 USD/kWh", usd_per_kwh)
    refuse(~(np.asarray(power_w_all_in) >= 0), "power must be at least 0 W", power_w_all_in)
    refuse(_outside_unit(average_load_fraction), "load must be between 0 and 1", average_load_fraction)
    it_kw = power_w_all_in / WATTS_PER_KW
    paid_kw = it_kw * provisioning_factor
    energy = it_kw * average_load_fraction * pue * usd_per_kwh
    demand = paid_kw * pue * demand_usd_per_kw_month / HOURS_PER_MONTH
    opex_per_year = opex_fraction_per_year * capex_usd_per_chip + opex_usd_per_chip_year
    return CostBreakdown(
        facility=paid_kw * facility_usd_per_kw_month / HOURS_PER_MONTH,
        energy=energy + demand,
        opex=opex_per_year / HOURS_PER_YEAR,
    )


def build_usd_per_kw_month(
    *,
    build_usd_per_w: Numbers,
    shell_fraction: Numbers,
    shell_life_years: Numbers,
    plant_life_years: Numbers,
    cost_of_capital: Numbers,
    opex_fraction_per_year: Numbers = 0.0,
) -> Numbers:
    """Monthly charge of an own building that is comparable with a colocation price [USD/kW/month].

    The shell and land (`shell_fraction` of the cost) live longer than the mechanical and electrical plant; each is
    repaid over its own life. `build_usd_per_w` is per watt of critical IT load.
    """
    refuse(_outside_unit(shell_fraction), "shell fraction must be between 0 and 1", shell_fraction)
    refuse(~(np.asarray(build_usd_per_w) >= 0), "build cost must be at least 0 USD/W", build_usd_per_w)
    per_year = (
        shell_fraction * capital_recovery_factor(cost_of_capital, shell_life_years)
        + (1.0 - shell_fraction) * capital_recovery_factor(cost_of_capital, plant_life_years)
        + opex_fraction_per_year
    )
    return build_usd_per_w * WATTS_PER_KW * per_year / 12.0


def rented_usd_per_chip_hour(
    *,
    list_usd_per_chip_hour: Numbers,
    discount_fraction: Numbers = 0.0,
    support_fraction: Numbers = 0.0,
    opex_usd_per_chip_year: Numbers = 0.0,
) -> CostBreakdown:
    """Cost of renting one chip for one hour; the landlord pays for power, building and hardware.

    `support_fraction` is the support plan over the discounted rent; `opex_usd_per_chip_year` is what stays with the
    tenant (staff, software, egress).
    """
    refuse(~(np.asarray(list_usd_per_chip_hour) >= 0), "rent must be at least 0 USD/h", list_usd_per_chip_hour)
    refuse(_outside_unit(discount_fraction), "discount must be between 0 and 1", discount_fraction)
    rent = list_usd_per_chip_hour * (1.0 - discount_fraction)
    return CostBreakdown(rent=rent, opex=rent * support_fraction + opex_usd_per_chip_year / HOURS_PER_YEAR)


def contract_usd_per_chip_hour(total_usd: Numbers, chips: Numbers, years: Numbers) -> Numbers:
    """Rent of a chip-hour [USD/chip/h] that a contract over `years` for `chips` chips implies, every hour paid."""
    chip_years = np.asarray(chips, dtype=float) * np.asarray(years, dtype=float)
    refuse(~(chip_years > 0), "chips x years must be above 0", chip_years)
    return total_usd / (chips * years * HOURS_PER_YEAR)


def usd_per_mtok(usd_per_hour: Numbers, tokens_per_s: Numbers) -> Numbers:
    """Cost of a million tokens [USD] from the cost of an hour [USD/h] and the rate in that hour [token/s]."""
    refuse(~(np.asarray(tokens_per_s) > 0), "token rate must be above 0 token/s", tokens_per_s)
    return usd_per_hour / SECONDS_PER_HOUR / tokens_per_s * TOKENS_PER_MTOK


def _outside_unit(value: Numbers) -> object:
    given = np.asarray(value)
    return ~((given >= 0) & (given <= 1))
