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
    experts_touched,
    grouped_matmul_time,
    matmul_time,
    stream_time,
)
from suanli.chip.kernels import Kernels, lane_dtype
from suanli.mapping.hardware import Hardware
from suanli.mapping.precision import BYTES, Format

Array = NDArray[np.float64]

# Kernels per operator: routing, permutation, two grouped products, activation and weighted sum for experts; cache
# write and attention for softmax attention; convolution, gate and recurrence for linear attention; quantise, score and
# select for the sparse indexer.
EXPERT_KERNELS, ATTENTION_KERNELS, STATE_KERNELS, INDEXER_KERNELS = 6.0, 2.0, 3.0, 3.0
ACTIVATION_BYTES = BYTES["bf16"]  # residual stream and collectives run in 16 bit in the engines modelled


@dataclass(frozen=True)
class Timing:
    """Seconds of the work itself and of starting its kernels."""

    work: Array
    launch: Array | float


@dataclass(frozen=True)
class ExpertShape:
    """Routed experts of one layer on one chip.

    tokens : tokens of the expert group. top_k, count : experts per token and in all. share : experts on this chip over
    all. imbalance : load of the busiest chip over the mean. hidden, inner : widths on this chip. elements : weights of
    one expert on this chip. gathered : 1 where every chip sees all tokens of the group, 0 where they are dispatched.
    """

    tokens: Array
    top_k: float
    count: float
    share: Array
    imbalance: Array
    hidden: float
    inner: Array
    elements: Array
    matrices: int
    gathered: Array


@dataclass(frozen=True)
class AttentionShape:
    """Attention of one lane: heads on this chip, widths, window (infinite without), latent form of MLA (0: none)."""

    query_heads: Array
    kv_heads: Array
    qk_dim: float
    v_dim: float
    window: float
    latent: float
    rope: float


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

    def stream(self, size: Array, kernels: float) -> Timing:
        """`kernels` memory-bound kernels that move `size` bytes together."""
        ...


class ClosedForm:
    """Roofline with the efficiencies of the chip's family; one launch per kernel."""

    def __init__(self, hardware: Hardware, kv_bytes: float, vector_format: str) -> None:
        self._hardware = hardware
        self._kv_bytes = kv_bytes
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
            experts=shape.count,
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
        touched = experts_touched(tokens, shape.top_k, shape.count) * shape.share
        visible = np.where(shape.gathered > 0.0, np.maximum(copies, routed), routed)
        seconds = self._kernels.experts(
            routed,
            touched,
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
