"""Anchor points: measured deployments with their citation in validation/anchors.csv (source, address, date per row).

InferenceX (DeepSeek-R1 on MI355X, H200, B200; disaggregated on GB200), InferenceX TPU v7, MLPerf Inference v4.1 to v6.0
offline (the row nearest the median of the submitters), SGLang on 96 H100, AWS Neuron on Trainium2.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from suanli.search.plan import plan
from suanli.search.study import Study
from suanli.validation.report import validate_inference

ANCHORS = Path(__file__).parents[2] / "validation" / "anchors.csv"
FACTOR = 1.5
METRICS = ("output_tok_s_per_chip", "tpot_p50_ms", "decode_tok_s_per_chip", "prefill_tok_s_per_chip")


@pytest.fixture(scope="module")
def pairs():
    found = validate_inference(ANCHORS)
    assert not found.refused
    return {(pair.config_id, pair.metric): pair for pair in found.pairs}


def test_anchors_are_within_the_factor(pairs):
    off = {
        key: round(pair.predicted / pair.measured, 2)
        for key, pair in pairs.items()
        if pair.metric in METRICS
        if not 1 / FACTOR <= pair.predicted / pair.measured <= FACTOR
    }
    assert not off


def test_chips_are_ranked_as_measured(catalog):
    # InferenceX, DeepSeek-R1 FP8 at 64 users, total tokens/s per chip: H200 1,312 (ix-0104), B200 2,215 (ix-0029);
    # MLPerf Llama-2-70B offline: H100 3,018, H200 3,913, B200 12,712 tokens/s per chip; GB200 is not below B200 in the
    # TensorRT-LLM tables (median ratio 1.05 of 31 pairs).
    study = Study.from_mapping(
        {
            "schema_version": 1,
            "model": "qwen3-235b-a22b",
            "weights": "fp8",
            "workload": {"profile": "azure-conversation-2023", "rate": "400 request/s"},
            "slo": {"ttft_p99": "2 s", "tpot_p99": "50 ms"},
            "systems": ["nvidia-hgx-h100-8", "nvidia-hgx-h200-8", "nvidia-dgx-b200", "nvidia-gb200-nvl72"],
        },
        "test",
    )
    found = plan(study, catalog=catalog)
    rate = {one.systems[0]: one.value("max_total_tok_s_per_chip") for one in found if len(one.systems) == 1}
    assert rate["nvidia-hgx-h100-8"] < rate["nvidia-hgx-h200-8"] < rate["nvidia-dgx-b200"] <= rate["nvidia-gb200-nvl72"]
