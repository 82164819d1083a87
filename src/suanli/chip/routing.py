"""How tokens spread over routed experts and over the chips that hold them.

Routers favour some experts, and chance does the rest: fewer distinct experts are read than even routing would read, and
where experts are spread over chips every layer waits for the chip with most of them.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from suanli.chip.operators import Real

Array = NDArray[np.float64]

EVEN = 1e-3  # spreads below this differ from even routing by less than rounding does


def experts_touched(tokens: Real, top_k: float, experts: float, *, spread: float = 0.0) -> Array:
    """Expected number of distinct experts that `tokens` tokens use, `top_k` different ones of `experts` each [-].

    spread : standard deviation of the experts' popularity over its mean. Evenly routed (0): E (1 - (1 - k/E)^tokens).
    With popularity gamma-distributed the picks of an expert are negative binomial, and
    E (1 - (1 + tokens h spread^2)^(-1 / spread^2)) with h = -ln(1 - k/E), at least the k of one token.
    """
    count = np.asarray(tokens, dtype=float)
    hits = -np.log1p(-min(top_k / experts, 1.0 - 1e-12))
    if spread < EVEN:
        return np.asarray(-experts * np.expm1(-count * hits))
    variance = spread**2
    touched = -experts * np.expm1(-np.log1p(count * hits * variance) / variance)
    return np.asarray(np.maximum(touched, np.minimum(count, 1.0) * top_k))


def largest_of(groups: Real) -> Array:
    """Expected largest of `groups` independent normal variables of mean 0 and deviation 1 [-] (Blom 1958)."""
    sizes, places = np.unique(np.asarray(groups, dtype=float), return_inverse=True)
    quantile = NormalDist().inv_cdf
    found = np.array([quantile((size - 0.375) / (size + 0.25)) for size in sizes])
    return np.asarray(found[places].reshape(np.shape(groups)))


def busiest_touched(touched: Real, experts: float, groups: Real) -> Array:
    """Distinct experts that the busiest of `groups` equal groups of experts has, `touched` of `experts` in all [-].

    Every expert is touched with the same probability p, so a group of n has n p, give or take sqrt(n p (1 - p)).
    """
    share = np.minimum(np.asarray(touched, dtype=float) / experts, 1.0)
    size = np.ceil(experts / np.asarray(groups, dtype=float))
    more = largest_of(groups) * np.sqrt(size * share * (1.0 - share))
    return np.asarray(np.minimum(np.minimum(size * share + more, size), touched))
