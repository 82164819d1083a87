"""Arrival processes have the rate and the burstiness that was asked for."""

import numpy as np
import pytest

from suanli.mapping.step_table import constant_step
from suanli.serving.config import EngineConfig
from suanli.serving.simulate import simulate
from suanli.workload import arrivals
from suanli.workload.requests import Requests, RequestsError


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


@pytest.mark.parametrize("cv", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("process", [arrivals.gamma, arrivals.weibull])
def test_renewal_processes(process, cv: float, rng: np.random.Generator) -> None:
    gaps = np.diff(process(20.0, cv, 400_000, rng))
    assert gaps.mean() == pytest.approx(1 / 20.0, rel=0.03)
    assert gaps.std() / gaps.mean() == pytest.approx(cv, rel=0.05)


def test_poisson_counts_are_poisson(rng: np.random.Generator) -> None:
    times = arrivals.poisson(10.0, 200_000, rng)
    counts = np.bincount(times.astype(int))[:-1]
    assert counts.var() / counts.mean() == pytest.approx(1.0, abs=0.05)


def test_diurnal_follows_its_rate(rng: np.random.Generator) -> None:
    times = arrivals.diurnal(5.0, 1.8, 86400.0, rng)
    assert times.size == pytest.approx(5.0 * 86400.0, rel=0.01)
    hours = np.bincount((times // 3600).astype(int), minlength=24) / 3600
    assert hours.argmax() in (11, 12)
    assert hours.max() == pytest.approx(9.0, rel=0.03)
    assert hours.min() == pytest.approx(1.0, rel=0.1)


def test_modulated_keeps_silence_silent(rng: np.random.Generator) -> None:
    times = arrivals.modulated([0.0, 10.0, 10.001, 20.0, 20.001, 30.0], [5, 5, 0, 0, 5, 5], rng)
    assert not np.any((times > 10.01) & (times < 19.99))
    assert times.size == pytest.approx(100, abs=40)


def test_bursts(rng: np.random.Generator) -> None:
    times = arrivals.bursts(10.0, 8.0, 30.0, 5.0, 200_000, rng)
    assert times.size / times[-1] == pytest.approx(10.0, rel=0.05)
    counts = np.bincount(times.astype(int))[:-1]
    assert counts.var() / counts.mean() > 5.0


def test_constant_and_spread(rng: np.random.Generator) -> None:
    requests = Requests.build(np.repeat([0.0, 3.0, 6.0], 100), np.arange(300) + 1, 1)
    moved = arrivals.spread(requests, 3.0, rng)
    assert np.all(np.diff(moved.arrival_s) >= 0)
    steps = np.searchsorted([3.0, 6.0], moved.arrival_s, side="right")
    np.testing.assert_array_equal(steps, (moved.input_tokens - 1) // 100)
    assert arrivals.constant(4.0, 3).tolist() == [0.0, 0.25, 0.5]


def test_lengths_meet_their_quantiles(rng: np.random.Generator) -> None:
    quantiles = {0.0: 1.0, 0.5: 129.0, 0.9: 424.0, 1.0: 1000.0}
    drawn = arrivals.lengths(quantiles, 100_000, rng)
    assert np.percentile(drawn, [50, 90]) == pytest.approx([129, 424], rel=0.03)
    assert drawn.min() >= 1
    assert drawn.max() <= 1000


def test_conversations_grow_and_share_their_prefix() -> None:
    requests = arrivals.conversations([0.0, 1.0], [3, 1], 100, 20, 12, 2.0)
    assert requests.input_tokens.tolist() == [100, 132, 164, 100]
    assert requests.after.tolist() == [-1, 0, 1, -1]
    engine = EngineConfig(kv_blocks=1000, prefix_caching=True)
    records = simulate(requests, constant_step(0.1), engine).records
    assert records["cached_tokens"].tolist() == [0, 96, 128, 0]
    assert np.all(records["arrival_s"][1:3] == records["done_s"][:2] + 2.0)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda rng: arrivals.poisson(0.0, 5, rng),
        lambda rng: arrivals.gamma(1.0, -1.0, 5, rng),
        lambda rng: arrivals.modulated([0.0, 0.0], [1.0, 1.0], rng),
        lambda rng: arrivals.diurnal(1.0, 3.0, 10.0, rng),
        lambda rng: arrivals.lengths({0.0: 1.0, 0.9: 5.0}, 3, rng),
        lambda _: Requests.build([0.0, -1.0], 1, 1),
        lambda _: Requests.build([1.0, 0.5], 1, 1),
        lambda _: Requests.build([0.0], 0, 1),
        lambda _: Requests.build([0.0], 1.5, 1),
        lambda _: Requests.build([0.0], 1, 1, after=0),
        lambda _: Requests.build([0.0], 1, 1, priority=9),
    ],
)
def test_impossible_workloads_are_refused(wrong, rng: np.random.Generator) -> None:
    with pytest.raises(RequestsError):
        wrong(rng)
