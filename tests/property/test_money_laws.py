"""Laws of the money of a plan and of the split of a change."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from suanli.economics.uncertainty import ERROR
from suanli.report.files import plan_json
from suanli.search.difference import difference
from suanli.search.plan import plan
from suanli.search.plan_file import PlanFile
from suanli.search.study import Study

factors = st.floats(0.3, 3.0)


@pytest.fixture(scope="module")
def found(catalog):
    study = {
        "schema_version": 1,
        "model": "qwen3-32b",
        "weights": "fp8",
        "workload": {"input_tokens": 2048, "output_tokens": 512, "rate": "30 request/s"},
        "slo": {"ttft_p99": "5 s", "tpot_p99": "60 ms"},
        "systems": ["nvidia-hgx-h100-8", "nvidia-hgx-h200-8"],
    }
    return plan(Study.from_mapping(study, "s.yaml"), catalog=catalog)


@pytest.fixture(scope="module")
def content(found):
    """The plan.json without what a comparison of prices does not read."""
    return json.loads(plan_json(found)) | {"fronts": {}, "alternatives": [], "inputs": []}


@settings(deadline=None, max_examples=50)
@given(factor=factors)
def test_every_price_of_a_machine_scales_the_capital_alone(found, factor):
    fleet = found.money.account.one.fleet
    best = fleet.best
    dear = {key: value * factor if key.startswith("capex.") else value for key, value in best.items()}
    hourly = sum(value for line, value in fleet.waterfall().items() if line.startswith("capital"))
    change = float(fleet.usd_per_hour(dear)) - float(fleet.usd_per_hour(best))
    assert change == pytest.approx(hourly * (factor - 1.0), abs=1e-9 * float(fleet.usd_per_hour(best)))


@settings(deadline=None, max_examples=50)
@given(error=factors)
def test_a_slower_machine_costs_in_proportion(found, error):
    fleet = found.money.account.one.fleet
    slow = float(fleet.usd_per_mtok({**fleet.best, ERROR: error}))
    assert slow * error == pytest.approx(float(fleet.usd_per_mtok(fleet.best)))


@settings(deadline=None, max_examples=50)
@given(life=st.floats(1.0, 20.0), longer=st.floats(1.0, 3.0), rate=st.floats(0.0, 0.3))
def test_a_longer_life_never_costs_more(found, life, longer, rate):
    fleet = found.money.account.one.fleet
    base = {**fleet.best, "finance.cost_of_capital": rate, "hardware.residual": 0.0}
    short, long_ = (float(fleet.usd_per_hour({**base, "hardware.life": years})) for years in (life, life * longer))
    assert long_ <= short * (1.0 + 1e-12)


@settings(deadline=None, max_examples=50)
@given(load=st.floats(0.0, 1.0), other=st.floats(0.0, 1.0))
def test_cost_is_a_straight_line_in_the_load(found, load, other):
    cost = found[0].prices[0].cost
    ends = [float(np.asarray(cost.per_chip_hour(share).total)) for share in (load, other, (load + other) / 2.0)]
    assert ends[2] == pytest.approx((ends[0] + ends[1]) / 2.0)
    assert (ends[0] - ends[1]) * (load - other) >= -1e-15


@pytest.fixture(scope="module")
def changed(content):
    """Make the plan as it would be with dearer machines, faster layouts and more chips."""

    def make(price=1.0, speed=1.0, chips=1.0):
        return PlanFile("b", _changed(content, price, speed, chips))

    return make


def _changed(content, price, speed, chips):
    other = copy.deepcopy(content)
    money = other["money"]
    for machine in money["machines"].values():
        for key in machine["values"]:
            if key.startswith("capex."):
                machine["values"][key] *= price
    for one in (*other["deployments"], *other["alternatives"]):
        one["metrics"]["max_request_s"]["value"] *= speed
        for pool in one["pools"]:
            pool["load"] /= speed
    for pool in money["deployments"][0]["pools"]:
        pool["chips"] *= chips
    return other


@settings(deadline=None, max_examples=25)
@given(price=factors, speed=factors, chips=factors)
def test_shares_of_a_change_add_up_and_belong_to_their_cause(changed, price, speed, chips):
    before, after = changed(), changed(price, speed, chips)
    split = difference(before, after).split
    total = per_mtok(after) - per_mtok(before)
    assert sum(split.values()) == pytest.approx(total, abs=1e-9)
    only_price = difference(before, changed(price=price)).split
    assert (only_price["model"], only_price["plan"]) == (0.0, 0.0)
    only_chips = difference(before, changed(chips=chips)).split
    assert (only_chips["inputs"], only_chips["model"]) == (0.0, 0.0)


def per_mtok(one):
    """Price of the best deployment from the parts of its plan.json [USD/Mtok]."""
    pools = one.money["deployments"][0]["pools"]
    hourly = sum(one.price(pool["system"], pool["power_load"]) * pool["chips"] for pool in pools)
    return hourly / (one.content["workload"]["rate"] * one.tokens * 3600.0 / 1e6)


def test_a_plan_does_not_differ_from_itself(content):
    same = difference(PlanFile("a", content), PlanFile("b", content))
    assert set(same.split.values()) == {0.0}
    assert (same.inputs, same.facts, same.study, same.notes) == ((), (), (), ())
    assert all(place.rank[0] == place.rank[1] for place in same.places)


def test_prices_of_plan_json_give_back_its_price(content):
    price = content["deployments"][0]["metrics"]["usd_per_mtok"]["value"]
    assert per_mtok(PlanFile("a", content)) == pytest.approx(price, rel=1e-4)
