"""Replicas, routers, links and clients: schedules small enough to follow by hand."""

import math

import numpy as np
import pytest

from suanli.mapping.step_table import StepTable, constant_step, per_token_step
from suanli.serving.config import (
    Autoscale,
    Cluster,
    ConfigError,
    DecodePool,
    EngineConfig,
    Link,
    Outage,
    Router,
)
from suanli.serving.simulate import simulate
from suanli.workload.requests import Prefixes, Requests

ENGINE = EngineConfig(kv_blocks=1000, token_budget=512)
SECOND = constant_step(1.0)
FAST_LINK = Link(bandwidth=1e12, latency_s=0.0, kv_bytes_per_token=1.0)


def both(requests: Requests, table: StepTable, engine: EngineConfig, cluster: Cluster) -> np.ndarray:
    """Records of the compiled core, after a look that the readable core has the same."""
    fast, slow = (simulate(requests, table, engine, cluster, core=core).records for core in ("fast", "reference"))
    np.testing.assert_array_equal(fast["done_s"], slow["done_s"])
    return fast


@pytest.mark.parametrize(
    ("router", "ranks"),
    [("round_robin", [0, 1, 2, 0]), ("least_outstanding", [0, 1, 2, 1]), ("session", [2, 2, 1, 0])],
)
def test_routers(router: Router, ranks: list[int]) -> None:
    requests = Requests.build([0.0, 0.1, 0.2, 3.5], [9] * 4, [5, 2, 9, 1], session=[2, 2, 4, 3])
    assert both(requests, SECOND, ENGINE, Cluster(replicas=3, router=router))["rank"].tolist() == ranks


def test_least_kv_looks_at_tokens_not_at_requests() -> None:
    requests = Requests.build([0.0, 0.1, 0.2, 0.3], [400, 10, 10, 10], 9)
    ranks = both(requests, SECOND, ENGINE, Cluster(replicas=2, router="least_kv"))["rank"]
    assert ranks.tolist() == [0, 1, 1, 1]


def test_prefix_aware_router_finds_the_cache() -> None:
    prefixes = Prefixes.build(16, [[1, 2], [7, 8], [1, 2, 3], [7, 8, 9]])
    requests = Requests.build([0.0, 0.1, 9.0, 9.1], [32, 32, 48, 48], 2, prefixes=prefixes)
    engine = EngineConfig(kv_blocks=1000, prefix_caching=True)
    records = both(requests, SECOND, engine, Cluster(replicas=2, router="prefix_aware"))
    assert records["rank"].tolist() == [0, 1, 0, 1]
    assert records["cached_tokens"].tolist() == [0, 0, 32, 32]


def test_a_closed_loop_keeps_its_users_busy() -> None:
    requests = Requests.build(np.zeros(7), 4, 2)
    records = both(requests, SECOND, ENGINE, Cluster(concurrency=2))
    assert records["arrival_s"].tolist() == [0.0, 0.0, 2.0, 2.0, 4.0, 4.0, 6.0]


def test_a_session_waits_for_its_answer_and_thinks() -> None:
    requests = Requests.build(np.zeros(3), 4, 2, after=[-1, 0, 1], think_s=[0.0, 5.0, 0.5])
    assert both(requests, SECOND, ENGINE, Cluster())["arrival_s"].tolist() == [0.0, 7.0, 9.5]


def test_the_path_to_the_engine_counts_for_the_client() -> None:
    requests = Requests.build(np.zeros(2), 4, 2)
    result = simulate(requests, SECOND, ENGINE, Cluster(concurrency=1, path_s=0.25))
    assert result.records["arrival_s"].tolist() == [0.25, 2.5]
    assert result.ttft_s.tolist() == [1.25, 1.25]
    assert result.e2e_s.tolist() == [2.25, 2.25]


def test_the_slowest_rank_sets_the_step() -> None:
    requests = Requests.build([0.0, 0.0], [100, 10], [1, 2])
    records = both(requests, per_token_step(0.1), ENGINE, Cluster(ranks=2))
    # the step with 100 tokens on one rank holds the other one up; its second token is alone
    assert records["done_s"].tolist() == pytest.approx([10.0, 10.1])


# --- disaggregation ----------------------------------------------------------------------------------------------


def test_prefill_link_decode() -> None:
    decode = DecodePool(
        timer=constant_step(0.5), engine=ENGINE, link=Link(bandwidth=100.0, latency_s=0.25, kv_bytes_per_token=2.0)
    )
    requests = Requests.build([0.0, 0.0], [10, 30], [3, 1])
    records = both(requests, SECOND, ENGINE, Cluster(decode=decode))
    # prompts end at 1; the first moves 20 B in 0.25 + 0.2 s, then decodes two tokens; the second is done without it
    assert records["first_token_s"].tolist() == pytest.approx([1.45, 1.0])
    assert records["done_s"].tolist() == pytest.approx([2.45, 1.0])
    assert records["decode_rank"].tolist() == [1, -1]


def test_transfers_queue_on_the_link() -> None:
    link = Link(bandwidth=100.0, latency_s=0.0, kv_bytes_per_token=10.0)
    decode = DecodePool(timer=constant_step(0.5), engine=ENGINE, link=link, replicas=2, router="round_robin")
    requests = Requests.build([0.0, 0.0], [10, 10], [2, 2])
    records = both(requests, SECOND, ENGINE, Cluster(decode=decode))
    assert records["first_token_s"].tolist() == pytest.approx([2.0, 3.0])  # one sender


def test_a_full_decode_pool_holds_the_prefill_pool_up() -> None:
    small = EngineConfig(kv_blocks=3, block_tokens=10, token_budget=64, max_num_seqs=8)
    decode = DecodePool(timer=SECOND, engine=small, link=FAST_LINK)
    requests = Requests.build(np.zeros(3), 20, 5)
    records = both(requests, SECOND, small, Cluster(decode=decode))
    # one request fits into either pool: the next prompt starts when the KV of the one before it has left
    assert np.all(np.diff(records["admitted_s"]) >= 1.0)
    assert records["admitted_s"][2] >= records["done_s"][0]
    assert np.all(records["status"] == 1)


# --- failures ----------------------------------------------------------------------------------------------------


def test_a_failed_replica_loses_its_memory_not_its_requests() -> None:
    requests = Requests.build([0.0, 0.0], 8, 4)
    outage = Outage(replica=0, start_s=2.5, end_s=3.0)
    records = both(requests, SECOND, ENGINE, Cluster(replicas=2, outages=(outage,)))
    # the first has two tokens when it fails; the other replica recomputes 10 tokens from 3 on and adds two
    assert records["retries"].tolist() == [1, 0]
    assert records["rank"].tolist() == [1, 1]
    assert records["done_s"].tolist() == [5.0, 4.0]
    assert records["output_tokens"].tolist() == [4, 4]


def test_when_everything_has_failed_requests_wait_for_the_repair() -> None:
    requests = Requests.build([0.0, 2.0], 8, 2)
    outage = Outage(replica=0, start_s=1.5, end_s=10.0)
    records = both(requests, SECOND, ENGINE, Cluster(outages=(outage,)))
    assert records["done_s"].tolist() == [11.0, 12.0]


def test_without_repair_the_rest_is_reported_unfinished() -> None:
    requests = Requests.build([0.0, 2.0], 8, [1, 5])
    result = simulate(requests, SECOND, ENGINE, Cluster(outages=(Outage(replica=0, start_s=1.5),)))
    summary = result.summary()
    assert (summary["done"], summary["unfinished"]) == (1, 1)
    assert result.outcome.totals["up_s"].tolist() == [1.5]


def test_a_decode_replica_fails() -> None:
    decode = DecodePool(timer=SECOND, engine=ENGINE, link=FAST_LINK, replicas=2, router="round_robin")
    requests = Requests.build([0.0], 8, 6)
    records = both(requests, SECOND, ENGINE, Cluster(decode=decode, outages=(Outage(replica=1, start_s=3.5),)))
    # prompt until 1, decode until the step of 3, recompute in the prefill pool until 4.5, three more tokens
    assert records["decode_rank"].tolist() == [2]
    assert records["done_s"][0] == pytest.approx(6.5, abs=1e-6)


# --- clients that give up, queues that are full ------------------------------------------------------------------


def test_time_outs() -> None:
    requests = Requests.build([0.0, 0.0, 0.0], 8, [4, 4, 2])
    engine = EngineConfig(kv_blocks=1000, max_num_seqs=1)
    records = both(requests, SECOND, engine, Cluster(ttft_timeout_s=4.5, timeout_s=7.5))
    # the second gets its first token at 5, too late for the first limit; the third starts at 4
    assert records["status"].tolist() == [1, 4, 4]
    records = both(requests, SECOND, engine, Cluster(timeout_s=7.5))
    # the second is in a step at 7.5 and leaves at its end, with all but nothing to show for the third
    assert records["done_s"].tolist() == [4.0, 8.0, 7.5]
    assert records["status"].tolist() == [1, 1, 4]


def test_full_queues_refuse() -> None:
    requests = Requests.build(np.linspace(0, 0.4, 5), 8, 4)
    records = both(requests, SECOND, EngineConfig(kv_blocks=1000, max_num_seqs=1), Cluster(max_queue=2))
    assert records["status"].tolist() == [1, 1, 1, 3, 3]


def test_priorities_overtake() -> None:
    requests = Requests.build([0.0, 0.1, 0.2, 0.3], 8, 2, priority=[1, 1, 0, 1])
    engine = EngineConfig(kv_blocks=1000, max_num_seqs=1, policy="priority")
    assert both(requests, SECOND, engine, Cluster())["done_s"].tolist() == [2.0, 6.0, 4.0, 8.0]


# --- scaling -----------------------------------------------------------------------------------------------------


def test_autoscaling_follows_the_load() -> None:
    rng = np.random.default_rng(0)
    arrival = np.sort(
        np.concatenate([rng.uniform(0, 100, 200), rng.uniform(100, 120, 2000), rng.uniform(120, 400, 200)])
    )
    scale = Autoscale(minimum=1, maximum=6, target_outstanding=10, interval_s=2.0, startup_s=5.0)
    requests = Requests.build(arrival, 100, 20)
    engine = EngineConfig(kv_blocks=5000, max_num_seqs=16)
    table = constant_step(0.05)
    scaled = simulate(requests, table, engine, Cluster(router="least_outstanding", autoscale=scale))
    alone = simulate(requests, table, engine, Cluster())
    fixed = simulate(requests, table, engine, Cluster(replicas=6, router="least_outstanding"))
    waits = [np.percentile(result.ttft_s, 99) for result in (fixed, scaled, alone)]
    assert waits == sorted(waits)
    assert 1.0 < scaled.summary()["replicas_mean"] < 4.0
    assert set(scaled.records["status"]) == {1}
    assert len(set(scaled.records["rank"].tolist())) == 6


def test_a_new_replica_serves_after_its_start() -> None:
    requests = Requests.build([0.0, 0.0, 3.0], 8, [9, 9, 2])
    scale = Autoscale(minimum=1, maximum=2, target_outstanding=1.0, interval_s=1.0, startup_s=1.5)
    engine = EngineConfig(kv_blocks=1000, max_num_seqs=2)
    result = simulate(requests, SECOND, engine, Cluster(router="least_outstanding", autoscale=scale))
    assert result.records["rank"].tolist() == [0, 0, 1]
    assert result.records["done_s"][2] == 5.0
    # switched on at the look of 1; two requests want two replicas until the end at 9
    assert result.outcome.totals["up_s"].tolist() == [9.0, 8.0]


# --- what cannot run ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: EngineConfig(kv_blocks=0), "kv_blocks must be at least 1"),
        (lambda: EngineConfig(kv_blocks=10, token_budget=8), "must hold max_num_seqs"),
        (lambda: EngineConfig(kv_blocks=10, acceptance=1.5), "acceptance must lie between"),
        (lambda: EngineConfig(kv_blocks=10, scheduler="fifo"), "scheduler must be one of"),  # type: ignore[arg-type]
        (lambda: Cluster(router="random"), "router must be one of"),  # type: ignore[arg-type]
        (lambda: Cluster(replicas=0, concurrency=0), "replicas must be at least 1, not 0; concurrency"),
        (lambda: Cluster(timeout_s=0.0), "timeout_s must be above zero"),
        (lambda: Cluster(outages=(Outage(replica=3, start_s=1.0),)), "replicas are 0 ... 0"),
        (lambda: Cluster(outages=(Outage(replica=0, start_s=1.0), Outage(replica=0, start_s=2.0))), "overlap"),
        (lambda: Cluster(outages=(Outage(replica=0, start_s=math.nan),)), "must start at 0 or later"),
        (
            lambda: Cluster(autoscale=Autoscale(minimum=2, maximum=3, target_outstanding=1, interval_s=1, startup_s=0)),
            "must lie between minimum and maximum",
        ),
    ],
)
def test_impossible_configurations_are_refused(make, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make()


def test_parts_that_do_not_fit_together_are_refused() -> None:
    requests = Requests.build([0.0, 0.0], 8, 2, after=[-1, 0])
    with pytest.raises(ConfigError, match="tokens per decoding sequence"):
        simulate(requests, SECOND, EngineConfig(kv_blocks=10, speculative_tokens=1, token_budget=512))
    with pytest.raises(ConfigError, match="concurrency cannot be limited"):
        simulate(requests, SECOND, ENGINE, Cluster(concurrency=1))
    shared = Requests.build([0.0], 40, 2, prefixes=Prefixes.build(20, [[1, 2]]))
    with pytest.raises(ConfigError, match="not a multiple of block_tokens"):
        simulate(shared, SECOND, EngineConfig(kv_blocks=10, prefix_caching=True))
    broken = Requests.build([0.0, 0.0], 40, 2, prefixes=Prefixes.build(16, [[1, 2, 3], [9, 2, 4]]))
    with pytest.raises(ConfigError, match="not hashes of prefixes"):
        simulate(broken, SECOND, EngineConfig(kv_blocks=10, prefix_caching=True))
