"""Facts about the Chinese systems of the catalog that could be wrong: sums, arithmetic, directions, ranges, ids."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
from pydantic import BaseModel

from suanli.catalog.loader import Catalog, load
from suanli.catalog.schema import Chip, Peak, System
from suanli.quantity import OPINION_KINDS, Quantity

VENDORS = {
    *("Huawei", "Alibaba", "Alibaba T-Head", "Kunlunxin", "Cambricon", "Biren", "Iluvatar CoreX", "Enflame"),
    *("Moore Threads", "MetaX", "Hygon", "Sugon", "Inspur", "ZTE", "H3C", "not named"),
}

NAMED = (
    *("ascend-910b", "ascend-910b2", "ascend-910b3", "ascend-910c", "ascend-950pr-server", "ascend-950pr-pcie"),
    *("ascend-950dt-36c", "ascend-950dt-32c", "ascend-950dt-28c", "ascend-960", "ascend-970"),
    *("thead-ppu-810e", "thead-m890", "kunlun-p800", "kunlun-m100", "kunlun-m300", "cambricon-mlu370-x8"),
    *("cambricon-mlu590", "cambricon-mlu690", "biren-br100", "biren-br106m", "biren-br166m", "iluvatar-bi-v100"),
    *("iluvatar-bi-v150", "enflame-s60", "enflame-l600", "moore-s4000", "moore-s5000", "metax-c500", "metax-c550"),
    *("metax-c600", "hygon-k100-ai", "hygon-bw1000", "hygon-dcu-64gb-unspecified"),
    *("huawei-cloudmatrix384", "huawei-atlas-a2-8", "huawei-atlas-950-superpod-64", "huawei-atlas-950-superpod-1024"),
    *("huawei-atlas-950-superpod-8192", "huawei-atlas-950-supercluster", "huawei-atlas-960-superpod"),
    *("huawei-atlas-650-8", "huawei-atlas-650e-8", "huawei-atlas-850-96", "huawei-atlas-850e-96", "huawei-ub-mesh-pod"),
    *("alibaba-panjiu-al128", "kunlunxin-supernode-64", "kunlunxin-tianchi-256", "kunlunxin-tianchi-512"),
    *("biren-haixuan-8", "enflame-esl64", "moore-c256", "moore-kuae2", "metax-yaolong-s8000g2"),
    *("metax-c500x-dragonfly-64", "sugon-scalex640", "inspur-sd200", "zte-supernode-64", "h3c-unipod-s80000"),
)

DTYPES = {"total_bf16": "bf16", "total_fp16": "fp16", "total_fp8": "fp8", "total_mxfp4": "mxfp4", "total_fp4": "mxfp4"}

# System total -> why it is not chips x chip within 2 %.
EXCEPTIONS = {
    ("huawei-atlas-950-superpod-8192", "total_memory"): "announced with 144 GB per chip, the chip record carries 96 GB",
    ("huawei-atlas-950-supercluster", "total_fp8"): "keynote headline of 1 PFLOP/s per chip",
    ("huawei-atlas-950-superpod-1024", "total_fp8"): "rounded up to 1 EFLOP/s; the alternative is the exact sum",
    ("huawei-atlas-950-superpod-1024", "total_fp4"): "rounded up to 2 EFLOP/s",
    ("huawei-atlas-960-superpod", "total_fp8"): "keynote rounds 30.98 down to 30 EFLOP/s",
    ("huawei-atlas-960-superpod", "total_fp4"): "keynote rounds 61.95 down to 60 EFLOP/s",
    ("biren-haixuan-8", "total_bf16"): "8 x 1,024 = 8.19, printed as 8",
    ("moore-kuae2", "total_fp8"): "10 EFLOP/s divides to 977 per chip, the printed headline is 1,000",
    ("moore-kuae2", "total_memory"): "800 TB printed, 10,240 x 80 GB = 819",
}


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load()


def chips(catalog: Catalog) -> list[Chip]:
    return [chip for chip in catalog.chips.values() if chip.vendor in VENDORS]


def systems(catalog: Catalog) -> list[System]:
    return [system for system in catalog.systems.values() if system.vendor in VENDORS]


def records(catalog: Catalog) -> list[Chip | System]:
    return [*chips(catalog), *systems(catalog)]


def close(given: float, wanted: float, tolerance: float = 0.02) -> bool:
    return abs(given / wanted - 1) <= tolerance


def quantities(record: object, path: str = "") -> Iterator[tuple[str, Quantity]]:
    """Every number of a record with its path, alternatives left out."""
    if isinstance(record, Quantity):
        yield path, record
    elif isinstance(record, dict):
        for key, value in record.items():
            yield from quantities(value, f"{path}.{key}")
    elif isinstance(record, tuple | list):
        for index, value in enumerate(record):
            yield from quantities(value, f"{path}[{index}]")
    elif isinstance(record, BaseModel):
        for key in type(record).model_fields:
            yield from quantities(getattr(record, key), f"{path}.{key}")


@pytest.mark.parametrize("name", NAMED)
def test_named_record_exists_and_says_its_traps(catalog: Catalog, name: str) -> None:
    record = catalog.chips.get(name) or catalog.systems[name]
    assert record.traps


@pytest.mark.parametrize("old", ["cloudmatrix384", "atlas-a2-8", "atlas-950-superpod-1024", "panjiu-al128"])
def test_research_id_is_an_alias_of_one_system(catalog: Catalog, old: str) -> None:
    assert len([system for system in catalog.systems.values() if old in system.aliases]) == 1


def test_levels_multiply_to_the_chips(catalog: Catalog) -> None:
    wrong = {
        system.id: system.chips
        for system in systems(catalog)
        if math.prod(math.prod(level.dims) for level in system.levels) != system.chips
    }
    assert wrong == {}


def test_slices_fit_into_the_system(catalog: Catalog) -> None:
    for system in systems(catalog):
        assert list(system.slices) == sorted(set(system.slices)), system.id
        assert all(size <= system.chips for size in system.slices), system.id


def _totals(catalog: Catalog, prefix: str) -> Iterator[tuple[System, Chip, str, Quantity]]:
    for system in systems(catalog):
        for key, fact in system.facts.items():
            if key.startswith(prefix) and isinstance(fact, Quantity) and fact.known:
                yield system, catalog.chips[system.chip], key, fact


def test_system_totals_are_chips_times_chip_or_listed(catalog: Catalog) -> None:
    checked, off = set(), set()
    for system, chip, key, total in _totals(catalog, "total_"):
        if key == "total_memory":
            values = [chip.memory.capacity]
        else:
            values = [peak.rate for peak in chip.peaks if peak.dtype == DTYPES.get(key)]
        sums = [system.chips * value.si for value in values if value.known]
        if sums:
            checked.add((system.id, key))
            if not any(close(total.si, wanted) for wanted in sums):
                off.add((system.id, key))
    assert off == set(EXCEPTIONS)
    assert len(checked) >= 45
    for name in ("huawei-cloudmatrix384", "huawei-atlas-950-superpod-64", "kunlunxin-supernode-64"):
        assert {key for system, key in checked - off if system == name} >= {"total_memory"}


def test_cube_peaks_follow_from_cores_and_clock(catalog: Catalog) -> None:
    checked = 0
    for chip in chips(catalog):
        clock = chip.compute.clock
        if chip.compute.architecture != "cube" or clock is None or not chip.compute.units.known:
            continue
        if chip.id == "ascend-910b":  # a range over variants has no single clock and core count
            continue
        for peak in chip.peaks:
            per_clock = chip.compute.flops_per_clock_per_unit.get(peak.dtype)
            if peak.units == "matrix" and per_clock is not None:
                assert close(clock.si * chip.compute.units.si * per_clock.si, peak.rate.si), (chip.id, peak.dtype)
                checked += 1
    assert checked >= 25


def test_cube_peak_is_below_the_aggregate(catalog: Catalog) -> None:
    for chip in chips(catalog):
        matrix = {peak.dtype: peak.rate.si for peak in chip.peaks if peak.units == "matrix" and peak.rate.known}
        for peak in chip.peaks:
            if peak.units == "matrix_and_vector":
                assert matrix[peak.dtype] < peak.rate.si, (chip.id, peak.dtype)


def test_measured_matrix_products_stay_below_the_cube_peak(catalog: Catalog) -> None:
    chip = catalog.chips["ascend-950dt-32c"]
    peaks = {str(peak.dtype): peak.rate.si for peak in chip.peaks if peak.units == "matrix"}
    for dtype, fact in (
        ("bf16", "matmul_measured_bf16"),
        ("fp8", "matmul_measured_fp8"),
        ("mxfp4", "matmul_measured_fp4"),
    ):
        measured = chip.facts[fact]
        assert isinstance(measured, Quantity)
        assert 0.9 * peaks[dtype] < measured.si <= peaks[dtype]


def test_one_way_bandwidth_is_half_of_what_counts_both_directions(catalog: Catalog) -> None:
    pairs = [
        (where, quantity.si, other.si)
        for record in records(catalog)
        for where, quantity in quantities(record, record.id)
        for other in quantity.alternatives
        if other.note is not None
        and other.note.startswith("both directions")
        and "rounded" not in other.note
        and "eight links" not in other.note
    ]
    assert len(pairs) >= 8
    for where, one_way, both in pairs:
        assert math.isclose(one_way * 2, both, rel_tol=1e-6), where


def test_superpod_ports_do_not_exceed_the_port_budget(catalog: Catalog) -> None:
    all_ports = catalog.chips["ascend-950dt-32c"].facts["scaleup_bandwidth_all_ports"]
    assert isinstance(all_ports, Quantity)
    for name in ("huawei-atlas-950-superpod-64", "huawei-atlas-950-superpod-1024"):
        system = catalog.systems[name]
        total = system.facts["scaleup_bandwidth_per_chip"]
        assert isinstance(total, Quantity)
        assert sum(level.bandwidth.si for level in system.levels) <= total.si <= all_ports.si


def test_measured_expert_dispatch_fits_the_inferred_planes(catalog: Catalog) -> None:
    board, clos = catalog.systems["huawei-atlas-850e-96"].levels
    facts = catalog.chips["ascend-950dt-32c"].facts
    inside, across = facts["moe_dispatch_measured_ep8"], facts["moe_dispatch_measured_ep128"]
    assert isinstance(inside, Quantity)
    assert isinstance(across, Quantity)
    assert 0.85 * board.bandwidth.si < inside.si <= board.bandwidth.si
    assert across.si <= clos.bandwidth.si_range[1]


UNPUBLISHED = (
    *("thead-ppu-810e", "thead-m890", "kunlun-m100", "kunlun-m300", "cambricon-mlu590", "cambricon-mlu690"),
    *("biren-br106m", "biren-br166m", "enflame-s60", "enflame-l600", "hygon-bw1000", "metax-c600"),
)


@pytest.mark.parametrize("name", UNPUBLISHED)
def test_unpublished_peaks_are_never_bare_numbers(catalog: Catalog, name: str) -> None:
    def honest(peak: Peak) -> bool:
        rate = peak.rate
        if not rate.known:
            return bool(rate.because)
        low, high = rate.si_range
        return rate.kind in OPINION_KINDS and bool(rate.because) and high > 1.1 * low

    assert all(honest(peak) for peak in catalog.chips[name].peaks)


def test_guesses_have_a_width(catalog: Catalog) -> None:
    narrow = [
        where
        for record in records(catalog)
        for where, quantity in quantities(record, record.id)
        if quantity.kind == "guess"
        and quantity.known
        and quantity.si_range[1] < 1.05 * quantity.si_range[0]
        and "scaleup_domain" not in where
    ]
    assert narrow == []


def test_regions_say_china_and_the_united_states(catalog: Catalog) -> None:
    for record in records(catalog):
        regions = record.availability.regions
        assert {"cn", "us"} <= set(regions), record.id
        assert regions["us"].text is None
        assert regions["us"].because
        assert (regions["cn"].text is not None) == (record.availability.status == "on_sale"), record.id


def test_roadmap_records_carry_a_date(catalog: Catalog) -> None:
    planned = [r for r in records(catalog) if r.availability.status == "roadmap"]
    assert len(planned) >= 7
    assert all(record.availability.since for record in planned)


def test_systems_on_sale_can_be_planned_or_say_why(catalog: Catalog) -> None:
    refused = set()
    for system in systems(catalog):
        chip = catalog.chips[system.chip]
        needed = [chip.memory.capacity, chip.memory.bandwidth, chip.power, system.power.all_in_per_chip]
        needed += [value for level in system.levels for value in (level.bandwidth, level.latency)]
        if system.availability.status == "on_sale" and not all(value.known for value in needed):
            refused.add(system.id)
            assert all(value.because for value in needed if not value.known)
    assert refused == {"inspur-sd200"}  # the accelerator is not named


def test_all_in_power_covers_the_chip(catalog: Catalog) -> None:
    for system in systems(catalog):
        power, chip = system.power.all_in_per_chip, catalog.chips[system.chip].power
        if power.known and chip.known:
            assert power.si_range[1] > chip.si_range[0] * 1.2, system.id


def test_rack_power_matches_its_chips(catalog: Catalog) -> None:
    for name, rack_chips in (("kunlunxin-supernode-64", 64), ("sugon-scalex640", 640), ("alibaba-panjiu-al128", 128)):
        power = catalog.systems[name].power
        assert power.rack is not None
        assert power.all_in_per_chip.si_range[1] <= 1.01 * power.rack.si / rack_chips
