"""How much of a datasheet a chip delivers: efficiencies and fixed latencies by chip family, from calibration data.

A family with measurements has its own file in ``data/calibration``; every other chip gets the file of its
architecture, whose ranges are as wide as the families differ.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from suanli.catalog.schema import Architecture, Chip, Record
from suanli.quantity import Number, Quantity, Seconds

Evidence = Literal["measured_operators", "fitted_serving", "pooled", "datasheet", "datasheet_incomplete"]


class Efficiency(Record):
    """Efficiencies [fraction of datasheet] and latencies [s] of one chip family."""

    schema_version: Literal[1]
    family: str
    architecture: Architecture
    evidence: Evidence
    tile: tuple[int, int]  # rows x columns that a matrix unit computes at once
    matmul: Number  # largest matrix products, of dense peak
    grouped_matmul: Number  # routed experts, of dense peak
    attention: Number  # prefill attention, of dense 16-bit peak
    memory: Number  # weight streaming, of peak bandwidth
    kv_memory: Number  # KV-cache reading, of peak bandwidth
    link: Number  # large collectives, of one-way link bandwidth
    kernel_s: Seconds  # shortest kernel inside a captured graph, start to start
    collective_s: Seconds  # shortest collective over two chips inside a captured graph
    idle_power: Number  # of chip power, powered and waiting
    memory_power: Number  # of chip power, added when memory is fully busy
    compute_power: Number  # of chip power, added when the matrix units are fully busy
    # Expert exchange beyond 8 chips: usable bandwidth falls as (chips / 8) ^ -exchange_decay; None where never seen.
    exchange_decay: Number | None = None
    notes: tuple[str, ...] = ()

    def bounds(self, name: str) -> tuple[float, float, float]:
        """(low, best, high) of one number in SI."""
        quantity: Quantity = getattr(self, name)
        low, high = quantity.si_range
        return low, quantity.si, high


def efficiency_of(chip: Chip, profiles: dict[str, Efficiency]) -> Efficiency:
    """Profile of the chip's family, else of its architecture. Raises KeyError when neither exists."""
    if chip.family in profiles:
        return profiles[chip.family]
    return profiles[chip.compute.architecture]


def calibration_folder(data: Path) -> Path:
    """Folder of the efficiency files inside the catalog data."""
    return data / "calibration"
