"""Published figures and plain spreadsheet arithmetic, recomputed."""

import csv
import io
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from suanli.catalog.files import read_documents
from suanli.economics.cashflow import cash_flow
from suanli.economics.deal import figures_of, read_deal
from suanli.economics.money import range_in, value_in
from suanli.economics.profile import load_profile
from suanli.economics.quote import Machine, quote
from suanli.economics.uncertainty import Candidate, Range, probability_cheapest, quantiles, sample_costs
from suanli.economics.workbook import workbook
from suanli.quantity import Quantity

EXAMPLES = Path(__file__).parents[2] / "examples" / "economics"
STUDIES = sorted(EXAMPLES.glob("owning-cost-*.yaml"))


def quantity(data):
    return Quantity.model_validate(data)


def priced(path):
    (study,) = read_documents(path)
    machine = study["machine"]
    answer = quote(
        load_profile(study["economics"]),
        Machine(
            tuple(machine["subjects"]),
            machine["chips"],
            machine["vendor"],
            range_in(quantity(machine["power"]), "W/chip"),
        ),
        buyer=study.get("buyer"),
    )
    return answer, value_in(quantity(study["published"]), "USD/chip/h")


def test_there_is_a_study_for_each_published_row():
    names = {path.stem.removeprefix("owning-cost-") for path in STUDIES}
    assert names >= {"h100", "h200", "b200", "gb200", "gb300", "mi300x", "mi355x", "tpu7x"}


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_owning_cost_is_reproduced_from_bills_and_one_profile(path):
    answer, published = priced(path)
    assert answer.basis == "breakdown"
    assert answer.cost.total == pytest.approx(published, rel=0.15)
    low, middle, high = answer.interval()
    assert low <= published <= high
    assert middle == pytest.approx(published, rel=0.15)
    assert (high - low) / middle < 0.35  # an interval that holds everything would prove nothing


def test_the_hyperscaler_rows_share_one_profile():
    profiles = {read_documents(path)[0]["economics"] for path in STUDIES if "neocloud" not in path.stem}
    assert profiles == {"hyperscaler-owned-2026"}


def test_ranking_of_the_published_rows_is_kept():
    rows = [priced(path) for path in STUDIES if "neocloud" not in path.stem]
    ours = sorted(range(len(rows)), key=lambda row: rows[row][0].cost.total)
    theirs = sorted(range(len(rows)), key=lambda row: rows[row][1])
    assert sum(abs(ours.index(row) - theirs.index(row)) for row in range(len(rows))) <= 4


def test_h200_breakdown_of_the_neocloud_line_by_line():
    # 361,255 USD per server; 6,738 USD/month over 6 years at 10.25 %; 68.59 + 150 USD/kW/month; 131 + 39 USD/month.
    answer, _ = priced(EXAMPLES / "owning-cost-h200-neocloud.yaml")
    values = answer.values
    assert sum(value for key, value in values.items() if key.startswith("capex.")) == pytest.approx(
        361_255 / 8, rel=1e-5
    )
    per_month = 730.5
    electricity = values["energy.electricity"] * values["energy.pue"] * values["energy.load"] * per_month
    assert electricity == pytest.approx(68.59, rel=0.002)
    opex = (answer.cost.facility + answer.cost.energy + answer.cost.opex) * per_month * 8
    assert opex == pytest.approx(2_558.27, rel=0.002)
    # Ours pays yearly in arrears, theirs monthly: a little dearer, by less than half a year of interest.
    monthly = answer.cost.capital * per_month * 8
    assert 6_738.18 < monthly < 6_738.18 * (1 + 0.1025 / 2)


def test_anthropic_tpu_deal():
    """SemiAnalysis, 2025-11-28: 400,000 bought for about 10 billion, 600,000 rented for 42 billion over five years."""
    found = {one.name.split(" (")[0]: one for one in figures_of(read_deal(EXAMPLES / "anthropic-tpu-deal.yaml"))}
    assert found["bought: price of a chip"].value == pytest.approx(25_000)
    rent = found["rented: price of a chip-hour"]
    assert rent.value == pytest.approx(42e9 / (600_000 * 5 * 8766))
    assert (rent.published, rent.value) == (1.60, pytest.approx(1.60, rel=0.005))
    assert found["together: price"].value == pytest.approx(52.0)
    power = found["together: IT power"]
    assert power.value > power.published == 1.0
    own, mixed = (found[name].value for name in ("bought: chip-hour under neocloud-colo-2026", "together: chip-hour"))
    assert mixed == pytest.approx((4 * own + 6 * rent.value) / 10)
    assert own < rent.value  # what is bought must be cheaper by the hour than what is rented, or nobody would buy


def test_tpu_bill_agrees_with_the_deal():
    answer, _ = priced(EXAMPLES / "owning-cost-tpu7x.yaml")
    assert answer.values["capex.rack"] == pytest.approx(10e9 / 400_000)


@pytest.fixture(scope="module")
def gb200_flow():
    answer, _ = priced(EXAMPLES / "owning-cost-gb200.yaml")
    return answer, cash_flow(
        "owned", answer.values, 72.0, "USD", revenue_per_year=[2.5e6, 2.2e6, 1.9e6, 1.6e6, 1.3e6, 1.0e6]
    )


def test_cash_flow_recomputed_as_a_spreadsheet(gb200_flow):
    answer, flow = gb200_flow
    v = answer.values
    rows = list(csv.DictReader(io.StringIO(flow.to_csv())))
    assert [float(row["year"]) for row in rows] == [0, 1, 2, 3, 4, 5, 6]
    # Year 0: a rack of 3.1 million and its share of the cluster of 0.8 million.
    assert float(rows[0]["purchase_usd"]) == pytest.approx(-3_900_000)
    kw = 72 * 1.87
    plant = v["facility.build"] * 1000 * kw

    def crf(years):
        return v["finance.cost_of_capital"] / (1 - (1 + v["finance.cost_of_capital"]) ** -years)

    facility = plant * (0.2 * crf(30) + 0.8 * crf(17.5) + 0.01)
    energy = kw * 0.8 * 1.12 * 8766 * 0.091
    for row, revenue in zip(rows[1:], [2.5e6, 2.2e6, 1.9e6, 1.6e6, 1.3e6, 1.0e6], strict=True):
        assert float(row["facility_usd"]) == pytest.approx(-facility)
        assert float(row["energy_usd"]) == pytest.approx(-energy)
        assert float(row["operations_usd"]) == pytest.approx(-72 * 255)
        assert float(row["net_usd"]) == pytest.approx(revenue - facility - energy - 72 * 255)
    present = sum(float(row["net_usd"]) / 1.085 ** float(row["year"]) for row in rows)
    assert flow.npv(0.085) == pytest.approx(present)
    assert flow.npv(flow.irr()) == pytest.approx(0.0, abs=1.0)
    assert 1 < flow.payback_years() < flow.payback_years(0.085) < 6


def _cells(data):
    sheet = zipfile.ZipFile(io.BytesIO(data)).read("xl/worksheets/sheet1.xml")
    space = {"m": "http://schemas.openxmlformats.org/spreadsheetml/2006/main"}
    cells, formulas = {}, {}
    for cell in ET.fromstring(sheet).iterfind(".//m:c", space):  # noqa: S314 (our own file)
        value, formula = cell.find("m:v", space), cell.find("m:f", space)
        text = cell.find("m:is/m:t", space)
        cells[cell.get("r")] = text.text if text is not None else float(value.text)
        if formula is not None:
            formulas[cell.get("r")] = formula.text
    return cells, formulas


def test_workbook_formulas_give_its_numbers(gb200_flow):
    _, flow = gb200_flow
    cells, formulas = _cells(workbook(flow, 0.085))
    assert cells["A1"] == "year"
    assert cells["I1"] == "net [USD]"
    for row in range(2, 9):
        assert formulas[f"I{row}"] == f"SUM(B{row}:H{row})"
        assert cells[f"I{row}"] == pytest.approx(sum(cells[f"{column}{row}"] for column in "BCDEFGH"))
    for column in "BCDEFGHI":
        assert formulas[f"{column}9"] == f"SUM({column}2:{column}8)"
        assert cells[f"{column}9"] == pytest.approx(sum(cells[f"{column}{row}"] for row in range(2, 9)), abs=1e-6)
    assert formulas["B11"] == "SUMPRODUCT(I2:I8,(1+B10)^(-A2:A8))"
    present = sum(cells[f"I{row}"] * (1 + cells["B10"]) ** -cells[f"A{row}"] for row in range(2, 9))
    assert cells["B11"] == pytest.approx(present)
    assert workbook(flow, 0.085) == workbook(flow, 0.085)


def test_ten_thousand_samples_over_twenty_plans_in_two_seconds():
    quotes = [priced(path)[0] for path in STUDIES]
    candidates = [
        Candidate(
            name=f"plan {index}",
            structure="owned",
            ranges=quotes[index % len(quotes)].ranges,
            chips=64.0,
            tokens_per_s=1e5 * (1 + index / 20),
            error=Range(0.85, 1.0, 1.2, "interval80"),
        )
        for index in range(20)
    ]
    sample_costs(candidates[:1], 16)  # imports
    start = time.perf_counter()
    draws = sample_costs(candidates, 10_000)
    summary = {name: quantiles(values) for name, values in draws.items()}
    chances = probability_cheapest(draws)
    spent = time.perf_counter() - start
    assert spent < 2.0
    assert all(len(values) >= 10_000 for values in draws.values())
    assert all(low < middle < high for low, middle, high in summary.values())
    assert sum(chances.values()) == pytest.approx(1.0)


def test_doubling_the_samples_hardly_moves_the_quantiles():
    answer, _ = priced(EXAMPLES / "owning-cost-gb200.yaml")
    few, many = answer.interval(2048), answer.interval(16384, seed=5)
    assert few == pytest.approx(many, rel=0.01)


def test_editions_differ_by_the_life_that_they_assume():
    # SemiAnalysis wrote off over 4 years until 2026-02 and over 6 in 2026-07: most of the fall in its rows.
    answer, _ = priced(EXAMPLES / "owning-cost-gb200.yaml")
    old = replace(answer, ranges={**answer.ranges, "hardware.life": Range(4.0, 4.0, 4.0)})
    assert old.cost.capital / answer.cost.capital == pytest.approx(0.30529 / 0.21961, rel=0.001)


@pytest.mark.parametrize(
    ("chip", "power_w", "published"),
    [
        ("nvidia-h100-sxm", 1_370.0, 1.30),
        ("nvidia-h200-sxm", 1_370.0, 1.41),
        ("nvidia-b200-sxm", 1_710.0, 1.95),
        ("nvidia-gb200", 1_870.0, 2.21),
        ("amd-mi300x", 1_390.0, 1.12),
        ("amd-mi325x", 1_690.0, 1.28),
        ("amd-mi355x", 2_090.0, 1.48),
    ],
)
def test_rows_of_the_earlier_edition_follow_from_its_shorter_life(chip, power_w, published):
    # August 2025; the power is that of July 2026, whose definition leaves out the losses of the building.
    power = (power_w * 0.9, power_w, power_w * 1.1)
    answer = quote(load_profile("hyperscaler-owned-2025-08"), Machine((chip,), 8, "any", power))
    low, _, high = answer.interval()
    assert answer.cost.total == pytest.approx(published, rel=0.15)
    assert low <= published <= high


@pytest.mark.parametrize(
    ("chip", "power_w", "published"),
    [
        ("nvidia-h100-sxm", 1_370.0, 1.69),
        ("nvidia-h200-sxm", 1_370.0, 1.74),
        ("nvidia-b200-sxm", 1_710.0, 2.34),
        ("nvidia-gb200", 1_870.0, 2.75),
        ("amd-mi300x", 1_390.0, 1.40),
        ("amd-mi325x", 1_690.0, 1.59),
        ("amd-mi355x", 2_090.0, 1.90),
    ],
)
def test_neocloud_rows_of_the_earlier_edition_follow_from_its_loans(chip, power_w, published):
    # August 2025, column of the neoclouds; nothing in the profile was chosen by these rows.
    power = (power_w * 0.9, power_w, power_w * 1.1)
    answer = quote(load_profile("neocloud-debt-2025-08"), Machine((chip,), 8, "any", power))
    low, _, high = answer.interval()
    assert answer.cost.total == pytest.approx(published, rel=0.10)
    assert low <= published <= high


@pytest.mark.parametrize(("study", "billion_usd_per_gw"), [("h100", 23.0), ("b200", 24.0), ("gb300", 33.0)], ids=str)
def test_another_house_sees_about_the_same_capex_per_gigawatt(study, billion_usd_per_gw):
    # Morgan Stanley 2026-05-08: whole site per GW, of which racks 58-63 % and network 19-23 %: 0.77 to 0.86 of it.
    answer, _ = priced(EXAMPLES / f"owning-cost-{study}.yaml")
    machines = sum(value for key, value in answer.values.items() if key.startswith("capex."))
    facility_w = answer.values["system.power"] * answer.values["energy.pue"]
    ours = machines / facility_w  # USD/W = billion USD/GW
    assert 0.77 * billion_usd_per_gw * 0.8 < ours < 0.86 * billion_usd_per_gw * 1.25


def test_bernstein_sees_about_the_same_all_in_capex_for_gb200():
    # 35 billion USD per GW of site, machines and building.
    answer, _ = priced(EXAMPLES / "owning-cost-gb200.yaml")
    values = answer.values
    machines = sum(value for key, value in values.items() if key.startswith("capex."))
    ours = (machines / values["system.power"] + values["facility.build"]) / values["energy.pue"]
    assert ours == pytest.approx(35.0, rel=0.15)
