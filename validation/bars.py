"""Groups of measured rows that are judged apart, and the error that each may have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from suanli.validation.deployment import Case

THROUGHPUT, TPOT, TTFT = "output_tok_s_per_chip", "tpot_p50_ms", "ttft_p50_ms"
PERCENT = 100.0


def _nvidia(case: Case) -> bool:
    return case.chip.vendor.lower() == "nvidia" and case.chip.id != "nvidia-h20"


def _source(case: Case, *names: str) -> bool:
    return case.row.text("source") in names


def _plain(case: Case) -> bool:
    return not case.row.speculative and not _source(case, "gpustack-lab") and not case.load.startswith("mlperf")


def _together(case: Case) -> bool:
    return case.row.text("mode") == "aggregated"


@dataclass(frozen=True)
class Group:
    """Rows of one kind; limits are (median, p90) of the factor error in percent per metric."""

    name: str
    holds: Callable[[Case], bool]
    limits: dict[str, tuple[float, float]]


def easy_first_token(case: Case) -> bool:
    """At most 64 users on an instance and attention not data-parallel."""
    return case.users / case.pools[-1].instances <= 64.0 and all(pool.place[2] == 1 for pool in case.pools)


GROUPS = (
    Group(
        "InferenceX DeepSeek-R1, NVIDIA, aggregated",
        lambda c: _plain(c) and _together(c) and _nvidia(c) and _source(c, "inferencex-api"),
        {THROUGHPUT: (9, 30), TPOT: (8, 28), TTFT: (35, 110)},
    ),
    Group(
        "TensorRT-LLM offline tables",
        lambda c: _plain(c) and _source(c, "trtllm-perf-overview"),
        {THROUGHPUT: (12, 40)},
    ),
    Group(
        "InferenceX DeepSeek-R1, disaggregated",
        lambda c: _plain(c) and not _together(c) and _source(c, "inferencex-api"),
        {THROUGHPUT: (14, 55), TPOT: (13, 45), TTFT: (60, 250)},
    ),
    Group(
        "NIM, TPU v7, blog models",
        lambda c: (
            _plain(c)
            and _together(c)
            and (_nvidia(c) or c.chip.family == "tpu")
            and _source(c, "nvidia-nim", "inferencex-tpu", "tpu-recipes", "inferencex-blog")
        ),
        {THROUGHPUT: (13, 35), TPOT: (13, 32), TTFT: (45, 150)},
    ),
    Group(
        "AMD, Ascend, Trainium, H20, Gaudi",
        lambda c: _plain(c) and _together(c) and not _nvidia(c) and c.chip.family != "tpu",
        {THROUGHPUT: (16, 50), TPOT: (17, 50), TTFT: (50, 200)},
    ),
    Group("GPUStack field runs", lambda c: _source(c, "gpustack-lab"), {}),
    Group("MLPerf offline", lambda c: c.load == "mlperf_offline", {THROUGHPUT: (16, 45)}),
    Group("MLPerf server and interactive", lambda c: c.load in ("mlperf_server", "mlperf_interactive"), {}),
    Group("speculative decoding", lambda c: c.row.speculative and not _source(c, "gpustack-lab"), {}),
    Group("dstack prefill and decode ratios", lambda c: _source(c, "dstack-pd-ratio"), {}),
)
UNSEEN_FAMILY = {THROUGHPUT: (24.0, 70.0), TPOT: (26.0, 70.0), TTFT: (60.0, 250.0)}
COVERAGE, REGRET = 0.85, 0.025
INSIDE, LEAST_INSIDE = (0.75, 0.85), 0.65


def group_of(case: Case) -> str:
    """Name of the first group that a row belongs to."""
    return next((group.name for group in GROUPS if group.holds(case)), "other rows")
