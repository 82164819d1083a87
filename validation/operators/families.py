"""Efficiency files of the chip families from the packs: ``python -m validation.operators.families``.

A measured family gets the medians and ranges of its lanes. AMD families get the best published matrix products of
their chips, ``gpu`` the median over all families; what else a GPU reaches is pooled over the measured ones. Lines about
power, and kernel starts where none were timed, are kept as they stand in the files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from suanli.catalog.loader import DATA, load
from suanli.chip.efficiency import calibration_folder
from suanli.chip.packs import LaneRecord, packs_of
from suanli.fabric.lane import collectives_of

FOLDER = calibration_folder(DATA)
MEASURED = ("ampere", "hopper", "blackwell")
FIT = "suanli-operator-fit"
POWER = ("idle_power", "memory_power", "compute_power")
STARTS = ("kernel_s", "collective_s")  # first estimates stay where no kernel was timed

# What each number of a family file is in the packs: (op, dtypes, field of the lane).
PARTS: Mapping[str, tuple[str, tuple[str, ...], str]] = {
    "matmul": ("matmul", ("bf16",), "compute"),
    "grouped_matmul": ("experts", ("bf16", "fp8_block"), "compute"),
    "attention": ("prefill", ("bf16_kv_bf16",), "compute"),
    "memory": ("matmul", ("bf16",), "memory"),
    "kv_memory": ("decode", ("bf16",), "memory"),
    "kernel_s": ("stream", ("bf16",), "launch_us"),
}
# Best published matrix products over dense peak (16 bit), ml-engineering "maximum achievable matmul" table @744d01e:
# MI300X 668.4, MI325X 784.9, MI355X 1565 TFLOP/s; peaks from the catalog.
PUBLISHED = {"cdna3": {"amd-mi300x": 668.4e12, "amd-mi325x": 784.9e12}, "cdna4": {"amd-mi355x": 1565e12}}


@dataclass(frozen=True)
class Number:
    """Value and range of one entry."""

    value: float
    low: float
    high: float

    @staticmethod
    def of(values: Sequence[float]) -> Number:
        """Median and range."""
        return Number(float(np.median(values)), float(np.min(values)), float(np.max(values)))

    def scaled(self, factor: float) -> Number:
        """All three times a factor, fractions stay below 1."""
        return Number(*(min(x * factor, 1.0) for x in (self.value, self.low, self.high)))

    def line(self, name: str, kind: str, source: str, because: str) -> str:
        """YAML line; times are in microseconds."""
        unit = "us" if name.endswith("_s") else "fraction"
        figures = ", ".join(f"{key}: {getattr(self, key):.3g}" for key in ("value", "low", "high"))
        return f"{name}: {{{figures}, unit: {unit}, kind: {kind}, source: {source}, because: '{because}'}}"


def lanes(chips: Iterable[str]) -> list[LaneRecord]:
    """Lanes of all engines of some chips."""
    return [lane for chip in chips for pack in packs_of(FOLDER, chip).values() for lane in pack.lanes]


def numbers_of(chips: Sequence[str]) -> dict[str, Number]:
    """Entries that the packs of some chips give."""
    every = lanes(chips)
    found: dict[str, Number] = {}
    for name, (op, dtypes, field) in PARTS.items():
        values = [getattr(lane, field) for lane in every if lane.op == op and lane.dtype in dtypes]
        if not values and name == "kernel_s":  # no streaming kernel timed: the shortest products start as fast
            values = [lane.launch_us for lane in every if lane.op == "matmul" and lane.dtype == "bf16"]
        if values:
            found[name] = Number.of(values)
    packs = [pack for chip in chips if (pack := collectives_of(FOLDER, chip)) is not None]
    moves = [lane.efficiency for pack in packs for lane in pack.lanes if lane.library == "nccl"]
    starts = [lane.launch_us for pack in packs for lane in pack.lanes if lane.op == "all_reduce"]
    if moves:
        found["link"] = Number.of([min(move, 1.0) for move in moves])
        found["collective_s"] = Number.of(starts)
    return found


def pooled() -> tuple[dict[str, Number], list[str]]:
    """Entries pooled over every measured chip, and the chips."""
    chips = sorted(
        path.name
        for path in FOLDER.iterdir()
        if path.is_dir() and path.name not in ("collectives", "library") and not path.name.startswith("pooled")
    )
    return numbers_of(chips), chips


def kept_lines(path: Path, names: Sequence[str]) -> list[str]:
    """Lines of some entries as they stand in a file."""
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line.split(":")[0] in names]


def write(family: str, entries: Mapping[str, str], evidence: str, kept: Sequence[str]) -> None:
    """Write one family file from its lines; `kept` entries stay as they stand in it."""
    path = FOLDER / f"{family}.yaml"
    head = ["schema_version: 1", f"family: {family}", "architecture: gpu", f"evidence: {evidence}", "tile: [64, 64]"]
    path.write_text("\n".join([*head, *entries.values(), *kept_lines(path, kept)]) + "\n", encoding="utf-8")


def measured_entries(chips: Sequence[str]) -> dict[str, str]:
    """Lines of a family whose chips were measured."""
    because = f"median and range of the measured lanes of {', '.join(chips)}"
    return {name: number.line(name, "measured", FIT, because) for name, number in numbers_of(chips).items()}


def shared_entries(every: Mapping[str, Number], best: Number, source: str, because: str) -> dict[str, str]:
    """Lines of GPUs without tables: what products reach is given, attention and experts go with it."""
    ratio = best.value / every["matmul"].value
    scaled = "pooled over the measured GPUs, times what products reach here against the pool"
    found = {"matmul": best.line("matmul", "estimate", source, because)}
    for name in ("grouped_matmul", "attention"):
        found[name] = every[name].scaled(ratio).line(name, "estimate", FIT, scaled)
    for name in ("memory", "kv_memory", "link"):
        found[name] = every[name].line(name, "estimate", FIT, "pooled over the measured GPUs; range over chips")
    return found


def main() -> None:
    """Write the files."""
    catalog = load()
    every, chips = pooled()
    reached = {}
    for family in MEASURED:
        own = [chip for chip in chips if catalog.chip(chip).family == family]
        write(family, measured_entries(own), "measured_operators", POWER)
        reached[family] = numbers_of(own)["matmul"].value
    for family, products in PUBLISHED.items():
        shares = [
            rate / next(peak.rate.si for peak in catalog.chip(chip).peaks if peak.dtype == "bf16")
            for chip, rate in products.items()
        ]
        best = Number(float(np.sqrt(min(shares) * max(shares))), 0.9 * min(shares), 1.1 * max(shares))
        because = "best published products of the family over dense peak; a tenth more each way"
        reached[family] = best.value
        write(family, shared_entries(every, best, "us-mleng", because), "pooled", (*STARTS, *POWER))
    best = Number.of(list(reached.values()))
    because = f"median and range over families ({', '.join(reached)})"
    write("gpu", shared_entries(every, best, FIT, because), "pooled", (*STARTS, *POWER))


if __name__ == "__main__":
    main()
