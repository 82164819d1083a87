"""The shipped catalog passes its checks, and each planted fault is found."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from suanli.catalog import walk
from suanli.catalog.check import check
from suanli.catalog.loader import DATA, load

CHIP = "chips/nvidia-h100-sxm.yaml"
SYSTEM = "systems/nvidia-hgx-h100-8.yaml"
PRICE = """
schema_version: 1
prices:
  - id: h100-rent
    subject: nvidia-h100-sxm
    what: rent
    edition: 2026-07
    seller: a cloud
    price: {value: 5.19, unit: USD/chip/h, kind: third_party, source: us-awscb}
"""


def test_shipped_facts_pass() -> None:
    assert check() == []


def test_shipped_catalog_is_as_large_as_promised() -> None:
    catalog = load()
    kinds = ("chip", "system", "price", "api_price", "grid", "workload", "model")
    values = sum(walk.count(record) for kind in kinds for record in catalog.records(kind).values())
    assert values >= 1900


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A catalog of one chip, one system and one price without any problem."""
    data = tmp_path / "data"
    for folder in ("chips", "systems", "prices", "sources", "engines", "checks"):
        (data / folder).mkdir(parents=True)
    for name in (CHIP, SYSTEM):
        shutil.copy(DATA / name, data / name)
    for engine in ("trtllm", "sglang", "vllm"):
        (data / "engines" / f"{engine}.yaml").write_text("schema_version: 1\n")
    (data / "prices" / "rent.yaml").write_text(PRICE)
    (data / "checks" / "known.yaml").write_text("schema_version: 1\nknown: []\n")
    catalog = load()
    used = (
        walk.sources(catalog.chip("nvidia-h100-sxm")) | walk.sources(catalog.system("nvidia-hgx-h100-8")) | {"us-awscb"}
    )
    records = [catalog.sources[one].model_dump(exclude_defaults=True) for one in sorted(used)]
    (data / "sources" / "all.yaml").write_text(yaml.safe_dump({"schema_version": 1, "sources": records}))
    assert check(data) == []
    return data


def replaced(name: str, old: str, new: str) -> Callable[[Path], None]:
    """A fault: one piece of one file is another."""

    def plant(data: Path) -> None:
        text = (data / name).read_text()
        assert old in text
        (data / name).write_text(text.replace(old, new, 1))

    return plant


def added(name: str, text: str) -> Callable[[Path], None]:
    """A fault: a file or its end is added."""

    def plant(data: Path) -> None:
        with (data / name).open("a") as file:
            file.write(text)

    return plant


FAULTS = {
    "clock does not fit the peak": (replaced(CHIP, "value: 1830", "value: 1980"), "bf16 peak is 9.894e+14"),
    "pin rate does not fit the bandwidth": (replaced(CHIP, "value: 5.24", "value: 6.4"), "stacks x pins x pin rate"),
    "total is not chips times chip": (
        added(SYSTEM, "  bf16_dense: {value: 16, unit: PFLOP/s, kind: vendor, source: us-mleng}\n"),
        "bf16_dense is 1.6e+16 in all, 8 chips give 7.915e+15",
    ),
    "both directions taken for one": (replaced(SYSTEM, "value: 450", "value: 900"), "level 'nvlink' sends 9e+11"),
    "level misses chips": (replaced(SYSTEM, "dims: [8]", "dims: [4]"), "levels join 4 chips, the system has 8"),
    "sold before it was released": (replaced(CHIP, 'since: "2022-09"', 'since: "2021-09"'), "available since 2021-09"),
    "date nobody can read": (replaced(SYSTEM, 'since: "2022-09"', "since: last autumn"), "is 'last autumn'; accepted"),
    "source without a record": (
        replaced(CHIP, "source: us-sb-gpus", "source: us-hearsay"),
        "source 'us-hearsay' has no",
    ),
    "source without a use": (
        added("sources/all.yaml", "- {id: idle, title: t, publisher: p, date: '2026', locator: l, read_as: press}\n"),
        "idle: nothing refers to this source",
    ),
    "estimate without a range": (
        replaced(CHIP, "unit: W, kind: vendor", "unit: W, kind: estimate"),
        "needs low, high and because",
    ),
    "range of nothing": (
        replaced(SYSTEM, "low: 2, high: 10", "low: 5, high: 5"),
        "scale_out.latency is an opinion (estimate) without a range",
    ),
    "number without a kind": (replaced(CHIP, ", kind: vendor", ""), "kind: missing"),
    "unit of another dimension": (replaced(CHIP, "unit: TB/s", "unit: TB"), "memory.bandwidth"),
    "chip is missing": (replaced(SYSTEM, "chip: nvidia-h100-sxm", "chip: nvidia-h101"), "chip 'nvidia-h101' is not in"),
    "price of nothing": (replaced("prices/rent.yaml", "subject: nvidia-h100-sxm", "subject: h300"), "subject 'h300'"),
    "rented before it was released": (replaced("prices/rent.yaml", "2026-07", "2020-07"), "rented in 2020-07"),
    "engine is missing": (replaced(SYSTEM, "trtllm", "trtlm"), "engine 'trtlm' is not in the catalog"),
    "file that nobody reads": (added("chips/notes.yml", "a: b\n"), "chips/notes.yml: is never read"),
    "name of file and record differ": (replaced(CHIP, "id: nvidia-h100-sxm", "id: nvidia-h100"), "holds no record"),
    "misspelt key": (replaced(CHIP, "power:", "powr:"), "did you mean 'power'?"),
    "all-in power below chip power": (
        replaced(CHIP, "power: {value: 700", "power: {value: 7000"),
        "is below the chip power",
    ),
    "explanation that explains nothing": (
        replaced("checks/known.yaml", "[]", "[{check: peak, subject: h1, because: b}]"),
        "peak of 'h1' is no exception any more",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_planted_fault_is_found(small: Path, name: str) -> None:
    plant, expected = FAULTS[name]
    plant(small)
    problems = check(small)
    assert any(expected in problem for problem in problems), problems


def test_known_exception_silences_exactly_its_finding(small: Path) -> None:
    replaced(CHIP, "value: 1830", "value: 1980")(small)
    before = check(small)
    known = "schema_version: 1\nknown: [{check: peak, subject: nvidia-h100-sxm bf16, because: test}]\n"
    (small / "checks" / "known.yaml").write_text(known)
    after = check(small)
    assert [problem for problem in before if "bf16" in problem]
    assert after == [problem for problem in before if "bf16" not in problem]
