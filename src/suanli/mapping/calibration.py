"""Which measurements stand behind the operator times of a chip under an engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from suanli.catalog.loader import DATA
from suanli.catalog.schema import Chip
from suanli.chip import Efficiency
from suanli.chip.kernels import Kernels, kernels_of
from suanli.chip.packs import LaneRecord, packs_of
from suanli.fabric.lane import Collective, CollectiveLane, collectives_of
from suanli.mapping.engine import Engine

FOLDER = DATA / "calibration"


@dataclass(frozen=True)
class Calibration:
    """Measured lanes of one chip under one engine, to be combined with the chip's peaks and bandwidth."""

    kernels: Kernels
    collectives: Mapping[Collective, CollectiveLane]


@lru_cache(maxsize=256)
def _calibration(
    chip: str, architecture: str, engine: str, family: Efficiency, clock: float | None
) -> Calibration | None:
    packs = packs_of(FOLDER, chip)
    pooled = packs_of(FOLDER, f"pooled-{architecture}")
    collectives = collectives_of(FOLDER, chip)
    if not packs and not pooled and collectives is None:
        return None
    kernels = kernels_of({}, 0.0, engine, packs, pooled, family, clock=clock)
    return Calibration(kernels, collectives.for_engine(engine) if collectives else {})


def calibration_of(chip: Chip, engine: str, family: Efficiency) -> Calibration | None:
    """Lanes for a chip under an engine; None where nothing was measured on it or on its architecture."""
    clock = chip.compute.clock
    hertz = clock.si if clock is not None and clock.known else None
    return _calibration(chip.lanes or chip.id, chip.compute.architecture, engine, family, hertz)


def engine_calibration(chip: Chip, engine: Engine, family: Efficiency) -> Calibration | None:
    """Lanes for a chip under an engine, with those that the engine runs from another engine's measurements."""
    found = calibration_of(chip, engine.lanes, family)
    choices = [one for one in engine.lane_choices if not one.families or chip.family in one.families]
    if found is None or not choices:
        return found
    own = dict(found.kernels.own)
    rivals: dict[tuple[str, str], LaneRecord] = {}
    for choice in choices:
        other = calibration_of(chip, choice.measured_under, family)
        key = choice.op, choice.dtype
        lane = other.kernels.own.get(key) if other is not None else None
        if lane is not None:
            (rivals if choice.where_faster and key in own else own)[key] = lane
    return replace(found, kernels=replace(found.kernels, own=own, rivals=rivals))


def evidence_of(operators: str, *, family: bool, chip: bool) -> str:
    """Class of evidence behind a prediction.

    operators : what stands behind the operator times (`evidence_class`). family, chip : whether the engine was fitted
    on serving runs of the chip's family, and of the chip itself.
    """
    if operators == "measured_operators" and family:
        return operators
    if chip:
        return "fitted_serving"
    return "datasheet" if operators == "datasheet" else "pooled"


def evidence_class(family: Efficiency, calibration: Calibration | None) -> str:
    """What stands behind the operator times: lanes measured on this chip, or what its family file rests on.

    A chip without lanes of its own runs on pooled ones, also where others of its family were measured.
    """
    if calibration is not None and (calibration.kernels.own or calibration.kernels.others):
        return "measured_operators"
    return "pooled" if family.evidence == "measured_operators" else family.evidence
