"""From the workload of a study to the numbers that the closed form needs."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from suanli.catalog.loader import Catalog
from suanli.catalog.schema import Lengths, WorkloadProfile
from suanli.search.study import Study, StudyError, Workload
from suanli.search.traffic import arrivals_of, demand_of_requests, trace_requests, workload_of
from suanli.serving.steady import Demand
from suanli.workload.traces_read import statistics_of

# 90 % quantile of the standard normal: log-normal width from the published p50 and p90.
Z90 = 1.2816
LN_MEAN_WIDTH = 2.0
SESSION_REQUESTS = 2_000  # whose lengths stand for all conversations
CV_REQUESTS = 20_000  # arrivals that the burstiness of a changing rate is measured on


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
    """Demand of a study. Raises StudyError for an unknown profile, and for a trace that cannot be read."""
    workload = study.workload
    if workload.trace is not None:
        return demand_of_requests(trace_requests(workload.trace, workload.rate))
    if workload.sessions is not None:
        return demand_of_requests(workload_of(study, catalog, SESSION_REQUESTS, 0)[0])
    if workload.profile is not None:
        if workload.profile not in catalog.workloads:
            raise StudyError([_unknown_profile(workload.profile, catalog)])
        found = demand_of_profile(catalog.workloads[workload.profile], workload.prefix_hit_rate)
        return replace(found, arrival_cv=_arrival_cv(workload, found.arrival_cv))
    if workload.input_tokens is None or workload.output_tokens is None:
        raise StudyError(["workload: give a trace, a profile, or input_tokens with output_tokens"])
    # Fixed lengths: no variation of length.
    burst = _arrival_cv(workload, 1.0)
    return Demand(workload.input_tokens, workload.output_tokens, 0.0, 0.0, burst, workload.prefix_hit_rate)


def _arrival_cv(workload: Workload, usual: float) -> float:
    """Coefficient of variation of the gaps between arrivals by the process of the study [-].

    That of rates that change over time is measured on drawn arrivals: a closed form knows no hours of the day.
    """
    if workload.arrivals.process is None:
        return usual
    if workload.arrivals.process in ("poisson", "gamma"):
        return workload.arrivals.cv or 1.0
    gaps = np.diff(arrivals_of(workload, CV_REQUESTS, np.random.default_rng(0)))
    return float(gaps.std() / gaps.mean())


def traced(study: Study) -> Study:
    """The study with the mean rate of its trace. Raises StudyError where a trace has none."""
    workload = study.workload
    if workload.trace is None or workload.rate is not None:
        return study
    rate = statistics_of(trace_requests(workload.trace, None)).rate
    if not math.isfinite(rate):
        raise StudyError(
            [
                "workload.trace: its requests wait for one another, or come all at once: no rate to plan for; "
                "replay it with `suanli simulate --deployment plan.json`"
            ]
        )
    return study.model_copy(update={"workload": workload.model_copy(update={"rate": rate})})


def _unknown_profile(name: str, catalog: Catalog) -> str:
    return f"workload.profile: unknown profile '{name}'; accepted: {', '.join(sorted(catalog.workloads))}"
