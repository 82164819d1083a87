"""From the workload of a study to the numbers that the closed form needs."""

from __future__ import annotations

import math

from suanli.catalog.loader import Catalog
from suanli.catalog.schema import Lengths, WorkloadProfile
from suanli.search.study import Study, StudyError
from suanli.serving.steady import Demand

# 90 % quantile of the standard normal: log-normal width from the published p50 and p90.
Z90 = 1.2816
LN_MEAN_WIDTH = 2.0


def variation(lengths: Lengths) -> float:
    """Coefficient of variation [-] of a length distribution, log-normal through its p50 and p90 (else mean and p50)."""
    if lengths.p50 is not None and lengths.p90 is not None and lengths.p50.known and lengths.p90.known:
        width = math.log(lengths.p90.si / lengths.p50.si) / Z90
    elif lengths.p50 is not None and lengths.p50.known:
        width = math.sqrt(max(LN_MEAN_WIDTH * math.log(lengths.mean.si / lengths.p50.si), 0.0))
    else:
        return 0.0
    return math.sqrt(math.expm1(width * width))


def demand_of_profile(profile: WorkloadProfile, hit_rate: float) -> Demand:
    """Means and variations of a catalogued trace; arrivals as bursty as recorded."""
    burst = profile.interarrival_cv
    return Demand(
        input_tokens=profile.input_tokens.mean.si,
        output_tokens=profile.output_tokens.mean.si,
        input_cv=variation(profile.input_tokens),
        output_cv=variation(profile.output_tokens),
        arrival_cv=burst.si if burst is not None and burst.known else 1.0,
        hit_rate=hit_rate,
    )


def demand_of(study: Study, catalog: Catalog) -> Demand:
    """Demand of a study. Raises StudyError for an unknown profile; traces are summarised by the caller."""
    workload = study.workload
    if workload.profile is not None:
        if workload.profile not in catalog.workloads:
            raise StudyError([_unknown_profile(workload.profile, catalog)])
        return demand_of_profile(catalog.workloads[workload.profile], workload.prefix_hit_rate)
    if workload.input_tokens is None or workload.output_tokens is None:
        raise StudyError(["workload: a trace has to be read before it can be planned on"])
    # Fixed lengths at Poisson arrivals: no variation of length, coefficient of variation 1 between arrivals.
    return Demand(workload.input_tokens, workload.output_tokens, 0.0, 0.0, 1.0, workload.prefix_hit_rate)


def _unknown_profile(name: str, catalog: Catalog) -> str:
    return f"workload.profile: unknown profile '{name}'; accepted: {', '.join(sorted(catalog.workloads))}"
