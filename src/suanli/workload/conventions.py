"""What a `model_type` implies without a field saying so.

Structure is read from the fields of the config. A few facts are fixed in the published modelling code of a family and
have no field (a norm on queries and keys, a bias, a default). They stand here as data; the file read for each is named
in docs/theory/model-graph.md. A `model_type` that is not here is refused: nobody has checked what its fields mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

QkNorm = Literal["none", "head", "full"]  # full: over the whole query and key width instead of one head


@dataclass(frozen=True, slots=True)
class Conventions:
    """Unwritten structure of one `model_type`."""

    qk_norm: QkNorm = "none"
    qk_norm_field: bool = False  # the norm is there only when `use_qk_norm` is true
    qkv_bias: bool = False  # bias on q, k, v whatever `attention_bias` says
    o_bias: bool = True  # `attention_bias` also gives the output projection a bias
    sinks: bool = False  # one learned logit per query head
    expert_bias: bool = False
    router_bias: bool = False  # bias of the scores, or correction of the choice of experts
    shared_experts: int = 0  # always-on experts of the routed width, without a field
    shared_gate: bool = False  # the shared expert is scaled by a gate hidden -> 1
    rope_free_interval: int = 0  # every n-th layer sees everything, the others their chunk
    mixed_windows: bool = False  # windowed and full layers mixed: only `layer_types` says which is which
    sandwich_norms: bool = False  # norms also after attention and after the feed-forward block
    tied: bool = False  # default of tie_word_embeddings
    block_scales: bool = False  # the publisher's 8-bit checkpoints scale blocks of 128 x 128 weights


MODEL_TYPES: dict[str, Conventions] = {
    "llama": Conventions(),
    "mistral": Conventions(),
    "mixtral": Conventions(),
    "qwen2": Conventions(qkv_bias=True, o_bias=False),
    "qwen3": Conventions(qk_norm="head", block_scales=True),
    "qwen3_moe": Conventions(qk_norm="head", block_scales=True),
    "qwen3_vl_text": Conventions(qk_norm="head", block_scales=True),
    "qwen3_vl_moe_text": Conventions(qk_norm="head", block_scales=True),
    "qwen3_next": Conventions(qk_norm="head", shared_gate=True, block_scales=True),
    "qwen3_5_text": Conventions(qk_norm="head", block_scales=True),
    "qwen3_5_moe_text": Conventions(qk_norm="head", shared_gate=True, block_scales=True),
    "deepseek_v3": Conventions(block_scales=True),
    "deepseek_v32": Conventions(block_scales=True),
    "deepseek_v4": Conventions(block_scales=True),
    "kimi_k2": Conventions(block_scales=True),
    "glm_moe_dsa": Conventions(block_scales=True),
    "glm4_moe": Conventions(qk_norm="head", qk_norm_field=True, o_bias=False, router_bias=True),
    "minimax_m2": Conventions(qk_norm="full", qk_norm_field=True, block_scales=True),
    "llama4_text": Conventions(shared_experts=1, rope_free_interval=4),
    "gpt_oss": Conventions(mixed_windows=True, sinks=True, expert_bias=True, router_bias=True),
    "gemma4_text": Conventions(qk_norm="head", mixed_windows=True, sandwich_norms=True, tied=True),
}
