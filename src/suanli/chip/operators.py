"""Time of operators on one chip, from shapes and rates.

Every function takes floats or arrays that broadcast against each other and returns seconds. What bounds an operator
is the slower of arithmetic and memory traffic; real kernels overlap the two only in part, so the two times are joined
by a p-norm (:func:`smooth_max`): never below the larger, never above the sum. Launch time is not in here: it is added
once per kernel by the step model.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Real: TypeAlias = float | NDArray[np.float64]

# Sharpness of the roofline corner, between full overlap (infinity) and none (1). Without correction surfaces the 16-bit
# products near the corner agree best with 1.5 on A100 and B200 and with 3 on H200 (docs/theory/matmul.md).
CORNER = 3.0


def smooth_max(first: Real, second: Real) -> Real:
    """Join two times [s] of one kernel: between their maximum and their sum, monotone in both."""
    high = np.maximum(first, second)
    low = np.minimum(first, second)
    ratio = low / np.maximum(high, 1e-30)
    return np.asarray(high * np.cbrt(1.0 + ratio * ratio * ratio))


def padded(size: Real, tile: Real) -> Real:
    """Size rounded up to whole tiles: what the matrix unit really computes."""
    return np.asarray(np.ceil(np.asarray(size) / tile) * tile)


def matmul_time(
    m: Real,
    n: Real,
    k: Real,
    *,
    rate: Real,
    bandwidth: Real,
    weight_bytes: Real,
    activation_bytes: Real,
    tile: tuple[float, float],
) -> Real:
    """Time of y[m, n] = x[m, k] W[k, n] [s].

    rate : achievable arithmetic [FLOP/s]. bandwidth : achievable memory bandwidth [B/s].
    weight_bytes, activation_bytes : bytes per element. tile : rows of m, columns of n that a unit computes at once.
    """
    arithmetic = 2.0 * padded(m, tile[0]) * padded(n, tile[1]) * k / rate
    traffic = (weight_bytes * k * n + activation_bytes * m * (k + n)) / bandwidth
    return smooth_max(arithmetic, traffic)


def grouped_matmul_time(
    tokens: Real,
    *,
    top_k: float,
    touched: Real,
    share: Real,
    imbalance: Real,
    elements: Real,
    rate: Real,
    bandwidth: Real,
    weight_bytes: Real,
    activation_bytes: Real,
    hidden: float,
    inner: Real,
) -> Real:
    """Time of the routed experts of one layer on one chip [s].

    tokens : tokens that reach the expert group in this step [-].
    touched : distinct experts of this chip that they use [-].
    share : fraction of the experts that live on this chip (1/EP). elements : weights of one expert on this chip [-].
    imbalance : load of the busiest chip over the mean (>= 1), multiplies arithmetic.
    hidden, inner : widths of the expert's input and inner dimension on this chip, for activation traffic.
    """
    routed = np.asarray(tokens) * top_k * share
    arithmetic = 2.0 * routed * imbalance * elements / rate
    traffic = (weight_bytes * touched * elements + activation_bytes * routed * 2.0 * (hidden + inner)) / bandwidth
    return smooth_max(arithmetic, traffic)


def attention_decode_time(kv_bytes: Real, flops: Real, *, rate: Real, bandwidth: Real) -> Real:
    """Time of decode attention [s]: reading `kv_bytes` of cache against `flops` of products on it."""
    return smooth_max(np.asarray(flops) / rate, np.asarray(kv_bytes) / bandwidth)


def attention_prefill_time(flops: Real, kv_bytes: Real, *, rate: Real, bandwidth: Real) -> Real:
    """Time of prefill attention [s]; `flops` already carries the causal factor."""
    return smooth_max(np.asarray(flops) / rate, np.asarray(kv_bytes) / bandwidth)


def stream_time(size: Real, bandwidth: Real) -> Real:
    """Time of a memory-bound operator [s] that moves `size` bytes."""
    return np.asarray(np.asarray(size) / bandwidth)
