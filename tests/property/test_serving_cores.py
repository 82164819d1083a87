"""The compiled core does what the readable one does, bit for bit, whatever is simulated."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from suanli.mapping.step_table import StepTable
from suanli.serving.config import (
    ROUTERS,
    SCHEDULERS,
    Autoscale,
    Cluster,
    DecodePool,
    EngineConfig,
    Link,
    Outage,
    Recording,
)
from suanli.serving.outcome import STATUS_NAMES, Outcome
from suanli.serving.simulate import simulate
from suanli.workload.requests import Prefixes, Requests

SIMULATIONS, CHUNK = 1_000, 250
Value = TypeVar("Value")


class Pick(Protocol):
    """Where the choices of a simulation come from."""

    def one_of(self, values: Sequence[Value]) -> Value: ...

    def whole(self, low: int, high: int) -> int: ...

    def flag(self) -> bool: ...


class Drawn:
    """Choices of Hypothesis, which looks for the simplest simulation on which the cores differ."""

    def __init__(self, data: st.DataObject) -> None:
        self.data = data

    def one_of(self, values: Sequence[Value]) -> Value:
        return self.data.draw(st.sampled_from(values))

    def whole(self, low: int, high: int) -> int:
        return self.data.draw(st.integers(low, high))

    def flag(self) -> bool:
        return self.data.draw(st.booleans())


class Seeded:
    """Choices of a seeded generator."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def one_of(self, values: Sequence[Value]) -> Value:
        return values[int(self.rng.integers(len(values)))]

    def whole(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def flag(self) -> bool:
        return bool(self.rng.integers(2))


def assert_same(fast: Outcome, reference: Outcome) -> None:
    for part in ("records", "totals", "steps"):
        mine, other = getattr(fast, part), getattr(reference, part)
        for name in other.dtype.names:
            np.testing.assert_array_equal(mine[name], other[name], err_msg=f"{part}.{name}")
    np.testing.assert_array_equal(fast.itl_counts, reference.itl_counts)
    np.testing.assert_array_equal(fast.series, reference.series)
    assert (fast.sample_s, fast.itl_max_s, fast.end_s) == (reference.sample_s, reference.itl_max_s, reference.end_s)


def prefix_tree(rng: np.random.Generator, inputs: np.ndarray, block_tokens: int) -> Prefixes:
    """Prompts that branch off earlier prompts, with ids of prefixes."""
    chains: list[list[int]] = []
    fresh = 0
    for length in inputs:
        blocks = -(-int(length) // block_tokens)
        parent = chains[rng.integers(len(chains))] if chains and rng.random() < 0.7 else []
        keep = int(rng.integers(0, min(len(parent), blocks) + 1))
        chains.append([*parent[:keep], *range(fresh, fresh + blocks - keep)])
        fresh += blocks - keep
    return Prefixes.build(block_tokens, chains)


def engines(pick: Pick, spare: int) -> EngineConfig:
    block, budget = pick.one_of([1, 4, 16]), pick.one_of([32, 64, 512])
    return EngineConfig(
        kv_blocks=pick.whole(200, 700) // block,
        block_tokens=block,
        max_num_seqs=min(pick.one_of([1, 3, 8, 64]), budget // (1 + spare)),
        token_budget=budget,
        scheduler=pick.one_of(SCHEDULERS),
        policy=pick.one_of(["fcfs", "priority"]),
        admit_whole_prompt=pick.flag(),
        watermark=pick.one_of([0.0, 0.05]),
        chunked_prefill=pick.flag(),
        conservativeness=pick.one_of([0.3, 1.0, 2.0]),
        speculative_tokens=spare,
        acceptance=pick.one_of([0.0, 0.6, 1.0]),
    )


def tables(pick: Pick, spare: int) -> StepTable:
    if pick.flag():  # times that coincide
        return StepTable(tokens=np.zeros(1), base_s=np.full(1, 0.1), tokens_per_decode=1 + spare)
    return StepTable(
        tokens=np.array([0.0, 16.0, 64.0, 512.0]),
        base_s=np.array([4.0, 4.0, 5.5, 30.0]) * 1e-3,
        per_request_s=1e-5,
        per_pair_s=1e-8,
        per_kv_token_s=3e-7,
        host_s=pick.one_of([0.0, 2e-3]),
        host_per_request_s=3e-5,
        overlapped=pick.flag(),
        tokens_per_decode=1 + spare,
        idle_w=100.0,
        base_j=np.array([0.1, 0.3, 0.8, 5.0]),
        per_request_j=1e-3,
        per_pair_j=1e-7,
        per_kv_token_j=1e-6,
    )


def outages(pick: Pick, replicas: int) -> tuple[Outage, ...]:
    found = []
    for replica in range(replicas):
        if pick.flag():
            start = pick.one_of([0.0, 0.1, 0.5, 1.3])
            found.append(Outage(replica=replica, start_s=start, end_s=pick.one_of([start + 0.4, math.inf])))
    return tuple(found)


def clusters(pick: Pick, concurrency: int | None, spare: int) -> Cluster:
    replicas = pick.whole(1, 3)
    decode = scale = None
    kind = pick.one_of(["plain", "scaled", "disaggregated"])
    if kind == "disaggregated":
        decode = DecodePool(
            timer=tables(pick, spare),
            engine=engines(pick, spare),
            link=Link(
                bandwidth=pick.one_of([1e3, 1e5]),
                latency_s=pick.one_of([0.0, 0.1]),
                kv_bytes_per_token=1.0,
            ),
            replicas=pick.whole(1, 2),
            ranks=pick.whole(1, 2),
            router=pick.one_of(ROUTERS),
        )
    if kind == "scaled":
        scale = Autoscale(
            minimum=pick.whole(1, replicas),
            maximum=pick.whole(replicas, 4),
            target_outstanding=pick.one_of([0.5, 3.0]),
            interval_s=pick.one_of([0.1, 0.7]),
            startup_s=pick.one_of([0.0, 0.5]),
        )
    return Cluster(
        replicas=replicas,
        ranks=pick.whole(1, 2),
        router=pick.one_of(ROUTERS),
        concurrency=concurrency,
        path_s=pick.one_of([0.0, 0.13]),
        max_queue=pick.one_of([None, None, 1, 3]),
        ttft_timeout_s=pick.one_of([None, None, 0.2, 1.0]),
        timeout_s=pick.one_of([None, None, 0.5, 3.0]),
        outages=outages(pick, replicas + (decode.replicas if decode else 0)) if pick.flag() else (),
        autoscale=scale,
        decode=decode,
    )


def simulation(pick: Pick) -> tuple[Requests, StepTable, EngineConfig, Cluster]:
    """Any workload on anything."""
    rng = np.random.default_rng(pick.whole(0, 2**32))
    n = pick.whole(1, 30)
    spare = pick.one_of([0, 0, 1, 3])
    engine = engines(pick, spare)
    if pick.flag():
        host = pick.one_of([0, 50, 400]) // engine.block_tokens
        engine = replace(engine, prefix_caching=True, host_kv_blocks=host, host_load_s_per_token=1e-4)
    inputs = rng.integers(1, pick.one_of([20, 200, 320]), n)
    concurrency = pick.one_of([None, None, 1, 5])
    after = np.full(n, -1)
    if concurrency is None and pick.flag():
        followers = np.flatnonzero(rng.random(n) < 0.6)
        followers = followers[followers > 0]
        after[followers] = [rng.integers(0, i) for i in followers]
    hash_tokens = engine.block_tokens * pick.one_of([1, 2])
    requests = Requests.build(
        np.round(np.cumsum(rng.exponential(pick.one_of([0.0, 0.01, 0.3]), n)), pick.one_of([1, 9])),
        inputs,
        rng.integers(1, pick.one_of([2, 20, 50]), n),
        priority=rng.integers(0, 3, n),
        session=rng.integers(-1, 4, n),
        after=after,
        think_s=np.round(rng.exponential(0.1, n), 1),
        prefixes=prefix_tree(rng, inputs, hash_tokens) if pick.flag() else None,
    )
    return requests, tables(pick, spare), engine, clusters(pick, concurrency, spare)


def compare(pick: Pick) -> Outcome:
    requests, table, engine, cluster = simulation(pick)
    recording = Recording(steps=20, steps_from_s=0.2, sample_s=pick.one_of([2.0**-9, 2.0**-4, 2.0**-4]))
    fast = simulate(requests, table, engine, cluster, recording).outcome
    assert_same(fast, simulate(requests, table, engine, cluster, recording, core="reference").outcome)
    return fast


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.data())
def test_cores_agree(data: st.DataObject) -> None:
    compare(Drawn(data))


@pytest.mark.parametrize("first", range(0, SIMULATIONS, CHUNK))
def test_cores_agree_on_a_thousand_simulations(first: int) -> None:
    """The same from fixed seeds, without the time that Hypothesis takes to draw."""
    seen = np.zeros(len(STATUS_NAMES), dtype=np.int64)
    preemptions = retries = cached = loaded = handed = 0
    for seed in range(first, first + CHUNK):
        outcome = compare(Seeded(np.random.default_rng(seed)))
        seen += np.bincount(outcome.records["status"], minlength=len(STATUS_NAMES))
        preemptions += int(outcome.records["preemptions"].sum())
        retries += int(outcome.records["retries"].sum())
        cached += int(outcome.records["cached_tokens"].sum())
        loaded += int(outcome.totals["loaded_tokens"].sum())
        handed += int(np.sum(outcome.records["decode_rank"] >= 0))
    assert seen.all()  # every way to end was met, and every feature
    assert min(preemptions, retries, cached, loaded, handed) > 0


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_same_input_gives_the_same_bytes(scheduler: str) -> None:
    rng = np.random.default_rng(1)
    requests = Requests.build(
        np.cumsum(rng.exponential(0.02, 300)), rng.integers(1, 900, 300), rng.integers(1, 90, 300)
    )
    table = StepTable(tokens=np.array([0.0, 512.0]), base_s=np.array([0.004, 0.03]))
    engine = EngineConfig(kv_blocks=200, scheduler=scheduler, max_num_seqs=64)
    first, second = (simulate(requests, table, engine).records.tobytes() for _ in range(2))
    assert first == second
