"""Pictures of the theory pages: ``python -m validation.operators.pictures --wheel DIR``, into docs/theory/figures."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from suanli.catalog.loader import DATA
from suanli.chip.efficiency import calibration_folder
from suanli.chip.formats import FORMATS
from suanli.chip.lane import Lane
from suanli.chip.packs import packs_of
from suanli.chip.work import decode_work, matmul_work
from suanli.fabric.lane import collectives_of
from suanli.report.svg import LogAxis, axis_over, element, text
from validation.operators.fit import fit_rows, rounded
from validation.operators.fit_collectives import sweeps
from validation.operators.rows import ChipFacts, Rows, chip_facts, kinds_by_name, lanes_of, take

Array = NDArray[np.float64]
HERE = Path(__file__).parent
OUT = Path(__file__).parents[2] / "docs" / "theory" / "figures"
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 560.0, 400.0, 74.0, 14.0, 30.0, 48.0
COLOURS = ("#3b6fb6", "#d1663b", "#5a9e57", "#8a62b0")
MICRO = 1e6
SHOWN = 150  # dots per group, enough to see the spread
LARGE_BYTES = 16e6  # smaller products mostly show their launch


@dataclass(frozen=True)
class Group:
    """Dots and the lines drawn in one colour; `dashed` is a bound."""

    name: str
    dots: tuple[Array, Array]
    line: tuple[Array, Array] | None = None
    dashed: tuple[Array, Array] | None = None


@dataclass(frozen=True)
class Picture:
    """A log-log picture; `equal` draws the diagonal and a band of 20 %."""

    title: str
    x: str
    y: str
    groups: Sequence[Group]
    equal: bool = False
    legend: tuple[float, float] = field(default=(LEFT + 10, TOP + 12))

    def axes(self) -> tuple[LogAxis, LogAxis]:
        """Axes that hold all dots and lines."""
        parts = [part for one in self.groups for part in (one.dots, one.line, one.dashed) if part is not None]
        across = [float(value) for part in parts for value in part[0]]
        up = [float(value) for part in parts for value in part[1]]
        if self.equal:
            across = up = across + up
        return axis_over(across, LEFT, WIDTH - RIGHT), axis_over(up, HEIGHT - BOTTOM, TOP)

    def svg(self) -> str:
        """The picture."""
        x, y = self.axes()
        body = [*frame(self, x, y), *(self._diagonal(x, y) if self.equal else ())]
        for colour, group in zip(COLOURS, self.groups, strict=False):
            body += marks(group, colour, x, y)
        for index, (colour, group) in enumerate(zip(COLOURS, self.groups, strict=False)):
            left, top = self.legend[0], self.legend[1] + 15 * index
            body += [element("circle", cx=left, cy=top - 4, r=3, fill=colour)]
            body += [text(group.name, left + 8, top, font_size="11")]
        white = element("rect", width=WIDTH, height=HEIGHT, fill="white")
        return element(
            "svg", white, *body, xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {WIDTH:.0f} {HEIGHT:.0f}",
            font_family="sans-serif",
        )  # fmt: skip

    @staticmethod
    def _diagonal(x: LogAxis, y: LogAxis) -> list[str]:
        ends = np.array([x.low * 1.25, x.high / 1.25])
        return [
            path(ends, ends * factor, x, y, stroke="#888888", stroke_dasharray=dash)
            for factor, dash in ((1.0, "none"), (1.2, "4 3"), (1 / 1.2, "4 3"))
        ]


def path(across: Array, up: Array, x: LogAxis, y: LogAxis, **style: str | float) -> str:
    """A line through points."""
    places = " ".join(f"{x.at(a):.1f},{y.at(b):.1f}" for a, b in zip(across.tolist(), up.tolist(), strict=True))
    return element("polyline", points=places, fill="none", **style)


def marks(group: Group, colour: str, x: LogAxis, y: LogAxis) -> list[str]:
    """Dots and lines of one group."""
    found = [
        element("circle", cx=x.at(a), cy=y.at(b), r=2.2, fill=colour, fill_opacity="0.6")
        for a, b in zip(group.dots[0].tolist(), group.dots[1].tolist(), strict=True)
    ]
    if group.line is not None:
        found.append(path(*group.line, x, y, stroke=colour, stroke_width=1.6))
    if group.dashed is not None:
        found.append(path(*group.dashed, x, y, stroke=colour, stroke_dasharray="5 4"))
    return found


def frame(picture: Picture, x: LogAxis, y: LogAxis) -> list[str]:
    """Grid, ticks and labels."""
    middle = (TOP + HEIGHT - BOTTOM) / 2
    found = [text(picture.title, LEFT, 18, font_size="13", font_weight="bold")]
    found += [text(picture.x, (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, text_anchor="middle", font_size="12")]
    turned = f"rotate(-90 14 {middle:.0f})"
    found += [text(picture.y, 14, middle, text_anchor="middle", font_size="12", transform=turned)]
    for value in x.ticks:
        across = x.at(value)
        found += [element("line", x1=across, x2=across, y1=TOP, y2=HEIGHT - BOTTOM, stroke="#e4e4e4")]
        found += [text(f"{value:g}", across, HEIGHT - BOTTOM + 16, text_anchor="middle", font_size="11")]
    for value in y.ticks:
        up = y.at(value)
        found += [element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=up, y2=up, stroke="#e4e4e4")]
        found += [text(f"{value:g}", LEFT - 6, up + 4, text_anchor="end", font_size="11")]
    return found


def rows_of(wheel: Path, system: str, op: str, dtype: str, engine: str) -> Rows:
    """Plausible rows of one lane. Raises LookupError when there are none."""
    facts = chip_facts(HERE)[system]
    for kind in kinds_by_name([op]):
        for rows in lanes_of(wheel, system, facts, kind):
            if (rows.table.op, rows.table.dtype, rows.table.engine) == (op, dtype, engine):
                return rows
    raise LookupError(f"{system} has no rows of {op} {dtype} under {engine}")


def agreement(wheel: Path, op: str, title: str, lanes: Sequence[tuple[str, str, str, str]]) -> Picture:
    """Measured against predicted on shapes that the fit did not see; lanes are (name, system, dtype, engine)."""
    groups = []
    rng = np.random.default_rng(0)
    for name, system, dtype, engine in lanes:
        rows = rows_of(wheel, system, op, dtype, engine)
        lane = rounded(fit_rows(rows, np.flatnonzero(~rows.held_out)))
        unseen = np.flatnonzero(rows.held_out)
        chosen = rng.choice(unseen, min(SHOWN, len(unseen)), replace=False)
        predicted = lane.time(take(rows.work, chosen), rows.rate, rows.bandwidth)
        groups.append(Group(name, (rows.table.seconds[chosen] * MICRO, predicted * MICRO)))
    return Picture(title, "measured [us]", "predicted [us]", groups, equal=True)


def picked_lane(facts: ChipFacts, op: str, dtype: str, engine: str) -> Lane:
    """Lane of a pack."""
    return packs_of(calibration_folder(DATA), facts.id)[engine].by_name()[op, dtype].lane()


def matmul_rows(wheel: Path, system: str, dtype: str, engine: str, shapes: Sequence[tuple[int, int]]) -> Picture:
    """Time over rows of the input for some weight matrices: measured, predicted, and the bound of the datasheet."""
    rows = rows_of(wheel, system, "matmul", dtype, engine)
    lane = picked_lane(chip_facts(HERE)[system], "matmul", dtype, engine)
    size = {name: rows.table.columns[name].astype(float) for name in ("m", "n", "k")}
    m = np.geomspace(1.0, 32768.0, 120)
    groups = []
    for n, k in shapes:
        here = (size["n"] == n) & (size["k"] == k)
        form = FORMATS[dtype]
        work = matmul_work(m, n, k, weight_bytes=form.weight_bytes, activation_bytes=form.activation_bytes)
        bound = np.maximum(work.flops / rows.rate, work.bytes / rows.bandwidth)
        dots = (size["m"][here], rows.table.seconds[here] * MICRO)
        curve = (m, lane.time(work, rows.rate, rows.bandwidth) * MICRO)
        groups.append(Group(f"n = {n}, k = {k}", dots, curve, (m, bound * MICRO)))
    return Picture(f"Matrix product, {system}, {engine}, {dtype}", "rows of the input", "time [us]", groups)


def decode_context(wheel: Path, system: str, engine: str, batches: Sequence[int]) -> Picture:
    """Time of decode attention over context, 32 query heads on 8 KV heads of 128."""
    rows = rows_of(wheel, system, "decode", "bf16", engine)
    lane = picked_lane(chip_facts(HERE)[system], "decode", "bf16", engine)
    columns = {name: values.astype(float) for name, values in rows.table.columns.items()}
    shape = (columns["query_heads"] == 32) & (columns["kv_heads"] == 8) & (columns["head_dim"] == 128)
    shape &= columns["window"] == 0
    context = np.geomspace(16.0, 131072.0, 100)
    groups = []
    for batch in batches:
        here = shape & (columns["batch"] == batch)
        work = decode_work(float(batch), context, 32.0, 8.0, qk_dim=128.0, v_dim=128.0, kv_bytes=2.0)
        dots = (columns["context"][here] + 1.0, rows.table.seconds[here] * MICRO)
        curve = (context, lane.time(work, rows.rate, rows.bandwidth) * MICRO)
        groups.append(Group(f"batch {batch}", dots, curve, (context, work.bytes / rows.bandwidth * MICRO)))
    return Picture(f"Decode attention, {system}, {engine}", "tokens of context", "time [us]", groups)


def roofline(wheel: Path, lanes: Sequence[tuple[str, str]], dtype: str, engine: str) -> Picture:
    """Rate that measured products reach over FLOP per byte, under the roof of each chip."""
    rng = np.random.default_rng(0)
    groups = []
    for name, system in lanes:
        rows = rows_of(wheel, system, "matmul", dtype, engine)
        large = np.flatnonzero(rows.work.bytes > LARGE_BYTES)
        chosen = rng.choice(large, min(2 * SHOWN, len(large)), replace=False)
        work = take(rows.work, chosen)
        intensity = np.geomspace(0.5, 4000.0, 80)
        roof = (intensity, np.minimum(rows.rate, intensity * rows.bandwidth) / 1e12)
        dots = (work.flops / work.bytes, work.flops / rows.table.seconds[chosen] / 1e12)
        groups.append(Group(name, dots, dashed=roof))
    title = f"Products of more than 16 MB, {engine}, {dtype}"
    return Picture(title, "FLOP per byte", "TFLOP/s", groups)


def all_reduce(wheel: Path, system: str, ranks: int, libraries: Sequence[str]) -> Picture:
    """Time of an all-reduce over its size, by library, and what the link allows."""
    facts = chip_facts(HERE)[system]
    links = yaml.safe_load((HERE / "links.yaml").read_text(encoding="utf-8"))
    bandwidth = links["one_way_gb_s"][system] * 1e9
    pack = collectives_of(calibration_folder(DATA), facts.id)
    if pack is None:
        raise LookupError(f"{facts.id} has no collective pack")
    measured = {sweep.library: sweep for sweep in sweeps(wheel, system) if sweep.op == "all_reduce"}
    groups = []
    for library in libraries:
        sweep = measured[library]
        here = sweep.ranks == ranks
        size = np.geomspace(sweep.size[here].min(), sweep.size[here].max(), 100)
        curve = pack.for_engine(library)["all_reduce"].time(float(ranks), size, bandwidth)
        bound = 2.0 * (ranks - 1.0) / ranks * size / bandwidth
        dots = (sweep.size[here], sweep.seconds[here] * MICRO)
        groups.append(Group(library, dots, (size, curve * MICRO), (size, bound * MICRO)))
    return Picture(f"All-reduce over {ranks} chips, {system}", "bytes per chip", "time [us]", groups)


def pictures(wheel: Path) -> Mapping[str, Picture]:
    """All pictures by file name."""
    chips = (("A100", "a100_sxm"), ("H200", "h200_sxm"), ("B200", "b200_sxm"))
    agree = [(name, system, "bf16", "vllm") for name, system in chips]
    return {
        "matmul-rows": matmul_rows(wheel, "h200_sxm", "bf16", "vllm", [(1024, 1024), (4096, 4096), (10240, 8192)]),
        "matmul-unseen": agreement(wheel, "matmul", "Matrix products of shapes that were not fitted", agree),
        "matmul-roofline": roofline(wheel, chips, "bf16", "vllm"),
        "attention-decode": decode_context(wheel, "h200_sxm", "vllm", [1, 16, 128]),
        "attention-unseen": agreement(wheel, "decode", "Decode attention of shapes that were not fitted", agree),
        "all-reduce": all_reduce(wheel, "h200_sxm", 8, ["nccl", "vllm", "sglang"]),
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wheel", type=Path, required=True, help="folder of pip install --target")
    given = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    for name, picture in pictures(given.wheel).items():
        (OUT / f"{name}.svg").write_text(picture.svg() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
