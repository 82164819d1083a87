"""Pictures of the results as SVG: predicted against measured, error by load."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from suanli.report.svg import LogAxis, axis_over, element, text

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 520.0, 420.0, 70.0, 12.0, 28.0, 46.0
COLOURS = ("#3b6fb6", "#d1663b", "#5a9e57", "#8a62b0", "#c2a02c", "#4fa3a5", "#b5527d", "#7a7a7a", "#2f4b5f", "#a0522d")
Dot = tuple[float, float, str]  # x, y, group


def _frame(title: str, x: LogAxis, y: LogAxis, labels: tuple[str, str], body: Sequence[str]) -> str:
    ticks = [
        element("line", x1=x.at(value), x2=x.at(value), y1=TOP, y2=HEIGHT - BOTTOM, stroke="#e4e4e4")
        + text(f"{value:g}", x.at(value), HEIGHT - BOTTOM + 16, text_anchor="middle", font_size="11")
        for value in x.ticks
    ]
    ticks += [
        element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y.at(value), y2=y.at(value), stroke="#e4e4e4")
        + text(f"{value:g}", LEFT - 6, y.at(value) + 4, text_anchor="end", font_size="11")
        for value in y.ticks
    ]
    names = [
        text(title, LEFT, 16, font_size="13", font_weight="bold"),
        text(labels[0], (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, text_anchor="middle", font_size="12"),
        text(
            labels[1],
            14,
            (TOP + HEIGHT - BOTTOM) / 2,
            text_anchor="middle",
            font_size="12",
            transform=f"rotate(-90 14 {(TOP + HEIGHT - BOTTOM) / 2:.0f})",
        ),
    ]
    return element(
        "svg", element("rect", width=WIDTH, height=HEIGHT, fill="white"), *ticks, *body, *names,
        xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {WIDTH:.0f} {HEIGHT:.0f}", font_family="sans-serif",
    )  # fmt: skip


def _dots(dots: Sequence[Dot], x: LogAxis, y: LogAxis) -> list[str]:
    groups = sorted({name for _, _, name in dots})
    colour = {name: COLOURS[index % len(COLOURS)] for index, name in enumerate(groups)}
    marks = [
        element("circle", cx=x.at(a), cy=y.at(b), r=2.2, fill=colour[name], fill_opacity="0.55") for a, b, name in dots
    ]
    legend = [
        element("circle", cx=LEFT + 10, cy=TOP + 10 + 14 * index, r=3, fill=colour[name])
        + text(name, LEFT + 18, TOP + 14 + 14 * index, font_size="10")
        for index, name in enumerate(groups)
    ]
    return [*marks, *legend]


def against(path: Path, title: str, unit: str, dots: Sequence[Dot]) -> None:
    """Predicted against measured on logarithmic axes, with the lines of equality and of a factor of two."""
    values = [value for a, b, _ in dots for value in (a, b)]
    x = axis_over(values, LEFT, WIDTH - RIGHT)
    y = axis_over(values, HEIGHT - BOTTOM, TOP)
    lines = []
    for factor, dash in ((1.0, "none"), (2.0, "4 3"), (0.5, "4 3")):
        low, high = x.low * max(1.0, 1.0 / factor), x.high / max(1.0, factor)
        lines.append(
            element("line", x1=x.at(low), y1=y.at(low * factor), x2=x.at(high), y2=y.at(high * factor),
                    stroke="#888", stroke_dasharray=dash)
        )  # fmt: skip
    path.write_text(_frame(title, x, y, (f"measured [{unit}]", f"predicted [{unit}]"), [*lines, *_dots(dots, x, y)]))


def by_load(path: Path, title: str, dots: Sequence[Dot]) -> None:
    """Predicted over measured against the number of users."""
    x = axis_over([a for a, _, _ in dots], LEFT, WIDTH - RIGHT)
    y = LogAxis(1 / 8, 8.0, HEIGHT - BOTTOM, TOP)
    middle = element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y.at(1.0), y2=y.at(1.0), stroke="#888")
    kept = [(a, b, name) for a, b, name in dots if math.isfinite(b)]
    path.write_text(_frame(title, x, y, ("users", "predicted / measured"), [middle, *_dots(kept, x, y)]))
