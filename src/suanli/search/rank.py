"""Order deployments by the objective; call close ones ties."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from suanli.search.estimate import Estimate
from suanli.search.result import Deployment

# metric that each objective sorts by, and whether more is better
OBJECTIVES = {
    "usd_per_mtok": ("usd_per_mtok", False),
    "tokens_per_joule": ("tokens_per_joule", True),
    "chips": ("chips", False),
    "ttft": ("ttft_p99_ms", False),
}
# Below this probability of being the worse one, a deployment counts as tied with the best.
TIE = 0.8
HALF_WIDTH_80 = 1.2816  # standard deviations from the middle to the end of an 80 % interval


def sort_key(deployment: Deployment, objective: str) -> float:
    """Value to minimise; infinite when the metric is missing (no price)."""
    metric, more = OBJECTIVES[objective]
    if metric not in deployment.metrics:
        return math.inf
    value = deployment.value(metric)
    return -value if more else value


def probability_below(first: Estimate, second: Estimate) -> float:
    """Probability that the first true value is below the second, log-normal and independent errors."""
    variance = sum((math.log(e.high / e.low) / 2.0 / HALF_WIDTH_80) ** 2 for e in (first, second))
    distance = math.log(second.value / first.value)
    if variance == 0.0:
        return 0.5 if distance == 0.0 else float(distance > 0.0)
    return 0.5 * (1.0 + math.erf(distance / math.sqrt(2.0 * variance)))


def ranked(deployments: Sequence[Deployment], objective: str) -> tuple[Deployment, ...]:
    """Best first, with rank, probability of beating the best, and ties marked; what fails its replay comes last."""
    order = sorted(deployments, key=lambda one: (one.fails, sort_key(one, objective), one.value("chips"), one.name))
    metric, more = OBJECTIVES[objective]
    found = []
    for rank, one in enumerate(order, start=1):
        chance = 0.0
        if metric in one.metrics and metric in order[0].metrics and one.fails == order[0].fails:
            below = probability_below(one.metrics[metric], order[0].metrics[metric])
            chance = 1.0 - below if more else below
        found.append(replace(one, rank=rank, p_beats_best=chance, tie_with_best=rank > 1 and chance > 1.0 - TIE))
    return tuple(found)


def without_twins(deployments: Sequence[Deployment]) -> list[Deployment]:
    """One of those that differ only in the size of the system around the same chips; it names the others."""
    found: dict[tuple[object, ...], Deployment] = {}
    for one in deployments:
        layout = tuple((pool.chip, pool.label, pool.instances, pool.chips_provisioned) for pool in one.pools)
        numbers = tuple(f"{one.value(name):.3g}" for name in ("chips", "power_kw", "tpot_p50_ms", "max_request_s"))
        money = f"{one.value('usd_per_mtok'):.3g}" if "usd_per_mtok" in one.metrics else ""
        key = (layout, numbers, money)
        first = found.get(key)
        found[key] = one if first is None else replace(first, also_on=(*first.also_on, *one.systems))
    return list(found.values())


def pareto(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the points that no other point beats in both coordinates (more is better), by falling first one."""
    order = sorted(range(len(points)), key=lambda index: (-points[index][0], -points[index][1]))
    front, best = [], -math.inf
    for index in order:
        if points[index][1] > best:
            front.append(index)
            best = points[index][1]
    return front
