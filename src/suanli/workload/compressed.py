"""Compressed attention (DeepSeek-V4): a short window of tokens plus one cached entry per `ratio` tokens of the rest.

Key and value are the same 1 x head_dim vector, shared by all query heads, so it is multi-query attention over a latent
of head_dim elements: `latent` = head_dim, `rope` = 0.
"""

from __future__ import annotations

from suanli.workload.fields import Fields
from suanli.workload.ops import Attention, Linear, Operator, Pointwise
from suanli.workload.residual import block_entry

# Tokens per cached entry of each layer type, and the type of each entry of `compress_ratios`.
# Source: DeepSeek-V4 config (`compress_ratios`), default_compress_rates in transformers 5.23.
RATIOS = {"sliding_attention": 0, "compressed_sparse_attention": 4, "heavily_compressed_attention": 128}
TYPE_OF_RATIO = {ratio: name for name, ratio in RATIOS.items()}


def compressed_attention(fields: Fields, hidden: int, kind: str) -> tuple[Operator, ...]:
    """Query, shared key-value, compressor, indexer (sparse kind only), attention over window and entries, output."""
    heads = fields.integer("num_attention_heads")
    dim = fields.integer("head_dim")
    q_rank = fields.integer("q_lora_rank")
    groups = fields.integer("o_groups")
    o_rank = fields.integer("o_lora_rank")
    window = fields.integer("sliding_window")
    rope = fields.integer("qk_rope_head_dim")
    if fields.integer("num_key_value_heads", default=1) != 1:
        fields.refuse("num_key_value_heads", fields.get("num_key_value_heads"), "1 with compressed attention")
    rates = fields.get("compress_rates")
    if rates is not None and (not isinstance(rates, dict) or any(RATIOS.get(k) != v for k, v in rates.items())):
        fields.refuse("compress_rates", rates, str(RATIOS))
    if heads % groups:
        fields.refuse("o_groups", groups, f"a divisor of num_attention_heads ({heads})")
    elements = 2 * (q_rank + heads * dim + dim) + 2 * heads * rope + 2 * dim
    return (
        *block_entry(fields, "attention_norm", hidden, "attention"),
        Linear("q_a", hidden, q_rank, "replicated", "attention", "attention"),
        Linear("q_b", q_rank, heads * dim, "column", "attention", "attention", dim),
        Linear("kv", hidden, dim, "replicated", "attention", "attention"),
        Pointwise("rope_cache", elements, 2, "attention", q_rank + dim + heads),  # heads: one sink each
        Attention("attention_window", heads, 1, dim, dim, window, latent=dim),
        *_compressed_part(fields, hidden, heads, dim, q_rank, kind),
        # one block of the block-diagonal o_a per group of heads
        Linear("o_a", max(1, heads * dim // groups), groups * o_rank, "column", "attention", "attention", o_rank),
        Linear("o_b", groups * o_rank, hidden, "row", "attention", "attention", o_rank),
    )


def _compressed_part(fields: Fields, hidden: int, heads: int, dim: int, q_rank: int, kind: str) -> tuple[Operator, ...]:
    ratio = RATIOS[kind]
    if not ratio:
        return ()
    if kind == "heavily_compressed_attention":
        compressor = _compressor("compress", hidden, dim, ratio, series=1)
        return *compressor, Attention("attention_entries", heads, 1, dim, dim, latent=dim, compression=ratio)
    index_heads = fields.integer("index_n_heads")
    index_dim = fields.integer("index_head_dim")
    top_k = fields.integer("index_topk")
    return (
        *_compressor("compress", hidden, dim, ratio, series=2),
        *_compressor("index_compress", hidden, index_dim, ratio, series=2),
        Linear("index_q", q_rank, index_heads * index_dim, "replicated", "attention", "attention"),
        Linear("index_weights", hidden, index_heads, "replicated", "attention", "router"),
        Attention(
            "attention_entries",
            heads,
            1,
            dim,
            dim,
            latent=dim,
            sparse_top_k=top_k,
            indexer_heads=index_heads,
            indexer_dim=index_dim,
            compression=ratio,
        ),
    )


def _compressor(name: str, hidden: int, dim: int, ratio: int, series: int) -> tuple[Operator, ...]:
    """Content and gate projections, and the gated sum of `ratio` tokens into one entry (`series` overlapping sums)."""
    width = series * dim
    weights = ratio * width + dim  # position bias of each slot, norm
    return (
        Linear(name, hidden, 2 * width, "replicated", "attention", "router"),
        Pointwise(f"{name}_pool", 4 * width, 1, "attention", weights),
    )
