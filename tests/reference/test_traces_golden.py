"""Figures of public traces, recomputed; skipped where the raw traces are not at hand."""

from pathlib import Path

import numpy as np
import pytest

from suanli.mapping.step_table import StepTable, constant_step
from suanli.serving.config import Cluster, EngineConfig
from suanli.serving.simulate import simulate
from suanli.workload.requests import Requests
from suanli.workload.traces import read_azure, read_mooncake
from suanli.workload.traces_prefix import lru_hit_rate
from suanli.workload.traces_sessions import read_sessions

TRACES = next((folder for up in Path(__file__).parents if (folder := up / "shared" / "traces").is_dir()), None)
pytestmark = [pytest.mark.traces, pytest.mark.skipif(TRACES is None, reason="the raw traces are not here")]

# LRU hit rates in percent by capacity in blocks of 512 tokens, computed independently from the published files.
CAPACITIES = (2000, 6000, 20000, 60000, None)
HIT_RATES = {"conversation": (5.4, 13.9, 28.8, 35.9, 36.6), "synthetic": (14.4, 31.1, 57.2, 64.0, 64.0)}


def mooncake(name: str) -> Requests:
    assert TRACES is not None
    return read_mooncake(TRACES / "mooncake" / f"{name}_trace.jsonl").requests


@pytest.mark.parametrize("name", HIT_RATES)
def test_lru_hit_rates_of_mooncake(name: str) -> None:
    prefixes = mooncake(name).prefixes
    assert prefixes is not None
    found = [100 * lru_hit_rate(prefixes, capacity) for capacity in CAPACITIES]
    assert found == pytest.approx(HIT_RATES[name], abs=0.1)


@pytest.mark.parametrize("name", HIT_RATES)
def test_simulated_cache_finds_what_an_lru_cache_finds(name: str) -> None:
    """One request at a time, whole blocks, and no output to speak of: the engine's cache is an LRU cache."""
    requests = mooncake(name)
    assert requests.prefixes is not None
    blocks = np.diff(requests.prefixes.start)
    whole = Requests.build(requests.arrival_s, blocks * 512, 1, prefixes=requests.prefixes)
    for capacity, expected in zip(CAPACITIES, HIT_RATES[name], strict=True):
        engine = EngineConfig(
            kv_blocks=capacity or 10**6, block_tokens=512, max_num_seqs=1, token_budget=200_000, prefix_caching=True
        )
        records = simulate(whole, constant_step(0.01), engine, Cluster(concurrency=1)).records
        found = 100 * np.ceil(records["cached_tokens"] / 512).sum() / blocks.sum()
        assert found == pytest.approx(expected, abs=0.3)


def agentic(limit: int | None) -> Requests:
    assert TRACES is not None
    return read_sessions(TRACES / "agentic_coding" / "weka_traces_rle.jsonl.gz", limit=limit).requests


def test_lru_hit_rate_of_agentic_sessions() -> None:
    prefixes = agentic(None).prefixes
    assert prefixes is not None
    assert 100 * lru_hit_rate(prefixes, None) == pytest.approx(96.3, abs=0.1)


def test_simulated_cache_finds_what_agentic_sessions_share() -> None:
    requests = agentic(60)
    assert requests.prefixes is not None
    table = StepTable(tokens=np.array([0.0, 1.0]), base_s=np.array([0.0, 1e-5]))
    engine = EngineConfig(kv_blocks=10**7, block_tokens=64, max_num_seqs=512, token_budget=65536, prefix_caching=True)
    records = simulate(requests, table, engine).records
    found = np.ceil(records["cached_tokens"] / 64).sum() / (records["input_tokens"] // 64).sum()
    assert found == pytest.approx(lru_hit_rate(requests.prefixes, None), abs=0.001)


def test_azure_conversation() -> None:
    assert TRACES is not None
    requests = read_azure(TRACES / "azure" / "AzureLLMInferenceTrace_conv.csv").requests
    gaps = np.diff(requests.arrival_s)
    assert len(requests) == 19_366
    assert requests.input_tokens.mean() == pytest.approx(1154.7, abs=0.1)
    assert requests.output_tokens.mean() == pytest.approx(211.1, abs=0.1)
    assert gaps.std() / gaps.mean() == pytest.approx(1.09, abs=0.01)
