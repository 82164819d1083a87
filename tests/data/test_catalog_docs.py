"""The reference pages are what the data say, and the how-to works as written."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from suanli.catalog import docs, view
from suanli.catalog.check import check
from suanli.catalog.loader import Catalog, load
from suanli.catalog.schema import Chip
from suanli.cli.catalog import catalog_app

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"
HOW_TO = ROOT / "docs" / "how-to" / "add-a-chip.md"


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load()


def test_generated_pages_are_up_to_date(catalog: Catalog) -> None:
    stale = [
        name
        for name, text in docs.pages(catalog).items()
        if not (REFERENCE / name).exists() or (REFERENCE / name).read_text(encoding="utf-8") != text
    ]
    assert stale == [], "run: python -m suanli.catalog.docs docs/reference"


def test_page_lists_every_system_and_chip(catalog: Catalog) -> None:
    page = docs.catalog_page(catalog)
    assert all(f"| {name} |" in page for name in (*catalog.systems, *catalog.chips))


def test_schema_page_lists_every_key() -> None:
    page = docs.schema_page()
    assert all(f"| `{name}` |" in page for name in Chip.model_fields)
    assert "one way, per chip, all links of this level together" in page


def test_pictures_are_svg_with_a_dot_per_record(catalog: Catalog) -> None:
    for name, text in docs.pages(catalog).items():
        if name.endswith(".svg"):
            picture = ElementTree.fromstring(text)  # noqa: S314 (our own text)
            dots = [node for node in picture.iter() if node.tag.endswith("circle") and len(node)]
            assert len(dots) > 60, name


def blocks() -> list[str]:
    return re.findall(r"```yaml\n(.*?)```", HOW_TO.read_text(encoding="utf-8"), re.DOTALL)


def test_how_to_adds_a_chip_with_one_file(tmp_path: Path) -> None:
    file = tmp_path / "l40s.yaml"
    file.write_text(blocks()[0])
    catalog = load([file])
    system = catalog.system("nvidia-l40s-8")
    assert catalog.chip_of(system).id == "nvidia-l40s"
    assert view.in_unit(view.peak(catalog.chip_of(system), "bf16"), "TFLOP/s") == 362
    assert check(overlays=[file]) == check()
    for command in re.findall(r"\$ suanli catalog (.*)", HOW_TO.read_text(encoding="utf-8")):
        if not command.startswith("check"):
            result = CliRunner().invoke(catalog_app, command.replace("l40s.yaml", str(file)).split())
            assert result.exit_code == 0, result.output
            assert "nvidia-l40s" in result.output


def test_how_to_what_if_works(tmp_path: Path) -> None:
    file = tmp_path / "what-if.yaml"
    file.write_text(blocks()[1])
    catalog = load([file])
    assert catalog.chip_of(catalog.system("hgx-h100-fast-memory")).memory.bandwidth.si == pytest.approx(6.7e12)
