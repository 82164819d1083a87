"""Numbers and sentences of the reports."""

from __future__ import annotations

import math

import pytest
from report_samples import deployment, plan, pool, small_plan

from suanli.report.headline import headline, pools_words, question
from suanli.report.wording import compact, payment, plain, span, width
from suanli.search.estimate import Estimate
from suanli.search.result import Excuse


@pytest.mark.parametrize(
    ("value", "digits", "shown"),
    [
        (0.06508, 3, "0.0651"),
        (1.0, 3, "1.00"),
        (9.999, 3, "10.0"),
        (27.09, 3, "27.1"),
        (7988.2, 3, "7,990"),
        (0.045, 2, "0.045"),
        (123456.0, 2, "120,000"),
        (0.0, 3, "0"),
        (None, 3, "\u2013"),
        (math.inf, 3, "\u2013"),
    ],
)
def test_significant_digits_without_exponent(value, digits, shown):
    assert compact(value, digits) == shown


def test_typed_numbers_come_back_as_typed():
    assert [plain(value) for value in (40.0, 2.5, 1024.0, 2_000_000.0)] == ["40", "2.5", "1,024", "2,000,000"]


def test_interval_in_short():
    assert span(Estimate(0.065, 0.0447, 0.0947, "pooled")) == "0.045\u20130.095"
    assert width(Estimate(2.0, 1.0, 4.0, "pooled")) == pytest.approx(2.0)


def test_question_names_model_load_and_limits():
    asked = question(small_plan())
    assert asked == "M 1B (fp8) · chat (1,000 tokens in, 200 out) at 40 request/s · TTFT p99 ≤ 2 s, TPOT p99 ≤ 30 ms"


def test_question_names_hard_limits():
    study = small_plan().study | {"limits": {"power": 4e5, "chips": 64, "capex": 5e6, "region": "us"}}
    asked = question(plan(deployment(), study=study))
    assert asked.endswith("at most 400 kW of IT power, at most 64 chips, at most 5 MUSD of capex, sold in us")


def test_headline_says_what_how_much_and_how_sure():
    assert headline(small_plan()) == (
        "The cheapest answer is 8 chips of a-8 as 2\u00d7 TP4, at $0.0500 per million tokens "
        "(80 % interval 0.033\u20130.075); 12.0 kW, owned. 1 other cannot be told apart from it."
    )


def test_headline_without_price_names_the_objective():
    one = plan(deployment(1, None), objective="tokens_per_joule")
    assert "most energy-efficient" in headline(one)
    assert "at 8.00 tokens per joule" in headline(one)
    assert "owned" not in headline(one)


def test_headline_of_an_empty_plan_counts_excuses():
    one = plan(excuses=(Excuse("a", "too slow", "slo"), Excuse("b", "too slow", "slo")))
    assert headline(one) == "No system answers this study: 2 systems with an excuse each."


def test_pools_of_two_systems_are_both_named():
    words = pools_words(deployment(1, 0.1, pool("a-8", "prefill", 3), pool("b-8", "decode", 1)))
    assert words == "12 chips of a-8 as 3\u00d7 TP4 for prefill and 4 chips of b-8 as 1\u00d7 TP4 for decode"


def test_payment_is_the_first_word_of_each_basis():
    assert payment(deployment()) == "owned"
    assert payment(deployment(cost_basis="rented 3y")) == "rented"
    assert payment(deployment(cost_basis="owned, bill; rented 1y")) == "owned and rented"
    assert payment(deployment(1, None)) == ""
