"""Charts of the money of a plan: lines of the bill, tornado, cost against utilisation, intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from suanli.report.amounts import amount, label_of
from suanli.report.charts import COLOURED, colour_of
from suanli.report.svg import LogAxis, axis_over, element, text
from suanli.report.wording import DASH, compact, plain
from suanli.search.money import Account, FleetMoney
from suanli.search.money_json import unit_of_input
from suanli.search.ways import UTILISATIONS, Way, Ways

WIDTH = 560.0
ROW, BAR = 25.0, 14.0  # height of a row and of the bar in it
NAMES, NUMBERS = 190.0, 62.0  # room for words on the left, and for a number on the right
LONG_NUMBER, VALUE, UNIT = (
    84.0,
    52.0,
    118.0,
)  # room for a small price, for the low end of an input, and for its high one
TOP, FOOT = 8.0, 30.0
SHORT = 26  # characters of a name that fit on the left
TORNADO = 10  # inputs that are drawn
INTERVALS = 10  # deployments that are drawn
LEFT, RIGHT, BOTTOM, HEIGHT = 70.0, 14.0, 46.0, 330.0
MARKER = 4.5
CLOSE = 44.0  # ticks nearer than this would run into each other


@dataclass(frozen=True)
class Scale:
    """A straight axis from `low` to `high` between two pixels."""

    low: float
    high: float
    start: float = NAMES
    end: float = WIDTH - NUMBERS

    def at(self, value: float) -> float:
        """Pixel of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def _svg(height: float, label: str, *parts: str) -> str:
    box = f"0 0 {WIDTH:g} {height:g}"
    return element("svg", *parts, viewBox=box, class_="chart", role="img", aria_label=label)


def _name(words: str, row: int, tip: str = "") -> str:
    shown = words if len(words) <= SHORT else words[: SHORT - 1] + "\u2026"
    where = {"x": NAMES - 8, "y": TOP + ROW * row + ROW / 2 + 4}
    inside = text(shown, **where, class_="tick", text_anchor="end")
    return element("g", element("title", tip or words), inside)


def _bar(scale: Scale, row: int, first: float, second: float, style: str, tip: str) -> str:
    left, right = sorted((scale.at(first), scale.at(second)))
    y = TOP + ROW * row + (ROW - BAR) / 2
    return element("rect", x=left, y=y, width=max(right - left, 0.8), height=BAR, class_=style, data_tip=tip)


def _number(words: str, x: float, row: int, anchor: str = "start") -> str:
    return text(words, x, TOP + ROW * row + ROW / 2 + 4, class_="tick", text_anchor=anchor)


def waterfall_chart(account: Account) -> str:
    """Each line of the bill where the one before ends, then the total [USD per million tokens]."""
    lines, price = account.one.waterfall, account.one.deployment.value("usd_per_mtok")
    total = sum(lines.values())
    rows = [(name.replace("_", " "), price * value / total) for name, value in lines.items() if value]
    scale, parts, reached = Scale(0.0, price, end=WIDTH - LONG_NUMBER), [], 0.0
    for row, (name, value) in enumerate(rows):
        tip = f"{name}: ${compact(value)} per million tokens, {value / price:.0%}"
        parts += [_name(name, row), _bar(scale, row, reached, reached + value, f"line {_part(name)}", tip)]
        parts.append(_number(f"${compact(value)}", scale.at(reached + value) + 5, row))
        reached += value
    last = len(rows)
    parts += [
        _name("total", last),
        _bar(scale, last, 0.0, price, "line whole", f"${compact(price)} per million tokens"),
    ]
    parts.append(_number(f"${compact(price)}", scale.at(price) + 5, last))
    return _svg(TOP + ROW * (last + 1) + 6, "cost by line", *parts)


def _part(line: str) -> str:
    """Style of the part of the cost that a line belongs to."""
    parts = {
        "capital": "p-capital",
        "rent": "p-rent",
        "lease": "p-rent",
        "facility": "p-facility",
        "energy": "p-energy",
    }
    return parts.get(line.partition(":")[0], "p-opex")


def tornado_chart(account: Account) -> str:
    """One input at a time over its range; the line is the best value [USD per million tokens]."""
    swings, fleet = account.swings[:TORNADO], account.one.fleet
    middle = account.one.deployment.value("usd_per_mtok")
    ends = [end for swing in swings for end in (swing.at_low, swing.at_high)]
    scale = Scale(min(*ends, middle), max(*ends, middle), NAMES + VALUE, WIDTH - UNIT)
    parts = []
    for row, swing in enumerate(swings):
        one, unit = fleet.ranges[swing.key], unit_of_input(swing.key.partition("@")[0], fleet)
        words = label_of(swing.key)
        parts.append(_name(words.split(" (")[0], row, words))
        for end, value in ((swing.at_low, one.low), (swing.at_high, one.high)):
            style = "line lower" if end == swing.at_low else "line upper"
            tip = f"{words} {amount(value, swing.key, unit)}: ${compact(end)} per million tokens"
            if end != middle:
                parts.append(_bar(scale, row, middle, end, style, tip))
        left, right = sorted(((swing.at_low, one.low), (swing.at_high, one.high)))
        values = amount(left[1], swing.key, unit, with_unit=False), amount(right[1], swing.key, unit)
        parts.append(_number(values[0], scale.at(min(left[0], middle)) - 5, row, "end"))
        parts.append(_number(values[1], scale.at(max(right[0], middle)) + 5, row))
    foot = TOP + ROW * len(swings)
    x = scale.at(middle)
    parts.append(element("line", x1=x, x2=x, y1=TOP, y2=foot + 4, class_="limit"))
    parts.append(text(f"${compact(middle)}", x, foot + 18, class_="label", text_anchor="middle"))
    for value, anchor in ((scale.low, "start"), (scale.high, "end")):
        if abs(scale.at(value) - x) > 84:
            parts.append(text(f"${compact(value)}", scale.at(value), foot + 18, class_="tick", text_anchor=anchor))
    return _svg(foot + FOOT, "tornado", *parts)


def utilisation_chart(ways: Ways) -> str:
    """Cost of a million tokens of each way of paying over the share of time with work; discs: what the plan has."""
    curves = ways.curve()
    across = LogAxis(UTILISATIONS[0], 1.0, LEFT, WIDTH - RIGHT)
    up = axis_over([value for values in curves.values() for value in values], HEIGHT - BOTTOM, TOP + 6)
    parts = [_grid(across, up)]
    now = across.at(ways.utilisation)
    parts.append(element("line", x1=now, x2=now, y1=TOP, y2=HEIGHT - BOTTOM, class_="limit"))
    side = (now - 5, "end") if now > WIDTH / 2 else (now + 5, "start")
    parts.append(text(f"the plan: {ways.utilisation:.0%}", side[0], TOP + 12, class_="tick", text_anchor=side[1]))
    for index, way in enumerate(ways.ways, start=1):
        points = zip(UTILISATIONS, curves[way.name], strict=True)
        path = "M" + "L".join(f"{across.at(share):.1f} {up.at(value):.1f}" for share, value in points)
        parts.append(element("path", element("title", way.name), d=path, class_=f"curve {way_style(index)}"))
        parts.append(_dot(across.at(ways.utilisation), up.at(way.usd_per_mtok), index, _tip(way)))
    return _svg(HEIGHT, "cost against utilisation", *parts)


def _tip(way: Way) -> str:
    lines = [way.name, f"${compact(way.usd_per_mtok)} per million tokens"]
    if way.break_even is not None:
        lines.append(f"break-even at {way.break_even:.0%}; above it {way.cheaper_above} is cheaper")
    return "\n".join([*lines, way.basis])


def way_style(index: int) -> str:
    """Colour of a way of paying."""
    return f"c{index}" if index <= COLOURED else "c0"


def _dot(x: float, y: float, index: int, tip: str) -> str:
    disc = element("circle", cx=x, cy=y, r=MARKER, class_="disc")
    return element("g", disc, class_=f"marker {way_style(index)}", data_tip=tip)


def _grid(across: LogAxis, up: LogAxis) -> str:
    ends = {0.05: "start", 1.0: "end"}
    shares = (0.05, 0.1, 0.2, 0.5, 1.0)
    parts = [
        _tick(across.at(share), HEIGHT - BOTTOM + 16, f"{share:.0%}", ends.get(share, "middle")) for share in shares
    ]
    for value in up.ticks:
        y = up.at(value)
        parts.append(element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="grid"))
        parts.append(_tick(LEFT - 7, y + 4, f"${plain(value)}", "end"))
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(text("share of the time with work", middle, HEIGHT - 8, class_="label", text_anchor="middle"))
    turned = f"translate(13 {(TOP + HEIGHT - BOTTOM) / 2:g}) rotate(-90)"
    label = text("$ per million tokens", 0, 0, class_="label", text_anchor="middle")
    return "".join([*parts, element("g", label, transform=turned)])


def _tick(x: float, y: float, words: str, anchor: str) -> str:
    return text(words, x, y, class_="tick", text_anchor=anchor)


def interval_chart(deployments: Sequence[FleetMoney]) -> str:
    """The p10, p50 and p90 of each deployment's cost, and its chance of being the cheapest."""
    shown = deployments[:INTERVALS]
    found = [one.headlines["usd_per_mtok"] for one in shown]
    axis = axis_over([end for one in found for end in (one.p10, one.p90)], NAMES, WIDTH - NUMBERS, margin=1.03)
    foot = TOP + ROW * len(shown)
    parts = list(_columns(axis.ticks, axis.at, foot))
    for row, (one, drawn) in enumerate(zip(shown, found, strict=True)):
        y = TOP + ROW * row + ROW / 2
        name = " + ".join(one.deployment.systems)
        best = one.deployment.value("usd_per_mtok")
        tip = f"{one.fleet.name}\np10 ${compact(drawn.p10)}, p50 ${compact(drawn.p50)}, p90 ${compact(drawn.p90)}"
        tip += f"\nat the best value of every input ${compact(best)}\ncheapest with probability {one.p_cheapest:.0%}"
        parts.append(_name(f"{one.deployment.rank}  {name}", row, one.fleet.name))
        line = element("line", x1=axis.at(drawn.p10), x2=axis.at(drawn.p90), y1=y, y2=y, class_="range")
        dot = element("circle", cx=axis.at(drawn.p50), cy=y, r=MARKER, class_="disc")
        tick = element("line", x1=axis.at(best), x2=axis.at(best), y1=y - 6, y2=y + 6, class_="best")
        parts.append(element("g", line, tick, dot, class_=f"marker {colour_of(one.deployment)}", data_tip=tip))
        parts.append(_number(_chance(one.p_cheapest), WIDTH - 4, row, "end"))
    return _svg(foot + FOOT, "intervals of the cost", *parts)


def _chance(share: float) -> str:
    return DASH if share < 0.005 else f"{share:.0%}"


def _columns(ticks: Iterable[float], at: Callable[[float], float], foot: float) -> Iterable[str]:
    last = -CLOSE
    for value in ticks:
        if at(value) - last < CLOSE:
            continue
        last = at(value)
        yield element("line", x1=last, x2=last, y1=TOP, y2=foot, class_="grid")
        yield text(f"${plain(value)}", last, foot + 16, class_="tick", text_anchor="middle")
