"""Totals of small graphs, added up by hand."""

from __future__ import annotations

import pytest

from suanli.workload.counts import (
    INDEX_BYTES_PER_ELEMENT,
    active_parameters,
    flops_per_token,
    kv_bytes,
    kv_bytes_per_token,
    state_bytes,
    total_parameters,
    windowed_kv_bytes_per_token,
)
from suanli.workload.ops import (
    Attention,
    Embedding,
    Experts,
    LayerGroup,
    Linear,
    LinearAttention,
    ModelGraph,
    Operator,
    Pointwise,
)


def graph(*groups: LayerGroup, mtp: tuple[LayerGroup, ...] = (), tied: bool = False) -> ModelGraph:
    head = (Linear("lm_head", 4, 10, "column", "head", "head", per_request=True),)
    return ModelGraph("toy", 4, 10, 100, Embedding("embedding", 10, 4, tied), groups, head, mtp)


def layer(*operators: Operator, count: int = 2) -> LayerGroup:
    return LayerGroup("dense", count, operators)


EXPERTS = Experts("experts", count=8, top_k=2, hidden=4, inner=3)
LINEAR = Linear("q", 4, 6, "column", "attention", "attention", bias=True)
NORM = Pointwise("norm", 16, 1, "attention", parameters=4)


def test_total_counts_every_expert_and_bias_once_per_layer() -> None:
    one_layer = (4 * 6 + 6) + 4 + 8 * 3 * 4 * 3
    assert total_parameters(graph(layer(LINEAR, NORM, EXPERTS))) == 10 * 4 + 2 * one_layer + 4 * 10


def test_active_counts_chosen_experts_and_no_embedding() -> None:
    one_layer = (4 * 6 + 6) + 4 + 2 * 3 * 4 * 3
    assert active_parameters(graph(layer(LINEAR, NORM, EXPERTS))) == 2 * one_layer + 4 * 10


def test_tied_embedding_counts_once() -> None:
    assert total_parameters(graph(layer(LINEAR))) - total_parameters(graph(layer(LINEAR), tied=True)) == 10 * 4


def test_prediction_layers_only_when_asked_for() -> None:
    this = graph(layer(LINEAR), mtp=(layer(LINEAR, count=1),))
    assert total_parameters(this, with_mtp=True) - total_parameters(this) == 30


def test_expert_biases() -> None:
    biased = Experts("experts", count=8, top_k=2, hidden=4, inner=3, bias=True)
    assert biased.parameters - EXPERTS.parameters == 8 * (3 + 3 + 4)


def test_windowed_layers_stop_growing() -> None:
    full = layer(Attention("a", query_heads=4, kv_heads=2, qk_dim=8, v_dim=8), count=1)
    windowed = layer(Attention("a", query_heads=4, kv_heads=2, qk_dim=8, v_dim=8, window=16), count=3)
    this = graph(full, windowed)
    token = 2 * (8 + 8) * 2.0
    assert kv_bytes_per_token(this, 2.0) == token
    assert windowed_kv_bytes_per_token(this, 2.0) == 3 * token
    assert kv_bytes(this, 10, 2.0) == 10 * 4 * token
    assert kv_bytes(this, 1000, 2.0) == (1000 + 3 * 16) * token


def test_latent_cache_with_indexer() -> None:
    op = Attention("a", 4, 4, 12, 8, latent=16, rope=4, sparse_top_k=8, indexer_heads=2, indexer_dim=32)
    assert kv_bytes_per_token(graph(layer(op)), 1.0) == 2 * (20 + 32 * INDEX_BYTES_PER_ELEMENT)
    assert kv_bytes_per_token(graph(layer(op)), 1.0, 2.0) == 2 * (20 + 64)


def test_compressed_entries() -> None:
    op = Attention("a", 4, 1, 16, 16, latent=16, compression=4)
    assert kv_bytes(graph(layer(op)), 1000, 2.0) == 2 * 250 * 16 * 2.0


def test_linear_state_does_not_depend_on_length() -> None:
    this = graph(layer(LinearAttention("s", heads=2, key_dim=4, value_dim=8, conv_elements=24)))
    assert state_bytes(this, 2.0) == 2 * (2 * 4 * 8 * 4 + 24 * 2.0)
    assert kv_bytes(this, 1, 2.0) == kv_bytes(this, 10**6, 2.0) == state_bytes(this, 2.0)


@pytest.mark.parametrize(
    ("op", "expected"),
    [
        (Attention("a", 4, 2, 8, 8), 2 * 4 * 16 * 100),
        (Attention("a", 4, 2, 8, 8, window=10), 2 * 4 * 16 * 10),
        (Attention("a", 4, 4, 12, 8, latent=16, rope=4), 2 * 4 * (2 * 16 + 4) * 100),
        (
            Attention("a", 4, 4, 12, 8, latent=16, rope=4, sparse_top_k=8, indexer_heads=2, indexer_dim=32),
            2 * 4 * 36 * 8 + 2 * 2 * 32 * 100,
        ),
        (Attention("a", 4, 1, 16, 16, latent=16, compression=4), 2 * 4 * 32 * 25),
        (LinearAttention("s", heads=2, key_dim=4, value_dim=8), 6 * 64),
    ],
)
def test_attention_flops(op: Operator, expected: float) -> None:
    without = flops_per_token(graph(layer()), 100)
    assert without == 2 * 4 * 10
    assert flops_per_token(graph(layer(op, count=1)), 100) - without == expected


def test_flops_of_weights_count_chosen_experts_and_no_norms() -> None:
    this = graph(layer(LINEAR, NORM, EXPERTS))
    assert flops_per_token(this, 0) == 2 * (40 + 2 * (30 + 2 * 36))
