"""Rows of the catalog and the command line that prints them."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from suanli.catalog import view, walk
from suanli.catalog.files import CatalogError
from suanli.catalog.loader import Catalog, load
from suanli.cli.catalog import ListKind, catalog_app
from suanli.quantity import Quantity, Text

runner = CliRunner()
S = {"kind": "vendor", "source": "s"}


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load()


def run(*arguments: str, code: int = 0) -> str:
    result = runner.invoke(catalog_app, list(arguments))
    assert result.exit_code == code, result.output
    return result.output


@pytest.mark.parametrize(
    ("fact", "text"),
    [
        (Quantity(value=989.4, unit="TFLOP/s", **S), "989.4 TFLOP/s"),
        (Quantity(value=None, unit="us", low=1, high=2, because="b", **S), "1 to 2 us"),
        (Quantity(value=1.5, unit="us", low=1, high=2, **S), "1.5 us (1 to 2)"),
        (Quantity(value=None, unit="W", because="b", **S), "not published"),
        (Quantity(value=132, unit="count", **S), "132"),
        (Text(text="air", **S), "air"),
        (Text(text=None, because="b", **S), "none"),
    ],
)
def test_amounts_read_as_they_stand(fact: Quantity | Text, text: str) -> None:
    assert view.amount(fact) == text


def test_every_fact_and_alternative_is_shown(catalog: Catalog) -> None:
    chip = catalog.chip("nvidia-b300-sxm")
    shown = list(view.fact_rows(chip))
    assert len(shown) == sum(1 for _, fact in walk.facts(chip) for _ in walk.with_alternatives(fact))
    assert all(row["kind"] and row["source"] for row in shown)
    assert {"fact": "peaks[int8].rate", "value": "157.5 TOP/s"}.items() <= shown[
        next(place for place, row in enumerate(shown) if row["fact"] == "peaks[int8].rate")
    ].items()


def test_numbers_that_no_datasheet_gives_are_named(catalog: Catalog) -> None:
    assert view.not_from_a_datasheet(catalog.chip("nvidia-h100-sxm")) == ()
    assert {"bf16", "fp8", "power"} <= set(view.not_from_a_datasheet(catalog.chip("google-tpu-8t")))
    assert "backplane bandwidth" in view.not_from_a_datasheet(catalog.system("meta-mtia-450-rack"))


def test_a_record_differs_from_itself_in_nothing(catalog: Catalog) -> None:
    chip = catalog.chip("nvidia-h100-sxm")
    assert view.differences(chip, chip) == []


def test_differences_give_the_ratio(catalog: Catalog) -> None:
    rows = view.differences(catalog.chip("nvidia-h100-sxm"), catalog.chip("nvidia-h200-sxm"))
    (bandwidth,) = [row for row in rows if row["fact"] == "memory.bandwidth"]
    assert bandwidth["ratio"] == pytest.approx(4.8 / 3.35, abs=1e-3)


def test_different_kinds_are_not_compared(catalog: Catalog) -> None:
    with pytest.raises(CatalogError, match="different kinds"):
        view.differences(catalog.chip("nvidia-h100-sxm"), catalog.system("nvidia-hgx-h100-8"))


def test_citations_count_every_fact_once(catalog: Catalog) -> None:
    chip = catalog.chip("nvidia-h100-sxm")
    rows = view.citations(catalog, "chip", chip)
    assert sum(int(str(row["facts"])) for row in rows) == sum(
        1 for _, fact in walk.facts(chip) for _ in walk.with_alternatives(fact)
    )
    assert {row["source"] for row in rows} == walk.sources(chip)


@pytest.mark.parametrize("kind", ListKind)
def test_everything_can_be_listed_both_ways(kind: ListKind) -> None:
    rows = json.loads(run("list", "--kind", kind, "--format", "json"))
    assert len(rows) > 5
    table = run("list", "--kind", kind).splitlines()
    assert len(table) == len(rows) + 1


def test_list_filters_by_vendor_and_status() -> None:
    rows = json.loads(run("list", "--kind", "chips", "--vendor", "amd", "--status", "on_sale", "--format", "json"))
    assert {row["chip"] for row in rows} == {"amd-mi300x", "amd-mi325x", "amd-mi350x", "amd-mi355x"}


def test_show_prints_values_kinds_sources_and_traps() -> None:
    text = run("show", "trn3-gen2")
    assert "levels[inter-rack].bandwidth" in text
    assert "128 GB/s" in text
    assert "note: Not uniform" in text
    record = json.loads(run("show", "trn3-gen2", "--format", "json"))
    assert record["kind"] == "system"
    assert record["record"]["levels"][2]["bandwidth"]["source"] == "us-n-trn3"


def test_cite_names_documents_and_how_they_were_read() -> None:
    text = run("cite", "aws-trainium3")
    assert "Amazon Web Services" in text
    assert "read as vendor document" in text
    assert "used by" in run("cite", "us-mleng")


def test_diff_and_check_speak_json() -> None:
    rows = json.loads(run("diff", "nvidia-b200-sxm", "nvidia-b300-sxm", "--format", "json"))
    assert any(row["fact"] == "peaks[int8].rate" for row in rows)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("show", "nvidia-gb200-nvl7"), "unknown id 'nvidia-gb200-nvl7'; did you mean nvidia-gb200-nvl72"),
        (("cite", "qqqqqq"), "unknown id 'qqqqqq'; `suanli catalog list`"),
        (("diff", "nvidia-h100-sxm", "nvidia-hgx-h100-8"), "different kinds"),
        (("list", "--kind", "models", "--vendor", "amd"), "do not apply to --kind models; accepted: chips, systems"),
        (("list", "--vendor", "amdd"), "unknown vendor 'amdd'; accepted: "),
        (("show", "nvidia-h100-sxm", "--overlay", "nowhere.yaml"), "nowhere.yaml: cannot be read"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(arguments: tuple[str, ...], reason: str) -> None:
    result = runner.invoke(catalog_app, list(arguments))
    assert result.exit_code == 2
    assert reason in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert result.stdout == ""


def test_check_of_a_bad_overlay_fails(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("id: mine\nbase: nvidia-hgx-h100-8\nchips: 16\n")
    result = runner.invoke(catalog_app, ["check", "--overlay", str(path), "--format", "json"])
    assert result.exit_code == 1
    assert "mine: levels join 8 chips, the system has 16" in json.loads(result.stdout)["problems"]
