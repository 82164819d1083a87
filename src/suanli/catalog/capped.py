"""A chip, and a system of such chips, at a lowered power limit.

Where it is known what a lower limit leaves of the speed (`power_points` of the chip), the machine at any limit between
is written with it: ``nvidia-hgx-h100-8@500w``. Shares are interpolated in a straight line between the points. Measured
curves bend the other way (the first watts cost least speed), so that this is on the slow side. Nothing is continued
below the lowest point.
"""

from __future__ import annotations

import re

import numpy as np

from suanli.catalog.files import CatalogError
from suanli.catalog.schema import Chip, Peak, System
from suanli.quantity import Quantity, parse_unit

SIGN = "@"
_LIMIT = re.compile(r"^(?P<base>[^@]+)@(?P<watts>\d+(\.\d+)?)w$", re.I)
Share = tuple[float, float, float]  # low, best, high


def base_id(name: str) -> str:
    """Id of the chip or system at its own power limit."""
    return name.split(SIGN, maxsplit=1)[0]


def limit_of(name: str) -> tuple[str, float]:
    """Split ``h100@500w`` into the name and the limit [W]. Raises CatalogError."""
    found = _LIMIT.match(name)
    if found is None:
        raise CatalogError([f"'{name}': a power limit is written with its watts: {base_id(name)}@500w"])
    return found["base"], float(found["watts"])


def lowest_limit(chip: Chip) -> float:
    """Lowest power limit at which the speed is known [W]; that of the chip where nothing else is."""
    return min((point.limit.si for point in chip.power_points), default=chip.power.si)


def capped_chip(chip: Chip, watts: float) -> Chip:
    """Return the chip at a power limit [W]. Raises CatalogError where its speed is not known there."""
    _check(chip, watts)
    arithmetic, memory = _shares(chip, watts, "arithmetic"), _shares(chip, watts, "memory")
    because = f"{watts:g} W instead of {chip.power.si:g} W; {chip.power_points[0].arithmetic.because}"
    peaks = tuple(
        Peak.model_copy(peak, update={"rate": _scaled(peak.rate, arithmetic, because)}) for peak in chip.peaks
    )
    bandwidth = _scaled(chip.memory.bandwidth, memory, because)
    limit = chip.power.model_copy(update={"value": watts / parse_unit(chip.power.unit)[0], "low": None, "high": None})
    return chip.model_copy(
        update={
            "id": f"{chip.id}{SIGN}{watts:g}w",
            "aliases": (),
            "name": f"{chip.name} at {watts:g} W",
            "lanes": chip.lanes or chip.id,
            "peaks": peaks,
            "memory": chip.memory.model_copy(update={"bandwidth": bandwidth}),
            "power": limit,
            "rated_power": chip.power,
        }
    )


def capped_system(system: System, chip: Chip, watts: float) -> System:
    """Return the system with every chip at a power limit [W]; host, network and fans draw what they drew."""
    _check(chip, watts)
    power = system.power
    whole = power.all_in_per_chip.si
    saved = chip.power.si - watts
    rack = power.rack
    if rack is not None and rack.known:
        share = (whole - saved) / whole
        rack = _scaled(rack, (share, share, share), "")
    return system.model_copy(
        update={
            "id": f"{system.id}{SIGN}{watts:g}w",
            "aliases": (),
            "name": f"{system.name} at {watts:g} W a chip",
            "chip": f"{chip.id}{SIGN}{watts:g}w",
            "power": power.model_copy(update={"all_in_per_chip": _less(power.all_in_per_chip, saved), "rack": rack}),
        }
    )


def shares_at(chip: Chip) -> Share:
    """Share of its arithmetic that a chip at a lowered limit keeps: low, best and high [-]."""
    own = chip if chip.rated_power is None else chip.model_copy(update={"power": chip.rated_power})
    return _shares(own, chip.power.si, "arithmetic")


def _check(chip: Chip, watts: float) -> None:
    if not chip.power_points:
        reason = "the catalog has no curve of speed over a lowered power limit"
        raise CatalogError([f"{chip.id}{SIGN}{watts:g}w: {reason}; accepted: {chip.id}"])
    least, own = lowest_limit(chip), chip.power.si
    if not least <= watts < own:
        raise CatalogError(
            [f"{chip.id}{SIGN}{watts:g}w: {watts:g} W given; accepted: at least {least:g} and below {own:g} W"]
        )


def _shares(chip: Chip, watts: float, name: str) -> Share:
    points = sorted(chip.power_points, key=lambda point: point.limit.si)
    at = [point.limit.si for point in points] + [chip.power.si]
    found = []
    for end in range(3):
        values = []
        for point in points:
            quantity: Quantity = getattr(point, name)
            low, high = quantity.si_range
            values.append((low, quantity.si, high)[end])
        found.append(float(np.interp(watts, at, [*values, 1.0])))
    return found[0], found[1], found[2]


def _scaled(quantity: Quantity, share: Share, because: str) -> Quantity:
    """A known number times a share with its range; an unknown one stays unknown."""
    if quantity.value is None:
        return quantity
    low = quantity.value if quantity.low is None else quantity.low
    high = quantity.value if quantity.high is None else quantity.high
    if share == (1.0, 1.0, 1.0):
        return quantity
    update = {"value": quantity.value * share[1], "low": low * share[0], "high": high * share[2], "kind": "derived"}
    return quantity.model_copy(update=update | {"note": because or None, "alternatives": ()})


def _less(quantity: Quantity, watts: float) -> Quantity:
    """A power with so much less [W]."""
    if quantity.value is None:
        return quantity
    less = watts / parse_unit(quantity.unit)[0]
    ends = {name: None if end is None else end - less for name, end in (("low", quantity.low), ("high", quantity.high))}
    return quantity.model_copy(update={"value": quantity.value - less, "kind": "derived", "alternatives": ()} | ends)
