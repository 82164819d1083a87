"""Operators of a model: what must be computed, before anything is decided about where.

All sizes are of the whole, unsharded model. An operator says how it may be split (`Split`) and which parallel group
splits it (`Block`): attention operators by the attention tensor-parallel degree, feed-forward operators by the
feed-forward tensor-parallel degree (they differ under attention data parallelism).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Block = Literal["attention", "ffn", "moe", "head"]
Split = Literal["column", "row", "replicated"]
Role = Literal["attention", "ffn", "expert", "router", "head"]  # which weight format applies


@dataclass(frozen=True, slots=True)
class Linear:
    """y[tokens, n] = x[tokens, k] @ W[k, n].

    `grain` is the smallest piece of the split dimension that can be placed (a KV head); a degree above
    split size / grain replicates the weight. `per_request` marks operators that only see the last token of a request
    (LM head in prefill).
    """

    name: str
    k: int
    n: int
    split: Split
    block: Block
    role: Role
    grain: int = 1
    bias: bool = False
    per_request: bool = False

    @property
    def parameters(self) -> int:
        """Number of weights [-]."""
        return self.k * self.n + (self.n if self.bias else 0)


@dataclass(frozen=True, slots=True)
class Experts:
    """Routed experts: `count` feed-forward networks of `matrices` products k x n each, `top_k` of them per token."""

    name: str
    count: int
    top_k: int
    hidden: int
    inner: int
    matrices: int = 3  # gate, up, down; 2 without gate
    bias: bool = False

    @property
    def parameters_each(self) -> int:
        """Weights of one expert [-]."""
        biases = (self.matrices - 1) * self.inner + self.hidden if self.bias else 0
        return self.matrices * self.hidden * self.inner + biases

    @property
    def parameters(self) -> int:
        """Weights of all experts [-]."""
        return self.count * self.parameters_each


@dataclass(frozen=True, slots=True)
class Attention:
    """Softmax attention. Grouped (MHA, GQA, MQA) when `latent` is 0, multi-head latent attention (MLA) otherwise.

    window : tokens a query sees at most, None for all.
    latent, rope : MLA only: width of the cached latent and of the shared rotary key [elements per token].
    sparse_top_k, indexer_* : DeepSeek sparse attention: entries kept per query, heads and width of the indexer.
    compression : tokens per cached entry; `kv_elements` and the indexer key are stored once per entry.
    """

    name: str
    query_heads: int
    kv_heads: int
    qk_dim: int
    v_dim: int
    window: int | None = None
    latent: int = 0
    rope: int = 0
    sparse_top_k: int = 0
    indexer_heads: int = 0
    indexer_dim: int = 0
    compression: int = 1

    @property
    def kv_elements(self) -> int:
        """Cached elements per entry (a token unless `compression` is above 1) [-], without the indexer."""
        if self.latent:
            return self.latent + self.rope
        return self.kv_heads * (self.qk_dim + self.v_dim)


@dataclass(frozen=True, slots=True)
class LinearAttention:
    """Linear attention or state-space layer (gated delta net, lightning attention): constant state per request.

    State is `heads` x `key_dim` x `value_dim` elements of `state_bytes` bytes, plus a short convolution window.
    """

    name: str
    heads: int
    key_dim: int
    value_dim: int
    conv_elements: int = 0
    state_bytes: int = 4

    @property
    def state_elements(self) -> int:
        """Recurrent state per request [-]."""
        return self.heads * self.key_dim * self.value_dim


@dataclass(frozen=True, slots=True)
class Pointwise:
    """Norms, activations, rotary embedding, residuals: `elements` read or written per token, `kernels` launches.

    Kernels that belong to attention (cache write), to a linear-attention step (convolution, gate) or to experts
    (routing, permutation, activation, weighted sum) are launched by those operators and not counted here.
    """

    name: str
    elements: int
    kernels: int
    block: Block
    parameters: int = 0


@dataclass(frozen=True, slots=True)
class Embedding:
    """Token embedding table."""

    name: str
    vocabulary: int
    width: int
    tied: bool = False  # shares its weights with the LM head

    @property
    def parameters(self) -> int:
        """Weights [-]."""
        return self.vocabulary * self.width


Operator = Linear | Experts | Attention | LinearAttention | Pointwise | Embedding


@dataclass(frozen=True, slots=True)
class LayerGroup:
    """`count` identical layers; `kind` names what they are (dense, moe, sliding, linear, mtp)."""

    kind: str
    count: int
    operators: tuple[Operator, ...]


@dataclass(frozen=True, slots=True)
class ModelGraph:
    """A decoder as groups of layers between embedding and LM head.

    hidden : residual width [elements]. context : longest sequence the config allows [tokens].
    mtp : layers of the multi-token-prediction head, not part of the main model.
    dtypes : published format per role, e.g. {"expert": "mxfp4"} where the checkpoint is quantised.
    block_scales : 8-bit checkpoints of this model scale blocks of 128 x 128 weights, not whole tensors.
    """

    id: str
    hidden: int
    vocabulary: int
    context: int
    embedding: Embedding
    groups: tuple[LayerGroup, ...]
    head: tuple[Operator, ...]
    mtp: tuple[LayerGroup, ...] = ()
    dtypes: tuple[tuple[str, str], ...] = ()
    block_scales: bool = False

    @property
    def layers(self) -> int:
        """Number of decoder layers [-]."""
        return sum(group.count for group in self.groups)
