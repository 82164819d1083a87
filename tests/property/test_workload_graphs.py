"""Laws that hold for the graph of any config."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from suanli.catalog.loader import load
from suanli.workload.counts import active_parameters, flops_per_token, kv_bytes, total_parameters
from suanli.workload.from_config import ModelError, graph_from_config
from suanli.workload.ops import ModelGraph

CATALOG = load()
CONFIGS = {name: CATALOG.model_config(name) for name in sorted(CATALOG.models)}
GRAPHS = {name: graph_from_config(config, name) for name, config in CONFIGS.items()}

graphs = st.sampled_from(sorted(GRAPHS)).map(GRAPHS.__getitem__)


@st.composite
def dense_configs(draw: st.DrawFn) -> dict[str, Any]:
    kv_heads = draw(st.integers(1, 8))
    return {
        "model_type": draw(st.sampled_from(["llama", "mistral", "qwen3"])),
        "hidden_size": draw(st.integers(8, 512)),
        "intermediate_size": draw(st.integers(1, 1024)),
        "num_hidden_layers": draw(st.integers(1, 12)),
        "vocab_size": draw(st.integers(1, 2000)),
        "max_position_embeddings": 128,
        "num_attention_heads": kv_heads * draw(st.integers(1, 8)),
        "num_key_value_heads": kv_heads,
        "head_dim": draw(st.integers(1, 64)),
        "tie_word_embeddings": draw(st.booleans()),
    }


@given(dense_configs())
def test_dense_total_is_the_closed_form(config: dict[str, Any]) -> None:
    hidden, inner, heads = config["hidden_size"], config["intermediate_size"], config["num_attention_heads"]
    width = config["head_dim"]
    layer = 2 * hidden * heads * width + 2 * hidden * config["num_key_value_heads"] * width + 3 * hidden * inner
    layer += 2 * hidden + (2 * width if config["model_type"] == "qwen3" else 0)
    tables = 1 if config["tie_word_embeddings"] else 2
    expected = config["num_hidden_layers"] * layer + tables * config["vocab_size"] * hidden + hidden
    assert total_parameters(graph_from_config(config, "toy")) == expected


@given(dense_configs(), st.integers(1, 64), st.data())
def test_more_chosen_experts_are_more_active_weights(config: dict[str, Any], count: int, data: st.DataObject) -> None:
    top_k = data.draw(st.integers(1, count))
    moe = config | {
        "model_type": "qwen3_moe",
        "num_experts": count,
        "moe_intermediate_size": 16,
        "tie_word_embeddings": False,
    }
    some = graph_from_config(moe | {"num_experts_per_tok": top_k}, "toy")
    every = graph_from_config(moe | {"num_experts_per_tok": count}, "toy")
    assert total_parameters(some) == total_parameters(every)
    assert active_parameters(some) <= active_parameters(every)
    assert active_parameters(every) == total_parameters(every) - every.embedding.parameters


@given(graphs, st.integers(0, 2**20), st.integers(0, 2**20))
def test_longer_requests_need_no_less_cache_and_no_fewer_flops(graph: ModelGraph, a: int, b: int) -> None:
    short, long = sorted((a, b))
    assert kv_bytes(graph, short, 2.0) <= kv_bytes(graph, long, 2.0)
    assert flops_per_token(graph, short) <= flops_per_token(graph, long)


@given(graphs, st.integers(1, 2**20))
def test_narrower_cache_formats_need_less(graph: ModelGraph, tokens: int) -> None:
    assert kv_bytes(graph, tokens, 1.0) < kv_bytes(graph, tokens, 2.0) <= 2.0 * kv_bytes(graph, tokens, 1.0)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=150)
@given(st.data())
def test_a_spoiled_config_is_a_graph_or_one_clear_error(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(CONFIGS)))
    config = dict(CONFIGS[name])
    if "text_config" in config:
        config["text_config"] = part = dict(config["text_config"])
    else:
        part = config
    for field in data.draw(st.lists(st.sampled_from(sorted(part)), min_size=1, max_size=3, unique=True)):
        part[field] = data.draw(anything)
    problems: tuple[str, ...] = ()
    weights = 0
    try:
        weights = total_parameters(graph_from_config(config, name))
    except ModelError as error:
        problems = error.problems
    assert (weights > 0) != bool(problems)
    assert all(problem.startswith(f"model '{name}': ") and "\n" not in problem for problem in problems)
