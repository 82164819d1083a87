"""What the catalog says, as plain rows: lists, one record, its sources, two records side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, get_args

from suanli.catalog import walk
from suanli.catalog.capped import SIGN, base_id
from suanli.catalog.files import CatalogError, near_matches
from suanli.catalog.folder import Item
from suanli.catalog.loader import Catalog, RecordKind
from suanli.catalog.schema import ApiPrice, Chip, Dtype, Grid, ModelCard, Price, System, WorkloadProfile
from suanli.quantity import OPINION_KINDS, Quantity, Text, parse_unit
from suanli.sources import Source

Cell = str | float | None
Row = dict[str, Cell]
KINDS: tuple[RecordKind, ...] = get_args(RecordKind)


def in_unit(quantity: Quantity | None, unit: str) -> float | None:
    """Best value in `unit`, None when it is not known."""
    if quantity is None or not quantity.known:
        return None
    return float(f"{quantity.si / parse_unit(unit)[0]:.6g}")


def shown(cell: Cell) -> str:
    """Text of a cell: numbers with up to four digits, a dash for what is not known."""
    if cell is None or cell == "":
        return "-"
    if isinstance(cell, str):
        return cell
    return f"{cell:,.0f}" if abs(cell) >= 1000 else f"{cell:.4g}"


def amount(fact: Quantity | Text) -> str:
    """Value with unit and range as it stands in the file, or that it is not published."""
    if isinstance(fact, Text):
        return fact.text if fact.text is not None else "none"
    span = f"{fact.low:,.7g} to {fact.high:,.7g}" if fact.low is not None else ""
    unit = "" if fact.unit == "count" else f" {fact.unit}"
    if fact.value is not None:
        return f"{fact.value:,.15g}{unit}" + (f" ({span})" if span else "")
    return f"{span}{unit}" if span else "not published"


def remark(fact: Quantity | Text) -> str:
    """Everything that is said about a fact beside its value."""
    at = f"at {fact.at}" if fact.at else None
    as_of = f"as of {fact.as_of}" if fact.as_of else None
    return "; ".join(part for part in (fact.because, fact.note, at, as_of) if part)


def peak(chip: Chip, dtype: Dtype) -> Quantity | None:
    """Dense matrix peak of a number format, when there is one."""
    found = [one.rate for one in chip.peaks if (one.dtype, one.sparsity, one.units) == (dtype, "dense", "matrix")]
    return next((rate for rate in found if rate.known), None)


def four_bit(chip: Chip) -> Quantity | None:
    """Fastest known dense 4-bit floating-point peak, whatever its flavour is called."""
    flavours: tuple[Dtype, ...] = ("fp4", "nvfp4", "mxfp4")
    return next((rate for rate in (peak(chip, dtype) for dtype in flavours) if rate is not None), None)


def not_from_a_datasheet(record: Chip | System) -> tuple[str, ...]:
    """Names of the numbers a plan rests on that are somebody's estimate or guess, or that nobody has published."""
    return tuple(name for name, fact in _planned_on(record) if not fact.known or fact.kind in OPINION_KINDS)


def _planned_on(record: Chip | System) -> Iterator[tuple[str, Quantity]]:
    if isinstance(record, Chip):
        yield from ((one.dtype, one.rate) for one in record.peaks if one.rate.known or one.rate.kind in OPINION_KINDS)
        yield "memory", record.memory.capacity
        yield "memory bandwidth", record.memory.bandwidth
        yield "power", record.power
    else:
        yield from ((f"{level.name} bandwidth", level.bandwidth) for level in record.levels)
        yield "all-in power", record.power.all_in_per_chip


def _chip(chip: Chip) -> Row:
    return {
        "chip": chip.id,
        "vendor": chip.vendor,
        "status": chip.availability.status,
        "since": chip.availability.since,
        "bf16 TFLOP/s": in_unit(peak(chip, "bf16") or peak(chip, "fp16"), "TFLOP/s"),
        "fp8 TFLOP/s": in_unit(peak(chip, "fp8"), "TFLOP/s"),
        "fp4 TFLOP/s": in_unit(four_bit(chip), "TFLOP/s"),
        "int8 TOP/s": in_unit(peak(chip, "int8"), "TOP/s"),
        "memory GB": in_unit(chip.memory.capacity, "GB"),
        "memory TB/s": in_unit(chip.memory.bandwidth, "TB/s"),
        "chip W": in_unit(chip.power, "W"),
    }


def _system(system: System) -> Row:
    return {
        "system": system.id,
        "vendor": system.vendor,
        "status": system.availability.status,
        "since": system.availability.since,
        "chip": system.chip,
        "chips": system.chips,
        "scale-up, inside out": ", ".join(
            f"{level.topology} {'x'.join(str(size) for size in level.dims)}" for level in system.levels
        ),
        "one way GB/s": ", ".join(shown(in_unit(level.bandwidth, "GB/s")) for level in system.levels),
        "scale-out GB/s": in_unit(system.scale_out.bandwidth, "GB/s") if system.scale_out is not None else None,
        "all-in W/chip": in_unit(system.power.all_in_per_chip, "W"),
        "engines": ", ".join(system.engines),
    }


def _model(card: ModelCard) -> Row:
    return {
        "model": card.id,
        "publisher": card.publisher,
        "released": card.released,
        "parameters B": in_unit(card.total_parameters, "Gcount"),
        "active B": in_unit(card.active_parameters, "Gcount"),
        "weights": card.weights,
        "licence": card.licence,
    }


def _price(price: Price) -> Row:
    return {
        "price": price.id,
        "subject": price.subject,
        "what": price.what,
        "term": price.term,
        "region": price.region,
        "edition": price.edition,
        "seller": price.seller,
        "value": amount(price.price),
        "kind": price.price.kind,
    }


def _api_price(price: ApiPrice) -> Row:
    return {
        "api price": price.id,
        "model": price.model,
        "seller": price.seller,
        "as of": price.as_of,
        "input": amount(price.uncached_input),
        "cached": amount(price.cached_input) if price.cached_input is not None else None,
        "output": amount(price.output),
    }


def _grid(grid: Grid) -> Row:
    return {
        "grid": grid.id,
        "region": grid.region,
        "electricity": amount(grid.electricity),
        "PUE": amount(grid.pue),
        "carbon": amount(grid.carbon) if grid.carbon is not None else None,
        "conditions": "; ".join(grid.conditions),
    }


def _workload(profile: WorkloadProfile) -> Row:
    return {
        "workload": profile.id,
        "name": profile.name,
        "input tokens": amount(profile.input_tokens.mean),
        "output tokens": amount(profile.output_tokens.mean),
        "rate": amount(profile.rate) if profile.rate is not None else None,
    }


def _source(source: Source) -> Row:
    return {
        "source": source.id,
        "publisher": source.publisher,
        "date": source.date,
        "read as": source.read_as,
        "title": source.title,
    }


ROW_OF: dict[RecordKind, Callable[[Any], Row]] = {
    "chip": _chip,
    "system": _system,
    "model": _model,
    "price": _price,
    "api_price": _api_price,
    "grid": _grid,
    "workload": _workload,
    "source": _source,
}


def rows(catalog: Catalog, kind: RecordKind, vendor: str | None = None, status: str | None = None) -> list[Row]:
    """One row per record of a kind; `vendor` and `status` keep only the chips and systems that have them."""
    return [
        ROW_OF[kind](record)
        for record in catalog.records(kind).values()
        if (vendor is None or vendor.lower() == str(getattr(record, "vendor", "")).lower())
        and (status is None or status == getattr(getattr(record, "availability", None), "status", None))
    ]


def find_any(catalog: Catalog, name: str) -> tuple[RecordKind, Item]:
    """Return the record of whatever kind that has this id or alias. Raises CatalogError with near matches."""
    for kind in KINDS:
        if base_id(name).lower() in catalog.names[kind] and (SIGN not in name or kind in ("chip", "system")):
            return kind, catalog.find(kind, name)
    known = [key for kind in KINDS for key in catalog.names[kind]]
    near = near_matches(name.lower(), known, 3)
    hint = f"did you mean {', '.join(near)}?" if near else "`suanli catalog list` shows what there is"
    raise CatalogError([f"unknown id '{name}'; {hint}"])


def fact_rows(record: Item) -> Iterator[Row]:
    """One row per fact of a record and per alternative that other sources give."""
    for path, fact in walk.facts(record):
        for place, one in enumerate(walk.with_alternatives(fact)):
            yield {
                "fact": path if place == 0 else "  or",
                "value": amount(one),
                "kind": one.kind,
                "source": one.source,
                "remark": remark(one),
            }


def heading(record: Item) -> list[str]:
    """Lines about a record that are no facts: names, status, traps, notes."""
    lines = [f"{record.id}: {getattr(record, 'name', None) or getattr(record, 'title', '')}".rstrip(": ")]
    aliases = getattr(record, "aliases", ())
    if aliases:
        lines.append(f"also called {', '.join(aliases)}")
    if isinstance(record, Chip | System):
        available = record.availability
        since = f" since {available.since}" if available.since else ""
        lines.append(f"{record.vendor}, {available.status}{since}" + (f" ({available.note})" if available.note else ""))
    if isinstance(record, System):
        lines.append(f"{record.chips:,} x {record.chip}, {record.chips_per_node} behind one host")
    notes = (*getattr(record, "traps", ()), *getattr(record, "notes", ()), *getattr(record, "conditions", ()))
    return lines + [f"note: {note}" for note in notes]


def citations(catalog: Catalog, kind: RecordKind, record: Item) -> list[Row]:
    """Every source behind a record with the number of its facts that come from it; of a source, who refers to it."""
    if kind == "source":
        others: list[RecordKind] = [other for other in KINDS if other != "source"]
        users = [
            one.id for other in others for one in catalog.records(other).values() if record.id in walk.sources(one)
        ]
        return [_citation(catalog.sources[record.id]) | {"facts": f"used by {', '.join(users) or 'nobody'}"}]
    named = Counter(one.source for _, fact in walk.facts(record) for one in walk.with_alternatives(fact))
    named.update(walk.sources(record) - set(named))
    known = [(catalog.sources[source], count) for source, count in named.most_common() if source in catalog.sources]
    return [_citation(source) | {"facts": count} for source, count in known]


def _citation(source: Source) -> Row:
    row: Row = {
        "source": source.id,
        "title": source.title,
        "publisher": source.publisher,
        "date": source.date,
        "read as": source.read_as.replace("_", " "),
        "locator": source.locator,
    }
    return row | {"note": source.note} if source.note else row


def differences(left: Item, right: Item) -> list[Row]:
    """Rows of the facts in which two records differ, with the ratio of the numbers; names and notes are left out."""
    if type(left) is not type(right):
        raise CatalogError([f"'{left.id}' and '{right.id}' are of different kinds; two of one kind are accepted"])
    one, two = dict(walk.facts(left)), dict(walk.facts(right))
    found = []
    for path in dict.fromkeys([*one, *two]):
        here, there = one.get(path), two.get(path)
        texts = [amount(fact) if fact is not None else None for fact in (here, there)]
        if texts[0] != texts[1]:
            found.append({"fact": path, left.id: texts[0], right.id: texts[1], "ratio": _ratio(here, there)})
    return found


def _ratio(left: Quantity | Text | None, right: Quantity | Text | None) -> float | None:
    if not isinstance(left, Quantity) or not isinstance(right, Quantity) or not (left.known and right.known):
        return None
    if parse_unit(left.unit)[1] != parse_unit(right.unit)[1] or left.si == 0:
        return None
    return float(f"{right.si / left.si:.4g}")
