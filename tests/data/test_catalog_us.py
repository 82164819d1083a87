"""The traps of the US vendors' figures are carried, not averaged."""

import pytest

from suanli.catalog import view, walk
from suanli.catalog.loader import Catalog, load
from suanli.quantity import Quantity, QuantityError

NAMED = [
    *(
        "nvidia-a100-sxm4-80gb",
        "nvidia-h100-sxm",
        "nvidia-h200-sxm",
        "nvidia-h20",
        "nvidia-h800-sxm",
        "nvidia-b200-sxm",
    ),
    *("nvidia-b300-sxm", "nvidia-gb200-nvl72", "nvidia-gb300-nvl72", "nvidia-rubin", "nvidia-vera-rubin-nvl72"),
    *("google-tpu-v4-pod", "google-tpu-v5e-pod", "google-tpu-v5p-pod", "google-tpu-v6e-pod", "google-ironwood-pod"),
    *(
        "google-ironwood-256",
        "google-tpu-8t",
        "google-tpu-8i",
        "aws-trainium1",
        "aws-trn2-ultraserver",
        "aws-trn3-gen2",
    ),
    *("aws-inferentia2", "microsoft-maia-100", "microsoft-maia-200", "microsoft-maia-next", "meta-mtia-100"),
    *("meta-mtia-200", "meta-mtia-300", "meta-mtia-400", "meta-mtia-450", "meta-mtia-500", "amd-mi300x", "amd-mi325x"),
    *("amd-mi350x", "amd-mi355x", "amd-mi455x", "amd-helios-72", "intel-gaudi-3"),
]
# Chips and systems of the measured data: inference.csv names them so
MEASURED = [
    *("nvidia-h100-nvl", "nvidia-h200-nvl", "nvidia-gh200-96gb", "nvidia-gh200-144gb", "nvidia-rtx-pro-6000-se"),
    *("nvidia-a800-40gb", "nvidia-h100-pcie", "dgx-a100", "dgx-b200", "dgx-b300", "gb200-nvl72", "gb300-nvl72"),
    *("hgx-h100-8", "hgx-h20-8", "hgx-h200-8", "hgx-h800-8", "mi300x-platform", "mi355x-platform", "ironwood-pod"),
    *("tpu-v5e-pod", "tpu-v6e-pod", "trn1-32xl", "trn2-48xl", "vera-rubin-nvl72"),
]


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load()


@pytest.mark.parametrize("name", NAMED + MEASURED)
def test_named_hardware_is_there_with_its_traps(catalog: Catalog, name: str) -> None:
    _, record = view.find_any(catalog, name)
    assert record.traps
    assert all(fact.kind and fact.source for _, fact in walk.facts(record))


def peak(catalog: Catalog, chip: str, dtype: str) -> float | None:
    return view.in_unit(view.peak(catalog.chip(chip), dtype), "TFLOP/s")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("chip", "dtype", "value"),
    [
        ("nvidia-rubin", "fp4", 35000),  # 50,000 is the inference figure with compression
        ("amd-mi455x", "fp4", 20150),  # 40,300 is printed without saying sparse
        ("amd-mi355x", "fp8", 5033),  # 10,100 includes sparsity
        ("nvidia-b300-sxm", "int8", 157.5),  # 4,500 looks copied from B200
        ("aws-trainium3", "fp4", 2517),  # no gain over FP8
        ("google-tpu-v6e", "fp8", 918),  # no gain over BF16
        ("google-tpu-7x", "bf16", 2307),
        ("nvidia-a100-sxm4-80gb", "fp8", None),
        ("google-tpu-7x", "fp4", None),
        ("microsoft-maia-200", "bf16", None),
    ],
)
def test_dense_peaks_are_planned_on(catalog: Catalog, chip: str, dtype: str, value: float | None) -> None:
    assert peak(catalog, chip, dtype) == value


@pytest.mark.parametrize(("chip", "dtype"), [("microsoft-maia-200", "bf16"), ("google-tpu-7x", "int8")])
def test_a_missing_format_says_why(catalog: Catalog, chip: str, dtype: str) -> None:
    (rate,) = [one.rate for one in catalog.chip(chip).peaks if one.dtype == dtype]
    with pytest.raises(QuantityError, match=r"\w+"):
        _ = rate.si


@pytest.mark.parametrize(
    ("system", "sizes", "speeds"),
    [
        ("aws-trn3-gen2", [4, 18, 2], [256, 320, 128]),
        ("aws-trn2-ultraserver", [16, 4], [512, 128]),
        ("amd-mi300x-platform", [8], [448]),
        ("nvidia-gb200-nvl72", [72], [900]),
        ("google-ironwood-pod", [9216], [600]),
        ("microsoft-maia-100-node", [4], [450]),
        ("nvidia-h200-nvl-8", [4, 2], [450, 64]),
    ],
)
def test_links_are_one_way_per_level(catalog: Catalog, system: str, sizes: list[int], speeds: list[float]) -> None:
    levels = catalog.system(system).levels
    joined = [1] * len(levels)
    for place, level in enumerate(levels):
        for size in level.dims:
            joined[place] *= size
    assert joined == sizes
    assert [view.in_unit(level.bandwidth, "GB/s") for level in levels] == speeds


def test_slices_of_a_torus_close_only_on_full_axes(catalog: Catalog) -> None:
    shapes = {shape.dims: shape.wraparound for shape in catalog.system("google-tpu-v6e-pod").shapes}
    assert shapes[16, 16] == (True, True)
    assert shapes[8, 16] == (False, True)
    assert shapes[8, 8] == (False, False)
    cubes = {shape.dims: shape.wraparound for shape in catalog.system("google-ironwood-pod").shapes}
    assert cubes[4, 4, 8] == (True, True, True)
    assert cubes[2, 4, 4] == (False, False, False)


def test_memory_is_kept_three_ways(catalog: Catalog) -> None:
    memory = catalog.chip("nvidia-b200-sxm").memory
    assert memory.marketed is not None
    assert memory.physical is not None
    assert (memory.marketed.si, memory.physical.si) == (180e9, 192e9)
    assert memory.capacity.kind == "measured"
    assert memory.capacity.si == pytest.approx(183359 * 2**20)


def test_power_of_tpus_is_not_one_number(catalog: Catalog) -> None:
    power = catalog.chip("google-tpu-v4").power
    assert power.kind == "measured"
    assert [other.value for other in power.alternatives] == [340]


def test_roadmap_is_dated_and_not_on_sale(catalog: Catalog) -> None:
    for name in (
        "nvidia-rubin-ultra-kyber",
        "aws-trn4-ultraserver",
        "meta-mtia-450-rack",
        "microsoft-maia-next-cluster",
    ):
        available = catalog.system(name).availability
        assert available.status == "roadmap"
        assert available.since is not None


def test_unpublished_numbers_span_a_range(catalog: Catalog) -> None:
    rate = view.peak(catalog.chip("google-tpu-8t"), "fp8")
    assert isinstance(rate, Quantity)
    low, high = rate.si_range
    assert rate.kind == "guess"
    assert high / low > 2
    assert rate.because


def test_export_control_is_dated(catalog: Catalog) -> None:
    china = catalog.chip("nvidia-b200-sxm").availability.regions["cn"]
    assert china.text is None
    assert china.as_of == "2026-01-15"
    assert catalog.chip("nvidia-h20").availability.regions["cn"].text is not None
