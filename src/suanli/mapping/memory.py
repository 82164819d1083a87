"""What fits: weights, KV cache and reserve on every chip of a placement."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from suanli.mapping.engine import Engine
from suanli.mapping.hardware import Hardware
from suanli.mapping.placement import Placements, linear_shard
from suanli.mapping.precision import BYTES, Precision
from suanli.workload.ops import Attention, Embedding, Experts, Linear, LinearAttention, ModelGraph, Operator, Pointwise

Array = NDArray[np.float64]


@dataclass(frozen=True)
class MemoryFit:
    """Memory of one chip [B] for placements of shape (n,)."""

    capacity: float
    weights: Array
    reserve: float
    budget: Array  # left for the KV cache, may be negative
    kv_per_token: Array  # one request's token, on the chips of its tensor-parallel group
    windows: tuple[tuple[float, Array], ...]  # (window [token], one cached token of the layers that have it)
    state: Array  # per request, constant state of linear attention
    ranks: Array  # data-parallel groups that share an instance's requests

    def held(self, tokens: Array) -> Array:
        """Cache of one request of `tokens` tokens (n, k): windowed layers keep at most their window [B]."""
        found = self.kv_per_token[:, None] * tokens + self.state[:, None]
        for window, each in self.windows:
            found = found + each[:, None] * np.minimum(tokens, window)
        return np.asarray(found)

    def requests(self, tokens: Array) -> Array:
        """Requests of `tokens` KV tokens each (n, k) that fit in one instance [-]."""
        return np.asarray(np.maximum(self.budget, 0.0)[:, None] / self.held(tokens) * self.ranks[:, None])


def _weights_of(operator: Operator, place: Placements, precision: Precision) -> Array:
    """Bytes of one operator's weights on one chip of its stage."""
    size = np.zeros_like(place.tp)
    match operator:
        case Linear():
            k, n = linear_shard(operator, place.tp)
            size = k * n * precision.roles[operator.role].weight_bytes
        case Experts():
            local = np.ceil(operator.count / place.ep) / place.moe_tp
            size = local * operator.parameters_each * precision.roles["expert"].weight_bytes
        case Embedding() if not operator.tied:
            size = operator.parameters / place.tp * BYTES["bf16"]
        case Pointwise():
            size = size + operator.parameters * BYTES["bf16"]
    return np.asarray(size)


def weight_bytes(graph: ModelGraph, place: Placements, precision: Precision) -> Array:
    """Weights on the fullest chip [B], shape (n,): layers spread evenly over stages, embedding and head on the ends."""
    total = np.zeros_like(place.tp)
    for group in graph.groups:
        layer = sum((_weights_of(op, place, precision) for op in group.operators), np.zeros_like(place.tp))
        total = total + layer * group.count / place.pp
    ends = sum((_weights_of(op, place, precision) for op in graph.head), np.zeros_like(place.tp))
    embedding = _weights_of(graph.embedding, place, precision)
    return total + np.where(place.pp > 1.0, np.maximum(ends, embedding), ends + embedding)


def memory_fit(
    graph: ModelGraph, hardware: Hardware, precision: Precision, engine: Engine, place: Placements
) -> MemoryFit:
    """Budget for the KV cache: what the engine may fill, less weights and reserve (activations, graphs, buffers)."""
    per_token, state = np.zeros_like(place.tp), np.zeros_like(place.tp)
    windows: dict[float, Array] = {}
    for group in graph.groups:
        for operator in group.operators:
            if isinstance(operator, Attention):
                heads = np.ceil(operator.kv_heads / place.tp)
                elements = (
                    float(operator.latent + operator.rope)
                    if operator.latent
                    else heads * (operator.qk_dim + operator.v_dim)
                )
                size = elements * precision.kv_bytes + operator.indexer_dim * BYTES["fp8"]
                if operator.window:
                    before = windows.get(float(operator.window), np.zeros_like(place.tp))
                    windows[float(operator.window)] = before + size * group.count / place.pp
                else:
                    per_token = per_token + size * group.count / place.pp / operator.compression
            elif isinstance(operator, LinearAttention):
                size = (
                    operator.state_elements * operator.state_bytes + operator.conv_elements * BYTES["bf16"]
                ) / place.tp
                state = state + size * group.count / place.pp
    weights = weight_bytes(graph, place, precision)
    fraction, reserve = engine.memory_fraction.si, engine.reserve.si
    if engine.memory_of == "free":
        budget = (hardware.capacity - weights - reserve) * fraction
    else:
        budget = hardware.capacity * fraction - weights - reserve
    return MemoryFit(hardware.capacity, weights, reserve, budget, per_token, tuple(windows.items()), state, place.dp)
