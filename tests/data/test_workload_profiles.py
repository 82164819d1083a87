"""Workload profiles: ordered statistics, and equal to a recomputation where the traces are at hand."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from suanli.catalog.loader import Catalog, load
from suanli.catalog.schema import Lengths, WorkloadProfile
from suanli.quantity import Quantity

STATISTICS = ("mean", "p50", "p90", "p99", "maximum")
PROFILES = {
    *("azure-conversation-2023", "azure-code-2023", "mooncake-conversation", "mooncake-synthetic"),
    *("servegen-m-large", "servegen-deepseek-r1", "weka-agentic-coding", "arxiv-summarization", "sharegpt"),
}


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load()


@pytest.fixture(scope="module")
def traces() -> Path:
    for folder in Path(__file__).resolve().parents:
        if (folder.parent / "shared" / "traces").is_dir() and (folder / "pyproject.toml").exists():
            return folder.parent / "shared" / "traces"
    pytest.skip("the raw request traces are not here")


def _known(lengths: Lengths) -> dict[str, float]:
    found: dict[str, float] = {}
    for name in STATISTICS:
        quantity: Quantity | None = getattr(lengths, name)
        if quantity is not None and quantity.known:
            found[name] = quantity.si
    return found


def test_all_profiles_are_there(catalog: Catalog) -> None:
    assert set(catalog.workloads) >= PROFILES


def test_statistics_are_ordered(catalog: Catalog) -> None:
    for profile in catalog.workloads.values():
        for lengths in (profile.input_tokens, profile.output_tokens):
            known = _known(lengths)
            ordered = [known[name] for name in STATISTICS[1:] if name in known]
            assert ordered == sorted(ordered), profile.id
            assert len(ordered) >= 3
            assert 0 < known["mean"] < ordered[-1]


def test_a_synthesiser_finds_what_it_needs(catalog: Catalog) -> None:
    for name in PROFILES - {"arxiv-summarization", "sharegpt", "weka-agentic-coding"}:
        profile = catalog.workloads[name]
        assert profile.rate is not None
        assert profile.rate.known
        assert profile.interarrival_cv is not None
        assert 0.5 < profile.interarrival_cv.si < 20
    bursty, calm = catalog.workloads["azure-code-2023"], catalog.workloads["azure-conversation-2023"]
    assert bursty.interarrival_cv is not None
    assert calm.interarrival_cv is not None
    assert bursty.interarrival_cv.si > 10 * calm.interarrival_cv.si


def _compare(lengths: Lengths, values: Sequence[float], weights: Sequence[float] | None = None) -> None:
    data = np.asarray(values, dtype=float)
    if weights is None:
        wanted = {"mean": data.mean(), "maximum": data.max()}
        wanted |= {f"p{p}": np.percentile(data, p) for p in (50, 90, 99)}
    else:
        order = np.argsort(data)
        data, share = data[order], np.asarray(weights, dtype=float)[order]
        share = share / share.sum()
        wanted = {"mean": float((data * share).sum()), "maximum": data.max()}
        wanted |= {f"p{p}": data[np.searchsorted(share.cumsum(), p / 100)] for p in (50, 90, 99)}
    for name, quantity in _known(lengths).items():
        assert quantity == pytest.approx(float(wanted[name]), rel=0.01), name


def _gaps(profile: WorkloadProfile, stamps: Sequence[float]) -> None:
    gaps = np.diff(np.sort(np.asarray(stamps)))
    assert profile.rate is not None
    assert profile.rate.si == pytest.approx(1 / gaps.mean(), rel=0.01)
    given = profile.interarrival_cv
    assert given is not None
    raw = [other.si for other in given.alternatives] or [given.si]
    assert raw[0] == pytest.approx(gaps.std() / gaps.mean(), rel=0.01)


def _seconds(stamp: str) -> float:
    whole, fraction = stamp.split(".")
    return datetime.fromisoformat(f"{whole}+00:00").timestamp() + float(f"0.{fraction}")


@pytest.mark.traces
@pytest.mark.parametrize(("name", "file"), [("azure-conversation-2023", "conv"), ("azure-code-2023", "code")])
def test_azure_profiles_equal_a_recomputation(catalog: Catalog, traces: Path, name: str, file: str) -> None:
    with (traces / "azure" / f"AzureLLMInferenceTrace_{file}.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    profile = catalog.workloads[name]
    _compare(profile.input_tokens, [float(row["ContextTokens"]) for row in rows])
    _compare(profile.output_tokens, [float(row["GeneratedTokens"]) for row in rows])
    _gaps(profile, [_seconds(row["TIMESTAMP"]) for row in rows])


def _prefix_hits(rows: Sequence[Mapping[str, object]]) -> float:
    seen: set[int] = set()
    hit = total = 0
    for row in rows:
        blocks, length = row["hash_ids"], row["input_length"]
        assert isinstance(blocks, list)
        assert isinstance(length, int)
        leading = next((index for index, block in enumerate(blocks) if block not in seen), len(blocks))
        hit += min(512 * leading, length)
        total += length
        seen.update(blocks)
    return hit / total


@pytest.mark.traces
@pytest.mark.parametrize("name", ["conversation", "synthetic"])
def test_mooncake_profiles_equal_a_recomputation(catalog: Catalog, traces: Path, name: str) -> None:
    with (traces / "mooncake" / f"{name}_trace.jsonl").open() as handle:
        rows = [json.loads(line) for line in handle]
    profile = catalog.workloads[f"mooncake-{name}"]
    _compare(profile.input_tokens, [row["input_length"] for row in rows])
    _compare(profile.output_tokens, [row["output_length"] for row in rows])
    _gaps(profile, [row["timestamp"] / 1000 for row in rows])
    assert profile.prefix_hit_rate is not None
    assert profile.prefix_hit_rate.si == pytest.approx(_prefix_hits(rows), rel=0.01)


@pytest.mark.traces
@pytest.mark.parametrize(
    ("name", "pool"), [("servegen-m-large", "language_m-large"), ("servegen-deepseek-r1", "reason_deepseek-r1")]
)
def test_servegen_profiles_equal_a_recomputation(catalog: Catalog, traces: Path, name: str, pool: str) -> None:
    profile = catalog.workloads[name]
    for side, lengths in (("input", profile.input_tokens), ("output", profile.output_tokens)):
        with gzip.open(traces / "servegen" / f"{pool}_{side}_tokens_pmf.json.gz", "rt") as handle:
            weights = json.load(handle)
        _compare(lengths, [float(key) for key in weights], [float(value) for value in weights.values()])
    with gzip.open(traces / "servegen" / f"{pool}_client_windows.csv.gz", "rt") as handle:
        rows = [(int(row["window_start_s"]), float(row["rate_rps"])) for row in csv.DictReader(handle)]
    windows = max(start for start, _ in rows) // 600 + 1
    assert profile.rate is not None
    assert profile.rate.si == pytest.approx(sum(rate for _, rate in rows) / windows, rel=0.01)


@pytest.mark.traces
def test_length_only_profiles_equal_a_recomputation(catalog: Catalog, traces: Path) -> None:
    from pyarrow import parquet  # noqa: PLC0415 (only needed here)

    table = parquet.read_table(traces / "agentic_coding" / "weka_requests_lengths.parquet")
    profile = catalog.workloads["weka-agentic-coding"]
    _compare(profile.input_tokens, table["in_tokens"].to_numpy())
    _compare(profile.output_tokens, table["out_tokens"].to_numpy())
    tokens, hits = table["in_tokens"].to_numpy(), table["hit_blocks"].to_numpy() * 64
    assert profile.prefix_hit_rate is not None
    assert profile.prefix_hit_rate.si == pytest.approx(np.minimum(tokens, hits).sum() / tokens.sum(), rel=0.01)
    with next((traces / "vidur").glob("arxiv_*.csv")).open() as handle:
        rows = list(csv.DictReader(handle))
    summaries = catalog.workloads["arxiv-summarization"]
    _compare(summaries.input_tokens, [float(row["num_prefill_tokens"]) for row in rows])
    _compare(summaries.output_tokens, [float(row["num_decode_tokens"]) for row in rows])
