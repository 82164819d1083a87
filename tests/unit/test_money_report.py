"""The money of a plan in the report: every chart and table is there, and says what the plan says."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from report_samples import small_plan

from suanli.report.amounts import amount, label_of
from suanli.report.cash_words import cash_words
from suanli.report.html import html_text
from suanli.report.money_charts import interval_chart, tornado_chart, utilisation_chart, waterfall_chart
from suanli.report.money_html import money_section
from suanli.report.power_words import power_words
from suanli.search.megawatt import PowerPrice, Running
from suanli.search.plan import plan
from suanli.search.study import Study

STUDY = {
    "schema_version": 1,
    "model": "qwen3-32b",
    "weights": "fp8",
    "workload": {"input_tokens": 2048, "output_tokens": 512, "rate": "30 request/s"},
    "slo": {"ttft_p99": "5 s", "tpot_p99": "60 ms"},
    "systems": ["nvidia-hgx-h100-8", "nvidia-hgx-h200-8"],
    "limits": {"power": "1 MW"},
    "revenue": "api",
}


@pytest.fixture(scope="module")
def found(catalog):
    return plan(Study.from_mapping(STUDY, "s.yaml"), catalog=catalog)


def widths(svg, style):
    return [float(width) for width in re.findall(rf'<rect[^>]*width="([\d.]+)"[^>]*class="{style}', svg)]


def test_waterfall_bars_are_as_long_as_the_whole(found):
    svg = waterfall_chart(found.money.account)
    lines = [
        width for style in ("p-capital", "p-facility", "p-energy", "p-opex") for width in widths(svg, f"line {style}")
    ]
    (whole,) = widths(svg, "line whole")
    assert sum(lines) == pytest.approx(whole, abs=1.0)


def test_tornado_has_the_widest_input_on_top(found):
    svg = tornado_chart(found.money.account)
    names = re.findall(r'text-anchor="end">([^<]+)</text></g>', svg)
    assert names[0] == "speed over predicted speed"
    assert len(names) <= 10
    assert "$" in svg


def test_every_way_has_a_curve_and_a_disc(found):
    ways = found.money.account.ways
    svg = utilisation_chart(ways)
    assert svg.count('class="curve') == svg.count("<circle") == len(ways.ways)
    assert f"the plan: {ways.utilisation:.0%}" in svg


def test_chances_stand_beside_the_intervals(found):
    svg = interval_chart(found.money.deployments)
    assert svg.count('class="range"') == len(found.money.deployments)
    assert f"{found.money.deployments[0].p_cheapest:.0%}" in svg


def test_the_section_says_what_the_plan_says(found):
    section = money_section(found)
    assert len(section.figures) == 4
    tables = {table.title.split(",")[0]: table for table in section.tables}
    assert list(tables) == [
        "What a million tokens of each class cost",
        "How sure the money is",
        "Ways of paying",
        "Cash flow",
        "Named futures",
    ]
    cash = tables["Cash flow"]
    last = [float(cell.replace(",", "")) for cell in cash.rows[-1][1:]]
    assert sum(last[:-1]) == pytest.approx(last[-1], abs=3.0)
    assert "repaid after" in cash.note
    classes = tables["What a million tokens of each class cost"]
    bill = sum(float(row[1].replace(",", "")) * float(row[3].removeprefix("$")) * 0.0036 for row in classes.rows)
    assert bill == pytest.approx(found[0].value("usd_per_hour"), rel=0.01)
    for row in tables["How sure the money is"].rows:
        low, middle, high = (float(cell.replace(",", "")) for cell in row[1:])
        assert low <= middle <= high
    assert "does not bind" in section.power
    page = html_text(found)
    assert 'id="money"' in page
    assert page == html_text(found)


def test_a_cap_that_leaves_nothing_is_priced_all_the_same(found):
    empty = replace(found, deployments=(), money=None, power=replace(found.power, binding=True))
    page = html_text(empty)
    assert 'id="money"' in page
    assert "would stay dark" in page


def test_a_plan_without_prices_has_no_section():
    assert money_section(small_plan()) is None
    assert 'id="money"' not in html_text(small_plan())


def test_power_in_words():
    running = (Running("2x lean", 20.0, 250.0, 200.0),)
    free = PowerPrice(100.0, 80.0, "x", False, 0.0, 1.0, 0.0, running, 0)
    assert (
        power_words(free) == "Power: the cap of 100 kW does not bind, 80.0 kW are needed; one more MW is worth nothing."
    )
    bound = PowerPrice(400.0, 1000.0, "x", True, 2.5e6, 1.0, 0.0, running, 300)
    words = power_words(bound)
    assert "worth $2.50 million a year" in words
    assert "300 would stay dark" in words
    assert "serves" not in words
    short = PowerPrice(400.0, 1000.0, "x", True, None, 0.4, 60.0, running, 300)
    assert "serves 40% of the traffic; one more MW would serve 60.0 request/s more" in power_words(short)
    assert "give `revenue`" in power_words(short)


def test_names_of_inputs_read_well():
    assert label_of("finance.cost_of_capital") == "finance: cost of capital"
    assert label_of("capex.rack@nvidia-x") == "capex: rack (nvidia-x)"
    assert label_of("prediction.factor") == "speed over predicted speed"


def test_values_of_inputs_carry_a_unit_that_reads():
    assert amount(0.085, "finance.cost_of_capital", "1/year") == "8.5 % a year"
    assert amount(0.085, "finance.cost_of_capital", "1/year", with_unit=False) == "8.5 %"
    assert amount(0.09, "hardware.residual", "count") == "9 %"
    assert amount(1.12, "energy.pue", "count") == "1.12"
    assert amount(12.7, "facility.build", "USD/W") == "12.7 USD/W"
    assert amount(0.407, "prediction.factor", "achieved over predicted") == "0.407x"


def test_a_rent_repays_nothing(catalog):
    study = Study.from_mapping(STUDY | {"economics": "rented-3y-2026", "limits": {}}, "s.yaml")
    assert cash_words(plan(study, catalog=catalog).money.account.cash) == "sold at $0.900 a million tokens"
