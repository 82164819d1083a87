"""Operator times of one chip under one engine, from the best evidence that exists.

For every operator and number format the first that is found: a lane measured under this engine, one measured under
another engine on the same chip, the lane pooled over the chips of the architecture (under this engine where others of
the family were measured: engines choose their kernels by family), the closed form with the efficiencies of the family.
Times are of whole kernels inside a captured graph, launch included. Everything broadcasts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from suanli.chip.efficiency import Efficiency
from suanli.chip.formats import FORMATS, peak_of
from suanli.chip.lane import Lane
from suanli.chip.packs import LaneRecord, Pack
from suanli.chip.work import (
    GPU,
    Real,
    Unit,
    Work,
    decode_work,
    experts_work,
    indexer_work,
    latent_decode_work,
    matmul_work,
    prefill_work,
    select_work,
    sparse_work,
    state_decode_work,
    state_prefill_work,
    stream_work,
)

Array = NDArray[np.float64]
LaneEvidence = Literal["measured_operators", "measured_other_engine", "pooled", "family"]

# Which lane stands in for one that was not measured: same arithmetic first, then the next wider format.
STAND_INS: Mapping[str, tuple[str, ...]] = {
    "bf16": (),
    "fp16": ("bf16",),
    "fp8": ("fp8_block", "bf16"),
    "fp8_block": ("fp8", "bf16"),
    "int8": ("fp8", "fp8_block", "bf16"),
    "nvfp4": ("mxfp4", "fp8", "fp8_block", "bf16"),
    "mxfp4": ("nvfp4", "fp8_block", "fp8", "bf16"),
    "w8a16": ("w4a16", "bf16"),
    "w4a16": ("w4a16_mxfp4", "bf16"),
    "w4a16_mxfp4": ("w4a16", "bf16"),
    "w4a8": ("fp8", "fp8_block", "bf16"),
}


def lane_dtype(weight: str, activation: str, *, block_scales: bool = False) -> str:
    """Lane name of a product of `weight` and `activation` formats (catalog dtypes)."""
    if weight in ("bf16", "fp16"):
        return "bf16"
    sixteen = activation in ("bf16", "fp16")
    if weight in ("fp8", "int8"):
        return "w8a16" if sixteen else ("fp8_block" if weight == "fp8" and block_scales else weight)
    if weight == "int4":
        return "w4a16" if sixteen else "w4a8"
    if weight in ("mxfp4", "fp4"):
        return "w4a16_mxfp4" if sixteen else "mxfp4"
    return "nvfp4"


@dataclass(frozen=True)
class Chosen:
    """A lane with where it came from and the factor within which 80 % of held-out shapes lie."""

    lane: Lane
    evidence: LaneEvidence
    spread: float


@dataclass(frozen=True)
class Kernels:
    """Operator times of a chip with dense `peaks` [FLOP/s] and `bandwidth` [B/s].

    own, others, pooled : lanes by (op, dtype). rivals : lanes that an engine runs instead of its own where they are
    faster. family : closed form where no lane exists. exact : False leaves the correction surfaces out, for screening
    many deployments quickly. array : one systolic array or cube face. clock : [Hz], None where it is not known; pooled
    launches then stay as they are.
    """

    peaks: Mapping[str, float]
    bandwidth: float
    own: Mapping[tuple[str, str], LaneRecord]
    others: Mapping[tuple[str, str], LaneRecord]
    pooled: Mapping[tuple[str, str], LaneRecord]
    family: Efficiency
    exact: bool = True
    array: tuple[int, int] | None = None
    clock: float | None = None
    rivals: Mapping[tuple[str, str], LaneRecord] = field(default_factory=dict)
    _chosen: dict[tuple[str, str], Chosen] = field(default_factory=dict, repr=False, compare=False)

    @property
    def unit(self) -> Unit:
        """How the chip cuts products, for closed forms."""
        high, wide = self.array or self.family.tile
        return Unit(self.family.architecture, (float(high), float(wide)))

    def chosen(self, op: str, dtype: str) -> Chosen:
        """Best lane for an operator kind in a number format."""
        key = (op, dtype)
        if key not in self._chosen:
            self._chosen[key] = self._find(op, dtype)
        return self._chosen[key]

    def _find(self, op: str, dtype: str) -> Chosen:
        names = (dtype, *STAND_INS.get(dtype, ()))
        shelves: Sequence[tuple[Mapping[tuple[str, str], LaneRecord], LaneEvidence]] = (
            (self.own, "measured_operators"),
            (self.others, "measured_other_engine"),
            (self.pooled, "pooled"),
        )
        for shelf, evidence in shelves:
            for name in names:
                if (op, name) in shelf:
                    record = shelf[op, name]
                    lane = self._anchored(record) if evidence == "pooled" else record.lane()
                    return Chosen(lane, evidence, record.spread)
        return Chosen(self._closed_form(op), "family", self._family_spread(op))

    def _anchored(self, record: LaneRecord) -> Lane:
        """A pooled lane at the chip's clock, brought to what large products of its family reach (if pooled)."""
        lane = record.lane()
        if record.clock_mhz is not None and self.clock is not None:
            lane = replace(lane, launch=lane.launch * record.clock_mhz * 1e6 / self.clock)
        pool = self.pooled.get(("matmul", "bf16"))
        if pool is None:
            return lane
        return replace(lane, compute=min(lane.compute * self.family.matmul.si / pool.compute, 1.0))

    def _closed_form(self, op: str) -> Lane:
        numbers = self.family
        compute = {"matmul": numbers.matmul, "experts": numbers.grouped_matmul, "experts_plain": numbers.grouped_matmul}
        memory = numbers.kv_memory if "decode" in op else numbers.memory
        return Lane(numbers.kernel_s.si, compute.get(op, numbers.attention).si, memory.si)

    def _family_spread(self, op: str) -> float:
        name = {"matmul": "matmul", "experts": "grouped_matmul", "experts_plain": "grouped_matmul", "stream": "memory"}
        low, best, high = self.family.bounds(name.get(op, "attention"))
        return max(high / best, best / low)

    def _time(self, op: str, dtype: str, work: Work, math: str) -> Array:
        lanes = [self.chosen(op, dtype).lane]
        if (op, dtype) in self.rivals:
            lanes.append(self.rivals[op, dtype].lane())
        timed = [lane.time if self.exact else lane.base for lane in lanes]
        return reduce(np.minimum, (time(work, peak_of(self.peaks, math), self.bandwidth) for time in timed))

    def matmul(self, m: Real, n: Real, k: Real, dtype: str = "bf16") -> Array:
        """Time of y[m, n] = x[m, k] W[k, n] [s]; `dtype` is a lane name (:func:`lane_dtype`)."""
        form = FORMATS[dtype]
        unit = self.unit if self.chosen("matmul", dtype).evidence == "family" else GPU
        work = matmul_work(m, n, k, weight_bytes=form.weight_bytes, activation_bytes=form.activation_bytes, unit=unit)
        return self._time("matmul", dtype, work, dtype)

    def experts(
        self,
        routed: Real,
        touched: Real,
        *,
        hidden: Real,
        inner: Real,
        dtype: str = "bf16",
        matrices: int = 3,
        visible: Real | None = None,
    ) -> Array:
        """Time of the routed experts of one layer on this chip [s], all kernels of the fused call.

        routed : token copies for this chip's experts (of the busiest chip for a bound). touched : distinct experts
        among them. visible : copies of the whole group when tokens were gathered instead of dispatched.
        """
        form = FORMATS[dtype]
        work = experts_work(
            routed,
            touched,
            hidden,
            inner,
            matrices=float(matrices),
            visible=visible,
            weight_bytes=form.weight_bytes,
            activation_bytes=form.activation_bytes,
        )
        return self._time("experts" if matrices == 3 else "experts_plain", dtype, work, dtype)

    def prefill_attention(
        self,
        batch: Real,
        queries: Real,
        context: Real,
        *,
        query_heads: Real,
        kv_heads: Real,
        qk_dim: Real,
        v_dim: Real,
        window: Real = np.inf,
        dtype: str = "bf16",
        kv_dtype: str = "bf16",
    ) -> Array:
        """Time of causal attention of `queries` new tokens per sequence after `context` cached ones [s]."""
        kv = FORMATS[kv_dtype].weight_bytes
        work = prefill_work(
            batch, queries, context, query_heads, kv_heads, qk_dim=qk_dim, v_dim=v_dim, kv_bytes=kv, window=window
        )
        return self._time("prefill", self._attention_lane("prefill", dtype, kv_dtype), work, dtype)

    def _attention_lane(self, op: str, dtype: str, kv_dtype: str) -> str:
        names = (f"{dtype}_kv_{kv_dtype}", f"bf16_kv_{kv_dtype}", f"{dtype}_kv_bf16", "bf16_kv_bf16")
        for shelf in (self.own, self.others, self.pooled):
            for name in names:
                if (op, name) in shelf:
                    return name
        return names[0]

    def decode_attention(
        self,
        batch: Real,
        context: Real,
        *,
        query_heads: Real,
        kv_heads: Real,
        qk_dim: Real,
        v_dim: Real,
        window: Real = np.inf,
        kv_dtype: str = "bf16",
    ) -> Array:
        """Time of one new token per sequence against `context` cached tokens each [s]."""
        kv = FORMATS[kv_dtype].weight_bytes
        work = decode_work(
            batch, context, query_heads, kv_heads, qk_dim=qk_dim, v_dim=v_dim, kv_bytes=kv, window=window
        )
        return self._time("decode", kv_dtype, work, "bf16")

    def latent_prefill_attention(
        self,
        batch: Real,
        queries: Real,
        context: Real,
        *,
        query_heads: Real,
        qk_dim: Real,
        v_dim: Real,
        kv_dtype: str = "bf16",
    ) -> Array:
        """Time of MLA prefill with expanded keys and values [s]."""
        work = prefill_work(batch, queries, context, query_heads, query_heads, qk_dim=qk_dim, v_dim=v_dim, kv_bytes=2.0)
        return self._time("latent_prefill", kv_dtype, work, "bf16")

    def latent_decode_attention(
        self, batch: Real, context: Real, *, query_heads: Real, latent: float, rope: float, kv_dtype: str = "bf16"
    ) -> Array:
        """Time of MLA decode with absorbed projections [s]."""
        kv = FORMATS[kv_dtype].weight_bytes
        work = latent_decode_work(batch, context, query_heads, latent=latent, rope=rope, kv_bytes=kv)
        return self._time("latent_decode", kv_dtype, work, "bf16")

    def indexer(self, batch: Real, queries: Real, context: Real, *, heads: float, width: float, top_k: float) -> Array:
        """Time of scoring every visible key for `queries` new tokens per sequence, then selecting `top_k` [s].

        Sequences of at most `top_k` tokens have nothing to select.
        """
        scores = indexer_work(batch, queries, context, heads=heads, width=width)
        choice = self._time("select", "bf16", select_work(batch, queries, context), "bf16")
        longer = np.asarray(context, dtype=float) + queries > top_k
        return np.asarray(self._time("indexer", "fp8", scores, "fp8") + np.where(longer, choice, 0.0))

    def sparse_attention(
        self,
        batch: Real,
        queries: Real,
        context: Real,
        *,
        query_heads: Real,
        top_k: float,
        latent: float,
        rope: float,
    ) -> Array:
        """Time of MLA over the selected keys of every query, without indexer and projections [s]."""
        work = sparse_work(batch, queries, context, query_heads, top_k=top_k, latent=latent, rope=rope)
        return self._time("sparse", "bf16", work, "bf16")

    def state_decode(
        self, batch: Real, *, heads: Real, key_dim: float, value_dim: float, state_bytes: float = 4.0
    ) -> Array:
        """Time of linear attention for one new token per sequence, convolution included [s]."""
        work = state_decode_work(batch, heads, key_dim=key_dim, value_dim=value_dim, state_bytes=state_bytes)
        return self._time("state_decode", "bf16", work, "bf16")

    def state_prefill(
        self, batch: Real, queries: Real, *, heads: Real, key_dim: float, value_dim: float, state_bytes: float = 4.0
    ) -> Array:
        """Time of linear attention over `queries` new tokens per sequence, convolution included [s]."""
        work = state_prefill_work(batch, queries, heads, key_dim=key_dim, value_dim=value_dim, state_bytes=state_bytes)
        return self._time("state_prefill", "bf16", work, "bf16")

    def stream(self, size: Real) -> Array:
        """Time of one memory-bound kernel that moves `size` bytes [s]."""
        return self._time("stream", "bf16", stream_work(size), "bf16")


def kernels_of(
    peaks: Mapping[str, float],
    bandwidth: float,
    engine: str,
    packs: Mapping[str, Pack],
    pooled: Mapping[str, Pack],
    family: Efficiency,
    *,
    array: tuple[int, int] | None = None,
    clock: float | None = None,
) -> Kernels:
    """Operator times from the packs of a chip (by engine) and of its architecture (pooled over engines, and by engine).

    clock : of the chip [Hz], if known.
    """
    own = packs[engine].by_name() if engine in packs else {}
    others: dict[tuple[str, str], LaneRecord] = {}
    for name, pack in packs.items():
        if name != engine:
            for key, lane in pack.by_name().items():
                # of several other engines take the one that predicts itself best
                if key not in others or lane.median_error < others[key].median_error:
                    others[key] = lane
    shared = dict(pooled["pooled"].by_name()) if "pooled" in pooled else {}
    if engine in pooled and family.evidence == "measured_operators":
        shared.update(pooled[engine].by_name())
    return Kernels(peaks, bandwidth, own, others, shared, family, array=array, clock=clock)
