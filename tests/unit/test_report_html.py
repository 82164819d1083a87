"""The HTML report: whole, self-contained, and drawn to scale."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from report_samples import deployment, plan, small_plan

from suanli.report.bars import cost_panel, memory_bar, step_panel
from suanli.report.charts import COST, THROUGHPUT, trade_chart
from suanli.report.html import html_text
from suanli.report.svg import LogAxis, axis_over, element
from suanli.search.result import Excuse

VOID = {"meta", "input", "br", "link", "img"}


class Balance(HTMLParser):
    """Fails on a tag that is closed out of order."""

    def __init__(self):
        super().__init__()
        self.open = []
        self.ids = []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)
        self.ids += [value for key, value in attrs if key == "id"]

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_startendtag(self, tag, attrs):
        pass


@pytest.mark.parametrize(
    "one", [small_plan(), plan(excuses=(Excuse("c", "too slow", "slo"),)), plan(deployment(1, None))]
)
def test_report_is_balanced_and_self_contained(one):
    text = html_text(one)
    parser = Balance()
    parser.feed(text)
    assert parser.open == []
    assert len(parser.ids) == len(set(parser.ids))
    assert not re.search(r"<(script|img|link|iframe)[^>]+(src|href)=", text)
    assert "@import" not in text
    assert "url(http" not in text


def test_report_names_systems_excuses_sources_and_escapes_them():
    text = html_text(small_plan())
    for name in ("a-8", "b-8", "c-8", "d-64"):
        assert name in text
    assert "A &lt;datasheet&gt;" in text
    assert 'id="source-s1"' in text
    assert "TPOT floor 61 ms &gt; 30 ms" in text


def test_equal_plans_give_equal_reports():
    assert html_text(small_plan()) == html_text(small_plan())


def test_tile_warns_where_the_interval_crosses_the_limit():
    # TPOT p99 is 25 ms with a factor of 1.5: its upper end of 37.5 ms misses the 30 ms of the study.
    assert "limit 30: may be missed" in html_text(small_plan())
    study = small_plan().study | {"slo": {"tpot_p99": 0.05}}
    assert "may be missed" not in html_text(plan(deployment(), study=study))


def test_assumptions_that_differ_in_one_number_are_one_line():
    text = html_text(small_plan())
    assert "KV transfer 0.5\u20131 ms per request, not hidden <small>all rows</small>" in text


@pytest.mark.parametrize("trade", [THROUGHPUT, COST])
def test_chart_is_well_formed_and_inside_its_box(trade):
    drawing = ElementTree.fromstring(trade_chart(small_plan(), trade))  # noqa: S314 (made here)
    marks = list(drawing.iter("circle"))
    assert len(marks) == 2
    for mark in marks:
        assert 0.0 < float(mark.get("cx")) < 560.0
        assert 0.0 < float(mark.get("cy")) < 400.0


def test_chart_puts_the_delivered_rate_at_half_the_capacity():
    # load 0.5 of 8,000 tokens/s/chip is 4,000: above the 1,000 and below the 9,000 of the curve's ends.
    one = small_plan()
    assert THROUGHPUT.value(one[0]) == pytest.approx(4000.0)
    assert THROUGHPUT.whisker(one[0]) == pytest.approx((4000.0 / 1.5, 6000.0))


def test_chart_without_the_metric_is_empty():
    assert trade_chart(plan(deployment(1, None)), COST) == ""


def test_axis_is_logarithmic_with_round_ticks():
    axis = LogAxis(10.0, 1000.0, 0.0, 100.0)
    assert axis.at(100.0) == pytest.approx(50.0)
    assert axis.at(5.0) == 0.0
    assert axis.beyond(1.0) == pytest.approx(-50.0)
    assert axis.ticks == pytest.approx([10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0])
    assert axis_over([2.0, 8.0], 0.0, 1.0).low < 2.0


def test_elements_escape_their_attributes():
    assert element("text", "x", class_="a", data_tip='say "<hi>"') == (
        '<text class="a" data-tip="say &quot;&lt;hi&gt;&quot;">x</text>'
    )


def test_bars_share_one_scale_and_add_up():
    panel = cost_panel(small_plan().deployments)
    assert panel is not None
    lengths = [sum(piece.share for piece in bar.segments) for bar in panel.bars]
    assert lengths == pytest.approx([0.05 / 0.055, 1.0])
    assert [label for _, label in panel.legend] == ["capital", "energy"]
    assert cost_panel([deployment(1, None)]) is None


def test_step_bars_show_every_pool_and_the_whole_step():
    panel = step_panel(small_plan().deployments, 10)
    assert panel is not None
    assert [bar.name for bar in panel.bars] == ["a-8", "a-8, prefill", "b-8, decode"]
    assert panel.bars[0].total == "18.1"
    cut = step_panel(small_plan().deployments, 1)
    assert cut is not None
    assert [bar.rank for bar in cut.bars] == [1]


def test_memory_bar_is_full():
    bar = memory_bar(small_plan()[0].pools[0])
    assert sum(piece.share for piece in bar.segments) == pytest.approx(1.0)
    assert [piece.label for piece in bar.segments] == ["weights", "KV cache", "reserve", "free"]
