"""Price of one step from the sums over its batch; one source for both cores (plain Python, and compiled by numba)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from suanli.serving.kernel import kernel

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Rates(Protocol):
    """The scalars of a StepTable."""

    per_request_s: float
    per_pair_s: float
    per_kv_token_s: float
    host_s: float
    host_per_request_s: float
    overlapped: int
    idle_w: float
    per_request_j: float
    per_pair_j: float
    per_kv_token_j: float


@kernel
def step_seconds(
    rates: Rates, base_s: NDArray[np.float64], tokens: int, requests: int, pairs: float, kv_tokens: int
) -> float:
    """Duration of a step [s]; the formula of StepTable, with base_s tabulated at every token count."""
    device = (
        base_s[tokens] + rates.per_request_s * requests + rates.per_pair_s * pairs + rates.per_kv_token_s * kv_tokens
    )
    host = rates.host_s + rates.host_per_request_s * requests
    if rates.overlapped:
        return max(device, host)
    return device + host


@kernel
def step_joules(
    rates: Rates,
    base_j: NDArray[np.float64],
    seconds: float,
    counts: tuple[int, int],
    requests: int,
    pairs: float,
    kv_tokens: int,
) -> tuple[float, float]:
    """Energy of a step [J] that prompts and decode are charged with; counts are the tokens of both.

    Idle power, tokens and sequences are shared by tokens; query-key pairs belong to prompts, cached tokens to decode.
    """
    prefill_tokens, decode_tokens = counts
    tokens = prefill_tokens + decode_tokens
    shared = rates.idle_w * seconds + base_j[tokens] + rates.per_request_j * requests
    prefill = shared * (prefill_tokens / tokens)
    return prefill + rates.per_pair_j * pairs, shared - prefill + rates.per_kv_token_j * kv_tokens
