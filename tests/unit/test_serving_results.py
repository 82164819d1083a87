"""What comes out of a simulation: summary, goodput, files."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from suanli.mapping.step_table import StepTable, constant_step
from suanli.serving.config import Cluster, EngineConfig, Recording
from suanli.serving.export import chrome_trace, distribution, time_series, write_chrome_trace, write_records
from suanli.serving.outcome import itl_bin, itl_edges
from suanli.serving.simulate import simulate
from suanli.serving.summary import Result, Slo
from suanli.workload.requests import Requests


@pytest.fixture(scope="module")
def result() -> Result:
    rng = np.random.default_rng(8)
    n = 400
    requests = Requests.build(np.cumsum(rng.exponential(0.05, n)), rng.integers(1, 900, n), rng.integers(1, 90, n))
    table = StepTable(
        tokens=np.array([0.0, 64.0, 2048.0]),
        base_s=np.array([6e-3, 7e-3, 0.08]),
        per_kv_token_s=1.5e-7,
        idle_w=100.0,
        base_j=np.array([0.0, 0.2, 9.0]),
    )
    engine = EngineConfig(kv_blocks=600, token_budget=2048)
    return simulate(requests, table, engine, Cluster(replicas=2), Recording(steps=10**5))


def test_hand_computed_schedule() -> None:
    """Two requests, steps of one second: budget 4 splits the second prompt."""
    requests = Requests.build([0.0, 0.0], [3, 4], [3, 2])
    records = simulate(requests, constant_step(1.0), EngineConfig(kv_blocks=99, token_budget=4, max_num_seqs=4)).records
    # step 1: prompt of the first (3) and 1 token of the second; step 2: decode 1, 3 tokens; then decode
    assert records["first_token_s"].tolist() == [1.0, 2.0]
    assert records["done_s"].tolist() == [3.0, 3.0]
    assert records["admitted_s"].tolist() == [0.0, 0.0]


def test_hand_computed_preemption() -> None:
    """Blocks of one token, room for ten: the later request gives way and is recomputed."""
    requests = Requests.build([0.0, 0.0], [4, 4], [4, 4])
    engine = EngineConfig(kv_blocks=9, block_tokens=1, token_budget=64, max_num_seqs=4)
    records = simulate(requests, constant_step(1.0), engine).records
    # step 2 needs blocks 9 and 10: the second goes; the first ends at 4; then 5 tokens are recomputed
    assert records["preemptions"].tolist() == [0, 1]
    assert records["done_s"].tolist() == [4.0, 7.0]
    assert records["output_tokens"].tolist() == [4, 4]


def test_summary_is_what_numpy_says(result: Result) -> None:
    summary, records = result.summary(Slo(ttft_s=0.1, tpot_s=0.012)), result.records
    ttft = records["first_token_s"] - records["arrival_s"]
    assert summary["ttft_p99_ms"] == pytest.approx(1e3 * np.percentile(ttft, 99))
    assert summary["done"] == records.size
    many = records["output_tokens"] > 1
    tpot = np.zeros(records.size)
    tpot[many] = (records["done_s"] - records["first_token_s"])[many] / (records["output_tokens"][many] - 1)
    assert summary["tpot_mean_ms"] == pytest.approx(1e3 * tpot[many].mean())
    assert summary["good_share"] == pytest.approx(np.mean((ttft <= 0.1) & (tpot <= 0.012)))
    assert summary["goodput_request_per_s"] == pytest.approx(summary["good_share"] * summary["request_per_s"])


def test_gaps_between_tokens(result: Result) -> None:
    """One gap per token after the first; their mean from the records, percentiles from the histogram."""
    records, counts = result.records, result.outcome.itl_counts
    assert counts.sum() == (records["output_tokens"] - 1).sum()
    mean = np.sum(counts * (itl_edges()[:-1] + itl_edges()[1:]) / 2) / counts.sum()
    assert result.summary()["itl_mean_ms"] == pytest.approx(1e3 * mean, rel=2e-3)
    assert result.summary()["itl_max_ms"] >= result.summary()["itl_p99_ms"]


@pytest.mark.parametrize("gap", [1e-9, 3.3e-5, 0.0123, 0.5, 1.0, 1.999, 77.0])
def test_histogram_bins_hold_their_values(gap: float) -> None:
    place = itl_bin(gap)
    assert itl_edges()[place] <= gap < itl_edges()[place + 1]
    assert itl_edges()[place + 1] / itl_edges()[place] <= 1.008


def test_histogram_takes_everything() -> None:
    assert itl_bin(0.0) == 0
    assert itl_bin(1e9) == itl_edges().size - 2


def test_time_series_add_up(result: Result) -> None:
    series, width = time_series(result), result.outcome.sample_s
    energy = result.outcome.totals["prefill_j"].sum() + result.outcome.totals["decode_j"].sum()
    assert (series["step_power_w"] * width).sum() == pytest.approx(energy)
    assert (series["prefill_token_per_s"] * width).sum() == pytest.approx(result.records["input_tokens"].sum())
    assert series["busy_share"].max() <= 1.0 + 1e-9
    assert series["kv_share"].max() <= 1.0


def test_records_survive_parquet(result: Result, tmp_path: Path) -> None:
    write_records(result, tmp_path / "records.parquet")
    table = pq.read_table(tmp_path / "records.parquet")
    np.testing.assert_array_equal(table["done_s"].to_numpy(), result.records["done_s"])
    assert set(table["status"].to_pylist()) == {"done"}
    assert table.num_rows == result.records.size


def test_chrome_trace_covers_the_steps(result: Result, tmp_path: Path) -> None:
    events = chrome_trace(result)["traceEvents"]
    steps = [event for event in events if event["ph"] == "X"]
    assert len(steps) == result.outcome.totals["steps"].sum()
    assert sum(event["dur"] for event in steps) / 1e6 == pytest.approx(result.outcome.totals["busy_s"].sum())
    assert sum(event["args"]["prefill_tokens"] for event in steps) == result.records["input_tokens"].sum()
    write_chrome_trace(result, tmp_path / "trace.json")
    assert json.loads((tmp_path / "trace.json").read_text())["traceEvents"][0]["ph"] == "M"


def test_distribution() -> None:
    values, share = distribution(np.array([3.0, 1.0, np.nan, 2.0]))
    assert values.tolist() == [1.0, 2.0, 3.0]
    assert share.tolist() == [0.0, 0.5, 1.0]


def test_an_empty_workload_gives_an_empty_result() -> None:
    result = simulate(Requests.build([], [], []), constant_step(1.0), EngineConfig(kv_blocks=10))
    summary = result.summary()
    assert summary["requests"] == 0
    assert summary["ttft_p99_ms"] is None
    assert summary["request_per_s"] is None
