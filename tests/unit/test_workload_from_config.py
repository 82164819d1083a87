"""What the fields of a config turn into, and what is refused."""

from __future__ import annotations

import time
from typing import Any

import pytest

from suanli.catalog.loader import load
from suanli.workload.from_config import ModelError, graph_from_config
from suanli.workload.ops import Attention, Experts, LayerGroup, Linear, LinearAttention, ModelGraph, Operator

CATALOG = load()

DENSE: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 160,
    "num_hidden_layers": 3,
    "vocab_size": 100,
    "max_position_embeddings": 512,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
}
MOE = DENSE | {
    "model_type": "qwen3_moe",
    "head_dim": 8,
    "num_experts": 16,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
}


def graph(model: str) -> ModelGraph:
    return graph_from_config(CATALOG.model_config(model), model)


def group(model: ModelGraph, kind: str) -> LayerGroup:
    return next(group for group in model.groups + model.mtp if group.kind == kind)


def named(operators: tuple[Operator, ...]) -> dict[str, Any]:
    return {operator.name: operator for operator in operators}


def linears(operators: tuple[Operator, ...]) -> dict[str, tuple[int, int, str, str, int]]:
    return {op.name: (op.k, op.n, op.split, op.block, op.grain) for op in operators if isinstance(op, Linear)}


def test_dense_layer_has_separate_q_and_kv() -> None:
    (layers,) = graph_from_config(DENSE, "toy").groups
    assert (layers.kind, layers.count) == ("dense", 3)
    assert linears(layers.operators) == {
        "q": (64, 64, "column", "attention", 8),
        "kv": (64, 32, "column", "attention", 16),
        "o": (64, 64, "row", "attention", 8),
        "gate_up": (64, 320, "column", "ffn", 1),
        "down": (160, 64, "row", "ffn", 1),
    }


def test_head_is_per_request() -> None:
    head = named(graph_from_config(DENSE, "toy").head)["lm_head"]
    assert (head.k, head.n, head.split, head.block, head.per_request) == (64, 100, "column", "head", True)


@pytest.mark.parametrize("field", ["attention_bias", "mlp_bias"])
def test_bias_fields_add_weights(field: str) -> None:
    with_bias = graph_from_config(DENSE | {field: True}, "toy").groups[0].operators
    biased = {op.name for op in with_bias if isinstance(op, Linear) and op.bias}
    assert biased == ({"q", "kv", "o"} if field == "attention_bias" else {"gate_up", "down"})


def test_text_part_of_a_multimodal_config_is_used() -> None:
    nested = {"model_type": "something_vl", "tie_word_embeddings": True, "text_config": DENSE, "vision_config": {}}
    assert graph_from_config(nested, "toy").groups == graph_from_config(DENSE, "toy").groups
    assert graph_from_config(nested, "toy").embedding.tied


def test_experts_shared_experts_and_dense_layers() -> None:
    deepseek = graph("deepseek-r1")
    assert [(layers.kind, layers.count) for layers in deepseek.groups] == [("dense", 3), ("moe", 58)]
    operators = named(group(deepseek, "moe").operators)
    experts = operators["experts"]
    assert isinstance(experts, Experts)
    assert (experts.count, experts.top_k, experts.hidden, experts.inner) == (256, 8, 7168, 2048)
    assert (operators["router"].split, operators["router"].block) == ("replicated", "moe")
    assert (operators["shared_gate_up"].n, operators["shared_gate_up"].block) == (2 * 2048, "ffn")
    assert operators["shared_down"].split == "row"


def test_latent_attention_operators() -> None:
    operators = group(graph("deepseek-r1"), "moe").operators
    attention = linears(operators)
    assert attention["q_a"] == (7168, 1536, "replicated", "attention", 1)
    assert attention["q_b"] == (1536, 128 * 192, "column", "attention", 192)
    assert attention["kv_a"] == (7168, 512 + 64, "replicated", "attention", 1)
    assert attention["kv_b"] == (512, 128 * (128 + 128), "column", "attention", 256)
    assert attention["o"] == (128 * 128, 7168, "row", "attention", 128)
    op = named(operators)["attention"]
    assert (op.query_heads, op.qk_dim, op.v_dim, op.latent, op.rope, op.kv_elements) == (128, 192, 128, 512, 64, 576)


def test_sparse_indexer_and_its_reuse() -> None:
    glm = graph("glm-5.2")
    full, shared = group(glm, "moe"), group(glm, "moe_shared_index")
    assert (full.count, shared.count) == (18, 57)
    assert "index_q" in named(full.operators)
    assert "index_q" not in named(shared.operators)
    assert named(shared.operators)["attention"].sparse_top_k == 2048
    assert named(shared.operators)["attention"].indexer_dim == 0


def test_windows_come_from_layer_types() -> None:
    gpt = graph("gpt-oss-120b")
    assert named(group(gpt, "sliding_moe").operators)["attention"].window == 128
    assert named(group(gpt, "moe").operators)["attention"].window is None
    assert group(gpt, "sliding_moe").count == group(gpt, "moe").count == 18
    assert named(group(gpt, "moe").operators)["experts"].bias


def test_window_in_every_layer_or_from_a_layer_on() -> None:
    windowed = DENSE | {"model_type": "mistral", "sliding_window": 128}
    assert [layers.kind for layers in graph_from_config(windowed, "toy").groups] == ["sliding_dense"]
    assert [g.kind for g in graph_from_config(windowed | {"use_sliding_window": False}, "toy").groups] == ["dense"]
    late = graph_from_config(windowed | {"max_window_layers": 2}, "toy").groups
    assert [(layers.kind, layers.count) for layers in late] == [("dense", 2), ("sliding_dense", 1)]


def test_chunked_layers_and_every_other_moe_layer() -> None:
    kinds = {layers.kind: layers.count for layers in graph("llama-4-maverick").groups}
    assert kinds == {"chunked_dense": 24, "chunked_moe": 12, "moe": 12}
    assert kinds.keys() == {"chunked_dense", "chunked_moe", "moe"}


def test_linear_attention_every_fourth_layer_full() -> None:
    qwen = graph("qwen3.5-397b-a17b")
    linear = group(qwen, "linear_moe")
    state = named(linear.operators)["linear_attention"]
    assert isinstance(state, LinearAttention)
    assert (linear.count, group(qwen, "moe").count) == (45, 15)
    assert (state.heads, state.key_dim, state.value_dim) == (64, 128, 128)
    assert state.conv_elements == (2 * 16 * 128 + 64 * 128) * 3
    assert named(group(qwen, "moe").operators)["q"].n == 2 * 32 * 256  # with the output gate


def test_wider_heads_and_shared_kv_in_global_layers() -> None:
    gemma = graph("gemma-4-31b")
    full = named(group(gemma, "dense").operators)
    assert (full["attention"].kv_heads, full["attention"].qk_dim) == (4, 512)
    assert (full["kv"].n, full["kv"].grain) == (4 * 512, 512)  # one projection is key and value
    assert named(group(gemma, "sliding_dense").operators)["kv"].n == 2 * 16 * 256
    assert gemma.embedding.tied


def test_compressed_attention() -> None:
    v4 = graph("deepseek-v4-pro")
    sparse = named(group(v4, "compressed_sparse_moe").operators)
    heavy = named(group(v4, "heavily_compressed_moe").operators)
    assert (sparse["attention_entries"].compression, sparse["attention_entries"].sparse_top_k) == (4, 1024)
    assert (heavy["attention_entries"].compression, heavy["attention_entries"].sparse_top_k) == (128, 0)
    assert sparse["attention_window"].window == heavy["attention_window"].window == 128
    assert (sparse["o_a"].k, sparse["o_a"].n) == (128 * 512 // 16, 16 * 1024)
    assert sparse["ffn_norm_mix"].k == 4 * 7168
    assert "attention_entries" not in named(v4.mtp[0].operators)


def test_prediction_layers_are_apart() -> None:
    deepseek = graph("deepseek-v3")
    assert deepseek.layers == 61
    assert [(layers.kind, layers.count) for layers in deepseek.mtp] == [("mtp", 1)]
    assert named(deepseek.mtp[0].operators)["mtp_projection"].k == 2 * 7168
    assert graph("kimi-k2").mtp == ()


@pytest.mark.parametrize(
    ("model", "formats"),
    [
        ("llama-3.1-8b", {}),
        ("gpt-oss-120b", {"expert": "mxfp4"}),
        ("kimi-k2.5", {"expert": "int4"}),
        ("deepseek-r1", {"attention": "fp8", "ffn": "fp8", "expert": "fp8"}),
        ("deepseek-v4-pro", {"attention": "fp8", "ffn": "fp8", "expert": "mxfp4"}),
    ],
)
def test_published_formats(model: str, formats: dict[str, str]) -> None:
    assert dict(graph(model).dtypes) == formats


@pytest.mark.parametrize(
    ("quantisation", "formats"),
    [
        ({"quant_method": "awq", "bits": 4}, {"attention": "int4", "ffn": "int4"}),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4", "ignore": ["*self_attn*"]}, {"ffn": "nvfp4"}),
        ({"quant_method": "fp8", "modules_to_not_convert": ["model.layers.1.mlp.gate_proj"]}, {"attention": "fp8"}),
        ({"quant_method": "fp8", "modules_to_not_convert": ["gate", "lm_head"]}, {"attention": "fp8", "ffn": "fp8"}),
    ],
)
def test_formats_of_requantised_checkpoints(quantisation: dict[str, Any], formats: dict[str, str]) -> None:
    assert dict(graph_from_config(DENSE | {"quantization_config": quantisation}, "toy").dtypes) == formats


@pytest.mark.parametrize(
    ("change", "field", "given", "accepted"),
    [
        ({"model_type": "mamba2"}, "model_type", "'mamba2'", "deepseek_v3"),
        ({"model_type": None}, "model_type", "nothing", "llama"),
        ({"layer_types": ["full_attention", "mamba", "mamba"]}, "layer_types", "'mamba'", "linear_attention"),
        ({"layer_types": ["full_attention"]}, "layer_types", "1 entries", "one entry per layer (3)"),
        ({"hidden_size": None}, "hidden_size", "nothing", "a whole number >= 1"),
        ({"hidden_size": 64.0}, "hidden_size", "64.0", "a whole number >= 1"),
        ({"vocab_size": -1}, "vocab_size", "-1", "a whole number >= 1"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers", "1000000000", "at most 10000"),
        ({"num_key_value_heads": 3}, "num_key_value_heads", "3", "a divisor of num_attention_heads (8)"),
        ({"attention_bias": "yes"}, "attention_bias", "'yes'", "true or false"),
        ({"enable_moe_block": True}, "enable_moe_block", "True", "no operator yet"),
        ({"quantization_config": {"quant_method": "bitnet"}}, "quantization_config", "bitnet", "fp8"),
        ({"quantization_config": {"quant_method": "fp8", "ignore": ["re:("]}}, "ignore", "re:(", "regular expression"),
    ],
)
def test_refusals_name_field_value_and_what_is_accepted(
    change: dict[str, Any], field: str, given: str, accepted: str
) -> None:
    with pytest.raises(ModelError) as caught:
        graph_from_config(DENSE | change, "toy")
    (problem,) = caught.value.problems
    assert problem.startswith("model 'toy': ")
    assert "\n" not in problem
    for word in (field, given, accepted):
        assert word in problem


def test_a_config_must_be_an_object() -> None:
    with pytest.raises(ModelError, match="config: list given"):
        graph_from_config([DENSE], "toy")  # type: ignore[arg-type]


def test_all_problems_at_once() -> None:
    with pytest.raises(ModelError) as caught:
        graph_from_config(MOE | {"hidden_size": 0, "num_experts_per_tok": 99, "vocab_size": "big"}, "toy")
    assert {problem.split(": ")[1] for problem in caught.value.problems} == {
        "hidden_size",
        "num_experts_per_tok",
        "vocab_size",
    }


@pytest.mark.parametrize("model_type", ["gpt_oss", "gemma4_text"])
def test_mixed_windows_need_layer_types(model_type: str) -> None:
    with pytest.raises(ModelError, match="layer_types: nothing given"):
        graph_from_config(DENSE | {"model_type": model_type, "sliding_window": 128}, "toy")


@pytest.mark.parametrize("model", sorted(CATALOG.models))
def test_building_takes_less_than_a_millisecond(model: str) -> None:
    config = CATALOG.model_config(model)
    best = float("inf")
    for _ in range(30):
        start = time.perf_counter()
        graph_from_config(config, model)
        best = min(best, time.perf_counter() - start)
    assert best < 1e-3


@pytest.mark.parametrize("model", sorted(CATALOG.models))
def test_every_layer_reads_and_writes_the_residual_width(model: str) -> None:
    this = graph(model)
    for layers in this.groups:
        operators = named(layers.operators)
        out = next(operators[name] for name in ("o", "o_b", "linear_o") if name in operators)
        assert out.n == this.hidden
        assert any(isinstance(op, Attention | LinearAttention) for op in layers.operators)
        for op in layers.operators:
            if isinstance(op, Linear) and op.split != "replicated":
                assert (op.n if op.split == "column" else op.k) % op.grain == 0, op
