"""What queueing theory and conservation laws say about the simulator, chip models aside."""

import math

import numpy as np
import pytest

from suanli.mapping.step_table import StepTable, constant_step, per_token_step
from suanli.serving.config import SCHEDULERS, Cluster, EngineConfig
from suanli.serving.simulate import simulate
from suanli.serving.summary import Result
from suanli.workload.requests import Requests

TOKEN_S = 1e-3


def single_server(arrivals: np.ndarray, service_tokens: np.ndarray) -> Result:
    """One request at a time, each a single step as long as its prompt."""
    longest = int(service_tokens.max())
    requests = Requests.build(arrivals, service_tokens, 1)
    engine = EngineConfig(kv_blocks=2 * longest, block_tokens=1, max_num_seqs=1, token_budget=longest)
    return simulate(requests, per_token_step(TOKEN_S), engine)


@pytest.mark.parametrize("load", [0.3, 0.7])
def test_md1_wait(load: float) -> None:
    """Pollaczek-Khinchine: W = rho s / (2 (1 - rho)) for a constant service time s."""
    rng = np.random.default_rng(1)
    n, service = 400_000, 50
    arrivals = np.cumsum(rng.exponential(service * TOKEN_S / load, n))
    wait = single_server(arrivals, np.full(n, service)).queue_s.mean()
    assert wait == pytest.approx(load * service * TOKEN_S / (2 * (1 - load)), rel=0.02)


@pytest.mark.parametrize("load", [0.3, 0.7])
def test_mm1_wait_and_sojourn(load: float) -> None:
    """W = rho s / (1 - rho); the sojourn time is exponential, so its p90 is ln(10) times its mean."""
    rng = np.random.default_rng(2)
    n, service = 400_000, 2000
    tokens = np.ceil(rng.exponential(service, n)).astype(int)
    arrivals = np.cumsum(rng.exponential(service * TOKEN_S / load, n))
    result = single_server(arrivals, tokens)
    assert result.queue_s.mean() == pytest.approx(load * service * TOKEN_S / (1 - load), rel=0.03)
    assert np.percentile(result.e2e_s, 90) == pytest.approx(math.log(10) * service * TOKEN_S / (1 - load), rel=0.03)


@pytest.mark.parametrize("servers", [2, 5])
def test_mmc_wait(servers: int) -> None:
    """Erlang C: slots of a batch are servers when a step takes the same time whatever is in it."""
    rng = np.random.default_rng(3)
    n, load, mean = 60_000, 0.8, 500
    tokens = rng.geometric(1 / mean, n)
    arrivals = np.cumsum(rng.exponential(mean * TOKEN_S / (load * servers), n))
    requests = Requests.build(arrivals, 1, tokens)
    engine = EngineConfig(kv_blocks=10**7, max_num_seqs=servers, token_budget=64)
    wait = simulate(requests, constant_step(TOKEN_S), engine).queue_s.mean()
    offered = load * servers
    tail = offered**servers / math.factorial(servers) / (1 - load)
    erlang_c = tail / (sum(offered**k / math.factorial(k) for k in range(servers)) + tail)
    assert wait == pytest.approx(erlang_c * mean * TOKEN_S / (servers - offered), rel=0.06)


def mixed_run(engine: EngineConfig, cluster: Cluster | None = None, factor: float = 1.0) -> Result:
    rng = np.random.default_rng(4)
    n = 2000
    requests = Requests.build(np.cumsum(rng.exponential(0.05, n)), rng.integers(1, 900, n), rng.integers(1, 150, n))
    table = StepTable(
        tokens=np.array([0.0, 64.0, 2048.0]),
        base_s=np.array([6e-3, 7e-3, 0.08]),
        per_kv_token_s=1.5e-7,
        per_pair_s=1e-10,
        idle_w=300.0,
        base_j=np.array([0.0, 0.2, 9.0]),
        per_kv_token_j=1e-6,
    )
    return simulate(requests, table.scaled(factor), engine, cluster)


ENGINES = [
    EngineConfig(kv_blocks=4000, token_budget=2048),
    EngineConfig(kv_blocks=300, token_budget=2048, max_num_seqs=64, watermark=0.01),
    EngineConfig(kv_blocks=300, token_budget=2048, max_num_seqs=64, scheduler="sglang"),
    EngineConfig(kv_blocks=300, token_budget=2048, max_num_seqs=64, scheduler="tensorrt_llm", prefix_caching=True),
]


@pytest.mark.parametrize("engine", ENGINES)
def test_tokens_and_energy_are_conserved(engine: EngineConfig) -> None:
    result = mixed_run(engine, Cluster(replicas=2))
    records, totals = result.records, result.outcome.totals
    assert np.all(records["output_tokens"] == result.setup.requests.output_tokens)
    recomputed = records["preemptions"].sum() > 0
    computed, needed = totals["prefill_tokens"].sum(), (records["input_tokens"] - records["cached_tokens"]).sum()
    assert computed >= needed if recomputed else computed == needed
    # every token but the one of each finished prefill comes from a decode step
    prefills = records.size + records["preemptions"].sum()
    assert totals["decode_tokens"].sum() >= records["output_tokens"].sum() - prefills
    energy = totals["prefill_j"].sum() + totals["decode_j"].sum()
    assert records["energy_j"].sum() == pytest.approx(energy, rel=1e-9)
    assert result.outcome.series[:, :, 1].sum() == pytest.approx(energy, rel=1e-9)
    assert result.outcome.series[:, :, 0].sum() == pytest.approx(totals["busy_s"].sum(), rel=1e-9)
    summary = result.summary()
    assert summary["energy_j"] == pytest.approx(
        energy + 300.0 * (2 * result.outcome.end_s - totals["busy_s"].sum()), rel=1e-9
    )


def test_littles_law() -> None:
    """Without preemption every admitted request is in every step: the batch integrates to the times in service."""
    result = mixed_run(ENGINES[0])
    in_service = (result.records["done_s"] - result.records["admitted_s"]).sum()
    assert result.outcome.totals["batch_s"].sum() == pytest.approx(in_service, rel=1e-9)


@pytest.mark.parametrize("engine", ENGINES)
def test_works_whenever_somebody_waits(engine: EngineConfig) -> None:
    result = mixed_run(engine)
    order = np.argsort(result.records["arrival_s"])
    start, end = result.records["arrival_s"][order], result.records["done_s"][order]
    reach = np.maximum.accumulate(end)
    idle = np.maximum(start[1:] - reach[:-1], 0.0).sum() + start[0]
    assert result.outcome.totals["busy_s"][0] == pytest.approx(result.outcome.end_s - idle, rel=1e-9)


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_slower_steps_delay_every_request_of_a_batch(scheduler: str) -> None:
    """All requests there at the start: the schedule stays, every time is stretched."""
    rng = np.random.default_rng(5)
    requests = Requests.build(np.zeros(300), rng.integers(1, 900, 300), rng.integers(1, 150, 300))
    table = StepTable(tokens=np.array([0.0, 2048.0]), base_s=np.array([6e-3, 0.08]), per_kv_token_s=1e-7)
    engine = EngineConfig(kv_blocks=400, token_budget=2048, scheduler=scheduler)
    fast, slow = (simulate(requests, table.scaled(factor), engine).records for factor in (1.0, 1.5))
    np.testing.assert_allclose(slow["done_s"], 1.5 * fast["done_s"], rtol=1e-9)


def test_slower_steps_delay_every_request_of_a_single_server() -> None:
    rng = np.random.default_rng(6)
    requests = Requests.build(np.cumsum(rng.exponential(0.06, 3000)), rng.integers(1, 100, 3000), 1)
    engine = EngineConfig(kv_blocks=200, block_tokens=1, max_num_seqs=1, token_budget=100)
    fast, slow = (simulate(requests, per_token_step(TOKEN_S).scaled(f), engine).records for f in (1.0, 1.1))
    assert np.all(slow["done_s"] >= fast["done_s"])


def test_slower_steps_can_help_one_request() -> None:
    """A known anomaly of batching: a longer step lets a late request in that would have missed the next one."""
    requests = Requests.build([0.0, 1.0, 2.1], 1, 1)
    engine = EngineConfig(kv_blocks=100)
    fast, slow = (simulate(requests, constant_step(seconds), engine).records["done_s"] for seconds in (2.0, 2.2))
    assert slow[2] < fast[2]
    assert slow[0] > fast[0]


def test_overload_ends_and_is_reported() -> None:
    rng = np.random.default_rng(7)
    n = 20_000
    requests = Requests.build(np.cumsum(rng.exponential(0.01, n)), 500, 100)
    table = StepTable(tokens=np.array([0.0, 2048.0]), base_s=np.array([6e-3, 0.08]))
    overloaded = simulate(requests, table, EngineConfig(kv_blocks=2000, token_budget=2048))
    assert overloaded.summary()["saturated"] is True
    assert overloaded.summary()["unfinished"] == 0
    calm = simulate(requests.at_rate(0.1), table, EngineConfig(kv_blocks=2000, token_budget=2048))
    assert calm.summary()["saturated"] is False


def test_too_long_requests_are_refused_by_name() -> None:
    requests = Requests.build([0.0, 0.0, 0.1], [100, 1000, 100], [10, 10, 10])
    result = simulate(requests, constant_step(0.01), EngineConfig(kv_blocks=50, token_budget=512))
    assert result.summary()["too_long"] == 1
    assert result.records["status"].tolist() == [1, 2, 1]
