"""The inputs that a plan used, with their sources."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from suanli.catalog.loader import Catalog
from suanli.economics.profile import EconomicsProfile
from suanli.quantity import Quantity
from suanli.search.cost import SystemCost, money_unit
from suanli.search.systems import Ready


def citations_of(ids: Iterable[str], catalog: Catalog) -> dict[str, dict[str, str]]:
    """Title, publisher, date and place of each source id; ids that the catalog does not know keep only their name."""
    found = {}
    for name in sorted(set(ids)):
        source = catalog.sources.get(name)
        if source is None:
            found[name] = {"title": name}
        else:
            found[name] = {
                "title": source.title,
                "publisher": source.publisher,
                "date": source.date,
                "locator": source.locator,
                "read_as": source.read_as,
            }
    return found


def _row(subject: str, name: str, quantity: Quantity) -> dict[str, Any]:
    return {
        "subject": subject,
        "name": name,
        "value": quantity.value,
        "low": quantity.low,
        "high": quantity.high,
        "unit": quantity.unit,
        "kind": quantity.kind,
        "source": quantity.source,
    }


def inputs_of(ready: Ready, cost: SystemCost | None) -> list[dict[str, Any]]:
    """Every catalog number behind the answers of one system."""
    chip, system = ready.chip, ready.system
    rows = [
        _row(chip.id, f"peak {p.dtype} dense", p.rate) for p in chip.peaks if p.sparsity == "dense" and p.rate.known
    ]
    rows.append(_row(chip.id, "memory capacity", chip.memory.capacity))
    rows.append(_row(chip.id, "memory bandwidth", chip.memory.bandwidth))
    rows.append(_row(chip.id, "chip power", chip.power))
    rows.append(_row(system.id, "all-in power per chip", system.power.all_in_per_chip))
    for level in system.levels:
        rows.append(_row(system.id, f"{level.name} bandwidth, one way per chip", level.bandwidth))
        rows.append(_row(system.id, f"{level.name} latency", level.latency))
    if cost is not None:
        rows += [_money_row(cost, key) for key in cost.prices]
    return rows


def inputs_of_profile(profile: EconomicsProfile) -> list[dict[str, Any]]:
    """Every number of the way of paying."""
    rows = [_row(profile.id, key, quantity) for key, quantity in profile.inputs.items()]
    return rows + [_row(profile.id, f"exchange.{name}", rate) for name, rate in profile.exchange.items()]


def _money_row(cost: SystemCost, key: str) -> dict[str, Any]:
    one = cost.prices[key]
    return {
        "subject": cost.system,
        "name": f"{key.removeprefix('system.')} ({cost.basis})",
        "value": one.best,
        "low": one.low,
        "high": one.high,
        "unit": money_unit(key, cost.profile),
        "kind": "derived",
        "source": ", ".join(cost.price_sources),
    }
