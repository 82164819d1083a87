"""Checks of the facts against physics, against each other and against their sources.

Every check takes a catalog and returns its findings; a finding that is explained in ``data/checks/known.yaml`` is no
problem, and an explanation that explains nothing any more is one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from suanli.catalog import dates, folder, loader, walk
from suanli.catalog.files import CatalogError, read_documents, read_yaml
from suanli.catalog.folder import DATA
from suanli.catalog.loader import Catalog
from suanli.catalog.overlay import overlay
from suanli.catalog.schema import Chip, KnownFile, Level, System
from suanli.quantity import OPINION_KINDS, Quantity, parse_unit

CLOSE = 0.02  # relative difference that still counts as equal
ROUNDED = 0.05  # relative difference that rounding of a printed total may explain


@dataclass(frozen=True)
class Finding:
    """One thing that does not fit: `check` and `subject` name it for the list of known exceptions."""

    check: str
    subject: str
    text: str

    def __str__(self) -> str:
        return f"{self.subject}: {self.text}"


Found = Iterator[Finding]


def _close(left: float, right: float, tolerance: float = CLOSE) -> bool:
    return math.isclose(left, right, rel_tol=tolerance)


def peak_is_clock_times_units(catalog: Catalog) -> Found:
    """Clock x units x operations per clock = dense peak, within 2 %, where all three are known; ranges must overlap."""
    for chip in catalog.chips.values():
        compute = chip.compute
        for peak in chip.peaks:
            each = compute.flops_per_clock_per_unit.get(peak.dtype)
            factors = [compute.clock, compute.units, each]
            if (peak.sparsity, peak.units) != ("dense", "matrix") or not peak.rate.known:
                continue
            known = [factor.si_range for factor in factors if factor is not None and factor.known]
            if len(known) < len(factors):
                continue
            low, high = (math.prod(factor[end] for factor in known) for end in (0, 1))
            if high < peak.rate.si_range[0] * (1 - CLOSE) or low > peak.rate.si_range[1] * (1 + CLOSE):
                text = f"{peak.dtype} peak is {peak.rate.si:.4g}, clock x units x operations per clock is {high:.4g}"
                yield Finding("peak", f"{chip.id} {peak.dtype}", text)


def bandwidth_is_stacks_times_pins(catalog: Catalog) -> Found:
    """Stacks x pins x rate of a pin = memory bandwidth, within 2 %, where they are known."""
    for chip in catalog.chips.values():
        memory = chip.memory
        if memory.pin_rate is None or memory.bus_width is None or not memory.bandwidth.known:
            continue
        stacks = memory.stacks.si if memory.stacks is not None else 1.0
        pins = memory.bus_width.si / parse_unit("bit")[0]
        product = stacks * pins * memory.pin_rate.si
        if not _close(product, memory.bandwidth.si):
            text = f"memory bandwidth is {memory.bandwidth.si:.4g} B/s, stacks x pins x pin rate is {product:.4g} B/s"
            yield Finding("pins", chip.id, text)


def usable_memory_is_marketed(catalog: Catalog) -> Found:
    """Usable memory lies within a tenth of the marketed figure (the difference of GB and GiB, and reserves)."""
    for chip in catalog.chips.values():
        usable, marketed = chip.memory.capacity, chip.memory.marketed
        if marketed is not None and marketed.known and usable.known and not _close(usable.si, marketed.si, 0.1):
            text = f"usable memory is {usable.si:.4g} B, marketed {marketed.si:.4g} B"
            yield Finding("memory", chip.id, text)


def _per_chip(chip: Chip) -> dict[str, list[Quantity]]:
    """Figures published per chip by the names that totals of systems have."""
    memory = chip.memory
    sizes = [one for one in (memory.capacity, memory.marketed, memory.physical) if one is not None]
    figures = {"memory": sizes, "total_memory": sizes}
    figures |= {"mem_bw": [memory.bandwidth], "total_memory_bandwidth": [memory.bandwidth]}
    for peak in chip.peaks:
        if peak.sparsity == "dense":
            for name in (f"{peak.dtype}_dense", f"total_{peak.dtype}"):
                figures.setdefault(name, []).append(peak.rate)
    return figures


def system_totals_are_chips_times_chip(catalog: Catalog) -> Found:
    """A published total of a system is the number of chips times one of the figures published per chip."""
    for system in catalog.systems.values():
        chip = catalog.chips.get(system.chip)
        for key, figures in (_per_chip(chip) if chip is not None else {}).items():
            total = system.facts.get(key)
            if not isinstance(total, Quantity) or not total.known:
                continue
            known = [one for figure in figures for one in walk.with_alternatives(figure) if isinstance(one, Quantity)]
            each = [one for one in known if one.known]
            if each and not any(_total_fits(total, system.chips, one) for one in each):
                nearest = min((system.chips * one.si for one in each), key=lambda product: abs(product - total.si))
                text = f"{key} is {total.si:.4g} in all, {system.chips} chips give {nearest:.4g}"
                yield Finding("total", f"{system.id} {key}", text)


def _total_fits(total: Quantity, chips: int, each: Quantity) -> bool:
    """Within 2 % of the chips' range, or within the rounding of the printed digits (at most 5 %)."""
    decimals = len(f"{total.value:g}".partition(".")[2]) if total.value is not None else 0
    rounding = 0.5 * 10.0**-decimals * parse_unit(total.unit)[0]
    slack = max(CLOSE * total.si, min(rounding, ROUNDED * total.si))
    low, high = (chips * end for end in each.si_range)
    return low - slack <= total.si <= high + slack


def levels_join_all_chips(catalog: Catalog) -> Found:
    """The dims of the levels multiply to the chips of the system; nodes, slices and shapes fit into it."""
    for system in catalog.systems.values():
        joined = math.prod(size for level in system.levels for size in level.dims)
        if joined != system.chips:
            yield Finding("levels", system.id, f"levels join {joined} chips, the system has {system.chips}")
        if system.chips % system.chips_per_node:
            yield Finding("nodes", system.id, f"{system.chips} chips are no multiple of {system.chips_per_node} a node")
        if any(not 0 < size <= system.chips for size in system.slices):
            yield Finding("slices", system.id, f"slices {system.slices} do not all fit into {system.chips} chips")
        for shape in system.shapes:
            if math.prod(shape.dims) not in system.slices or len(shape.dims) != len(shape.wraparound):
                yield Finding("shapes", system.id, f"shape {shape.dims} is not among the slices or misses an axis")


def bandwidth_is_one_way(catalog: Catalog) -> Found:
    """No level sends more than a chip can: half of the printed both-ways figure, or all of the one-way figure."""
    for system in catalog.systems.values():
        chip = catalog.chips.get(system.chip)
        for key, ways in (("scale_up_bw_bidir", 2), ("scaleup_bandwidth", 1)):
            printed = chip.facts.get(key) if chip is not None else None
            if not isinstance(printed, Quantity) or not printed.known:
                continue
            most = printed.si_range[1] / ways
            for level in system.levels:
                if _fastest(level) > most * (1 + CLOSE):
                    text = f"level '{level.name}' sends {_fastest(level):.4g} B/s, a chip can send {most:.4g} one way"
                    yield Finding("one-way", f"{system.id} {level.name}", text)


def _fastest(level: Level) -> float:
    return level.bandwidth.si if level.bandwidth.known else 0.0


def power_grows_outwards(catalog: Catalog) -> Found:
    """Chip power <= all-in power of a chip, and all chips together <= system (a rack may hold a part of it)."""
    for system in catalog.systems.values():
        chip, power = catalog.chips.get(system.chip), system.power
        if chip is None or not chip.power.known:
            continue
        if power.all_in_per_chip.known and power.all_in_per_chip.si_range[1] < chip.power.si:
            text = f"all-in power of a chip is below the chip power of {chip.power.si:.4g} W"
            yield Finding("power", system.id, text)
        whole = power.system
        if whole is not None and whole.known and whole.si_range[1] < (1 - CLOSE) * system.chips * chip.power.si:
            text = f"{whole.si_range[1]:.4g} W are less than {system.chips} chips of {chip.power.si:.4g} W"
            yield Finding("power", system.id, text)


def dates_are_ordered(catalog: Catalog) -> Found:
    """Dates can be read; nothing is sold before it is released; announced and roadmap systems carry a date."""
    dated: list[Chip | System] = [*catalog.chips.values(), *catalog.systems.values()]
    for record in dated:
        available = record.availability
        if isinstance(record, System) and available.since is None and available.status in ("announced", "roadmap"):
            yield Finding("dates", record.id, f"status '{available.status}' needs a date in availability.since")
        for name, text in _dates_of(record):
            if dates.span(text) is None:
                yield Finding("dates", record.id, f"{name} is '{text}'; accepted: {dates.ACCEPTED}")
    yield from _sold_after_release(catalog)
    for price in catalog.prices.values():
        chip = catalog.chips.get(price.subject)
        if chip is not None and price.what == "rent" and dates.surely_before(price.edition, chip.released.text or ""):
            yield Finding("dates", price.id, f"rented in {price.edition}, released {chip.released.text}")


def _sold_after_release(catalog: Catalog) -> Found:
    for chip in catalog.chips.values():
        released, since = chip.released.text, chip.availability.since
        if released and since and dates.surely_before(since, released):
            yield Finding("dates", chip.id, f"available since {since}, released {released}")
    for system in catalog.systems.values():
        chip_of = catalog.chips.get(system.chip)
        since, on_sale = system.availability.since, system.availability.status == "on_sale"
        chip_since = chip_of.availability.since if chip_of is not None else None
        if on_sale and since and chip_since and dates.surely_before(since, chip_since):
            yield Finding("dates", system.id, f"available since {since}, its chip since {chip_since}")


def _dates_of(record: Chip | System) -> Iterator[tuple[str, str]]:
    if record.availability.since is not None:
        yield "availability.since", record.availability.since
    if isinstance(record, Chip) and record.released.text is not None:
        yield "released", record.released.text
    for path, fact in walk.facts(record):
        if fact.as_of is not None:
            yield f"{path}.as_of", fact.as_of


def opinions_have_a_range(catalog: Catalog) -> Found:
    """An estimate or a guess spans a range of more than nothing and says why."""
    for record in _records(catalog):
        for path, fact in walk.facts(record):
            if isinstance(fact, Quantity) and fact.kind in OPINION_KINDS and fact.known and fact.low == fact.high:
                yield Finding("range", record.id, f"{path} is an opinion ({fact.kind}) without a range")


def _records(catalog: Catalog) -> Iterator[folder.Item]:
    kinds: tuple[loader.RecordKind, ...] = ("chip", "system", "price", "api_price", "grid", "workload", "model")
    for kind in kinds:
        yield from catalog.records(kind).values()


def nothing_is_orphaned(catalog: Catalog) -> Found:
    """Every chip that is on sale has a system, every price its subject."""
    used = {system.chip for system in catalog.systems.values()}
    for chip in catalog.chips.values():
        if chip.id not in used and chip.availability.status == "on_sale":
            yield Finding("orphan", chip.id, "no system uses this chip")
    for price in catalog.prices.values():
        if price.subject not in catalog.chips and price.subject not in catalog.systems:
            yield Finding("orphan", price.id, f"subject '{price.subject}' is no chip and no system")


def systems_are_complete(catalog: Catalog) -> Found:
    """Every system has its chip and its engines."""
    engines = {path.stem for path in (catalog.data / "engines").glob("*.yaml")}
    for system in catalog.systems.values():
        if system.chip not in catalog.chips:
            yield Finding("orphan", system.id, f"chip '{system.chip}' is not in the catalog")
        for engine in system.engines:
            if engine not in engines:
                yield Finding("orphan", system.id, f"engine '{engine}' is not in the catalog")


WORD = re.compile(r"[a-z0-9][\w.\-]*\w")  # shape of an id, also inside a sentence


def sources_resolve(catalog: Catalog) -> Found:
    """Every source id of every data file has a record; every record is complete, dated and referred to."""
    used: set[str] = set()
    for where, named in _sources_named(catalog):
        used |= named
        for missing in sorted(named - set(catalog.sources)):
            yield Finding("source", where, f"source '{missing}' has no record")
    files = [*catalog.data.rglob("*.yaml"), *(catalog.data / "calibration").rglob("*.json")]
    texts = (path.read_text(encoding="utf-8") for path in files if path.parent.name != "sources")
    used |= {word for text in texts for word in WORD.findall(text)}
    for source in catalog.sources.values():
        if not all(text.strip() for text in (source.title, source.publisher, source.locator)):
            yield Finding("source", source.id, "title, publisher and locator must not be empty")
        if dates.span(source.date) is None:
            yield Finding("source", source.id, f"date is '{source.date}'; accepted: {dates.ACCEPTED}")
        if source.id not in used:
            yield Finding("source", source.id, "nothing refers to this source")


def _sources_named(catalog: Catalog) -> Iterator[tuple[str, set[str]]]:
    """Where source ids stand: in the records, and in the files of the other rooms below the same folder."""
    for record in _records(catalog):
        yield record.id, walk.sources(record)
    read = set(folder.data_files(catalog.data))
    for path in sorted(set(catalog.data.rglob("*.yaml")) - read):
        yield str(path.relative_to(catalog.data)), set(_source_keys(read_documents(path)))


def _source_keys(data: object) -> Iterator[str]:
    if isinstance(data, Mapping):
        for key, value in data.items():
            if key == "source" and isinstance(value, str):
                yield value
            else:
                yield from _source_keys(value)
    elif isinstance(data, list):
        for value in data:
            yield from _source_keys(value)


def files_are_read(catalog: Catalog) -> Found:
    """Every file in a folder of records is read, and holds the record that its name says."""
    read = set(folder.data_files(catalog.data))
    for name in folder.FOLDERS:
        for path in sorted((catalog.data / name).rglob("*")):
            where = str(path.relative_to(catalog.data))
            if path.is_file() and path not in read and name != "models":
                yield Finding("file", where, "is never read; accepted: FOLDER/ID.yaml")
    ids = {"chips": catalog.chips, "systems": catalog.systems, "grids": catalog.grids, "workloads": catalog.workloads}
    for path in sorted(read):
        kind = path.parent.name
        if kind in ids and path.stem not in ids[kind]:
            yield Finding("file", str(path.relative_to(catalog.data)), f"holds no record with id '{path.stem}'")


CHECKS: tuple[Callable[[Catalog], Found], ...] = (
    peak_is_clock_times_units,
    bandwidth_is_stacks_times_pins,
    usable_memory_is_marketed,
    system_totals_are_chips_times_chip,
    levels_join_all_chips,
    bandwidth_is_one_way,
    power_grows_outwards,
    dates_are_ordered,
    opinions_have_a_range,
    nothing_is_orphaned,
    systems_are_complete,
    sources_resolve,
    files_are_read,
)


def check(data: Path = DATA, overlays: Sequence[Path] = ()) -> list[str]:
    """Read every file below `data` afresh, lay the user's over them, and return what every check has found, in words.

    Empty when all is well.
    """
    try:
        catalog = loader.catalog_of(overlay(folder.read_folder(data), overlays), data)
        known = read_yaml(data / "checks" / "known.yaml", KnownFile)
    except CatalogError as error:
        return list(error.problems)
    findings = [finding for one in CHECKS for finding in one(catalog)]
    excused = {(item.check, item.subject) for item in known.known}
    problems = [str(finding) for finding in findings if (finding.check, finding.subject) not in excused]
    unneeded = excused - {(finding.check, finding.subject) for finding in findings}
    return problems + [
        f"checks/known.yaml: {name} of '{subject}' is no exception any more" for name, subject in sorted(unneeded)
    ]
