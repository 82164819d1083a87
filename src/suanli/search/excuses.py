"""Why nothing on a system answers the study, in one sentence."""

from __future__ import annotations

import numpy as np

from suanli.catalog.capped import lowest_limit
from suanli.catalog.schema import Chip, System
from suanli.mapping.memory import weight_bytes
from suanli.search.candidates import Column
from suanli.search.result import Deployment, Excuse
from suanli.search.study import Limits, Slo

GB = 1e9
MS = 1e3


def slo_excuse(system: str, columns: tuple[Column, ...], slo: Slo) -> Excuse:
    """No placement fits, or none is fast enough: name the lowest TPOT and TTFT against the limit."""
    fitting = [column for column in columns if column.fits.any()]
    if not fitting:
        column = columns[0]
        weights = weight_bytes(column.setting.graph, column.placements, column.setting.precision)
        least, capacity = float(weights.min()) / GB, column.setting.hardware.capacity / GB
        return Excuse(
            system,
            f"memory does not fit: at least {least:,.0f} GB of weights per chip in any placement, "
            f"{capacity:,.0f} GB on the chip, before KV cache and reserve",
            "memory",
        )
    tpot = min(float(c.tpot_floor[c.fits].min()) for c in fitting) * MS
    ttft = min(float(c.ttft_floor[c.fits].min()) for c in fitting) * MS
    found = [
        f"{metric.upper()} floor {floor:,.4g} ms > {limit * MS:,.4g} ms ({metric} {percentile})"
        for metric, floor in (("tpot", tpot), ("ttft", ttft))
        for percentile, limit in slo.limits(metric).items()  # type: ignore[arg-type]
        if floor > limit * MS
    ]
    if found:
        return Excuse(system, "; ".join(dict.fromkeys(found)), "slo")
    limits = ", ".join(
        f"{metric} {percentile} <= {limit * MS:,.4g} ms"
        for metric in ("ttft", "tpot")
        for percentile, limit in slo.limits(metric).items()
    )
    return Excuse(system, f"no placement meets all limits at once ({limits}); lowest TPOT {tpot:,.1f} ms", "slo")


def limit_excuse(deployment: Deployment, limits: Limits, pue: float | None = None) -> str | None:
    """Which hard limit a deployment breaks, None when it keeps all; `pue` turns IT power into power from the grid."""
    broken = []
    chips, power = deployment.value("chips"), deployment.value("power_kw") * MS
    if limits.chips is not None and chips > limits.chips:
        broken.append(f"needs {chips:,.0f} chips > {limits.chips:,}")
    if limits.power is not None and power > limits.power:
        broken.append(f"needs {power / MS:,.0f} kW > {limits.power / MS:,.0f} kW")
    if limits.site_power is not None and pue is not None and power * pue > limits.site_power:
        site = limits.site_power / MS
        broken.append(f"needs {power * pue / MS:,.0f} kW from the grid at a PUE of {pue:g} > {site:,.0f} kW")
    capex = deployment.metrics.get("capex_musd")
    if limits.capex is not None and capex is not None and capex.value * 1e6 > limits.capex:
        broken.append(f"costs {capex.value:,.1f} MUSD > {limits.capex / 1e6:,.1f} MUSD")
    return "; ".join(broken) or None


def power_excuse(system: System, chip: Chip, limits: Limits) -> Excuse | None:
    """Why a system cannot stand where a rack or a chip gets only so much power.

    Where the catalog has no curve of speed over a lowered power limit, what does not fit stays dark. A supernode fills
    its racks; smaller machines stand as far apart as they must.
    """
    if limits.chip_power is not None and chip.power.si > limits.chip_power:
        reason = f"a chip draws {chip.power.si:,.0f} W > {limits.chip_power:,.0f} W, {_lower(chip, limits.chip_power)}"
        return Excuse(system.id, reason, "limit")
    if limits.rack_power is None:
        return None
    rack = system.power.rack
    node = system.power.all_in_per_chip.si * system.chips_per_node
    whole = rack.si if rack is not None and rack.known and system.chips > system.chips_per_node else node
    if whole <= limits.rack_power:
        return None
    what = "a rack" if whole > node else "a node"
    return Excuse(system.id, f"{what} draws {whole / MS:,.0f} kW > {limits.rack_power / MS:,.0f} kW", "limit")


def _lower(chip: Chip, watts: float) -> str:
    """What is known of the chip at a lower limit."""
    if not chip.power_points:
        return "no curve of lower limits known"
    if lowest_limit(chip) <= watts:
        return f"taken at {watts:,.0f} W instead"
    return f"its speed is known from {lowest_limit(chip):,.0f} W up"


def any_fits(columns: tuple[Column, ...]) -> bool:
    """Whether any placement meets the SLO at some load."""
    return any(bool(np.any(column.rate > 0.0)) for column in columns)
