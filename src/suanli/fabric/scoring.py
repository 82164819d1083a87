"""Rows of collective measurements: what a row ran, and the prediction of the number that it reports.

Columns are those of a collective table: system, chip, ranks, nodes, fabric, library, collective, payload_bytes, metric
(busbw, latency, bottleneck_bw, bw, rdma_bw), value, unit. What a row does not say is refused with the reason.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from suanli.catalog.schema import Record
from suanli.fabric.collectives import all_gather_time
from suanli.fabric.lane import MOVED, Collective, CollectivePack, CollectiveRecord
from suanli.fabric.topology import Network, NetworkLevel
from suanli.scoring import Predicted, RefusedError, within

UNITS = {"GB/s": 1e9, "us": 1e-6}
RATES = ("busbw", "bottleneck_bw", "bw", "rdma_bw")


class Sweep(Record):
    """A published sweep: what rows of it look like, and the lane fitted to it.

    bandwidth_gb_s : one way per chip that its efficiency refers to. One lane for all sizes and ranks of the sweep.
    """

    system: str
    library: str
    chip: str
    bandwidth_gb_s: float
    lane: CollectiveRecord


class SweepFile(Record):
    """All fitted sweeps, and the link share of chips on which nothing was fitted."""

    schema_version: Literal[1]
    sources: tuple[str, ...]
    host_timed: tuple[str, ...]  # sources whose every call was started and timed by the host
    sweeps: tuple[Sweep, ...]


@lru_cache(maxsize=8)
def load_sweeps(folder: Path) -> SweepFile:
    """Read the sweeps of a calibration folder. Raises ValueError naming the file."""
    path = folder / "library" / "sweeps" / "collectives.json"
    try:
        return SweepFile.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError) as error:
        raise ValueError(f"{path}: cannot be read as collective sweeps ({error})") from None


@dataclass(frozen=True)
class CollectiveCase:
    """One row in numbers: bytes of the payload, what its metric counts per second (None: it is a time)."""

    op: Collective
    ranks: float
    nodes: float
    payload: float
    counted: float | None
    unit: float

    def value(self, seconds: float) -> float:
        """The reported number for a call of this length."""
        return (seconds if self.counted is None else self.counted / seconds) / self.unit

    def seconds(self, value: float) -> float:
        """The length of a call that reports this number."""
        return value * self.unit if self.counted is None else self.counted / (value * self.unit)


# Ranks that the text around a table gives where its rows do not (ISCA 2024 paper: four A100 of a DGX).
RANKS_IN_TEXT = {"A100 node (ISCA24 AE)": 4.0}


def case_of(row: Mapping[str, str]) -> CollectiveCase:
    """Read one row. Raises RefusedError."""
    if row.get("kind") == "spec":
        raise RefusedError("a specification, not a measurement")
    op = row["collective"]
    if op not in MOVED:
        raise RefusedError(f"no model of collective '{op}'")
    ranks = _number(row, "ranks", RANKS_IN_TEXT.get(row["system"]))
    payload = _number(row, "payload_bytes", None)
    metric, unit = row["metric"], UNITS.get(row["unit"].split(" ")[0])
    if unit is None or (metric not in RATES and metric != "latency"):
        raise RefusedError(f"metric '{metric}' in '{row['unit']}' is not scored")
    counted: float | None = None
    if metric == "busbw":
        counted = payload * float(MOVED[op](ranks))  # type: ignore[arg-type]
    elif metric in RATES:
        counted = payload
    nodes = float(row["nodes"]) if row.get("nodes") else 1.0
    return CollectiveCase(op, ranks, nodes, payload, counted, unit)  # type: ignore[arg-type]


def _number(row: Mapping[str, str], name: str, stated: float | None) -> float:
    text = row.get(name) or ""
    try:
        return float(text)
    except ValueError:
        if stated is not None:
            return stated
        raise RefusedError(f"{name} '{text}' is not a number: the case is not known") from None


# Without any sweep of the kind: closed form at the share of link bandwidth that systolic machines and GPUs reach.
CLOSED_FORM_SHARE, CLOSED_FORM_SPREAD = 0.8, 1.5


def predict_collective(row: Mapping[str, str], pack: CollectivePack | None, sweeps: SweepFile) -> Predicted:
    """Predict one row. Raises RefusedError.

    A lane fitted to the published sweep that the row belongs to comes first, then inside one node the chip's own lanes,
    then the closed form where the row describes its links.
    """
    case = case_of(row)
    for sweep in sweeps.sweeps:
        if (sweep.system, sweep.library, sweep.lane.op) == (row["system"], row["library"], case.op):
            seconds = float(sweep.lane.lane().time(case.ranks, case.payload, sweep.bandwidth_gb_s * 1e9))
            return within(case.value(seconds), sweep.lane.spread, "fitted_sweep")
    if pack is not None and case.nodes == 1 and not case.op.startswith("ep_"):
        parts = _ring_parts(row, case.op)
        records = [lane for lane in pack.lanes if lane.op in parts and lane.library == "nccl"]
        if len(records) == len(parts):
            link = pack.bandwidth_gb_s * 1e9
            seconds = sum(float(record.lane().time(case.ranks, case.payload, link)) for record in records)
            seconds += pack.host_call_us * 1e-6 if _host_timed(row, sweeps) else 0.0
            spread = max(record.spread for record in records)
            return within(case.value(seconds), spread, "measured_operators")
    line = re.search(r"([\d.]+) ?GB/s/link", row["fabric"])
    if case.op == "all_gather" and line is not None and "no wraparound" in row["system"]:
        level = NetworkLevel("mesh", (int(case.ranks),), False, 2e9 * float(line.group(1)), 1e-6)
        seconds = float(all_gather_time(Network((level,), CLOSED_FORM_SHARE, 0.0), case.ranks, case.payload))
        return within(case.value(seconds), CLOSED_FORM_SPREAD, "closed_form")
    raise RefusedError(f"no sweep of {case.op} by '{row['library']}' on '{row['system']}' and no lanes of the chip")


def _ring_parts(row: Mapping[str, str], op: Collective) -> tuple[Collective, ...]:
    """Lanes that make up a call: an all-reduce kept to rings is a reduce-scatter and a gather."""
    rings = "ring" in row.get("notes", "").lower() and "nvls from" not in row.get("notes", "").lower()
    return ("reduce_scatter", "all_gather") if op == "all_reduce" and rings else (op,)


def _host_timed(row: Mapping[str, str], sweeps: SweepFile) -> bool:
    """Whether each call of a row was started and timed by the host (nccl-tests loops over calls instead)."""
    timed = any(name in row["source"] for name in sweeps.host_timed)
    return timed and "nccl-tests" not in row["library"]
