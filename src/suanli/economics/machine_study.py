"""A study of one machine's price per chip-hour, without traffic: who pays, for what, and what others have published."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from suanli.catalog.files import CatalogError, read_yaml
from suanli.catalog.schema import Identifier, Price, Record
from suanli.economics.capex import Buyer, load_capex
from suanli.economics.finance import EconomicsError
from suanli.economics.money import range_in
from suanli.economics.profile import load_profile, profile_at
from suanli.economics.quote import Machine, Quote, quote
from suanli.quantity import Quantity


class MachineRecord(Record):
    """What is paid for; `subjects` are the ids under which prices are looked up: the system, then its chip."""

    subjects: Annotated[tuple[Identifier, ...], Field(min_length=1)]
    chips: Annotated[int, Field(gt=0)]
    vendor: str
    power: Quantity  # all-in IT power per chip


class MachineStudy(Record):
    """One machine under one way of paying."""

    schema_version: Literal[1]
    economics: str  # id of a profile
    machine: MachineRecord
    buyer: Buyer | None = None
    published: Quantity | None = None  # price per chip-hour that somebody else gives

    @property
    def published_usd(self) -> float | None:
        """Published price [USD/chip/h]."""
        return None if self.published is None else range_in(self.published, "USD/chip/h")[1]

    def quote(self, prices: tuple[Price, ...] = (), edition: str | None = None) -> Quote:
        """Price of a chip-hour, with nothing newer than `edition` if one is given. Raises EconomicsError."""
        profile = load_profile(self.economics if edition is None else profile_at(self.economics, edition))
        bills = [bill for bill in load_capex() if edition is None or bill.edition <= edition]
        known = [price for price in prices if edition is None or price.edition <= edition]
        machine = Machine(
            self.machine.subjects, self.machine.chips, self.machine.vendor, range_in(self.machine.power, "W/chip")
        )
        return quote(profile, machine, known, buyer=self.buyer, bills=bills)


def read_machine_study(path: Path) -> MachineStudy:
    """Read a study file. Raises EconomicsError with every problem."""
    try:
        return read_yaml(path, MachineStudy)
    except CatalogError as error:
        raise EconomicsError(*error.problems) from None
