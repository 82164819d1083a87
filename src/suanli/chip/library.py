"""Kernels of libraries as published sweeps measured them (cuBLAS, FlashAttention, softmax ...): lanes by kernel name.

These are not what a serving engine runs in a captured graph: many were timed with the host in the loop, which is in
their launch. They score kernel measurements and fill the roofline pictures; plans do not use them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from suanli.catalog.schema import Record
from suanli.chip.packs import LaneRecord


class Library(Record):
    """Lanes of one chip with the figures that they are fractions of: dense peaks [FLOP/s], bandwidth [B/s].

    `names` are what tables call the chip. The op of a lane is the kernel's name, its dtype the precision of the rows.
    """

    schema_version: Literal[1]
    chip: str
    names: tuple[str, ...]
    peaks: dict[str, float]
    bandwidth: float
    facts_source: str
    sources: tuple[str, ...]
    lanes: tuple[LaneRecord, ...]

    def by_name(self) -> Mapping[tuple[str, str], LaneRecord]:
        """Lanes by (kernel, precision)."""
        return {(lane.op, lane.dtype): lane for lane in self.lanes}


@lru_cache(maxsize=8)
def libraries(folder: Path) -> Mapping[str, Library]:
    """All libraries of a calibration folder by lower-case chip name. Raises ValueError naming a broken file."""
    found: dict[str, Library] = {}
    for path in sorted((folder / "library").glob("*.json")):
        try:
            library = Library.model_validate(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, ValidationError) as error:
            raise ValueError(f"{path}: cannot be read as a kernel library ({error})") from None
        found |= {name.lower(): library for name in (library.chip, *library.names)}
    return found
