"""The answer in one sentence, and the question in one line."""

from __future__ import annotations

from suanli.report.wording import TIMES, compact, counted, limit_words, payment, plain, slo_words, span, workload_words
from suanli.search.estimate import Estimate
from suanli.search.result import Deployment, Plan

# Objective -> metric, how the winner is called, and the sentence about its value.
OBJECTIVES: dict[str, tuple[str, str, str]] = {
    "usd_per_mtok": ("usd_per_mtok", "cheapest", "at ${value} per million tokens"),
    "tokens_per_joule": ("tokens_per_joule", "most energy-efficient", "at {value} tokens per joule"),
    "chips": ("chips", "smallest", "with {value} chips in all"),
    "ttft": ("ttft_p99_ms", "quickest to the first token", "with a TTFT p99 of {value} ms"),
}


def question(plan: Plan) -> str:
    """What was asked, in one line."""
    parts = [f"{plan.model['name']} ({plan.model['weights']})", workload_words(plan), slo_words(plan)]
    return " · ".join(part for part in (*parts, limit_words(plan)) if part)


def objective_estimate(plan: Plan, deployment: Deployment) -> Estimate | None:
    """Value that the plan is ranked by; None when it has no price."""
    return deployment.metrics.get(OBJECTIVES[plan.objective][0])


def ties(plan: Plan) -> int:
    """Deployments that cannot be told apart from the first."""
    return sum(deployment.tie_with_best for deployment in plan)


def pools_words(deployment: Deployment) -> str:
    """Chips, systems and parallelism in words."""
    pools = deployment.pools
    shapes = [f"{pool.instances}{TIMES} {pool.label}" for pool in pools]
    if len(pools) > 1:
        shapes = [f"{shape} for {pool.role}" for shape, pool in zip(shapes, pools, strict=True)]
    if len(deployment.systems) == 1:
        chips = sum(pool.chips_provisioned for pool in pools)
        return f"{counted(chips, 'chip')} of {pools[0].system} as {' and '.join(shapes)}"
    counts = [f"{counted(pool.chips_provisioned, 'chip')} of {pool.system}" for pool in pools]
    return " and ".join(f"{count} as {shape}" for count, shape in zip(counts, shapes, strict=True))


def _value(objective: str, estimate: Estimate) -> str:
    return plain(estimate.value) if objective == "chips" else compact(estimate.value)


def headline(plan: Plan) -> str:
    """One sentence with the best deployment, its value, the interval, and what cannot be told apart from it."""
    if not len(plan):
        return f"No system answers this study: {counted(len(plan.excuses), 'system')} with an excuse each."
    best = plan[0]
    _, word, phrase = OBJECTIVES[plan.objective]
    estimate = objective_estimate(plan, best)
    value = ""
    if estimate is not None:
        value = ", " + phrase.format(value=_value(plan.objective, estimate))
        if estimate.high > estimate.low:
            value += f" (80 % interval {span(estimate)})"
    paid = f", {payment(best)}" if payment(best) else ""
    tied = ties(plan)
    others = f" {counted(tied, 'other')} cannot be told apart from it." if tied else ""
    power = f"{compact(best.value('power_kw'))} kW"
    return f"The {word} answer is {pools_words(best)}{value}; {power}{paid}.{others}"
