"""Requests with the published statistics of a trace that is not at hand."""

from __future__ import annotations

import numpy as np

from suanli.catalog.schema import Lengths, WorkloadProfile
from suanli.workload.arrivals import gamma, lengths
from suanli.workload.requests import Requests

QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
# Where no greatest length is published: a tail that falls as between the p90 and the p99 for another factor of ten.


def _drawn(found: Lengths, count: int, rng: np.random.Generator) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Lengths through the published quantiles with the published mean; all equal where there are none."""
    values = {name: getattr(found, name) for name in (*QUANTILES, "maximum")}
    known = {name: quantity.si for name, quantity in values.items() if quantity is not None and quantity.known}
    if "p50" not in known:
        return np.full(count, max(round(found.mean.si), 1), dtype=np.int64)
    points = {0.0: 1.0} | {QUANTILES[name]: known[name] for name in QUANTILES if name in known}
    last = max(points.values())
    points[1.0] = known.get("maximum", last**2 / known.get("p90", known["p50"]) if "p99" in known else last)
    return lengths(points, count, rng, mean=found.mean.si)


def requests_of_profile(profile: WorkloadProfile, rate: float, count: int, rng: np.random.Generator) -> Requests:
    """`count` requests at `rate` [1/s], with lengths and burstiness of a catalogued profile and no shared prefixes.

    Lengths are independent of each other and of the arrivals. Without published burstiness arrivals are Poisson.
    """
    burst = profile.interarrival_cv
    cv = burst.si if burst is not None and burst.known else 1.0
    return Requests.build(
        gamma(rate, cv, count, rng), _drawn(profile.input_tokens, count, rng), _drawn(profile.output_tokens, count, rng)
    )
