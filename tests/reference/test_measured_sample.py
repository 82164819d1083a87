"""A sample of measured deployments, predicted: errors may not grow over what the shipped profiles reach."""

from __future__ import annotations

from collections import Counter

import pytest
from validation.bars import GROUPS, group_of
from validation.check import SAMPLE, THRESHOLDS, failures

from suanli.validation.measured import read_measured, unscorable
from suanli.validation.report import Validation, cases_of, facts, validate_inference


@pytest.fixture(scope="module")
def found() -> Validation:
    return validate_inference(SAMPLE)


def test_errors_hold_the_thresholds(found: Validation) -> None:
    cases, _ = cases_of(found.rows, facts())
    assert failures(found, {case.row.id: case for case in cases}, THRESHOLDS, "sample") == []


def test_a_threshold_that_is_not_held_fails(found: Validation, tmp_path) -> None:
    limits = tmp_path / "thresholds.toml"
    limits.write_text('[sample]\ncoverage = 1.1\n[sample.groups."MLPerf offline"]\n'
                      'output_tok_s_per_chip = { median = 0.001 }\n')  # fmt: skip
    cases, _ = cases_of(found.rows, facts())
    lines = failures(found, {case.row.id: case for case in cases}, limits, "sample")
    assert len(lines) == 2
    assert "coverage" in lines[0]
    assert "MLPerf offline, output_tok_s_per_chip: median" in lines[1]


def test_every_group_has_rows_and_every_row_a_source() -> None:
    rows = read_measured(SAMPLE)
    cases, refused = cases_of(rows, facts())
    assert not refused
    counts = Counter(group_of(case) for case in cases)
    assert all(counts[group.name] >= 2 for group in GROUPS)
    assert len({case.chip.id for case in cases}) >= 15
    assert all(row.text("source_url_or_path") for row in rows)
    assert not [row.id for row in rows if unscorable(row)]


def test_measurements_found_after_the_fits() -> None:
    """TensorRT-LLM 0.14, tables that no fit has seen: offline throughput, and TPOT under Poisson arrivals."""
    found = validate_inference(SAMPLE.parent / "later.csv")
    assert not found.refused
    scores = found.metrics()
    throughput, tpot = scores["output_tok_s_per_chip"], scores["tpot_mean_ms"]
    assert throughput.median_error is not None
    assert throughput.median_error < 0.10
    assert throughput.p90_error is not None
    assert throughput.p90_error < 0.25
    assert tpot.median_error is not None
    assert tpot.median_error < 0.20
    assert tpot.spearman is not None
    assert tpot.spearman > 0.9
