"""Operator times as the step model asks for them: closed forms everywhere, measured lanes where a chip has them.

Both answer with a :class:`Timing`: the time of the work and of starting its kernels, kept apart because an engine that
does not capture its steps in a graph pays more for the second. All arguments broadcast.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from suanli.chip import (
    attention_decode_time,
    attention_prefill_time,
    grouped_matmul_time,
    matmul_time,
    stream_time,
)
from suanli.chip.kernels import Kernels, lane_dtype
from suanli.chip.work import STATE_FLOPS, indexer_work, visible_pairs
from suanli.mapping.hardware import Hardware
from suanli.mapping.precision import BYTES, Format

Array = NDArray[np.float64]

# Kernels per operator: routing, permutation, two grouped products, activation and weighted sum for experts; cache
# write and attention for softmax attention; convolution, gate and recurrence for linear attention; quantise, score and
# select for the sparse indexer.
EXPERT_KERNELS, ATTENTION_KERNELS, STATE_KERNELS, INDEXER_KERNELS = 6.0, 2.0, 3.0, 3.0
STATE_CHUNK = 64.0  # tokens between two passes over the state in chunked linear attention (Yang et al. 2024)
SPARSE_HEADS = 64.0  # fewer query heads are filled up (FlashMLA sparse kernels, as SGLang calls them)
ACTIVATION_BYTES = BYTES["bf16"]  # residual stream and collectives run in 16 bit in the engines modelled


@dataclass(frozen=True)
class Timing:
    """Seconds of the work itself and of starting its kernels."""

    work: Array
    launch: Array | float


@dataclass(frozen=True)
class ExpertShape:
    """Routed experts of one layer on one chip.

    tokens : tokens of the expert group. top_k : experts per token. touched : distinct experts that they use on the
    busiest chip. share : experts on this chip over all. imbalance : load of the busiest chip over the mean. hidden,
    inner : widths on this chip. elements : weights of one expert on this chip. gathered : 1 where every chip sees all
    tokens of the group, 0 where they are dispatched.
    """

    tokens: Array
    top_k: float
    touched: Array
    share: Array
    imbalance: Array
    hidden: float
    inner: Array
    elements: Array
    matrices: int
    gathered: Array


@dataclass(frozen=True)
class AttentionShape:
    """Attention of one lane: heads on this chip, widths, window (infinite without), latent form of MLA (0: none).

    kept : keys that a query selects, infinite without a selection.
    """

    query_heads: Array
    kv_heads: Array
    qk_dim: float
    v_dim: float
    window: float
    latent: float
    rope: float
    kept: float = np.inf


@dataclass(frozen=True)
class IndexShape:
    """Indexer of sparse attention: heads and width of its 8-bit keys, keys kept per query."""

    heads: float
    dim: float
    kept: float


@dataclass(frozen=True)
class StateShape:
    """Linear attention of one lane: heads on this chip, widths of keys and values, bytes of a state element."""

    heads: Array
    key_dim: float
    value_dim: float
    state_bytes: float


class OperatorTimes(Protocol):
    """Times [s] of single operators on one chip."""

    def matmul(self, rows: Array, n: Array, k: Array, fmt: Format) -> Timing:
        """y[rows, n] = x[rows, k] W[k, n]."""
        ...

    def experts(self, shape: ExpertShape, fmt: Format) -> Timing:
        """Routed experts of one layer."""
        ...

    def prefill(self, shape: AttentionShape, prompts: Array, tokens: Array, pairs: Array) -> Timing:
        """Causal attention of `tokens` new tokens of `prompts` prompts over `pairs` query-key pairs."""
        ...

    def decode(self, shape: AttentionShape, requests: Array, kv_tokens: Array) -> Timing:
        """One new token of each request over `kv_tokens` cached entries in all."""
        ...

    def sparse(self, shape: AttentionShape, sequences: Array, queries: Array, context: Array) -> Timing:
        """Latent attention of `queries` new tokens of each sequence to the keys they select of all before them."""
        ...

    def indexer(self, shape: IndexShape, sequences: Array, queries: Array, context: Array) -> Timing:
        """Scores of every key before `queries` new tokens of each sequence, and the selection of the best."""
        ...

    def state_decode(self, shape: StateShape, requests: Array) -> Timing:
        """Linear attention for one new token of each request."""
        ...

    def state_prefill(self, shape: StateShape, prompts: Array, tokens: Array) -> Timing:
        """Linear attention for `tokens` new tokens of `prompts` prompts."""
        ...

    def stream(self, size: Array, kernels: float) -> Timing:
        """`kernels` memory-bound kernels that move `size` bytes together."""
        ...


class ClosedForm:
    """Roofline with the efficiencies of the chip's family; one launch per kernel."""

    def __init__(self, hardware: Hardware, kv_bytes: float, vector_format: str) -> None:
        self._hardware = hardware
        self._kv_bytes = kv_bytes
        self._vector = vector_format
        self._attention_rate = hardware.peaks[vector_format] * hardware.attention
        self._stream_rate = hardware.bandwidth * hardware.memory
        self._kv_rate = hardware.bandwidth * hardware.kv_memory

    def matmul(self, rows: Array, n: Array, k: Array, fmt: Format) -> Timing:
        """See OperatorTimes."""
        seconds = matmul_time(
            rows,
            n,
            k,
            rate=self._hardware.peaks[fmt.rate] * self._hardware.matmul,
            bandwidth=self._stream_rate,
            weight_bytes=fmt.weight_bytes,
            activation_bytes=fmt.activation_bytes,
            tile=self._hardware.tile,
        )
        quantise = 1.0 if fmt.activation_bytes < ACTIVATION_BYTES else 0.0
        return Timing(np.asarray(seconds), (1.0 + quantise) * self._hardware.kernel_s)

    def experts(self, shape: ExpertShape, fmt: Format) -> Timing:
        """See OperatorTimes."""
        seconds = grouped_matmul_time(
            shape.tokens,
            top_k=shape.top_k,
            touched=shape.touched,
            share=shape.share,
            imbalance=shape.imbalance,
            elements=shape.elements,
            rate=self._hardware.peaks[fmt.rate] * self._hardware.grouped_matmul,
            bandwidth=self._stream_rate,
            weight_bytes=fmt.weight_bytes,
            activation_bytes=fmt.activation_bytes,
            hidden=shape.hidden,
            inner=shape.inner,
        )
        return Timing(np.asarray(seconds), EXPERT_KERNELS * self._hardware.kernel_s)

    def prefill(self, shape: AttentionShape, prompts: Array, tokens: Array, pairs: Array) -> Timing:
        """See OperatorTimes."""
        del prompts  # the closed form knows no difference between one long prompt and many short ones
        flops = 2.0 * shape.query_heads * (shape.qk_dim + shape.v_dim) * pairs
        written = tokens * entry_elements(shape) * self._kv_bytes
        seconds = attention_prefill_time(flops, written, rate=self._attention_rate, bandwidth=self._kv_rate)
        return Timing(np.asarray(seconds), self._hardware.kernel_s)

    def decode(self, shape: AttentionShape, requests: Array, kv_tokens: Array) -> Timing:
        """See OperatorTimes."""
        del requests
        flops = 2.0 * shape.query_heads * decode_width(shape) * kv_tokens
        read = kv_tokens * entry_elements(shape) * self._kv_bytes
        seconds = attention_decode_time(read, flops, rate=self._attention_rate, bandwidth=self._kv_rate)
        return Timing(np.asarray(seconds), self._hardware.kernel_s)

    def sparse(self, shape: AttentionShape, sequences: Array, queries: Array, context: Array) -> Timing:
        """See OperatorTimes."""
        rows = sequences * queries
        keys = np.minimum(visible_pairs(queries, context) / np.maximum(queries, 1.0), shape.kept)
        flops = 2.0 * shape.query_heads * decode_width(shape) * rows * keys
        read = rows * keys * entry_elements(shape) * self._kv_bytes
        return self._roofline(flops, self._attention_rate, read, 1.0)

    def indexer(self, shape: IndexShape, sequences: Array, queries: Array, context: Array) -> Timing:
        """See OperatorTimes."""
        work = indexer_work(sequences, queries, context, heads=shape.heads, width=shape.dim)
        rate = self._hardware.peaks["fp8" if "fp8" in self._hardware.peaks else self._vector] * self._hardware.attention
        return self._roofline(work.flops, rate, work.bytes, INDEXER_KERNELS)

    def state_decode(self, shape: StateShape, requests: Array) -> Timing:
        """See OperatorTimes."""
        return self._state(shape, requests, requests)

    def state_prefill(self, shape: StateShape, prompts: Array, tokens: Array) -> Timing:
        """See OperatorTimes."""
        return self._state(shape, np.maximum(prompts, tokens / STATE_CHUNK), tokens)

    def _state(self, shape: StateShape, passes: Array, tokens: Array) -> Timing:
        elements = shape.heads * shape.key_dim * shape.value_dim
        size = 2.0 * passes * elements * shape.state_bytes
        return self._roofline(STATE_FLOPS * tokens * elements, self._attention_rate, size, STATE_KERNELS)

    def _roofline(self, flops: Array, rate: float, size: Array, kernels: float) -> Timing:
        seconds = attention_decode_time(size, flops, rate=rate, bandwidth=self._kv_rate)
        return Timing(np.asarray(seconds), kernels * self._hardware.kernel_s)

    def stream(self, size: Array, kernels: float) -> Timing:
        """See OperatorTimes."""
        return Timing(np.asarray(stream_time(size, self._stream_rate)), kernels * self._hardware.kernel_s)


class Calibrated:
    """Measured lanes of the chip under the engine, or the best stand-in (`suanli.chip.kernels`)."""

    def __init__(self, kernels: Kernels, kv: str, vector_format: str, *, block_scales: bool) -> None:
        self._kernels = kernels
        self._kv = kv
        self._vector = "bf16" if vector_format == "fp16" else vector_format
        self._block_scales = block_scales

    def _lane(self, fmt: Format) -> str:
        return lane_dtype(fmt.weight, fmt.activation, block_scales=self._block_scales)

    def _split(self, op: str, dtype: str, seconds: Array) -> Timing:
        launch = np.minimum(self._kernels.chosen(op, dtype).lane.launch, seconds)
        return Timing(seconds - launch, launch)

    def matmul(self, rows: Array, n: Array, k: Array, fmt: Format) -> Timing:
        """See OperatorTimes."""
        lane = self._lane(fmt)
        return self._split("matmul", lane, self._kernels.matmul(np.maximum(rows, 1.0), n, k, lane))

    def experts(self, shape: ExpertShape, fmt: Format) -> Timing:
        """See OperatorTimes."""
        lane = self._lane(fmt)
        tokens = np.maximum(shape.tokens, 1.0)
        copies = tokens * shape.top_k
        routed = np.minimum(copies * shape.share * shape.imbalance, copies)
        visible = np.where(shape.gathered > 0.0, np.maximum(copies, routed), routed)
        seconds = self._kernels.experts(
            routed,
            shape.touched,
            hidden=shape.hidden,
            inner=shape.inner,
            dtype=lane,
            matrices=shape.matrices,
            visible=visible,
        )
        return self._split("experts" if shape.matrices > 2 else "experts_plain", lane, seconds)

    def prefill(self, shape: AttentionShape, prompts: Array, tokens: Array, pairs: Array) -> Timing:
        """See OperatorTimes."""
        count = np.maximum(prompts, 1.0)  # a chunk of a longer prompt is one sequence with context
        queries = np.maximum(tokens, 1.0) / count
        context = np.maximum(pairs / np.maximum(tokens, 1.0) - queries / 2.0, 0.0)
        if shape.latent:
            seconds = self._kernels.latent_prefill_attention(
                count, queries, context, query_heads=shape.query_heads, qk_dim=shape.qk_dim, v_dim=shape.v_dim
            )
            return self._split("latent_prefill", "bf16", seconds)
        seconds = self._kernels.prefill_attention(
            count,
            queries,
            context,
            query_heads=shape.query_heads,
            kv_heads=shape.kv_heads,
            qk_dim=shape.qk_dim,
            v_dim=shape.v_dim,
            window=shape.window,
            kv_dtype=self._kv,
        )
        return self._split("prefill", f"bf16_kv_{self._kv}", seconds)

    def decode(self, shape: AttentionShape, requests: Array, kv_tokens: Array) -> Timing:
        """See OperatorTimes."""
        count = np.maximum(requests, 1.0)
        context = np.maximum(kv_tokens / count, 1.0)
        if shape.latent:
            seconds = self._kernels.latent_decode_attention(
                count, context, query_heads=shape.query_heads, latent=shape.latent, rope=shape.rope, kv_dtype=self._kv
            )
            return self._split("latent_decode", self._kv, seconds)
        seconds = self._kernels.decode_attention(
            count,
            context,
            query_heads=shape.query_heads,
            kv_heads=shape.kv_heads,
            qk_dim=shape.qk_dim,
            v_dim=shape.v_dim,
            kv_dtype=self._kv,
        )
        return self._split("decode", self._kv, seconds)

    def sparse(self, shape: AttentionShape, sequences: Array, queries: Array, context: Array) -> Timing:
        """See OperatorTimes."""
        seconds = self._kernels.sparse_attention(
            sequences,
            queries,
            context,
            query_heads=np.maximum(shape.query_heads, SPARSE_HEADS),
            top_k=shape.kept,
            latent=shape.latent,
            rope=shape.rope,
        )
        return self._split("sparse", "bf16", seconds)

    def indexer(self, shape: IndexShape, sequences: Array, queries: Array, context: Array) -> Timing:
        """See OperatorTimes."""
        seconds = self._kernels.indexer(
            sequences, queries, context, heads=shape.heads, width=shape.dim, top_k=shape.kept
        )
        return self._split("indexer", "fp8", seconds)

    def state_decode(self, shape: StateShape, requests: Array) -> Timing:
        """See OperatorTimes."""
        seconds = self._kernels.state_decode(
            np.maximum(requests, 1.0),
            heads=shape.heads,
            key_dim=shape.key_dim,
            value_dim=shape.value_dim,
            state_bytes=shape.state_bytes,
        )
        return self._split("state_decode", "bf16", seconds)

    def state_prefill(self, shape: StateShape, prompts: Array, tokens: Array) -> Timing:
        """See OperatorTimes."""
        count = np.maximum(prompts, 1.0)
        seconds = self._kernels.state_prefill(
            count,
            np.maximum(tokens, 1.0) / count,
            heads=shape.heads,
            key_dim=shape.key_dim,
            value_dim=shape.value_dim,
            state_bytes=shape.state_bytes,
        )
        return self._split("state_prefill", "bf16", seconds)

    def stream(self, size: Array, kernels: float) -> Timing:
        """See OperatorTimes."""
        seconds = kernels * self._kernels.stream(size / max(kernels, 1.0)) if kernels else 0.0 * size
        launch = np.minimum(kernels * self._kernels.chosen("stream", "bf16").lane.launch, seconds)
        return Timing(seconds - launch, launch)


def entry_elements(shape: AttentionShape) -> Array:
    """Cached elements of one entry on one chip [-]: the whole latent, or the chip's KV heads."""
    if shape.latent:
        return np.full_like(shape.kv_heads, shape.latent + shape.rope)
    return np.asarray(shape.kv_heads * (shape.qk_dim + shape.v_dim))


def decode_width(shape: AttentionShape) -> float:
    """Multiply-adds per head and cached entry [-]; the absorbed form of MLA works on the shared latent."""
    return 2.0 * shape.latent + shape.rope if shape.latent else shape.qk_dim + shape.v_dim
