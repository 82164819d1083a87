"""Attention blocks: grouped-query, latent (with sparse indexer), and linear."""

from __future__ import annotations

from suanli.workload.conventions import Conventions
from suanli.workload.fields import Fields
from suanli.workload.ops import Attention, Linear, LinearAttention, Operator, Pointwise
from suanli.workload.residual import block_entry


def grouped_attention(
    fields: Fields, conventions: Conventions, hidden: int, window: int | None, *, is_global: bool
) -> tuple[Operator, ...]:
    """Multi-head, grouped-query or multi-query attention: q, kv, attention, o.

    q and kv are separate operators because KV heads are replicated where the tensor-parallel degree exceeds their
    number and query heads are not. `is_global` selects the wider heads that a config may give full-attention layers.
    """
    heads = fields.integer("num_attention_heads")
    kv_heads = fields.integer("num_key_value_heads", default=heads)
    head_dim = fields.integer("head_dim", default=max(1, hidden // heads))
    shared_kv = False
    if is_global:
        kv_heads = fields.integer("num_global_key_value_heads", default=kv_heads)
        head_dim = fields.integer("global_head_dim", default=head_dim)
        shared_kv = fields.flag("attention_k_eq_v")  # one projection makes both; both are cached
    if heads % kv_heads:
        fields.refuse("num_key_value_heads", kv_heads, f"a divisor of num_attention_heads ({heads})")
    bias = fields.flag("attention_bias")
    gates = 2 if fields.flag("attn_output_gate") else 1  # the query projection also makes the output gate
    kv_width = head_dim if shared_kv else 2 * head_dim
    qkv_bias = bias or conventions.qkv_bias
    return (
        *block_entry(fields, "attention_norm", hidden, "attention", 2 if conventions.sandwich_norms else 1),
        Linear("q", hidden, gates * heads * head_dim, "column", "attention", "attention", gates * head_dim, qkv_bias),
        Linear("kv", hidden, kv_heads * kv_width, "column", "attention", "attention", kv_width, qkv_bias),
        _rotary(fields, conventions, heads, kv_heads, head_dim, gates),
        Attention("attention", heads, kv_heads, head_dim, head_dim, window),
        Linear("o", heads * head_dim, hidden, "row", "attention", "attention", head_dim, bias and conventions.o_bias),
    )


def _rotary(
    fields: Fields, conventions: Conventions, heads: int, kv_heads: int, head_dim: int, gates: int
) -> Pointwise:
    """Query-key norm, rotary embedding and the write into the KV cache, with their few weights."""
    normed = conventions.qk_norm != "none" and (not conventions.qk_norm_field or fields.flag("use_qk_norm"))
    norm_weights = 0
    if normed:
        norm_weights = 2 * head_dim if conventions.qk_norm == "head" else (heads + kv_heads) * head_dim
    gate = 3 * heads * head_dim if gates > 1 else 0  # sigmoid(gate) * output: two reads, one write
    elements = 2 * (heads + kv_heads) * head_dim + 4 * kv_heads * head_dim + gate
    sinks = heads if conventions.sinks else 0
    return Pointwise("rope_cache", elements, gates, "attention", norm_weights + sinks)


def latent_attention(fields: Fields, hidden: int, *, indexed: bool) -> tuple[Operator, ...]:
    """Multi-head latent attention: q_a, q_b (or q), kv_a, kv_b, attention, o, and the sparse indexer where configured.

    `kv_b` is the weight that expands the latent to keys and values (prefill) and the weight of the two absorbed
    products (decode); its FLOPs per token are the same in both forms. `indexed` is False for layers that reuse the
    selection of the layer before.
    """
    heads = fields.integer("num_attention_heads")
    latent = fields.integer("kv_lora_rank")
    rope = fields.integer("qk_rope_head_dim")
    nope = fields.integer("qk_nope_head_dim")
    v_dim = fields.integer("v_head_dim")
    q_rank = fields.integer("q_lora_rank", default=0)
    bias = fields.flag("attention_bias")
    qk_dim = nope + rope
    top_k = fields.integer("index_topk", default=0)
    index_heads = fields.integer("index_n_heads") if top_k and indexed else 0
    index_dim = fields.integer("index_head_dim") if top_k and indexed else 0
    query: tuple[Operator, ...]
    if q_rank:
        query = (
            Linear("q_a", hidden, q_rank, "replicated", "attention", "attention", bias=bias),
            Linear("q_b", q_rank, heads * qk_dim, "column", "attention", "attention", qk_dim),
        )
    else:
        query = (Linear("q", hidden, heads * qk_dim, "column", "attention", "attention", qk_dim),)
    elements = 2 * (q_rank + latent) + 2 * (heads + 1) * rope + 2 * (latent + rope)
    return (
        *block_entry(fields, "attention_norm", hidden, "attention"),
        *query,
        Linear("kv_a", hidden, latent + rope, "replicated", "attention", "attention", bias=bias),
        Linear("kv_b", latent, heads * (nope + v_dim), "column", "attention", "attention", nope + v_dim),
        Pointwise("rope_cache", elements, 2, "attention", q_rank + latent),
        *_indexer(hidden, q_rank or hidden, index_heads, index_dim),
        Attention("attention", heads, heads, qk_dim, v_dim, None, latent, rope, top_k, index_heads, index_dim),
        Linear("o", heads * v_dim, hidden, "row", "attention", "attention", v_dim, bias),
    )


def _indexer(hidden: int, query_width: int, heads: int, dim: int) -> tuple[Operator, ...]:
    """Projections of the indexer of DeepSeek sparse attention; engines replicate them over the attention group."""
    if not heads:
        return ()
    return (
        Linear("index_q", query_width, heads * dim, "replicated", "attention", "attention"),
        Linear("index_k", hidden, dim, "replicated", "attention", "attention"),
        Linear("index_weights", hidden, heads, "replicated", "attention", "router"),
        Pointwise("index_rope_cache", 4 * (heads + 1) * dim, 2, "attention", 2 * dim),
    )


def linear_attention(fields: Fields, hidden: int) -> tuple[Operator, ...]:
    """Gated delta net: projections, short convolution, recurrent state, gated norm, output projection."""
    key_heads = fields.integer("linear_num_key_heads")
    value_heads = fields.integer("linear_num_value_heads")
    key_dim = fields.integer("linear_key_head_dim")
    value_dim = fields.integer("linear_value_head_dim")
    kernel = fields.integer("linear_conv_kernel_dim")
    if value_heads % key_heads:
        fields.refuse("linear_num_value_heads", value_heads, f"a multiple of linear_num_key_heads ({key_heads})")
    group = max(1, value_heads // key_heads)
    keys, values = key_heads * key_dim, value_heads * value_dim
    channels = 2 * keys + values  # the convolution runs over q, k and v
    weights = channels * kernel + 2 * value_heads + value_dim  # convolution, decay and step bias per head, norm
    return (
        *block_entry(fields, "attention_norm", hidden, "attention"),
        Linear(
            "linear_qkvz",
            hidden,
            channels + values,
            "column",
            "attention",
            "attention",
            (channels + values) // key_heads,
        ),
        Linear(
            "linear_ba", hidden, 2 * value_heads, "column", "attention", "router", max(1, 2 * value_heads // key_heads)
        ),
        Pointwise("conv_norm", 2 * channels + 3 * values, 0, "attention", weights),
        LinearAttention("linear_attention", value_heads, key_dim, value_dim, channels * (kernel - 1)),
        Linear("linear_o", values, hidden, "row", "attention", "attention", group * value_dim),
    )
