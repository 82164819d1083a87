"""The inference engine as a model input: scheduler limits, host time and memory policy, from data files."""

from __future__ import annotations

from typing import Literal

from suanli.catalog.schema import Identifier, Record
from suanli.quantity import Bytes, Number, Seconds


class Engine(Record):
    """One inference engine: what it does by default and what its host side costs."""

    schema_version: Literal[1]
    id: Identifier
    name: str
    scheduler: Literal["mixed", "prefill_first"]
    token_budget: Number  # tokens per step
    max_requests: Number  # sequences per step and engine instance
    memory_fraction: Number  # of chip memory that the engine may fill
    reserve: Bytes  # activations, graphs, communication buffers per chip
    kv_cache: Literal["bf16", "fp8", "as_weights"]
    host_s: Seconds  # per step, not hidden behind the device
    host_per_request_s: Seconds  # per running request and step
    kernel_factor: Number  # kernels started per operator of the graph
    first_token_s: Seconds  # API, tokenizer and first-response path per request, unloaded
    frontend_s: Seconds  # serial front-end time per request
    expert_skew: Number  # extra load of the busiest expert group over the mean
    notes: tuple[str, ...] = ()
