"""The compiled core does what the readable one does, bit for bit, whatever is simulated."""

import math
from dataclasses import replace

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
from suanli.serving.outcome import Outcome
from suanli.serving.simulate import simulate
from suanli.workload.requests import Prefixes, Requests


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


def engines(draw: st.DrawFn, spare: int) -> EngineConfig:
    block, budget = draw(st.sampled_from([1, 4, 16])), draw(st.sampled_from([32, 64, 512]))
    return EngineConfig(
        kv_blocks=draw(st.integers(300, 1500)) // block,
        block_tokens=block,
        max_num_seqs=min(draw(st.sampled_from([1, 3, 8, 64])), budget // (1 + spare)),
        token_budget=budget,
        scheduler=draw(st.sampled_from(SCHEDULERS)),
        policy=draw(st.sampled_from(["fcfs", "priority"])),
        admit_whole_prompt=draw(st.booleans()),
        watermark=draw(st.sampled_from([0.0, 0.05])),
        chunked_prefill=draw(st.booleans()),
        conservativeness=draw(st.sampled_from([0.3, 1.0, 2.0])),
        speculative_tokens=spare,
        acceptance=draw(st.sampled_from([0.0, 0.6, 1.0])),
    )


def tables(draw: st.DrawFn, spare: int) -> StepTable:
    if draw(st.booleans()):  # times that coincide
        return StepTable(tokens=np.zeros(1), base_s=np.full(1, 0.1), tokens_per_decode=1 + spare)
    return StepTable(
        tokens=np.array([0.0, 16.0, 64.0, 512.0]),
        base_s=np.array([4.0, 4.0, 5.5, 30.0]) * 1e-3,
        per_request_s=1e-5,
        per_pair_s=1e-8,
        per_kv_token_s=3e-7,
        host_s=draw(st.sampled_from([0.0, 2e-3])),
        host_per_request_s=3e-5,
        overlapped=draw(st.booleans()),
        tokens_per_decode=1 + spare,
        idle_w=100.0,
        base_j=np.array([0.1, 0.3, 0.8, 5.0]),
        per_request_j=1e-3,
        per_pair_j=1e-7,
        per_kv_token_j=1e-6,
    )


def outages(draw: st.DrawFn, replicas: int) -> tuple[Outage, ...]:
    found = []
    for replica in range(replicas):
        if draw(st.booleans()):
            start = draw(st.sampled_from([0.0, 0.1, 0.5, 1.3]))
            found.append(Outage(replica=replica, start_s=start, end_s=draw(st.sampled_from([start + 0.4, math.inf]))))
    return tuple(found)


def clusters(draw: st.DrawFn, concurrency: int | None, spare: int) -> Cluster:
    replicas = draw(st.integers(1, 3))
    decode = scale = None
    kind = draw(st.sampled_from(["plain", "scaled", "disaggregated"]))
    if kind == "disaggregated":
        decode = DecodePool(
            timer=tables(draw, spare),
            engine=engines(draw, spare),
            link=Link(
                bandwidth=draw(st.sampled_from([1e3, 1e5])),
                latency_s=draw(st.sampled_from([0.0, 0.1])),
                kv_bytes_per_token=1.0,
            ),
            replicas=draw(st.integers(1, 2)),
            ranks=draw(st.integers(1, 2)),
            router=draw(st.sampled_from(ROUTERS)),
        )
    if kind == "scaled":
        scale = Autoscale(
            minimum=draw(st.integers(1, replicas)),
            maximum=draw(st.integers(replicas, 4)),
            target_outstanding=draw(st.sampled_from([0.5, 3.0])),
            interval_s=draw(st.sampled_from([0.1, 0.7])),
            startup_s=draw(st.sampled_from([0.0, 0.5])),
        )
    return Cluster(
        replicas=replicas,
        ranks=draw(st.integers(1, 2)),
        router=draw(st.sampled_from(ROUTERS)),
        concurrency=concurrency,
        path_s=draw(st.sampled_from([0.0, 0.13])),
        max_queue=draw(st.sampled_from([None, None, 1, 3])),
        ttft_timeout_s=draw(st.sampled_from([None, None, 0.2, 1.0])),
        timeout_s=draw(st.sampled_from([None, None, 0.5, 3.0])),
        outages=outages(draw, replicas + (decode.replicas if decode else 0)) if draw(st.booleans()) else (),
        autoscale=scale,
        decode=decode,
    )


@st.composite
def simulations(draw: st.DrawFn) -> tuple[Requests, StepTable, EngineConfig, Cluster]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n = draw(st.integers(1, 50))
    spare = draw(st.sampled_from([0, 0, 1, 3]))
    engine = engines(draw, spare)
    if draw(st.booleans()):
        host = draw(st.sampled_from([0, 50, 400])) // engine.block_tokens
        engine = replace(engine, prefix_caching=True, host_kv_blocks=host, host_load_s_per_token=1e-4)
    inputs = rng.integers(1, draw(st.sampled_from([20, 200, 320])), n)
    concurrency = draw(st.sampled_from([None, None, 1, 5]))
    after = np.full(n, -1)
    if concurrency is None and draw(st.booleans()):
        followers = np.flatnonzero(rng.random(n) < 0.6)
        followers = followers[followers > 0]
        after[followers] = [rng.integers(0, i) for i in followers]
    hash_tokens = engine.block_tokens * draw(st.sampled_from([1, 2]))
    requests = Requests.build(
        np.round(np.cumsum(rng.exponential(draw(st.sampled_from([0.0, 0.01, 0.3])), n)), draw(st.sampled_from([1, 9]))),
        inputs,
        rng.integers(1, draw(st.sampled_from([2, 20, 70])), n),
        priority=rng.integers(0, 3, n),
        session=rng.integers(-1, 4, n),
        after=after,
        think_s=np.round(rng.exponential(0.1, n), 1),
        prefixes=prefix_tree(rng, inputs, hash_tokens) if draw(st.booleans()) else None,
    )
    return requests, tables(draw, spare), engine, clusters(draw, concurrency, spare)


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(simulations())
def test_cores_agree(simulation: tuple[Requests, StepTable, EngineConfig, Cluster]) -> None:
    requests, table, engine, cluster = simulation
    recording = Recording(steps=20, steps_from_s=0.2, sample_s=2.0**-9)
    fast = simulate(requests, table, engine, cluster, recording)
    assert_same(fast.outcome, simulate(requests, table, engine, cluster, recording, core="reference").outcome)


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
