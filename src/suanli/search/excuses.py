"""Why nothing on a system answers the study, in one sentence."""

from __future__ import annotations

import numpy as np

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
        f"{metric.upper()} floor {floor:,.0f} ms > {limit * MS:,.0f} ms ({metric} {percentile})"
        for metric, floor in (("tpot", tpot), ("ttft", ttft))
        for percentile, limit in slo.limits(metric).items()  # type: ignore[arg-type]
        if floor > limit * MS
    ]
    if found:
        return Excuse(system, "; ".join(dict.fromkeys(found)), "slo")
    limits = ", ".join(
        f"{metric} {percentile} <= {limit * MS:,.0f} ms"
        for metric in ("ttft", "tpot")
        for percentile, limit in slo.limits(metric).items()
    )
    return Excuse(system, f"no placement meets all limits at once ({limits}); lowest TPOT {tpot:,.1f} ms", "slo")


def limit_excuse(deployment: Deployment, limits: Limits) -> str | None:
    """Which hard limit of the study a deployment breaks, None when it keeps all."""
    broken = []
    chips, power = deployment.value("chips"), deployment.value("power_kw") * MS
    if limits.chips is not None and chips > limits.chips:
        broken.append(f"needs {chips:,.0f} chips > {limits.chips:,}")
    if limits.power is not None and power > limits.power:
        broken.append(f"needs {power / MS:,.0f} kW > {limits.power / MS:,.0f} kW")
    capex = deployment.metrics.get("capex_musd")
    if limits.capex is not None and capex is not None and capex.value * 1e6 > limits.capex:
        broken.append(f"costs {capex.value:,.1f} MUSD > {limits.capex / 1e6:,.1f} MUSD")
    return "; ".join(broken) or None


def any_fits(columns: tuple[Column, ...]) -> bool:
    """Whether any placement meets the SLO at some load."""
    return any(bool(np.any(column.rate > 0.0)) for column in columns)
