"""The user's facts: new records, replaced records, what-ifs, and what is refused."""

from pathlib import Path

import pytest

from suanli.catalog.files import CatalogError
from suanli.catalog.loader import load

SOURCES = """schema_version: 1
sources: [{id: mine, title: Mine, publisher: me, date: "2026", locator: here, read_as: own}]
"""
FAST = """---
id: fast-h100
base: nvidia-h100-sxm
memory:
  bandwidth: {value: 6.7, unit: TB/s, kind: guess, source: mine, low: 6.5, high: 6.9, because: what if}
"""


def overlay(folder: Path, text: str, name: str = "mine.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_what_if_changes_what_it_says_and_nothing_else(tmp_path: Path) -> None:
    catalog = load([overlay(tmp_path, SOURCES + FAST)])
    base, fast = catalog.chip("nvidia-h100-sxm"), catalog.chip("fast-h100")
    assert fast.memory.bandwidth.si == pytest.approx(2 * base.memory.bandwidth.si)
    assert fast.memory.capacity == base.memory.capacity
    assert fast.peaks == base.peaks
    assert fast.aliases == ()


def test_record_with_a_known_id_replaces_it(tmp_path: Path) -> None:
    text = SOURCES + FAST.replace("id: fast-h100", "id: nvidia-h100-sxm")
    assert load([overlay(tmp_path, text)]).chip("nvidia-h100-sxm").memory.bandwidth.value == 6.7
    assert load().chip("nvidia-h100-sxm").memory.bandwidth.value == 3.35


def test_a_later_file_sees_an_earlier_one(tmp_path: Path) -> None:
    first = overlay(tmp_path, SOURCES + FAST)
    second = overlay(tmp_path, "id: fast-hgx\nbase: nvidia-hgx-h100-8\nchip: fast-h100\n", "second.yaml")
    catalog = load([first, second])
    assert catalog.chip_of(catalog.system("fast-hgx")).id == "fast-h100"


def test_a_shipped_file_is_a_good_overlay(tmp_path: Path) -> None:
    catalog = load()
    shipped = catalog.data / "grids" / "us-texas.yaml"
    copy = overlay(tmp_path, shipped.read_text().replace("id: us-texas", "id: my-grid"))
    assert load([copy]).grids["my-grid"].electricity == catalog.grids["us-texas"].electricity


def test_prices_and_hosted_prices_are_told_apart(tmp_path: Path) -> None:
    price = "{value: 2, unit: USD/chip/h, kind: vendor, source: mine}"
    each = "{value: 2, unit: USD/Mtoken, kind: vendor, source: mine}"
    rent = f"{{id: my-rent, subject: nvidia-b200-sxm, what: rent, edition: 2026-11, seller: me, price: {price}}}"
    hosted = f"{{id: my-api, model: m, seller: me, as_of: 2026-11, uncached_input: {each}, output: {each}}}"
    text = f"{SOURCES}---\nschema_version: 1\nprices: [{rent}]\n---\nschema_version: 1\nprices: [{hosted}]\n"
    catalog = load([overlay(tmp_path, text)])
    assert catalog.prices["my-rent"].price.si == pytest.approx(2 / 3600)
    assert catalog.api_prices["my-api"].output.value == 2


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (SOURCES + FAST.replace("source: mine", "source: yours"), "fast-h100: source 'yours' has no record"),
        (
            SOURCES + FAST.replace("base: nvidia-h100-sxm", "base: nvidia-h100"),
            "base: unknown id 'nvidia-h100'; did you",
        ),
        ("id: a-system\nbase: nvidia-hgx-h100-8\nchip: nvidia-h100\n", "unknown chip 'nvidia-h100'; did you mean"),
        ("colour: red\n", "cannot tell what this is; accepted: a document with one of the keys peaks"),
        (SOURCES + FAST.replace("unit: TB/s", "unit: TB"), "memory.bandwidth: unit 'TB' has the wrong dimension"),
        (SOURCES + FAST + "aliases: [gb200-nvl72, nvidia-h800]\n", "'nvidia-h800' of 'fast-h100' is also a name of"),
    ],
)
def test_bad_overlays_are_refused_with_their_reason(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(CatalogError) as caught:
        load([overlay(tmp_path, text)])
    assert reason in str(caught.value)


def test_problems_of_all_files_come_at_once(tmp_path: Path) -> None:
    first = overlay(tmp_path, "colour: red\n")
    second = overlay(tmp_path, SOURCES + FAST.replace("unit: TB/s", "unit: TB"), "second.yaml")
    with pytest.raises(CatalogError) as caught:
        load([first, second, tmp_path / "nowhere.yaml"])
    assert [problem.partition(": ")[0] for problem in caught.value.problems] == [
        str(first),
        str(second),
        str(tmp_path / "nowhere.yaml"),
    ]
