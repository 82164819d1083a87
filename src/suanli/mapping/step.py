"""Time and energy of one engine step for many placements and loads at once.

A step is what a continuous-batching engine executes in one go: new prompt tokens of some requests together with one
token of every decoding request. Its time is the sum over layers of operator times on the busiest chip (`suanli.chip`),
collectives (`suanli.fabric`), one launch per kernel, and the host time that is not hidden. Placements are columns
(n, 1), loads broadcast against them as (1, g) or (n, g).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from suanli.chip import attention_decode_time, attention_prefill_time, grouped_matmul_time, matmul_time, stream_time
from suanli.fabric import all_gather_time, all_reduce_time, all_to_all_time, transfer_time
from suanli.mapping.engine import Engine
from suanli.mapping.hardware import Hardware
from suanli.mapping.ledger import StepCost, StepLoad
from suanli.mapping.placement import Placements, linear_shard
from suanli.mapping.precision import BYTES, Precision
from suanli.workload.ops import (
    Attention,
    Embedding,
    Experts,
    LayerGroup,
    Linear,
    LinearAttention,
    ModelGraph,
    Operator,
    Pointwise,
)

Array = NDArray[np.float64]

ACTIVATION_BYTES = BYTES["bf16"]  # residual stream and collectives run in 16 bit in the engines modelled
# Multiplications per state element and token in chunked linear attention: decay, outer product and readout (gated delta
# rule, Yang et al. 2024, arXiv 2412.06464, section 3); the state moves once per chunk of 64 tokens.
STATE_FLOPS = 6.0
STATE_CHUNK = 64.0
# Kernels per operator: routing, permutation, two grouped products, activation and weighted sum for experts; cache
# write and attention for softmax attention; convolution, gate and recurrence for linear attention; quantise, score and
# select for the sparse indexer.
EXPERT_KERNELS, ATTENTION_KERNELS, STATE_KERNELS, INDEXER_KERNELS = 6.0, 2.0, 3.0, 3.0


class StepModel:
    """Step times of one model on one system in one precision under one engine, for placements of shape (n,)."""

    def __init__(
        self, graph: ModelGraph, hardware: Hardware, precision: Precision, engine: Engine, placements: Placements
    ) -> None:
        self.graph = graph
        self.hardware = hardware
        self.precision = precision
        self.engine = engine
        self.placements = placements.column()
        self._factors = engine.factors()
        self._kernel_s = hardware.kernel_s
        self._host_s = engine.host_s.si
        self._host_per_request_s = engine.host_per_request_s.si
        self._skew = engine.expert_skew.si
        self._vector_format = precision.roles["router"].rate  # 16-bit work outside the weight products
        self._attention_rate = hardware.peaks[self._vector_format] * hardware.attention
        self._stream_rate = hardware.bandwidth * hardware.memory
        self._kv_rate = hardware.bandwidth * hardware.kv_memory

    def cost(self, load: StepLoad, *, busiest: StepLoad | None = None, trace: bool = False) -> StepCost:
        """Cost of steps of an instance; `trace` keeps the time of every operator.

        load : the whole instance's. busiest : what the busiest lane (one data-parallel rank of one micro-batch) does;
        all the others wait for it. By default the load is spread evenly.
        """
        place = self.placements
        rank = busiest or load.scaled(1.0 / (place.dp * place.pp))
        stage_tokens = load.tokens / place.pp
        fullest = np.ceil(self.graph.layers / place.pp) / self.graph.layers  # share of the layers on the fullest stage
        cost = StepCost.empty(self.hardware, place.pp, load, trace=trace)
        cost.factors = self._factors
        for group in self.graph.groups:
            layers = group.count * fullest
            for operator in group.operators:
                self._operator(cost, operator, layers, rank, stage_tokens)
            self._layer_collectives(cost, group, layers, rank, stage_tokens)
        for operator in (self.graph.embedding, *self.graph.head):
            self._operator(cost, operator, 1.0 / place.pp, rank, stage_tokens)
        self._logits_gather(cost, rank)
        self._stage_transfer(cost, rank)
        cost.add("host", "host", self._host_s + self._host_per_request_s * load.last_tokens / place.pp)
        return cost

    def _operator(self, cost: StepCost, operator: Operator, layers: Array, load: StepLoad, stage_tokens: Array) -> None:
        match operator:
            case Linear():
                self._linear(cost, operator, layers, load)
            case Experts():
                self._experts(cost, operator, layers, stage_tokens)
            case Attention():
                self._attention(cost, operator, layers, load)
            case LinearAttention():
                self._linear_attention(cost, operator, layers, load)
            case Pointwise():
                size = load.tokens * operator.elements * ACTIVATION_BYTES
                self._stream(cost, operator.name, size, layers)
                self._launch(cost, operator.name, operator.kernels, layers)
            case Embedding():
                self._stream(cost, operator.name, load.tokens * operator.width * ACTIVATION_BYTES * 2.0, layers)

    def _stream(self, cost: StepCost, name: str, size: Array, layers: Array) -> None:
        cost.work(np.zeros(1), self._vector_format, size * layers)
        cost.add("pointwise", name, stream_time(size, self._stream_rate) * layers)

    def _launch(self, cost: StepCost, name: str, kernels: float, layers: Array) -> None:
        cost.add("launch", f"{name} launch", kernels * self._kernel_s * layers)

    def _linear(self, cost: StepCost, operator: Linear, layers: Array, load: StepLoad) -> None:
        fmt = self.precision.roles[operator.role]
        k, n = linear_shard(operator, self.placements.tp)
        rows = load.last_tokens if operator.per_request else load.tokens
        layers = layers * (rows > 0.0)
        seconds = matmul_time(
            rows,
            n,
            k,
            rate=self.hardware.peaks[fmt.rate] * self.hardware.matmul,
            bandwidth=self._stream_rate,
            weight_bytes=fmt.weight_bytes,
            activation_bytes=fmt.activation_bytes,
            tile=self.hardware.tile,
        )
        size = fmt.weight_bytes * k * n + fmt.activation_bytes * rows * (k + n)
        cost.work(2.0 * rows * k * n * layers, fmt.rate, size * layers)
        cost.add("matmul", operator.name, seconds * layers)
        quantise = 1.0 if fmt.activation_bytes < ACTIVATION_BYTES else 0.0
        self._launch(cost, operator.name, 1.0 + quantise, layers)

    def imbalance(self, tokens: Array, operator: Experts) -> Array:
        """Load of the busiest expert group over the mean [-].

        Chance: largest of ep Poisson counts, 1 + sqrt(2 ln(ep) / mean). Skew: some experts are more popular; the
        engine's figure for many groups, nothing for one.
        """
        ep = self.placements.ep
        mean = np.maximum(tokens * operator.top_k / ep, 1e-9)
        chance = np.sqrt(2.0 * np.log(np.maximum(ep, 1.0)) / mean)
        return np.asarray(np.minimum(1.0 + chance + self._skew * (1.0 - 1.0 / ep), ep))

    def _experts(self, cost: StepCost, operator: Experts, layers: Array, stage_tokens: Array) -> None:
        place, fmt = self.placements, self.precision.roles["expert"]
        elements = operator.parameters_each / place.moe_tp

        def seconds_at(rate: float, bandwidth: float) -> Array:
            return np.asarray(
                grouped_matmul_time(
                    stage_tokens,
                    top_k=float(operator.top_k),
                    experts=float(operator.count),
                    share=np.ceil(operator.count / place.ep) / operator.count,
                    imbalance=self.imbalance(stage_tokens, operator),
                    elements=elements,
                    rate=rate,
                    bandwidth=bandwidth,
                    weight_bytes=fmt.weight_bytes,
                    activation_bytes=fmt.activation_bytes,
                    hidden=float(operator.hidden),
                    inner=operator.inner / place.moe_tp,
                )
            )

        seconds = seconds_at(self.hardware.peaks[fmt.rate] * self.hardware.grouped_matmul, self._stream_rate)
        flops = 2.0 * stage_tokens * operator.top_k / place.ep * elements
        cost.work(flops * layers, fmt.rate, seconds_at(np.inf, 1.0) * layers)
        cost.add("experts", operator.name, seconds * layers)
        self._launch(cost, operator.name, EXPERT_KERNELS, layers)

    def _attention(self, cost: StepCost, operator: Attention, layers: Array, load: StepLoad) -> None:
        tp, kv_rate = self.placements.tp, self._kv_rate
        heads = operator.query_heads / tp
        kv_tokens, pairs = _visible(operator, load)
        width = float(operator.qk_dim + operator.v_dim)
        if operator.latent:  # absorbed form: every head reads the shared latent
            elements, decode_width = np.full_like(tp, operator.kv_elements), 2.0 * operator.latent + operator.rope
        else:
            elements, decode_width = np.ceil(operator.kv_heads / tp) * width, width
        element_bytes = elements * self.precision.kv_bytes
        decode_flops, prefill_flops = 2.0 * heads * decode_width * kv_tokens, 2.0 * heads * width * pairs
        read, written = kv_tokens * element_bytes, load.tokens / operator.compression * element_bytes
        decode = attention_decode_time(read, decode_flops, rate=self._attention_rate, bandwidth=kv_rate)
        prefill = attention_prefill_time(prefill_flops, written, rate=self._attention_rate, bandwidth=kv_rate)
        cost.work((decode_flops + prefill_flops) * layers, self._vector_format, (read + written) * layers)
        cost.add("attention", f"{operator.name} decode", np.asarray(decode) * layers)
        cost.add("attention", f"{operator.name} prefill", np.asarray(prefill) * layers)
        self._launch(cost, operator.name, ATTENTION_KERNELS, layers)
        if operator.sparse_top_k:
            self._indexer(cost, operator, layers, load)

    def _indexer(self, cost: StepCost, operator: Attention, layers: Array, load: StepLoad) -> None:
        """Lightning indexer of DeepSeek sparse attention: scores every cached token with small fp8 heads."""
        rate = self.precision.roles["attention"].rate
        entries = load.decode_kv_tokens / operator.compression
        pairs = load.prefill_pairs / operator.compression + entries
        flops = 2.0 * operator.indexer_heads * operator.indexer_dim * pairs
        size = entries * operator.indexer_dim * BYTES["fp8"]
        peak = self.hardware.peaks[rate] * self.hardware.attention
        seconds = attention_decode_time(size, flops, rate=peak, bandwidth=self._kv_rate)
        cost.work(flops * layers, rate, size * layers)
        cost.add("attention", f"{operator.name} indexer", np.asarray(seconds) * layers)
        self._launch(cost, f"{operator.name} indexer", INDEXER_KERNELS, layers)

    def _linear_attention(self, cost: StepCost, operator: LinearAttention, layers: Array, load: StepLoad) -> None:
        state = operator.state_elements / self.placements.tp
        passes = load.decode_requests + load.prefill_tokens / STATE_CHUNK
        size = 2.0 * passes * state * operator.state_bytes
        flops = STATE_FLOPS * load.tokens * state
        seconds = attention_decode_time(size, flops, rate=self._attention_rate, bandwidth=self._kv_rate)
        cost.work(flops * layers, self._vector_format, size * layers)
        cost.add("attention", operator.name, np.asarray(seconds) * layers)
        self._launch(cost, operator.name, STATE_KERNELS, layers)

    def _layer_collectives(
        self, cost: StepCost, group: LayerGroup, layers: Array, load: StepLoad, stage_tokens: Array
    ) -> None:
        place, net = self.placements, self.hardware.network
        width = self.graph.hidden * ACTIVATION_BYTES
        reduction = all_reduce_time(net, place.tp, load.tokens * width) * layers
        cost.add("collective", "attention all-reduce", reduction)
        experts = next((op for op in group.operators if isinstance(op, Experts)), None)
        if experts is None:
            cost.add("collective", "ffn all-reduce", reduction)
            return
        # One tensor-parallel group sums the expert outputs by one all-reduce, as a dense layer does. Under
        # data-parallel attention tokens travel to their experts and back, or everything is gathered and scattered.
        chips = place.stage_chips
        reached = chips * -np.expm1(experts.top_k * np.log1p(-1.0 / np.maximum(chips, 1.0 + 1e-9)))
        sent = load.tokens / place.tp * self.graph.hidden * np.minimum(reached, experts.top_k)
        dispatch_bytes = max(self.precision.roles["expert"].activation_bytes, BYTES["fp8"])
        exchange = all_to_all_time(net, chips, sent * dispatch_bytes) + all_to_all_time(
            net, chips, sent * ACTIVATION_BYTES
        )
        gather = 2.0 * all_gather_time(net, chips, stage_tokens * width)
        spread = np.minimum(exchange, gather) * layers
        cost.add("collective", "expert exchange", np.where(place.dp > 1.0, spread, reduction))

    def _logits_gather(self, cost: StepCost, load: StepLoad) -> None:
        """Gather of the logits of the last token of each request over the tensor-parallel group."""
        size = load.last_tokens * self.graph.vocabulary * ACTIVATION_BYTES
        seconds = all_gather_time(self.hardware.network, self.placements.tp, size) / self.placements.pp
        cost.add("collective", "logits all-gather", seconds)

    def _stage_transfer(self, cost: StepCost, load: StepLoad) -> None:
        """Activations handed to the next pipeline stage over the outermost level."""
        place, net = self.placements, self.hardware.network
        if net.levels:
            size = load.tokens * self.graph.hidden * ACTIVATION_BYTES / place.tp
            seconds = transfer_time(net.levels[-1].bandwidth * net.efficiency, net.call_s, size)
            cost.add("collective", "stage transfer", seconds * (place.pp > 1.0))


def _visible(operator: Attention, load: StepLoad) -> tuple[Array, Array]:
    """Cached entries read by decode and query-key pairs of prefill, after compression, window or sparse selection."""
    entries, pairs = load.decode_kv_tokens / operator.compression, load.prefill_pairs / operator.compression
    limit = operator.window or operator.sparse_top_k
    if not limit:
        return entries, pairs
    return np.minimum(entries, load.decode_requests * limit), np.minimum(pairs, load.prefill_tokens * limit)
