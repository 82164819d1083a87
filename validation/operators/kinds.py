"""What each kind of table means: work of a row, table of the surface, order of sizes, groups to hold out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from suanli.chip.formats import FORMATS
from suanli.chip.work import (
    QUERY_TILE,
    Work,
    decode_work,
    experts_work,
    indexer_work,
    latent_decode_work,
    matmul_work,
    padded,
    prefill_work,
    select_work,
    sparse_work,
    state_decode_work,
    state_prefill_work,
    stream_work,
)
from validation.operators.tables import Table

Array = NDArray[np.float64]

# DeepSeek-V3 latent attention (config.json of the model): latent and rotary width, per-head widths in prefill.
LATENT, ROPE, LATENT_QK, LATENT_V = 512.0, 64.0, 192.0, 128.0
# GLM-5 (config.json): indexer heads and width, keys kept, attention heads of the measured rank.
INDEX_HEADS, INDEX_WIDTH, TOP_K, SPARSE_HEADS = 32.0, 128.0, 2048.0, 64.0
STATE_DIM = 128.0  # key and value width of a head in every measured gated delta net


@dataclass(frozen=True)
class Operator:
    """How one kind is fitted. `knots` [log2 of each coordinate]; `held_out` columns name a whole shape family."""

    work: Callable[[Table], Work]
    at: Callable[[str, Sequence[Array]], Work]
    knots: tuple[tuple[float, ...], ...]
    sizes: tuple[str, ...]
    groups: tuple[str, ...]
    held_out: tuple[str, ...]
    rising: tuple[int, ...]  # axes along which the time must not fall
    smoothness: float = 0.1  # weight of squared changes of slope against log errors of mean weight 1
    tolerance: float = 0.02  # log errors below this all count alike, above it their weight falls
    reads: bool = False  # largest rows read so much that they show the bandwidth that can be reached
    # Share of bandwidth in pooled lanes where rows that traffic would bind are bound by partly filled tiles instead:
    # what large reads reach, so that these rows go with the arithmetic of a chip and not with its memory.
    pooled_memory: float | None = None


def kv_bytes(dtype: str) -> float:
    """Bytes per cached element of a dtype label (``bf16_kv_fp8`` or ``fp8``)."""
    return FORMATS[dtype.rsplit("_kv_", 1)[-1]].weight_bytes


def math_dtype(op: str, dtype: str) -> str:
    """Format whose peak bounds the arithmetic of a lane."""
    if op == "prefill":
        return dtype.split("_kv_", maxsplit=1)[0]
    if op == "indexer":
        return "fp8"
    return dtype if op in ("matmul", "experts", "experts_plain") else "bf16"


def _floats(table: Table, *names: str) -> list[Array]:
    return [table.columns[name].astype(float) for name in names]


def _window(table: Table) -> Array:
    """Tokens that a query sees at most; 0 in the tables means all."""
    window = table.columns["window"].astype(float)
    return np.where(window > 0.0, window, np.inf)


def _matmul(table: Table) -> Work:
    m, n, k = _floats(table, "m", "n", "k")
    return _matmul_at(table.dtype, [m, n, k])


def _matmul_at(dtype: str, sizes: Sequence[Array]) -> Work:
    form = FORMATS[dtype]
    return matmul_work(*sizes, weight_bytes=form.weight_bytes, activation_bytes=form.activation_bytes)


def _experts(table: Table) -> Work:
    tokens, hidden, inner, top_k, experts, tp, ep = _floats(
        table, "tokens", "hidden", "inner", "top_k", "experts", "tp", "ep"
    )
    routed = np.maximum(tokens * top_k / ep, 1.0)
    touched = np.minimum(routed, experts / ep)
    matrices = 2.0 if table.op == "experts_plain" else 3.0
    return _experts_work(
        table.dtype, routed, touched, hidden, inner / tp, matrices, visible=np.maximum(tokens * top_k, routed)
    )


def _experts_work(
    dtype: str, routed: Array, touched: Array, hidden: Array, inner: Array, matrices: Array | float, *, visible: Array
) -> Work:
    form = FORMATS[dtype]
    return experts_work(
        routed,
        touched,
        hidden,
        inner,
        matrices=matrices,
        visible=visible,
        weight_bytes=form.weight_bytes,
        activation_bytes=form.activation_bytes,
    )


def _experts_at(dtype: str, sizes: Sequence[Array]) -> Work:
    rows, touched, inner, hidden, spread = sizes
    return _experts_work(dtype, rows * touched, touched, hidden, inner, 3.0, visible=spread * rows * touched)


def _prefill(table: Table) -> Work:
    batch, queries, context, heads, kv_heads, width = _floats(
        table, "batch", "queries", "context", "query_heads", "kv_heads", "head_dim"
    )
    window = _window(table)
    return prefill_work(
        batch,
        queries,
        context,
        heads,
        kv_heads,
        qk_dim=width,
        v_dim=width,
        kv_bytes=kv_bytes(table.dtype),
        window=window,
    )


def _prefill_at(dtype: str, sizes: Sequence[Array]) -> Work:
    keys, rows, _, group, width = sizes
    queries = np.maximum(2.0 * keys - 1.0, 1.0)
    return prefill_work(
        rows / padded(queries, QUERY_TILE),
        queries,
        0.0,
        1.0,
        1.0 / group,
        qk_dim=width,
        v_dim=width,
        kv_bytes=kv_bytes(dtype),
    )


def _decode(table: Table) -> Work:
    batch, context, heads, kv_heads, width = _floats(table, "batch", "context", "query_heads", "kv_heads", "head_dim")
    window = _window(table)
    return decode_work(
        batch, context + 1.0, heads, kv_heads, qk_dim=width, v_dim=width, kv_bytes=kv_bytes(table.dtype), window=window
    )


def _decode_at(dtype: str, sizes: Sequence[Array]) -> Work:
    streams, seen, group, width = sizes
    return decode_work(streams, seen, group, 1.0, qk_dim=width, v_dim=width, kv_bytes=kv_bytes(dtype))


def _latent_prefill(table: Table) -> Work:
    batch, queries, context, heads = _floats(table, "batch", "queries", "context", "query_heads")
    return prefill_work(batch, queries, context, heads, heads, qk_dim=LATENT_QK, v_dim=LATENT_V, kv_bytes=2.0)


def _latent_prefill_at(_: str, sizes: Sequence[Array]) -> Work:
    keys, rows = sizes[:2]
    queries = np.maximum(2.0 * keys - 1.0, 1.0)
    return prefill_work(
        rows / padded(queries, QUERY_TILE), queries, 0.0, 1.0, 1.0, qk_dim=LATENT_QK, v_dim=LATENT_V, kv_bytes=2.0
    )


def _latent_decode(table: Table) -> Work:
    batch, context, heads = _floats(table, "batch", "context", "query_heads")
    return latent_decode_work(batch, context + 1.0, heads, latent=LATENT, rope=ROPE, kv_bytes=kv_bytes(table.dtype))


def _latent_decode_at(dtype: str, sizes: Sequence[Array]) -> Work:
    return latent_decode_work(*sizes, latent=LATENT, rope=ROPE, kv_bytes=kv_bytes(dtype))


def _stream(table: Table) -> Work:
    """Static quantisation: 16-bit in, 8-bit out."""
    m, k = _floats(table, "m", "k")
    return stream_work(3.0 * m * k)


def _stream_at(_: str, sizes: Sequence[Array]) -> Work:
    return stream_work(sizes[0])


def _state_decode(table: Table) -> Work:
    batch, heads = _floats(table, "batch", "heads")
    return state_decode_work(batch, heads, key_dim=STATE_DIM, value_dim=STATE_DIM)


def _state_decode_at(_: str, sizes: Sequence[Array]) -> Work:
    return state_decode_work(sizes[0], 1.0, key_dim=STATE_DIM, value_dim=STATE_DIM)


def _state_prefill(table: Table) -> Work:
    batch, queries, heads = _floats(table, "batch", "queries", "heads")
    return state_prefill_work(batch, queries, heads, key_dim=STATE_DIM, value_dim=STATE_DIM)


def _state_prefill_at(_: str, sizes: Sequence[Array]) -> Work:
    return state_prefill_work(sizes[1], sizes[0], 1.0, key_dim=STATE_DIM, value_dim=STATE_DIM)


def _rows_of(keys: Array, rows: Array) -> tuple[Array, Array, Array]:
    """One sequence of one query per row, with the keys as its context."""
    return rows, np.ones_like(rows), keys - 1.0


def _indexer(table: Table) -> Work:
    return indexer_work(*_floats(table, "batch", "queries", "context"), heads=INDEX_HEADS, width=INDEX_WIDTH)


def _indexer_at(_: str, sizes: Sequence[Array]) -> Work:
    return indexer_work(*_rows_of(*sizes), heads=INDEX_HEADS, width=INDEX_WIDTH)


def _select(table: Table) -> Work:
    return select_work(*_floats(table, "batch", "queries", "context"))


def _select_at(_: str, sizes: Sequence[Array]) -> Work:
    return select_work(*_rows_of(*sizes))


def _sparse(table: Table) -> Work:
    batch, queries, context = _floats(table, "batch", "queries", "context")
    return sparse_work(batch, queries, context, SPARSE_HEADS, top_k=TOP_K, latent=LATENT, rope=ROPE)


def _sparse_at(_: str, sizes: Sequence[Array]) -> Work:
    return sparse_work(*_rows_of(*sizes), SPARSE_HEADS, top_k=TOP_K, latent=LATENT, rope=ROPE)


SPARSE_KNOTS = ((0, 4, 7, 9, 10, 11, 12, 14, 16, 18), (0, 2, 4, 6, 8, 10, 12, 14, 17))

OPERATORS: dict[str, Operator] = {
    "indexer": Operator(
        _indexer,
        _indexer_at,
        SPARSE_KNOTS,
        ("batch", "queries", "context"),
        (),
        ("batch", "queries"),
        (0, 1),
    ),
    "select": Operator(
        _select, _select_at, SPARSE_KNOTS, ("batch", "queries", "context"), (), ("batch", "queries"), (0, 1)
    ),
    "sparse": Operator(
        _sparse,
        _sparse_at,
        ((0, 4, 7, 9, 11), SPARSE_KNOTS[1]),
        ("batch", "queries"),
        ("context",),
        ("batch", "queries"),
        (1,),
    ),
    "stream": Operator(
        _stream, _stream_at, ((10, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31),), ("m", "k"), (), ("k",), (0,)
    ),
    "state_decode": Operator(
        _state_decode,
        _state_decode_at,
        ((1, 3, 5, 7, 9, 11, 13, 16),),
        ("batch", "heads"),
        (),
        ("heads", "key_heads"),
        (0,),
    ),
    "state_prefill": Operator(
        _state_prefill,
        _state_prefill_at,
        ((0, 3, 6, 8, 10, 12, 15), (1, 3, 5, 7, 9, 12)),
        ("batch", "queries", "heads"),
        (),
        ("heads", "key_heads"),
        (0, 1),
    ),
    "matmul": Operator(
        _matmul,
        _matmul_at,
        ((0, 2, 4, 6, 8, 10, 12, 14, 16), (5, 7, 9, 10.5, 12, 13.5, 16), (5, 7, 9, 10.5, 12, 13.5, 16)),
        ("m", "n", "k"),
        (),
        ("n", "k"),
        (0,),
    ),
    "experts": Operator(
        _experts,
        _experts_at,
        ((0, 2, 4, 6, 8, 10, 13), (0, 2, 4, 6, 9), (5, 7, 9, 11, 13), (10, 13), (0, 2, 4, 7)),
        ("tokens",),
        ("hidden", "inner", "top_k", "experts", "tp", "ep"),
        ("hidden", "inner", "top_k", "experts"),
        (0, 1),
    ),
    "experts_plain": Operator(
        _experts,
        _experts_at,
        ((0, 2, 4, 6, 8, 10, 13), (0, 2, 4, 6, 9), (5, 7, 9, 11, 13), (10, 13), (0, 2, 4, 7)),
        ("tokens",),
        ("hidden", "inner", "top_k", "experts", "tp", "ep"),
        ("hidden", "inner", "top_k", "experts"),
        (0, 1),
    ),
    "prefill": Operator(
        _prefill,
        _prefill_at,
        ((0, 4, 6, 8, 10, 12, 13.5), (0, 6, 9, 12, 15, 18, 22), (0, 3, 7), (0, 3, 6), (6, 7, 7.585, 8, 9)),
        ("batch", "queries", "query_heads", "kv_heads", "head_dim"),
        ("window",),
        ("query_heads", "kv_heads", "head_dim"),
        (0, 1),
        smoothness=0.01,
        tolerance=0.05,
        pooled_memory=0.85,
    ),
    "decode": Operator(
        _decode,
        _decode_at,
        ((0, 2, 4, 6, 8, 10, 12, 15), (1, 4, 6, 8, 10, 12, 14, 17), (0, 2, 4, 6.5), (6, 7, 7.585, 8, 9)),
        ("batch", "context", "query_heads", "kv_heads", "head_dim"),
        ("window",),
        ("query_heads", "kv_heads", "head_dim"),
        (0, 1),
        reads=True,
    ),
    "latent_prefill": Operator(
        _latent_prefill,
        _latent_prefill_at,
        ((0, 2, 4, 6, 8, 10, 12, 13.5), (0, 4, 6, 9, 12, 15, 18, 22), (0,), (0,), (7,)),
        ("batch", "queries", "query_heads"),
        (),
        ("query_heads",),
        (0, 1),
        smoothness=0.01,
        tolerance=0.05,
        pooled_memory=0.85,
    ),
    "latent_decode": Operator(
        _latent_decode,
        _latent_decode_at,
        ((0, 2, 4, 6, 8, 10), (1, 4, 6, 8, 10, 12, 14, 17), (0, 2, 4, 6, 7)),
        ("batch", "context", "query_heads"),
        (),
        ("query_heads", "batch"),
        (0, 1),
        reads=True,
    ),
}
