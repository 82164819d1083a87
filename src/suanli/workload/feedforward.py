"""Feed-forward blocks: dense, and routed experts with router and shared experts."""

from __future__ import annotations

from suanli.workload.conventions import Conventions
from suanli.workload.fields import Fields
from suanli.workload.ops import Experts, Linear, Operator, Pointwise
from suanli.workload.residual import block_entry

# Names of the number of routed experts, in the order in which they are looked for.
EXPERT_COUNT_FIELDS = ("num_local_experts", "num_experts", "n_routed_experts")


def dense_ffn(fields: Fields, conventions: Conventions, hidden: int) -> tuple[Operator, ...]:
    """Gated feed-forward block."""
    inner = fields.integer("intermediate_size_mlp", "intermediate_size")
    bias = fields.flag("mlp_bias")
    return (
        *block_entry(fields, "ffn_norm", hidden, "ffn", 2 if conventions.sandwich_norms else 1),
        Linear("gate_up", hidden, 2 * inner, "column", "ffn", "ffn", bias=bias),
        Pointwise("activation", 3 * inner, 1, "ffn"),
        Linear("down", inner, hidden, "row", "ffn", "ffn", bias=bias),
    )


def moe_ffn(fields: Fields, conventions: Conventions, hidden: int) -> tuple[Operator, ...]:
    """Router, routed experts and, where configured, shared experts."""
    count = fields.integer(*EXPERT_COUNT_FIELDS)
    top_k = fields.integer("num_experts_per_tok", "experts_per_token")
    inner = fields.integer("moe_intermediate_size", "intermediate_size")
    if top_k > count:
        fields.refuse("num_experts_per_tok", top_k, f"at most the number of experts ({count})")
    correction = fields.get("topk_method") == "noaux_tc" or fields.flag("use_routing_bias")
    # scores in and out, top_k copies of the input, gate and up in, product out, top_k outputs in, their sum out
    routed_elements = 2 * count + (top_k + 1) * hidden + 3 * top_k * inner + (top_k + 1) * hidden
    return (
        *block_entry(fields, "ffn_norm", hidden, "ffn"),
        Linear("router", hidden, count, "replicated", "moe", "router", bias=conventions.router_bias or correction),
        Experts("experts", count, top_k, hidden, inner, bias=conventions.expert_bias),
        Pointwise("route_activate_combine", routed_elements, 0, "moe"),
        *_shared_experts(fields, conventions, hidden, inner),
    )


def _shared_experts(fields: Fields, conventions: Conventions, hidden: int, inner: int) -> tuple[Operator, ...]:
    """Shared experts as one dense feed-forward block beside the routed ones."""
    number = fields.integer("n_shared_experts", default=conventions.shared_experts, least=0)
    names = ("shared_expert_intermediate_size", "shared_intermediate_size")
    width = fields.integer(*names, default=number * inner, least=0)
    if not width:
        return ()
    gate = (Linear("shared_gate", hidden, 1, "replicated", "ffn", "router"),) if conventions.shared_gate else ()
    return (
        Linear("shared_gate_up", hidden, 2 * width, "column", "ffn", "ffn"),
        Pointwise("shared_activation", 3 * width, 1, "ffn"),
        Linear("shared_down", width, hidden, "row", "ffn", "ffn"),
        *gate,
    )
