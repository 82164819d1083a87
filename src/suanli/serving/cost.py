"""Price of one step from the sums over its batch; one source for both cores (plain Python, and compiled by numba).

`rates` is a StepTable, or in the compiled core a record with the same scalars.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from suanli.serving.kernel import kernel

if TYPE_CHECKING:
    from suanli.mapping.step_table import StepTable


@kernel
def step_seconds(rates: StepTable, base_s: float, requests: int, pairs: float, kv_tokens: int) -> float:
    """Duration of a step [s]; the formula of StepTable, with base_s [s] looked up for its tokens."""
    device = base_s + rates.per_request_s * requests + rates.per_pair_s * pairs + rates.per_kv_token_s * kv_tokens
    host = rates.host_s + rates.host_per_request_s * requests
    if rates.overlapped:
        return max(device, host)
    return device + host


@kernel
def step_joules(
    rates: StepTable,
    base_j: float,
    seconds: float,
    counts: tuple[int, int],
    sums: tuple[int, float, int],
) -> tuple[float, float]:
    """Energy of a step [J] that prompts and decode are charged with.

    counts : tokens of prompts and of decode.   sums : sequences, query-key pairs, cached tokens read.
    Idle power, tokens and sequences are shared by tokens; pairs belong to prompts, cached tokens to decode.
    """
    prefill_tokens, decode_tokens = counts
    requests, pairs, kv_tokens = sums
    tokens = prefill_tokens + decode_tokens
    shared = rates.idle_w * seconds + base_j + rates.per_request_j * requests
    prefill = shared * (prefill_tokens / tokens)
    return prefill + rates.per_pair_j * pairs, shared - prefill + rates.per_kv_token_j * kv_tokens
