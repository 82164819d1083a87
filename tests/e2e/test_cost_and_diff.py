"""`suanli cost` and `suanli diff` as a finance team uses them."""

from __future__ import annotations

import csv
import json
import re
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import pytest

PROFILE = """\
extends: hyperscaler-owned-2026
schema_version: 1
id: mine
name: Mine
edition: 2026-07
inputs:
"""


@pytest.fixture
def plans(run):
    """Plans of the study with the facts of two dates."""
    for name, options in (("now", []), ("then", ["--edition", "2025-08"])):
        assert run("plan", "study.yaml", "--out", name, *options).code == 0
    return "then/plan.json", "now/plan.json"


def number(text):
    return float(text.replace(",", ""))


def test_cost_shows_lines_that_add_up_and_every_way_of_paying(run):
    done = run("cost", "study.yaml", "--tornado")
    assert (done.code, done.err) == (0, "")
    rows = [
        line.rsplit(maxsplit=4) for line in done.out.split("What is paid for")[1].split("Intervals")[0].splitlines()
    ]
    lines = {row[0].strip(): number(row[1]) for row in rows if len(row) == 5 and row[4].endswith("%")}
    assert lines.pop("total") == pytest.approx(sum(lines.values()), abs=0.003)
    for words in (
        "owned (hyperscaler-owned-2026)",
        "rented 3y",
        "API of",
        "Cash flow",
        "speed over predicted speed",
        "work",
    ):
        assert words in done.out


def test_cash_flow_files_agree_and_recompute(run, folder):
    done = run("cost", "study.yaml", "--csv", "flow.csv", "--xlsx", "flow.xlsx", "--format", "json")
    assert done.code == 0
    cash = json.loads(done.out)["cash_flow"]
    with (folder / "flow.csv").open(encoding="utf-8") as handle:
        rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(handle)]
    # The plain formulas of a spreadsheet: net by row, and the present value by hand.
    for row in rows:
        assert row["net_usd"] == pytest.approx(sum(v for k, v in row.items() if k not in ("year", "net_usd")))
    by_hand = sum(row["net_usd"] / (1.0 + cash["discount_rate"]) ** row["year"] for row in rows)
    assert cash["npv_usd"] == pytest.approx(by_hand, rel=1e-4)
    text = zipfile.ZipFile(folder / "flow.xlsx").read("xl/worksheets/sheet1.xml")
    sheet = ElementTree.fromstring(text)  # noqa: S314 (our own file)
    space = {"s": "http://schemas.openxmlformats.org/spreadsheetml/2006/main"}
    values = [float(cell.text) for cell in sheet.iterfind(".//s:v", space)]
    assert any(value == pytest.approx(by_hand, rel=1e-4) for value in values)
    assert sum(row["net_usd"] for row in rows) == pytest.approx(sum(cash["totals_usd"].values()))


def test_sales_give_a_return(run, folder):
    (folder / "study.yaml").write_text((folder / "study.yaml").read_text() + "revenue: 0.6 USD/Mtoken\n")
    cash = json.loads(run("cost", "study.yaml", "--format", "json").out)["cash_flow"]
    assert cash["irr"] > cash["discount_rate"]
    assert cash["npv_usd"] > 0.0
    assert 0.0 < cash["payback_years"] < 6.0


def test_sensitivities_on_request(run):
    done = run("cost", "study.yaml", "--morris", "--sobol", "--format", "json")
    content = json.loads(done.out)
    assert content["sobol"][0]["key"] == content["morris"][0]["key"] == "prediction.factor"
    assert sum(share["first"] for share in content["sobol"]) == pytest.approx(1.0, abs=0.15)
    assert "tornado" not in content


def test_a_rent_has_no_present_value_without_a_rate(run):
    done = run("cost", "study.yaml", "--economics", "rented-3y-2026", "--xlsx", "flow.xlsx")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "finance.cost_of_capital" in done.err
    assert run("cost", "study.yaml", "--economics", "rented-3y-2026").code == 0


def test_editions_reprice_and_diff_says_why(run, plans):
    done = run("diff", *plans)
    assert (done.code, done.err) == (0, "")
    for words in ("facts of 2025-08", "hardware.life", "inputs", "model", "plan", "edition"):
        assert words in done.out
    content = json.loads(run("diff", *plans, "--format", "json").out)
    prices = [content[end]["usd_per_mtok"]["value"] for end in ("before", "after")]
    assert sum(content["split"].values()) == pytest.approx(prices[1] - prices[0], rel=1e-3)
    life = next(change for change in content["inputs"] if change["key"] == "hardware.life")
    assert (life["before"], life["after"]) == (4.0, 6.0)
    assert life["effect"] < 0.0
    assert {change["key"] for change in content["study"]} == {"edition"}


def test_a_plan_without_an_answer_is_compared_all_the_same(run, plans):
    assert run("plan", "study.yaml", "--tpot", "10 us", "--out", "none").code == 0
    done = run("diff", plans[1], "none/plan.json")
    assert done.code == 0
    assert "No price to compare: no price in none/plan.json" in done.out
    assert "TPOT floor" in done.out


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "not JSON"),
        ("[]", "not a plan"),
        ('{"schema_version": 1}', "missing"),
        ('{"schema_version": 2}', "schema_version: 2 given, accepted: 1"),
        (None, "cannot be read"),
    ],
)
def test_files_that_are_no_plan_are_named(run, folder, content, words):
    if content is not None:
        (folder / "a.json").write_text(content, encoding="utf-8")
    done = run("diff", "a.json", "a.json")
    assert (done.code, done.out) == (2, "")
    lines = done.err.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("error: a.json: ") and words in line for line in lines)


@pytest.mark.parametrize(
    ("profile", "words"),
    [
        ("  energy.electricity: {value: -1, unit: USD/kWh, kind: vendor, source: mine}", "at least 0 USD/kWh"),
        ("  hardware.life: {value: 0, unit: year, kind: vendor, source: mine}", "above 0 year"),
        ("  facility.build: {value: 9, unit: EUR/W, kind: vendor, source: mine}", "exchange.EUR"),
        ("  energy.load: {value: 1.5, unit: count, kind: vendor, source: mine}", "at most 1"),
        (
            "  energy.electric: {value: 1, unit: USD/kWh, kind: vendor, source: mine}",
            "did you mean 'energy.electricity'",
        ),
    ],
)
def test_bad_ways_of_paying_are_named(run, folder, profile, words):
    (folder / "mine.yaml").write_text(PROFILE + profile + "\n", encoding="utf-8")
    (folder / "study.yaml").write_text((folder / "study.yaml").read_text() + "economics: mine.yaml\n")
    for command in ("cost", "plan"):
        done = run(command, "study.yaml")
        assert (done.code, done.out) == (2, "")
        assert words in done.err
        assert "Traceback" not in done.err


def test_a_missing_tariff_is_named(run, folder):
    text = (
        "schema_version: 1\nid: mine\nname: Mine\nedition: 2026-07\nstructure: owned\ncurrency: USD\ninputs:\n"
        "  hardware.life: {value: 5, unit: year, kind: vendor, source: mine}\n"
    )
    (folder / "mine.yaml").write_text(text, encoding="utf-8")
    (folder / "study.yaml").write_text((folder / "study.yaml").read_text() + "economics: mine.yaml\n")
    done = run("cost", "study.yaml")
    assert done.code == 2
    assert "energy.electricity: missing" in done.err


def test_options_of_cost_that_make_no_sense(run):
    done = run("cost", "study.yaml", "--deployment", "9")
    assert (done.code, done.err) == (2, "error: --deployment: 9 given, the plan has 1 to 2\n")
    done = run("cost", "study.yaml", "--edition", "yesterday")
    assert done.code == 2
    assert "edition" in done.err


def test_power_caps_are_priced(run, folder):
    (folder / "study.yaml").write_text((folder / "study.yaml").read_text() + "limits: {power: 5 kW}\n")
    done = run("plan", "study.yaml")
    assert done.code == 0
    assert "Power: the cheapest answer needs" in done.out
    assert "would stay dark" in done.out


STUDIES = sorted((Path(__file__).parents[2] / "examples" / "economics").glob("owning-cost-*.yaml"))


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_owning_cost_of_a_machine_beside_what_is_published(run, path):
    done = run("cost", str(path), "--format", "json", "--tornado")
    assert (done.code, done.err) == (0, "")
    found = json.loads(done.out)
    assert sum(found["lines_per_chip_hour"].values()) == pytest.approx(found["per_chip_hour"])
    assert found["per_chip_hour"] == pytest.approx(found["published"], rel=0.15)
    assert found["p10"] <= found["published"] <= found["p90"]
    assert found["tornado"][0]["key"] == "hardware.life"


def test_a_machine_study_in_words_and_what_it_does_not_take(run, folder):
    gb200 = str(next(path for path in STUDIES if path.stem == "owning-cost-gb200"))
    assert "ours is -0.1% off" in run("cost", gb200).out
    then = run("cost", gb200, "--edition", "2025-08").out
    assert float(re.search(r": ([\d.]+) USD per chip-hour", then)[1]) > 2.2  # four years of life instead of six
    done = run("cost", gb200, "--csv", "x.csv")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "--csv" in done.err
    bad = (folder / "bad.yaml").write_text("schema_version: 1\nmachine: {chips: 0}\n", encoding="utf-8")
    assert bad
    done = run("cost", "bad.yaml")
    assert done.code == 2
    assert "economics: missing" in done.err
    assert "machine.chips" in done.err


def test_a_deal_in_words_and_what_it_does_not_take(run, folder):
    path = STUDIES[0].with_name("anthropic-tpu-deal.yaml")
    shown = run("cost", str(path))
    assert (shown.code, shown.err) == (0, "")
    assert re.search(r"rented: price of a chip-hour +1\.60 +USD/chip/h +1\.60 +-0\.2%", shown.out)
    figures = json.loads(run("cost", str(path), "--format", "json").out)["figures"]
    assert {one["name"] for one in figures if one["published"]} == {
        "rented: price of a chip-hour",
        "together: price",
        "together: IT power (published: over)",
    }
    done = run("cost", str(path), "--tornado")
    assert (done.code, done.err.count("\n")) == (2, 1)
    text = path.read_text(encoding="utf-8").replace("value: 10,", "value: -10,").replace("unit: year", "unit: chip")
    (folder / "bad.yaml").write_text(text, encoding="utf-8")
    done = run("cost", "bad.yaml")
    assert (done.code, done.err.count("\n")) == (2, 2)
    assert "bought.price: -10.0 given" in done.err
    assert "rented.term: unit 'chip' given" in done.err


def test_a_negative_price_in_an_overlay_is_named(run, folder):
    text = (
        "schema_version: 1\nprices:\n- id: nvidia-h100-sxm-rent-3y-2026-07\n  subject: nvidia-h100-sxm\n  what: rent\n"
        "  term: 3y\n  edition: 2026-07\n  seller: me\n"
        "  price: {value: -1.78, unit: USD/chip/h, kind: vendor, source: prices-aiinfra}\n"
    )
    (folder / "prices.yaml").write_text(text, encoding="utf-8")
    done = run("plan", "study.yaml", "--economics", "rented-3y-2026", "--overlay", "prices.yaml")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "-1.78 USD/chip/h given, accepted: at least 0" in done.err
