"""Machines at lowered clocks: what a plan tries besides full power where power is limited."""

from __future__ import annotations

from suanli.catalog.capped import SIGN, capped_chip, capped_system, lowest_limit, shares_at
from suanli.catalog.schema import Chip, System
from suanli.search.excuses import power_excuse
from suanli.search.study import Limits


def with_lower_clocks(system: System, chip: Chip, limits: Limits) -> list[tuple[System, Chip]]:
    """Return the system, and where power is limited the same one at every lower limit whose speed is known.

    A limit of the chip itself is taken as it is; under one of the hall or the site, and where a rack does not take the
    machine as it is, the measured points are.
    """
    found = [(system, chip)]
    if SIGN in system.id or not chip.power_points:
        return found
    if limits.chip_power is not None:
        inside = lowest_limit(chip) <= limits.chip_power < chip.power.si
        watts = [limits.chip_power] if inside else []
    elif limits.power is not None or limits.site_power is not None or power_excuse(system, chip, limits):
        watts = [point.limit.si for point in chip.power_points]
    else:
        watts = []
    return found + [(capped_system(system, chip, limit), capped_chip(chip, limit)) for limit in watts]


def clock_note(chip: Chip) -> str:
    """What is assumed of a chip at a lowered limit."""
    low, best, high = shares_at(chip)
    rated = chip.power if chip.rated_power is None else chip.rated_power
    limits = f"{chip.power.si:,.0f} W instead of {rated.si:,.0f} W"
    return f"chips limited to {limits} keep {best:.0%} of their arithmetic ({low:.0%} to {high:.0%})"
