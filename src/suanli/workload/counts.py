"""Totals of a graph that can be compared with what publishers state: parameters, KV bytes, FLOPs."""

from __future__ import annotations

from collections.abc import Iterable

from suanli.workload.ops import Attention, Experts, LayerGroup, Linear, LinearAttention, ModelGraph, Operator, Pointwise

# DeepSeek-V3.2 caches its indexer keys in FP8 with one 4-byte scale per 128 elements, whatever the KV format is.
# Source: 132-byte indexer cache entry of vLLM's DeepSeek-V3.2 (index_head_dim 128).
INDEX_BYTES_PER_ELEMENT = 1 + 4 / 128


def total_parameters(graph: ModelGraph, *, with_mtp: bool = False) -> int:
    """All weights of the language model [-]: embedding, layers, norms, LM head (once when tied)."""
    groups = graph.groups + graph.mtp if with_mtp else graph.groups
    embedding = 0 if graph.embedding.tied else graph.embedding.parameters
    return embedding + _sum(graph.head, active=False) + sum(g.count * _sum(g.operators, active=False) for g in groups)


def active_parameters(graph: ModelGraph) -> int:
    """Weights that one token is multiplied with [-]: layers with `top_k` experts and LM head, no input embedding."""
    return _sum(graph.head, active=True) + sum(g.count * _sum(g.operators, active=True) for g in graph.groups)


def _sum(operators: Iterable[Operator], *, active: bool) -> int:
    total = 0
    for operator in operators:
        if isinstance(operator, Experts):
            total += operator.parameters_each * (operator.top_k if active else operator.count)
        elif isinstance(operator, Linear | Pointwise):
            total += operator.parameters
    return total


def kv_bytes_per_token(
    graph: ModelGraph, bytes_per_element: float, index_bytes_per_element: float = INDEX_BYTES_PER_ELEMENT
) -> float:
    """Cache growth per token of the layers that see the whole sequence [B/token]; windowed layers stop growing."""
    return sum(
        group.count * _entry_bytes(operator, bytes_per_element, index_bytes_per_element) / operator.compression
        for group, operator in _attention(graph)
        if operator.window is None
    )


def windowed_kv_bytes_per_token(graph: ModelGraph, bytes_per_element: float) -> float:
    """Cache growth per token of the windowed layers while the sequence is shorter than their window [B/token]."""
    return sum(
        group.count * _entry_bytes(operator, bytes_per_element, INDEX_BYTES_PER_ELEMENT)
        for group, operator in _attention(graph)
        if operator.window is not None
    )


def kv_bytes(
    graph: ModelGraph,
    tokens: int,
    bytes_per_element: float,
    index_bytes_per_element: float = INDEX_BYTES_PER_ELEMENT,
) -> float:
    """Cache and recurrent state of one request of `tokens` tokens [B]."""
    cache = sum(
        group.count * _entry_bytes(operator, bytes_per_element, index_bytes_per_element) * _entries(operator, tokens)
        for group, operator in _attention(graph)
    )
    return cache + state_bytes(graph, bytes_per_element)


def state_bytes(graph: ModelGraph, bytes_per_element: float) -> float:
    """Recurrent state of one request, whatever its length [B]; the convolution window has the width of activations."""
    return sum(
        group.count * (operator.state_elements * operator.state_bytes + operator.conv_elements * bytes_per_element)
        for group in graph.groups
        for operator in group.operators
        if isinstance(operator, LinearAttention)
    )


def flops_per_token(graph: ModelGraph, context: int) -> float:
    """FLOPs of one decoded token with `context` tokens before it [FLOP]: 2 per weight used plus attention.

    Latent attention is counted in the absorbed form. Pointwise work is not counted.
    """
    total = 2.0 * _linear_weights(graph.head)
    for group in graph.groups:
        attention = sum(_attention_flops(operator, context) for operator in group.operators)
        total += group.count * (2.0 * _linear_weights(group.operators) + attention)
    return total


def _linear_weights(operators: Iterable[Operator]) -> int:
    return _sum((operator for operator in operators if not isinstance(operator, Pointwise)), active=True)


def _attention_flops(operator: Operator, context: int) -> float:
    if isinstance(operator, LinearAttention):
        # delta rule per head: decay and read of the state (k^T S), rank-one update, read-out (q^T S)
        return 6.0 * operator.state_elements
    if not isinstance(operator, Attention):
        return 0.0
    seen = _entries(operator, context)
    indexer = 2.0 * operator.indexer_heads * operator.indexer_dim * seen
    if operator.sparse_top_k:
        seen = min(seen, operator.sparse_top_k)
    width = 2 * operator.latent + operator.rope if operator.latent else operator.qk_dim + operator.v_dim
    return 2.0 * operator.query_heads * width * seen + indexer


def _attention(graph: ModelGraph) -> Iterable[tuple[LayerGroup, Attention]]:
    for group in graph.groups:
        for operator in group.operators:
            if isinstance(operator, Attention):
                yield group, operator


def _entries(operator: Attention, tokens: int) -> float:
    """Cached entries of a sequence of `tokens` tokens [-]."""
    return (tokens if operator.window is None else min(tokens, operator.window)) / operator.compression


def _entry_bytes(operator: Attention, bytes_per_element: float, index_bytes_per_element: float) -> float:
    return operator.kv_elements * bytes_per_element + operator.indexer_dim * index_bytes_per_element
