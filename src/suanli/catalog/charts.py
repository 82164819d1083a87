"""Two pictures of the catalog as SVG: memory bandwidth against FLOP/s, and scale-up domain against bandwidth.

Both are drawn here, so that the pictures in the documentation need nothing but this package.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from suanli.catalog import view
from suanli.catalog.loader import Catalog

WIDTH, HEIGHT = 1000, 680
LEFT, RIGHT, TOP, BOTTOM = 80, 170, 50, 60
# Colours that people with colour blindness can tell apart (Okabe and Ito, 2008); everyone else is grey
COLOURS = {
    "NVIDIA": "#009E73",
    "AMD": "#D55E00",
    "Google": "#0072B2",
    "AWS": "#E69F00",
    "Huawei": "#CC0000",
    "Microsoft": "#56B4E9",
    "Meta": "#CC79A7",
}
OTHER = "#777777"
LETTER, LINE = 5.6, 11  # width and height of a letter of a label [px]


@dataclass(frozen=True)
class Point:
    """One dot: `sure` is False when one of its two numbers is an estimate or a guess."""

    name: str
    vendor: str
    x: float
    y: float
    sure: bool


@dataclass(frozen=True)
class Axis:
    """A logarithmic axis from `low` to `high`."""

    label: str
    low: float
    high: float

    def place(self, value: float) -> float:
        """Position of a value along the axis, 0 to 1."""
        return math.log(value / self.low) / math.log(self.high / self.low)

    def ticks(self) -> list[float]:
        """Round values to print beside the axis."""
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        steps = (1, 2, 5) if self.high / self.low < 3000 else (1,)
        return [step * 10.0**power for power in powers for step in steps if self.low <= step * 10.0**power <= self.high]


def roofline_points(catalog: Catalog) -> list[Point]:
    """Chips by dense 16-bit peak [TFLOP/s] and memory bandwidth [TB/s]; chips with nothing but SRAM are left out."""
    points = []
    for chip in catalog.chips.values():
        if "SRAM" in (chip.memory.kind.text or ""):
            continue
        rate = view.peak(chip, "bf16") or view.peak(chip, "fp16")
        x, y = view.in_unit(rate, "TFLOP/s"), view.in_unit(chip.memory.bandwidth, "TB/s")
        if x and y:
            unsure = {"bf16", "fp16", "memory bandwidth"} & set(view.not_from_a_datasheet(chip))
            points.append(Point(chip.id, chip.vendor, x, y, not unsure))
    return points


def domain_points(catalog: Catalog) -> list[Point]:
    """Systems by chips in the scale-up domain and by what a chip can send over all levels together [GB/s]."""
    points = []
    for system in catalog.systems.values():
        sent = [view.in_unit(level.bandwidth, "GB/s") for level in system.levels]
        known = [value for value in sent if value]
        if known and len(known) == len(sent):
            unsure = any("bandwidth" in name for name in view.not_from_a_datasheet(system))
            points.append(Point(system.id, system.vendor, system.chips, sum(known), not unsure))
    return points


def roofline(catalog: Catalog) -> str:
    """SVG of memory bandwidth against 16-bit FLOP/s."""
    points = roofline_points(catalog)
    x, y = _axis("dense BF16 peak, TFLOP/s", [p.x for p in points]), _axis("memory, TB/s", [p.y for p in points])
    return _picture("Memory bandwidth against matrix FLOP/s, per chip", x, y, points)


def domains(catalog: Catalog) -> str:
    """SVG of one-way bandwidth against the size of the scale-up domain."""
    points = domain_points(catalog)
    x = _axis("chips in the scale-up domain", [p.x for p in points])
    y = _axis("one way per chip, all levels together, GB/s", [p.y for p in points])
    return _picture("Scale-up domain against bandwidth, per system", x, y, points)


def _axis(label: str, values: Sequence[float]) -> Axis:
    return Axis(label, min(values) / 1.5, max(values) * 1.5)


def _picture(title: str, x: Axis, y: Axis, points: Sequence[Point]) -> str:
    body = [*_frame(title, x, y), *_dots(x, y, points), *_legend(points)]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">'
    return "\n".join([head, f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>', *body, "</svg>", ""])


def _text(x: float, y: float, text: str, size: int = 11, extra: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="#222222"{extra}>{escape(text)}</text>'


def _at(x: Axis, y: Axis, point: Point) -> tuple[float, float]:
    across = LEFT + x.place(point.x) * (WIDTH - LEFT - RIGHT)
    return across, HEIGHT - BOTTOM - y.place(point.y) * (HEIGHT - TOP - BOTTOM)


def _frame(title: str, x: Axis, y: Axis) -> Iterator[str]:
    yield _text(LEFT, 28, title, 16)
    middle = ' text-anchor="middle"'
    yield _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 14, x.label, 12, middle)
    turned = f'{middle} transform="rotate(-90 18 {HEIGHT / 2:.0f})"'
    yield _text(18, HEIGHT / 2, y.label, 12, turned)
    for value in x.ticks():
        place, _ = _at(x, y, Point("", "", value, y.low, sure=True))
        yield f'<path d="M{place:.1f} {TOP} V{HEIGHT - BOTTOM}" stroke="#dddddd"/>'
        yield _text(place, HEIGHT - BOTTOM + 16, f"{value:,.12g}", 11, middle)
    for value in y.ticks():
        _, place = _at(x, y, Point("", "", x.low, value, sure=True))
        yield f'<path d="M{LEFT} {place:.1f} H{WIDTH - RIGHT}" stroke="#dddddd"/>'
        yield _text(LEFT - 8, place + 4, f"{value:,.12g}", 11, ' text-anchor="end"')


def _dots(x: Axis, y: Axis, points: Sequence[Point]) -> Iterator[str]:
    taken: list[tuple[float, float, float, float]] = []
    for point in points:
        across, down = _at(x, y, point)
        taken.append((across - 4, down - 4, across + 4, down + 4))
    for point in points:
        across, down = _at(x, y, point)
        colour = COLOURS.get(point.vendor, OTHER)
        fill = colour if point.sure else "#ffffff"
        about = f"<title>{escape(f'{point.name}: {point.x:,g}; {point.y:,g}')}</title>"
        yield f'<circle cx="{across:.1f}" cy="{down:.1f}" r="4" fill="{fill}" stroke="{colour}">{about}</circle>'
        spot = _free_spot(across, down, LETTER * len(point.name), taken)
        if spot is not None:
            taken.append((spot[0], spot[1] - LINE + 2, spot[0] + LETTER * len(point.name), spot[1] + 2))
            yield _text(*spot, point.name, 10)


def _free_spot(
    across: float, down: float, width: float, taken: Sequence[tuple[float, float, float, float]]
) -> tuple[float, float] | None:
    """Place for a label beside a dot that covers no dot and no label, or None: the dot keeps its tooltip."""
    shifts = [(7, 4), (-width - 7, 4), (7, -8), (7, 16), (-width - 7, -8), (-width - 7, 16), (-width / 2, -9)]
    for right, below in shifts:
        left, base = across + right, down + below
        box = (left, base - LINE + 2, left + width, base + 2)
        inside = box[0] > LEFT and box[2] < WIDTH - RIGHT + 16 and box[1] > TOP - 12 and box[3] < HEIGHT - BOTTOM
        if inside and not any(_overlap(box, other) for other in taken):
            return left, base
    return None


def _overlap(one: tuple[float, float, float, float], two: tuple[float, float, float, float]) -> bool:
    return one[0] < two[2] and two[0] < one[2] and one[1] < two[3] and two[1] < one[3]


def _legend(points: Sequence[Point]) -> Iterator[str]:
    present = [vendor for vendor in COLOURS if any(point.vendor == vendor for point in points)]
    entries = [(vendor, COLOURS[vendor], COLOURS[vendor]) for vendor in present]
    entries += [("others", OTHER, OTHER), ("estimate or guess", OTHER, "#ffffff")]
    for place, (name, colour, fill) in enumerate(entries):
        down = TOP + 14 + 18 * place
        yield f'<circle cx="{WIDTH - RIGHT + 24}" cy="{down}" r="4" fill="{fill}" stroke="{colour}"/>'
        yield _text(WIDTH - RIGHT + 34, down + 4, name, 11)
