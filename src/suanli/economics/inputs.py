"""Every input of the cost model: its key, its unit at the border, what is possible, and which structure needs it.

This one table drives the checks of profiles, the overrides of a study, the names of a tornado and the reference page.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Structure = Literal["owned", "leased", "rented"]


def told(value: float, unit: str) -> str:
    """A value in a border unit as a person would write it: 8.5 %/year, 1.12, 6 year."""
    if unit == "1/year":
        return f"{value * 100.0:g} %/year"
    return f"{value:g}" if unit == "count" else f"{value:g} {unit}"


@dataclass(frozen=True)
class Input:
    """One input. `{money}` in the unit stands for the currency of the profile."""

    unit: str
    meaning: str
    needed_by: tuple[Structure, ...] = ()
    low: float = 0.0
    high: float = float("inf")
    open_low: bool = False  # the lower limit itself is not possible

    def possible(self, value: float) -> bool:
        """Whether a value in the border unit can be."""
        return (value > self.low if self.open_low else value >= self.low) and value <= self.high

    @property
    def accepted(self) -> str:
        """What is accepted, in words."""
        word = "above" if self.open_low else "at least"
        if self.high == float("inf"):
            return f"{word} {told(self.low, self.unit)}"
        low = told(self.low, self.unit).partition(" ")[0]
        return f"{word} {low} and at most {told(self.high, self.unit)}"


OWN: tuple[Structure, ...] = ("owned",)
HOUSED: tuple[Structure, ...] = ("owned", "leased")  # the operator houses and powers the machines
RENT: tuple[Structure, ...] = ("rented",)

INPUTS: dict[str, Input] = {
    "finance.cost_of_capital": Input("1/year", "weighted cost of capital; or give the debt and equity keys", high=1.0),
    "finance.debt_fraction": Input("count", "share of the capex that is borrowed", high=1.0),
    "finance.cost_of_debt": Input("1/year", "interest of the loan", high=1.0),
    "finance.debt_term": Input("year", "years over which the loan is repaid", open_low=True),
    "finance.cost_of_equity": Input("1/year", "return that the owners ask for", high=1.0),
    "hardware.life": Input("year", "economic life of the machines", OWN, open_low=True),
    "hardware.residual": Input("count", "resale value at the end of the life over capex", OWN, high=1.0),
    "hardware.beyond_server": Input("count", "network, storage and installation over the price of the machines"),
    "hardware.beyond_chip": Input("count", "host, board and chassis over the price of the chips"),
    "facility.rent": Input("{money}/kW/month", "colocation or powered shell per provisioned IT kW"),
    "facility.build": Input("{money}/W", "own building per watt of critical IT load"),
    "facility.shell_share": Input("count", "share of land and shell in the own building", high=1.0),
    "facility.shell_life": Input("year", "life of land and shell", open_low=True),
    "facility.plant_life": Input("year", "life of the mechanical and electrical plant", open_low=True),
    "facility.maintenance": Input("1/year", "upkeep of the own building over its cost", high=1.0),
    "facility.provisioning": Input("count", "IT kW paid for over the all-in power of the machines", HOUSED, low=1.0),
    "energy.electricity": Input("{money}/kWh", "tariff of the electricity", HOUSED),
    "energy.demand_charge": Input("{money}/kW/month", "demand charge per provisioned facility kW", HOUSED),
    "energy.pue": Input("count", "facility energy over IT energy", HOUSED, low=1.0),
    "energy.load": Input("count", "mean IT power over provisioned IT power", HOUSED, high=1.0),
    "energy.carbon": Input("g/kWh", "CO2 of the grid"),
    "operations.per_chip": Input("{money}/chip/year", "all of the four lines below, where they are not told apart"),
    "operations.staff": Input("{money}/chip/year", "engineers and remote hands"),
    "operations.network": Input("{money}/chip/year", "transit and cross-connects"),
    "operations.software": Input("{money}/chip/year", "licences"),
    "operations.support": Input("{money}/chip/year", "support contracts for the machines"),
    "operations.of_capex": Input("1/year", "insurance, property tax and spares over capex", HOUSED, high=1.0),
    "operations.availability": Input(
        "count", "share of the paid hours in which a chip can serve", (*HOUSED, *RENT), high=1.0, open_low=True
    ),
    "lease.rate": Input("1/year", "rate implied in the lease payments", ("leased",), high=1.0),
    "lease.term": Input("year", "years of the lease", ("leased",), open_low=True),
    "lease.residual": Input("count", "value at the end that the lessor keeps over capex", ("leased",), high=1.0),
    "rent.discount": Input("count", "discount on the list price of the rent", RENT, high=1.0),
    "rent.support": Input("count", "support plan over the rent", RENT, high=1.0),
    "rent.per_chip": Input("{money}/chip/year", "what stays with the tenant: staff, software, egress", RENT),
    "system.capex": Input("{money}/chip", "everything that is bought, per chip"),
    "system.power": Input("W/chip", "all-in IT power of one chip with its share of host, NIC, switch"),
    "system.rent": Input("{money}/chip/h", "list price of one rented chip"),
}

# Inputs that belong to the machine and not to the way of paying for it; the caller supplies them.
SYSTEM_KEYS: dict[Structure, tuple[str, ...]] = {
    "owned": ("system.capex", "system.power"),
    "leased": ("system.capex", "system.power"),
    "rented": ("system.rent",),
}

_PER_ENERGY = re.compile(r"/\s*[kMG]?(Wh|J)\b")
_PER_POWER = re.compile(r"/\s*[kMG]?W\b")

OPERATIONS = "operations.per_chip"
OPERATIONS_LINES = ("operations.staff", "operations.network", "operations.software", "operations.support")

CAPEX_LINE = "capex."  # keys of single lines that add up to system.capex

BUILD_KEYS = (
    "facility.build",
    "facility.shell_share",
    "facility.shell_life",
    "facility.plant_life",
    "facility.maintenance",
)
DEBT_KEYS = ("finance.debt_fraction", "finance.cost_of_debt", "finance.debt_term", "finance.cost_of_equity")


def unit_of(key: str, currency: str) -> str:
    """Border unit of an input in a currency."""
    return INPUTS[key].unit.replace("{money}", currency)


def power_for_energy(given: str, unit: str) -> str | None:
    """What is accepted where a price per kW and month is given for one per kWh, or the other way round.

    Both are money over energy, so that the dimension does not tell them apart; a month of a kW is 730 kWh.
    """
    per_energy, per_power = _PER_ENERGY.search(given), _PER_POWER.search(given)
    if unit.endswith("/kW/month") and per_energy:
        return f"one per kW and month, like {unit}"
    if unit.endswith("/kWh") and per_power:
        return f"one per kWh, like {unit}"
    return None
