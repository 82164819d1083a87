"""What an operator costs a chip, before any efficiency: arithmetic, traffic, and the coordinates of its shape.

Each function describes one kind of operator by a :class:`Work`. `flops` and `bytes` are what must be done at least;
`steps` is the arithmetic of whole tiles. The coordinates (log2 of a few sizes) are where correction surfaces are
looked up. All arguments are floats or arrays that broadcast.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from suanli.catalog.schema import Architecture

Array = NDArray[np.float64]
Real = float | Array


@dataclass(frozen=True)
class Work:
    """Least arithmetic [FLOP], arithmetic with tile padding [FLOP], least traffic [B], coordinates of the shape."""

    flops: Array
    steps: Array
    bytes: Array
    coordinates: tuple[Array, ...]


def _log(value: Real) -> Array:
    return np.asarray(np.log2(np.maximum(value, 1.0)))


def padded(size: Real, tile: float) -> Array:
    """Size rounded up to whole tiles: what the matrix unit really computes."""
    return np.asarray(np.ceil(np.asarray(size) / tile) * tile)


NARROW = 16.0  # narrow side of a GPU's output tile


@dataclass(frozen=True)
class Unit:
    """How a chip cuts products: output tiles of a GPU, an array of a systolic machine, blocks of a cube core."""

    architecture: Architecture = "gpu"
    tile: tuple[float, float] = (64.0, 64.0)

    def steps(self, m: Array, n: Array, k: Array) -> Array:
        """Arithmetic [FLOP] that the unit is busy with for y[m, n] = x[m, k] W[k, n].

        GPU: whole output tiles; products of few rows are computed transposed, where the narrow side of a tile is 8 or
        16 (mma.m16n8, wgmma.m64n8 of the PTX ISA). Systolic: k and n padded to the array; a block of weights takes as
        many cycles to load as the array is high, so fewer rows than that cost the same (weights double-buffered;
        scaling book, "tpus"). Cube: all three padded to blocks.
        """
        high, wide = self.tile
        if self.architecture == "systolic":
            return np.asarray(2.0 * np.maximum(m, high) * padded(n, wide) * padded(k, high))
        if self.architecture == "cube":
            return np.asarray(2.0 * padded(m, high) * padded(n, wide) * padded(k, high))
        rows = np.where(m < high, padded(m, min(NARROW, high)), padded(m, high))
        return np.asarray(2.0 * rows * padded(n, wide) * k)


GPU = Unit()


def matmul_work(m: Real, n: Real, k: Real, *, weight_bytes: float, activation_bytes: float, unit: Unit = GPU) -> Work:
    """y[m, n] = x[m, k] W[k, n]; the result is written in 16 bit. Coordinates: m, n, k."""
    m, n, k = np.asarray(m, dtype=float), np.asarray(n, dtype=float), np.asarray(k, dtype=float)
    traffic = weight_bytes * n * k + activation_bytes * m * k + 2.0 * m * n
    return Work(2.0 * m * n * k, unit.steps(m, n, k), traffic, (_log(m), _log(n), _log(k)))


def experts_work(
    routed: Real,
    touched: Real,
    hidden: Real,
    inner: Real,
    *,
    matrices: Real = 3.0,
    visible: Real | None = None,
    weight_bytes: float,
    activation_bytes: float,
    tile: float = 16,
) -> Work:
    """Routed experts of one layer on one chip.

    routed : token copies that this chip computes (tokens x top_k x its share). touched : distinct experts among them.
    hidden, inner : widths of one expert on this chip. matrices : 3 with a gate, 2 without. visible : token copies that
    lie on this chip, its own and those for other chips' experts (only `routed` after a dispatch that sends to each
    chip what it needs; all of the group after an all-gather).
    Coordinates: rows per touched expert, touched experts, inner, hidden, visible over routed copies.
    """
    routed = np.asarray(routed, dtype=float)
    touched = np.maximum(np.minimum(np.asarray(touched, dtype=float), routed), 1e-9)
    weights = np.asarray(matrices) * hidden * inner
    rows = routed / touched
    traffic = (
        weight_bytes * weights * touched
        + activation_bytes * routed * (hidden + inner)
        + 2.0 * routed * (hidden + inner)
    )
    steps = 2.0 * touched * padded(rows, tile) * weights
    spread = np.ones(()) if visible is None else np.asarray(visible) / routed
    shape = (_log(rows), _log(touched), _log(inner), _log(hidden), _log(spread))
    return Work(2.0 * routed * weights, steps, traffic, shape)


def visible_pairs(queries: Real, context: Real, window: Real = np.inf) -> Array:
    """Query-key pairs of one causal sequence: `queries` new tokens after `context` cached ones [-]."""
    queries, context = np.asarray(queries, dtype=float), np.asarray(context, dtype=float)
    width = np.minimum(window, context + queries)
    short = np.clip(width - context, 0.0, queries)  # queries that see less than a whole window
    return np.asarray(short * context + short * (short + 1.0) / 2.0 + (queries - short) * width)


QUERY_TILE = 64.0  # queries of one sequence and head that a prefill kernel computes at once (64 to 256 in the engines)


def prefill_work(
    batch: Real,
    queries: Real,
    context: Real,
    query_heads: Real,
    kv_heads: Real,
    *,
    qk_dim: Real,
    v_dim: Real,
    kv_bytes: float,
    window: Real = np.inf,
) -> Work:
    """Causal attention of `queries` new tokens per sequence after `context` cached ones.

    Kernels work on tiles of queries of one sequence and head, so a few queries cost as much as a tile of them.
    Coordinates: mean keys per query, query rows in whole tiles (batch x queries x heads), queries over keys (1 without
    a window), query heads per KV head, width of a head.
    """
    pairs = visible_pairs(queries, context, window)
    heads = np.asarray(query_heads, dtype=float)
    width = np.asarray(qk_dim) + np.asarray(v_dim, dtype=float)
    flops = 2.0 * batch * heads * pairs * width
    tiled = padded(np.maximum(queries, 1.0), QUERY_TILE) / np.maximum(queries, 1.0)
    rows = np.asarray(batch, dtype=float) * queries * heads
    seen = np.minimum(np.asarray(context, dtype=float) + queries, np.asarray(queries, dtype=float) + window)
    traffic = 2.0 * rows * width + kv_bytes * batch * np.asarray(kv_heads) * seen * width
    keys = pairs / np.maximum(queries, 1.0)
    sizes = (keys, rows * tiled, queries / (2.0 * keys), heads / kv_heads, width / 2.0)
    return Work(flops, np.asarray(flops * tiled), traffic, tuple(_log(size) for size in sizes))


def decode_work(
    batch: Real,
    context: Real,
    query_heads: Real,
    kv_heads: Real,
    *,
    qk_dim: Real,
    v_dim: Real,
    kv_bytes: float,
    window: Real = np.inf,
) -> Work:
    """One new token per sequence against `context` cached tokens (its own included).

    Coordinates: KV streams (batch x KV heads), tokens read per stream, query heads per KV head, width of a head.
    """
    seen = np.minimum(np.asarray(context, dtype=float), window)
    width = np.asarray(qk_dim) + np.asarray(v_dim, dtype=float)
    streams = np.asarray(batch, dtype=float) * kv_heads
    group = np.asarray(query_heads, dtype=float) / kv_heads
    flops = 2.0 * streams * group * seen * width
    traffic = kv_bytes * streams * seen * width + 2.0 * streams * group * width
    return Work(flops, flops, traffic, (_log(streams), _log(seen), _log(group), _log(width / 2.0)))


def latent_decode_work(
    batch: Real, context: Real, query_heads: Real, *, latent: float, rope: float, kv_bytes: float
) -> Work:
    """MLA with absorbed projections, one new token per sequence: every head reads the same cached latent.

    Coordinates: batch, tokens read, query heads.
    """
    seen, heads = np.asarray(context, dtype=float), np.asarray(query_heads, dtype=float)
    flops = 2.0 * batch * heads * seen * (2.0 * latent + rope)
    traffic = kv_bytes * batch * seen * (latent + rope) + 2.0 * batch * heads * (2.0 * latent + rope)
    return Work(flops, flops, np.asarray(traffic), (_log(batch), _log(seen), _log(heads)))


def indexer_work(batch: Real, queries: Real, context: Real, *, heads: float, width: float) -> Work:
    """Lightning indexer of sparse attention: 8-bit scores of every query against every visible key, written in 32 bit.

    Coordinates: mean keys per query, queries (batch x queries).
    """
    pairs = np.asarray(batch, dtype=float) * visible_pairs(queries, context)
    keys = np.asarray(batch, dtype=float) * (np.asarray(context, dtype=float) + queries)
    flops = 2.0 * heads * width * pairs
    rows = np.asarray(batch, dtype=float) * queries
    return Work(flops, flops, np.asarray(4.0 * pairs + (width + 4.0) * keys), (_log(pairs / rows), _log(rows)))


def select_work(batch: Real, queries: Real, context: Real) -> Work:
    """Selection of the best keys of every query from 32-bit scores. Coordinates: mean keys per query, queries."""
    pairs = np.asarray(batch, dtype=float) * visible_pairs(queries, context)
    rows = np.asarray(batch, dtype=float) * queries
    nothing = np.zeros_like(pairs)
    return Work(nothing, nothing, 4.0 * pairs, (_log(pairs / rows), _log(rows)))


def sparse_work(
    batch: Real,
    queries: Real,
    context: Real,
    query_heads: Real,
    *,
    top_k: float,
    latent: float,
    rope: float,
) -> Work:
    """Sparse MLA: every query attends to its `top_k` selected latents, read as 8-bit with scales.

    Coordinates: keys per query after selection, queries (batch x queries).
    """
    rows = np.asarray(batch, dtype=float) * queries
    seen = np.minimum(visible_pairs(queries, context) / np.maximum(queries, 1.0), top_k)
    flops = 2.0 * rows * np.asarray(query_heads) * seen * (2.0 * latent + rope)
    # kernels compute all top_k slots, filled or not
    steps = 2.0 * rows * np.asarray(query_heads) * top_k * (2.0 * latent + rope)
    distinct = np.minimum(rows * seen, np.asarray(batch, dtype=float) * (np.asarray(context, dtype=float) + queries))
    return Work(flops, steps, np.asarray(distinct * (latent + 2.0 * rope)), (_log(seen), _log(rows)))


# Multiplications per state element and token in chunked linear attention: decay, outer product and readout (gated delta
# rule, Yang et al. 2024, arXiv 2412.06464, section 3).
STATE_FLOPS = 6.0


def state_decode_work(batch: Real, heads: Real, *, key_dim: float, value_dim: float, state_bytes: float = 4.0) -> Work:
    """Linear attention (gated delta net, state space), one new token per sequence: the state is read and written.

    Coordinates: states (batch x heads).
    """
    states = np.asarray(batch, dtype=float) * heads
    flops = STATE_FLOPS * states * key_dim * value_dim
    return Work(flops, flops, 2.0 * state_bytes * states * key_dim * value_dim, (_log(states),))


def state_prefill_work(
    batch: Real, queries: Real, heads: Real, *, key_dim: float, value_dim: float, state_bytes: float = 4.0
) -> Work:
    """Linear attention over `queries` new tokens per sequence in chunks; activations are read and written in 16 bit.

    Coordinates: tokens per sequence, states (batch x heads).
    """
    states = np.asarray(batch, dtype=float) * heads
    flops = STATE_FLOPS * states * queries * key_dim * value_dim
    activations = 2.0 * 2.0 * states * queries * (key_dim + value_dim)
    traffic = 2.0 * state_bytes * states * key_dim * value_dim + activations
    return Work(flops, flops, traffic, (_log(queries), _log(states)))


def stream_work(size: Real) -> Work:
    """Memory-bound operator that moves `size` bytes. Coordinate: size."""
    size = np.asarray(size, dtype=float)
    nothing = np.zeros_like(size)
    return Work(nothing, nothing, size, (_log(size),))
