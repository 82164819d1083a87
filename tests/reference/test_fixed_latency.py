"""Launches of the layers and host time of a step against measured time per token of one to four users."""

from __future__ import annotations

import numpy as np
import pytest
from validation.check import SAMPLE

from suanli.validation.loads import predict_row
from suanli.validation.measured import read_measured
from suanli.validation.predict import Prepared, prepare
from suanli.validation.report import cases_of, facts

FEW = 4.0  # users: weights are read once and little else is done
METRIC = "tpot_p50_ms"


@pytest.fixture(scope="module")
def rows() -> list[Prepared]:
    """Rows of InferenceX and Neuron with one to four users on one instance, without drafts."""
    chosen = [
        row
        for row in read_measured(SAMPLE)
        if 0.0 < (row.number("concurrency") or 0.0) <= FEW
        and METRIC in row.measured()
        and not row.speculative
        and row.text("mode") == "aggregated"
        and row.text("source") in ("inferencex-api", "inferencex-blog", "aws-neuron")
    ]
    found, refused = prepare(cases_of(chosen, facts())[0])
    assert not refused
    return found


def errors(rows: list[Prepared], **without: float) -> np.ndarray:
    """max(predicted / measured, measured / predicted) - 1, with some figures of the engine set to other values."""
    logs = [
        np.log(predict_row(one, one.case.engine.with_values(**without))[METRIC] / one.case.row.measured()[METRIC])
        for one in rows
    ]
    return np.expm1(np.abs(logs))


def test_time_per_token_of_few_users(rows: list[Prepared]) -> None:
    assert len(rows) >= 12
    assert np.median(errors(rows)) < 0.15


def test_launches_of_the_layers_and_host_time_are_each_needed(rows: list[Prepared]) -> None:
    """Without both the prediction is far off; without the launches alone it is off by more than it is now."""
    whole = np.median(errors(rows))
    assert np.median(errors(rows, kernel_factor=0.0)) > 1.5 * whole
    assert np.median(errors(rows, kernel_factor=0.0, host_s=0.0, host_per_request_s=0.0)) > 0.5
