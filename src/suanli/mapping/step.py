"""Time and energy of one engine step for many placements and loads at once.

A step is what a continuous-batching engine executes in one go: new prompt tokens of some requests together with one
token of every decoding request. Its time is the sum over layers of operator times on the busiest chip (`suanli.chip`),
collectives (`suanli.fabric`), one launch per kernel, and the host time that is not hidden. Placements are columns
(n, 1), loads broadcast against them as (1, g) or (n, g).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from suanli.chip import busiest_touched, experts_touched, largest_of
from suanli.chip.work import STATE_FLOPS, indexer_work
from suanli.fabric import all_gather_time, all_reduce_time, expert_exchange_time, transfer_time
from suanli.mapping.engine import Engine
from suanli.mapping.hardware import Hardware
from suanli.mapping.ledger import StepCost, StepLoad
from suanli.mapping.placement import Placements, linear_shard
from suanli.mapping.precision import BYTES, Precision
from suanli.mapping.times import (
    ACTIVATION_BYTES,
    STATE_CHUNK,
    AttentionShape,
    Calibrated,
    ClosedForm,
    ExpertShape,
    IndexShape,
    OperatorTimes,
    StateShape,
    Timing,
    decode_width,
    entry_elements,
)
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

# Spread of the experts' popularity over its mean. Recorded loads of DeepSeek-V3 are uneven (DeepEP pull request
# 393); with 0.8 to 1.2 measured decode steps of 4 to 64 users are met best, with 0 they come out a tenth too slow.
ROUTING_SPREAD = 1.0
EPSILON = 1e-6  # of a request
# Up to a server of eight, engines gather all tokens instead of sending them to their experts: vLLM's default all2all
# backend is allgather_reducescatter (docs.vllm.ai, expert parallel deployment); the others are taken to do alike.
GATHERED_CHIPS = 8.0


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
        self.blocks = graph.block_scales and precision.roles["expert"].weight == "fp8"
        self._factors = engine.factors(blocks=self.blocks)
        self._host_s = engine.host_s.si
        self._host_per_request_s = engine.host_per_request_s.si
        self._skew = engine.expert_skew.si
        self._vector_format = precision.roles["router"].rate  # 16-bit work outside the weight products
        kernels = hardware.kernels()
        self.times: OperatorTimes = (
            ClosedForm(hardware, precision.kv_bytes, self._vector_format)
            if kernels is None
            else Calibrated(kernels, precision.kv, self._vector_format, block_scales=graph.block_scales)
        )

    def cost(self, load: StepLoad, *, busiest: StepLoad | None = None, trace: bool = False) -> StepCost:
        """Cost of steps of an instance; `trace` keeps the time of every operator.

        load : the whole instance's. busiest : what the busiest lane (one data-parallel rank of one micro-batch) does;
        all the others wait for it. By default the load is spread evenly.
        """
        place = self.placements
        rank = busiest or load.scaled(1.0 / (place.dp * place.pp))
        last_tokens = rank.last_tokens
        if self.engine.graph_batches:
            load, rank = padded(load, rank, self.engine.graph_batches)
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
        cost.hide()
        cost.add("host", "host", self._host_s + self._host_per_request_s * last_tokens)
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
                self._stream(cost, operator.name, size, operator.kernels, layers)
            case Embedding():
                size = load.tokens * operator.width * ACTIVATION_BYTES * 2.0
                self._stream(cost, operator.name, size, 1.0, layers)

    @staticmethod
    def _book(cost: StepCost, part: str, name: str, timing: Timing, times: Array) -> None:
        cost.add(part, name, timing.work * times)
        cost.add("launch", f"{name} launch", timing.launch * times)

    def _stream(self, cost: StepCost, name: str, size: Array, kernels: float, layers: Array) -> None:
        cost.work(np.zeros(1), self._vector_format, size * layers)
        self._book(cost, "pointwise", name, self.times.stream(size, kernels), layers)

    def _linear(self, cost: StepCost, operator: Linear, layers: Array, load: StepLoad) -> None:
        fmt = self.precision.roles[operator.role]
        k, n = linear_shard(operator, self.placements.tp)
        rows = load.last_tokens if operator.per_request else load.tokens
        layers = layers * (rows > 0.0)
        size = fmt.weight_bytes * k * n + fmt.activation_bytes * rows * (k + n)
        cost.work(2.0 * rows * k * n * layers, fmt.rate, size * layers)
        self._book(cost, "matmul", operator.name, self.times.matmul(rows, n, k, fmt), layers)

    def imbalance(self, tokens: Array, operator: Experts) -> Array:
        """Load of the busiest expert group over the mean [-].

        Chance: largest of ep Poisson counts. Skew: some experts are more popular; the engine's figure for many groups,
        nothing for one.
        """
        ep = self.placements.ep
        mean = np.maximum(tokens * operator.top_k / ep, 1e-9)
        chance = largest_of(ep) / np.sqrt(mean)
        return np.asarray(np.minimum(1.0 + chance + self._skew * (1.0 - 1.0 / ep), ep))

    def _experts(self, cost: StepCost, operator: Experts, layers: Array, stage_tokens: Array) -> None:
        place, fmt = self.placements, self.precision.roles["expert"]
        share = np.ceil(operator.count / place.ep) / operator.count
        tokens = np.maximum(stage_tokens, 1.0)
        distinct = experts_touched(tokens, operator.top_k, operator.count, spread=ROUTING_SPREAD)
        touched = busiest_touched(distinct, operator.count, place.ep)
        shape = ExpertShape(
            tokens=stage_tokens,
            top_k=float(operator.top_k),
            touched=touched,
            share=share,
            imbalance=self.imbalance(stage_tokens, operator),
            hidden=float(operator.hidden),
            inner=operator.inner / place.moe_tp,
            elements=operator.parameters_each / place.moe_tp,
            matrices=operator.matrices,
            gathered=(place.dp == 1.0).astype(float),
        )
        flops = 2.0 * stage_tokens * operator.top_k / place.ep * shape.elements
        size = fmt.weight_bytes * touched * shape.elements
        cost.work(flops * layers, fmt.rate, size * layers)
        self._book(cost, "experts", operator.name, self.times.experts(shape, fmt), layers)

    def _attention(self, cost: StepCost, operator: Attention, layers: Array, load: StepLoad) -> None:
        entries, pairs = _visible(operator, load)
        shape = self._attention_shape(operator)
        flops = 2.0 * shape.query_heads * (decode_width(shape) * entries + (shape.qk_dim + shape.v_dim) * pairs)
        moved = (entries + load.tokens / operator.compression) * entry_elements(shape) * self.precision.kv_bytes
        cost.work(flops * layers, self._vector_format, moved * layers)
        if operator.sparse_top_k:
            self._sparse_attention(cost, operator, layers, load)
            return
        prefilling, decoding = load.prefill_tokens > 0.0, load.decode_requests > 0.0
        prefill = self.times.prefill(shape, load.prefill_requests, load.prefill_tokens, pairs)
        self._book(cost, "attention", f"{operator.name} prefill", prefill, layers * prefilling)
        decode = self.times.decode(shape, load.decode_requests, entries)
        self._book(cost, "attention", f"{operator.name} decode", decode, layers * decoding)

    def _attention_shape(self, operator: Attention) -> AttentionShape:
        tp = self.placements.tp
        return AttentionShape(
            query_heads=operator.query_heads / tp,
            kv_heads=np.ceil(operator.kv_heads / tp),
            qk_dim=float(operator.qk_dim),
            v_dim=float(operator.v_dim),
            window=float(operator.window or np.inf),
            latent=float(operator.latent),
            rope=float(operator.rope),
        )

    def _sparse_attention(self, cost: StepCost, operator: Attention, layers: Array, load: StepLoad) -> None:
        """Latent attention to selected keys; layers with an indexer of their own score all keys first."""
        shape = replace(self._attention_shape(operator), kept=float(operator.sparse_top_k))
        index = IndexShape(float(operator.indexer_heads), float(operator.indexer_dim), shape.kept)
        for phase, (sequences, queries, context) in _phases(operator, load).items():
            there = layers * (sequences > EPSILON)
            timing = self.times.sparse(shape, sequences, queries, context)
            self._book(cost, "attention", f"{operator.name} {phase}", timing, there)
            if operator.indexer_heads:
                work = indexer_work(sequences, queries, context, heads=index.heads, width=index.dim)
                cost.work(work.flops * there, self.precision.roles["attention"].rate, work.bytes * there)
                timing = self.times.indexer(index, sequences, queries, context)
                self._book(cost, "attention", f"{operator.name} indexer {phase}", timing, there)

    def _linear_attention(self, cost: StepCost, operator: LinearAttention, layers: Array, load: StepLoad) -> None:
        heads = operator.heads / self.placements.tp
        shape = StateShape(heads, float(operator.key_dim), float(operator.value_dim), float(operator.state_bytes))
        elements = heads * shape.key_dim * shape.value_dim
        passes = load.decode_requests + load.prefill_tokens / STATE_CHUNK
        size = 2.0 * passes * elements * shape.state_bytes
        cost.work(STATE_FLOPS * load.tokens * elements * layers, self._vector_format, size * layers)
        prefill = self.times.state_prefill(shape, load.prefill_requests, load.prefill_tokens)
        self._book(cost, "attention", f"{operator.name} prefill", prefill, layers * (load.prefill_tokens > 0.0))
        decode = self.times.state_decode(shape, load.decode_requests)
        self._book(cost, "attention", f"{operator.name} decode", decode, layers * (load.decode_requests > 0.0))

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
        copy = load.tokens / place.tp * self.graph.hidden
        dispatch_bytes = max(self.precision.roles["expert"].activation_bytes, BYTES["fp8"])
        picks = float(experts.top_k)
        exchange = expert_exchange_time(net, chips, copy * dispatch_bytes, picks) + expert_exchange_time(
            net, chips, copy * ACTIVATION_BYTES, picks
        )
        gather = 2.0 * all_gather_time(net, chips, stage_tokens * width)
        spread = np.where(chips <= GATHERED_CHIPS, gather, np.minimum(exchange, gather)) * layers
        cost.add("collective", "expert exchange", np.where(place.dp > 1.0, spread, reduction))
        if self.engine.two_batch_overlap and net.levels:
            cost.hideable = cost.hideable + spread * (chips > net.levels[0].size)

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


def padded(load: StepLoad, rank: StepLoad, sizes: tuple[int, ...]) -> tuple[StepLoad, StepLoad]:
    """A step without prompts runs as the smallest captured graph that holds its requests, filled up with empty ones.

    load, rank : of the instance and of its busiest lane. Above the largest graph nothing is filled up.
    """
    requests = rank.decode_requests / rank.query
    known = np.array(sizes, dtype=float)
    place = np.minimum(np.searchsorted(known, requests - EPSILON), len(known) - 1)
    size = np.maximum(known[place], requests)
    grow = np.where((rank.prefill_tokens > 0.0) | (requests < 1.0), 1.0, size / np.maximum(requests, 1.0))
    return load.decoding(load.decode_requests * grow), rank.decoding(rank.decode_requests * grow)


def _visible(operator: Attention, load: StepLoad) -> tuple[Array, Array]:
    """Cached entries read by decode and query-entry pairs of prefill, after compression, window or sparse selection."""
    entries, pairs = load.decode_kv_tokens / operator.compression, load.prefill_pairs / operator.compression
    limit = operator.window or operator.sparse_top_k
    if not limit:
        return entries, pairs
    return np.minimum(entries, load.decode_requests * limit), np.minimum(pairs, load.prefill_tokens * limit)


def _phases(operator: Attention, load: StepLoad) -> dict[str, tuple[Array, Array, Array]]:
    """Sequences, new tokens of each and cached entries before them, of the prompts and of the decoding requests.

    A phase that does not occur has EPSILON sequences.
    """
    prompts = np.where(load.prefill_tokens > 0.0, np.maximum(load.prefill_requests, 1.0), EPSILON)
    requests = np.maximum(load.decode_requests, EPSILON)
    queries = np.maximum(load.prefill_tokens, 1.0) / np.maximum(prompts, 1.0)
    seen = load.prefill_pairs / operator.compression / np.maximum(load.prefill_tokens, 1.0)
    entries = load.decode_kv_tokens / operator.compression / requests
    one = np.ones_like(requests)
    return {
        "prefill": (prompts, queries, np.maximum(seen - queries / 2.0, 0.0)),
        "decode": (requests, one, np.maximum(entries - 1.0, 0.0)),
    }
