"""A Hugging Face config becomes a graph of operators.

What a layer is made of follows from the fields (`kv_lora_rank`, `layer_types`, `num_local_experts` ...), never from a
class per model. See docs/theory/model-graph.md for the fields and the operators they turn into.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from suanli.workload.attention import grouped_attention, latent_attention, linear_attention
from suanli.workload.compressed import TYPE_OF_RATIO, compressed_attention
from suanli.workload.conventions import MODEL_TYPES, Conventions
from suanli.workload.feedforward import EXPERT_COUNT_FIELDS, dense_ffn, moe_ffn
from suanli.workload.fields import Fields, ModelError
from suanli.workload.formats import published_formats
from suanli.workload.ops import Embedding, LayerGroup, Linear, ModelGraph, Operator, Pointwise
from suanli.workload.residual import head_entry

__all__ = ["ModelError", "graph_from_config"]

# Accepted words of `layer_types` and `mlp_layer_types`, and what they mean here.
LAYER_TYPES = {
    "full_attention": "full_attention",
    "indexed_attention": "full_attention",  # the indexer follows from index_topk
    "deepseek_sparse_attention": "full_attention",
    "sliding_attention": "sliding_attention",
    "chunked_attention": "chunked_attention",
    "linear_attention": "linear_attention",
    "compressed_sparse_attention": "compressed_sparse_attention",
    "heavily_compressed_attention": "heavily_compressed_attention",
}
FFN_TYPES = {"dense": "dense", "sparse": "sparse", "moe": "sparse", "hash_moe": "sparse"}
INDEXER_TYPES = ("full", "shared")

MOST_LAYERS = 10_000  # guards memory against a malformed config; published models have at most some hundred layers

Layer = tuple[str, str, str]  # attention, feed-forward and indexer type

# Structure that some configs of accepted families can switch on and that has no operator here.
UNSUPPORTED_FIELDS = (
    "num_kv_shared_layers",
    "hidden_size_per_layer_input",
    "use_double_wide_mlp",
    "enable_moe_block",
    "is_encoder_decoder",
)


def graph_from_config(config: Mapping[str, Any], model_id: str) -> ModelGraph:
    """Build the operator graph of a model from its Hugging Face config.

    Raises ModelError, which lists every field that is missing, malformed or describes unknown structure.
    """
    if not isinstance(config, Mapping):
        raise ModelError(model_id, (f"config: {type(config).__name__} given, accepted: an object",))
    fields = Fields(config, model_id)
    conventions = _conventions(fields)
    fields.must_be_off(*UNSUPPORTED_FIELDS)
    hidden = fields.integer("hidden_size")
    layers = _layers(fields, conventions)
    counts: dict[Layer, int] = {}
    for layer in layers:
        counts[layer] = counts.get(layer, 0) + 1
    groups = tuple(
        LayerGroup(_kind(layer), count, _operators(fields, conventions, hidden, layer))
        for layer, count in counts.items()
    )
    vocabulary = fields.integer("vocab_size")
    graph = ModelGraph(
        id=model_id,
        hidden=hidden,
        vocabulary=vocabulary,
        context=fields.integer("max_position_embeddings"),
        embedding=Embedding(
            "embedding", vocabulary, hidden, fields.flag("tie_word_embeddings", default=conventions.tied)
        ),
        groups=groups,
        head=(
            *head_entry(fields, hidden),
            Linear("lm_head", hidden, vocabulary, "column", "head", "head", per_request=True),
        ),
        mtp=_mtp(fields, conventions, hidden, layers),
        dtypes=published_formats(fields),
        block_scales=conventions.block_scales,
    )
    fields.raise_problems()
    return graph


def _conventions(fields: Fields) -> Conventions:
    model_type = fields.get("model_type")
    found = MODEL_TYPES.get(model_type) if isinstance(model_type, str) else None
    if found is None:
        fields.refuse("model_type", model_type, ", ".join(sorted(MODEL_TYPES)))
        fields.raise_problems()
        return Conventions()
    return found


def _layers(fields: Fields, conventions: Conventions) -> list[Layer]:
    """Attention, feed-forward and indexer type of every layer."""
    count = fields.integer("num_hidden_layers")
    if count > MOST_LAYERS:
        fields.refuse("num_hidden_layers", count, f"at most {MOST_LAYERS}")
    if fields.refused("num_hidden_layers"):
        fields.raise_problems()  # the lists below are as long as there are layers
    attention = _attention_types(fields, conventions, count)
    ffn = _ffn_types(fields, count)
    indexer = fields.words("indexer_types", count, INDEXER_TYPES) or ("full",) * count
    return list(zip(attention, ffn, indexer, strict=True))


def _attention_types(fields: Fields, conventions: Conventions, count: int) -> tuple[str, ...]:
    listed = fields.words("layer_types", count, LAYER_TYPES)
    if listed is not None:
        return listed
    ratios = fields.words("compress_ratios", count, TYPE_OF_RATIO, longer=True)
    if ratios is not None:
        return ratios[:count]
    interval = fields.integer("full_attention_interval", default=0, least=0)
    if interval:
        return _every(interval, count, "linear_attention")
    if fields.get("attention_chunk_size") is not None:
        interval = fields.integer("no_rope_layer_interval", default=conventions.rope_free_interval or None)
        return _every(interval, count, "chunked_attention")
    if fields.get("sliding_window") is not None and fields.flag("use_sliding_window", default=True):
        return _all_or_late_windows(fields, conventions, count)
    return ("full_attention",) * count


def _all_or_late_windows(fields: Fields, conventions: Conventions, count: int) -> tuple[str, ...]:
    """Sliding windows without `layer_types`: in every layer, or from layer `max_window_layers` on."""
    if conventions.mixed_windows:
        fields.refuse("layer_types", None, f"a list with one entry per layer ({count})")
    first = fields.integer("max_window_layers", default=0, least=0)
    return tuple("full_attention" if index < first else "sliding_attention" for index in range(count))


def _every(interval: int, count: int, other: str) -> tuple[str, ...]:
    """Full attention in every `interval`-th layer, `other` in the rest."""
    return tuple(other if (index + 1) % interval else "full_attention" for index in range(count))


def _ffn_types(fields: Fields, count: int) -> tuple[str, ...]:
    if fields.get(*EXPERT_COUNT_FIELDS) is None:
        return ("dense",) * count
    listed = fields.words("mlp_layer_types", count, FFN_TYPES)
    if listed is not None:
        return listed
    dense_first = fields.integer("first_k_dense_replace", default=0, least=0)
    step = fields.integer("decoder_sparse_step", "interleave_moe_layer_step", default=1)  # the last of each `step`
    frequency = fields.integer("moe_layer_freq", default=1)  # the first of each `frequency`
    dense_listed = fields.get("mlp_only_layers") or []
    if not isinstance(dense_listed, list):
        fields.refuse("mlp_only_layers", dense_listed, "a list of layer numbers")
        dense_listed = []
    return tuple(
        "dense" if index < dense_first or (index + 1) % step or index % frequency or index in dense_listed else "sparse"
        for index in range(count)
    )


def _kind(layer: Layer) -> str:
    attention, ffn, indexer = layer
    words = [] if attention == "full_attention" else [attention.removesuffix("_attention")]
    words.append("moe" if ffn == "sparse" else "dense")
    if indexer == "shared":
        words.append("shared_index")
    return "_".join(words)


def _operators(fields: Fields, conventions: Conventions, hidden: int, layer: Layer) -> tuple[Operator, ...]:
    attention, ffn, indexer = layer
    block = moe_ffn if ffn == "sparse" else dense_ffn
    return (
        *_attention(fields, conventions, hidden, attention, indexed=indexer == "full"),
        *block(fields, conventions, hidden),
    )


def _attention(
    fields: Fields, conventions: Conventions, hidden: int, kind: str, *, indexed: bool
) -> tuple[Operator, ...]:
    if kind == "linear_attention":
        return linear_attention(fields, hidden)
    if fields.get("o_lora_rank") is not None:
        return compressed_attention(fields, hidden, kind)
    if fields.get("kv_lora_rank") is not None:
        return latent_attention(fields, hidden, indexed=indexed)
    window = None
    if kind == "sliding_attention":
        window = fields.integer("sliding_window")
    elif kind == "chunked_attention":
        window = fields.integer("attention_chunk_size")
    return grouped_attention(fields, conventions, hidden, window, is_global=kind == "full_attention")


def _mtp(fields: Fields, conventions: Conventions, hidden: int, layers: list[Layer]) -> tuple[LayerGroup, ...]:
    """Multi-token-prediction layers: a projection of [hidden, embedding] and one layer like the last full one."""
    names = ("num_nextn_predict_layers", "mtp_num_hidden_layers", "mtp_transformer_layers")
    count = fields.integer(*names, default=0, least=0)
    if not count:
        return ()
    modules = fields.integer("num_mtp_modules", default=1)
    attention, ffn, _ = next((layer for layer in reversed(layers) if layer[0] == "full_attention"), layers[-1])
    ratios = fields.words("compress_ratios", len(layers), TYPE_OF_RATIO, longer=True) or ()
    if len(ratios) > len(layers):  # entries behind the last layer describe the prediction layers
        attention = ratios[len(layers)]
    operators = (
        Pointwise("mtp_norms", 6 * hidden, 2, "attention", 3 * hidden),
        Linear("mtp_projection", 2 * hidden, hidden, "replicated", "attention", "ffn"),
        *_operators(fields, conventions, hidden, (attention, ffn, "full")),
    )
    return (LayerGroup("mtp", modules * count, operators),)
