"""What the terminal, the CSV file and the explanation show."""

from __future__ import annotations

import csv
import io
import json

import pytest
from report_samples import deployment, plan, small_plan
from rich.console import Console

from suanli.report.csv_text import csv_columns, csv_text
from suanli.report.explanation import explanation, print_explanation
from suanli.report.files import json_text, plan_json, write_plan
from suanli.report.metrics import METRICS
from suanli.report.terminal import print_plan
from suanli.search.result import Excuse


def printed(one, columns: int, top: int | None = None) -> str:
    out = io.StringIO()
    print_plan(Console(file=out, width=columns), one, top)
    return out.getvalue()


@pytest.mark.parametrize("columns", [80, 100, 120, 200])
def test_table_never_overflows_and_names_every_system(columns):
    shown = printed(small_plan(), columns)
    assert max(len(line) for line in shown.splitlines()) <= columns
    for name in ("a-8", "b-8", "c-8", "d-64"):
        assert name in shown


def test_wide_table_holds_what_a_narrow_one_leaves_out():
    wide, narrow = printed(small_plan(), 120), printed(small_plan(), 80)
    for word in ("tok/J", "bound by", "memory bandwidth", "$/M in"):
        assert word in wide
        assert word not in narrow
    assert "More columns" in narrow


def test_ties_are_marked_and_explained():
    shown = printed(small_plan(), 120)
    assert "2≈" in shown
    assert "cannot be told apart from the first" in shown
    assert "≈" not in printed(plan(deployment()), 120)


def test_other_systems_with_the_same_answer_are_named():
    assert "also on a-64, a-256" in printed(plan(deployment(also_on=("a-64", "a-256"))), 120)


def test_top_cuts_the_table_and_says_so():
    shown = printed(small_plan(), 120, top=1)
    assert "b-8" not in shown
    assert "1 further deployment" in shown


def test_excuses_are_grouped_with_reason_and_remedy():
    shown = printed(small_plan(), 120)
    assert "too slow for the SLO (loosen the SLO)" in shown
    assert "TPOT floor 61 ms > 30 ms" in shown
    assert "announced or planned" in shown


def test_long_groups_are_cut():
    excuses = tuple(Excuse(f"s-{index:02}", "announced", "roadmap") for index in range(20))
    shown = printed(plan(deployment(), excuses=excuses), 120)
    assert "s-07" in shown
    assert "s-08" not in shown
    assert "and 12 more" in shown


def test_how_sure_shows_the_width_of_each_class():
    shown = printed(small_plan(), 120)
    assert "How sure" in shown
    assert "family" in shown.split("How sure")[1]
    assert "1.50" in shown.split("How sure")[1]


def test_empty_plan_has_no_table():
    shown = printed(plan(excuses=(Excuse("c-8", "TPOT floor 61 ms > 30 ms", "slo"),)), 120)
    assert "No system answers this study" in shown
    assert "How sure" not in shown


def test_plan_without_prices_shows_dashes():
    shown = printed(plan(deployment(1, None)), 120)
    assert "\u2013" in shown


def test_csv_has_every_metric_with_both_ends():
    rows = list(csv.DictReader(io.StringIO(csv_text(small_plan()))))
    assert [row["rank"] for row in rows] == ["1", "2"]
    assert [row["tie_with_best"] for row in rows] == ["false", "true"]
    for metric in METRICS:
        assert float(rows[0][f"{metric.key}_low"]) <= float(rows[0][metric.key]) <= float(rows[0][f"{metric.key}_high"])
    assert rows[1]["systems"] == "a-8 b-8"


def test_csv_leaves_unknown_cells_empty():
    rows = list(csv.DictReader(io.StringIO(csv_text(plan(deployment(1, None))))))
    assert rows[0]["usd_per_mtok"] == ""
    assert tuple(rows[0]) == csv_columns()


def test_sample_metrics_are_the_documented_ones():
    assert set(deployment().metrics) == {metric.key for metric in METRICS}


def test_json_has_no_infinity():
    assert json.loads(json_text({"a": [1.0, float("inf"), {"b": float("nan")}]})) == {"a": [1.0, None, {"b": None}]}


def test_json_top_cuts_deployments_only():
    content = json.loads(plan_json(small_plan(), top=1))
    assert len(content["deployments"]) == 1
    assert len(content["excuses"]) == 2


def test_files_appear_whole_or_not_at_all(tmp_path):
    written = write_plan(small_plan(), tmp_path / "a" / "b")
    assert [path.name for path in written] == ["plan.json", "plan.csv", "report.html"]
    assert sorted(path.name for path in (tmp_path / "a" / "b").iterdir()) == ["plan.csv", "plan.json", "report.html"]


def test_nothing_is_left_when_a_file_cannot_be_moved_into_place(tmp_path):
    (tmp_path / "plan.json").mkdir()
    with pytest.raises(OSError, match=r"plan\.json"):
        write_plan(small_plan(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["plan.json"]


def explained(one) -> str:
    out = io.StringIO()
    print_explanation(Console(file=out, width=120), one, one[0])
    return out.getvalue()


def test_explanation_bounds_the_step():
    shown = explained(small_plan())
    assert "T_math 2.00 ms   T_memory 7.04 ms   T_comms 4.00 ms   T_fixed 4.00 ms" in shown
    assert "lower = max 7.04 ms   upper = sum 17.0 ms" in shown
    assert "Takeaway: bound by memory traffic" in shown


def test_explanation_sums_small_operators_and_cites():
    shown = explained(small_plan())
    assert "norm" not in shown
    assert "1 smaller" in shown
    assert "[s1] A <datasheet>, A, 2026, page 1" in shown


def test_explanation_splits_money_and_memory():
    shown = explained(small_plan())
    assert "75%" in shown  # 12 of 16 USD/h is capital
    assert "weights 20.0 + KV 30.0 + reserve 5.00 of 80.0 GB, 25.0 GB free (31%)" in shown


def test_explanation_as_data_holds_steps_and_citations():
    one = small_plan()
    content = explanation(one, one[0])
    assert content["steps"][0]["lower_ms"] == pytest.approx(7.04)
    assert list(content["citations"]) == ["s1"]
    assert content["deployment"]["rank"] == 1
