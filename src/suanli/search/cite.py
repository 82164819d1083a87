"""The inputs that a plan used, with their sources."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from suanli.catalog.loader import Catalog
from suanli.quantity import Quantity
from suanli.search.cost import SystemCost
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
        rows += [_money_row(system.id, key, cost) for key in cost.ranges if key in MONEY_UNITS]
    return rows


# Prices among the inputs of the cost model, with their units
MONEY_UNITS = {"system.capex": "{money}/chip", "system.rent": "{money}/chip/h"}


def _money_row(subject: str, key: str, cost: SystemCost) -> dict[str, Any]:
    low, best, high = cost.ranges[key]
    return {
        "subject": subject,
        "name": f"{key.removeprefix('system.')} ({cost.basis})",
        "value": best,
        "low": low,
        "high": high,
        "unit": MONEY_UNITS[key].replace("{money}", cost.profile.currency),
        "kind": "derived",
        "source": ", ".join(cost.price_sources),
    }
