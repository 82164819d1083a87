"""Running a simulation: checked input, one of the two cores, records out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from suanli.serving.config import Cluster, EngineConfig, Recording
from suanli.serving.fast import run_fast
from suanli.serving.reference_cluster import ReferenceCluster
from suanli.serving.setup import prepare
from suanli.serving.summary import Result

if TYPE_CHECKING:
    from suanli.mapping.step_table import StepTable
    from suanli.workload.requests import Requests


def simulate(
    requests: Requests,
    timer: StepTable,
    engine: EngineConfig,
    cluster: Cluster | None = None,
    recording: Recording | None = None,
    core: Literal["fast", "reference"] = "fast",
) -> Result:
    """Serve `requests` on replicas of one engine whose steps cost what `timer` says.

    Deterministic: the same input gives the same output, bit for bit, from either core. Raises ConfigError.
    """
    setup = prepare(requests, timer, engine, cluster or Cluster(), recording or Recording())
    return Result(setup, run_fast(setup) if core == "fast" else ReferenceCluster(setup).run())
