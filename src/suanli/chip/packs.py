"""Calibration packs: fitted lanes of one chip under one engine, small JSON files made by ``validation.operators``.

A pack says what was measured (versions, kernels, rows), what the fit gave, and how well it predicts shapes that it was
not fitted to. Surfaces are stored as signed bytes times a step, in base64.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from suanli.catalog.schema import Record
from suanli.chip.lane import Lane
from suanli.surface import decode

PackEvidence = Literal["measured_operators", "pooled"]


class LaneRecord(Record):
    """One lane: an operator kind in one number format.

    launch_us : shortest kernel inside a captured graph [us]. compute, memory : achieved fraction of peak. knots : log2
    of each coordinate. values : signed bytes, base64; surface = values x step [log of measured over physical time].
    median_error, p90_error : factor error - 1 on held-out shapes. spread : 80 % of them lie within this factor.
    clock_mhz : of a pooled lane, the clock that launch_us holds at (a launch is a number of cycles).
    """

    op: str
    dtype: str
    version: str
    kernels: tuple[str, ...]
    rows: int
    dropped: int
    launch_us: float
    compute: float
    memory: float
    knots: tuple[tuple[float, ...], ...]
    step: float
    values: str
    median_error: float
    p90_error: float
    spread: float
    clock_mhz: float | None = None

    def lane(self) -> Lane:
        """Lane ready to be evaluated."""
        surface = decode(self.knots, self.step, self.values)
        return Lane(self.launch_us * 1e-6, self.compute, self.memory, surface)


class Pack(Record):
    """All lanes of one chip under one engine, or pooled over the chips of an architecture (`chip` names it)."""

    schema_version: Literal[1]
    chip: str
    engine: str
    evidence: PackEvidence
    source: str
    lanes: tuple[LaneRecord, ...]

    def by_name(self) -> Mapping[tuple[str, str], LaneRecord]:
        """Lanes by (op, dtype)."""
        return {(lane.op, lane.dtype): lane for lane in self.lanes}


@lru_cache(maxsize=64)
def load_pack(path: Path) -> Pack:
    """Read one pack. Raises ValueError naming the file."""
    try:
        return Pack.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError) as error:
        raise ValueError(f"{path}: cannot be read as a calibration pack ({error})") from None


class Sibling(Record):
    """A chip that runs on the lanes of another one: same die, other memory or links."""

    of: str
    because: str


@lru_cache(maxsize=8)
def siblings(folder: Path) -> Mapping[str, Sibling]:
    """Chips without tables whose die was measured in another product."""
    path = folder / "siblings.json"
    if not path.is_file():
        return {}
    return {chip: Sibling.model_validate(entry) for chip, entry in json.loads(path.read_text("utf-8")).items()}


def measured_name(folder: Path, chip: str) -> str:
    """Chip whose packs apply: itself, or the one that has the same die."""
    same_die = siblings(folder).get(chip)
    return same_die.of if same_die is not None else chip


def packs_of(folder: Path, chip: str) -> dict[str, Pack]:
    """Packs of one chip (or its sibling, or a pooled architecture) by engine; empty when there are none.

    Lanes are fractions of peaks and bandwidth, so a sibling with faster memory gets its own times.
    """
    return {path.stem: load_pack(path) for path in sorted((folder / measured_name(folder, chip)).glob("*.json"))}
