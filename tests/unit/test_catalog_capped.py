"""Machines at a lowered power limit: made from a cited curve, refused where there is none."""

from __future__ import annotations

import pytest

from suanli.catalog.capped import SIGN, base_id, capped_chip, limit_of, lowest_limit
from suanli.catalog.files import CatalogError
from suanli.search.clocks import with_lower_clocks
from suanli.search.plan import plan
from suanli.search.study import Limits, Study

H100, NODE = "nvidia-h100-sxm", "nvidia-hgx-h100-8"


def study_of(**changes):
    base = {
        "schema_version": 1,
        "model": "llama-3.3-70b",
        "weights": "fp8",
        "workload": {"input_tokens": 2048, "output_tokens": 512, "rate": "60 request/s"},
        "slo": {"ttft_p99": "4 s", "tpot_p99": "60 ms"},
        "systems": [NODE, "amd-mi300x-platform"],
    }
    return Study.from_mapping(base | changes, "s.yaml")


@pytest.mark.parametrize("watts", [350.0, 400.0, 525.0, 699.0])
def test_lower_limit_costs_speed_and_never_gains_it(catalog, watts):
    own, capped = catalog.chip(H100), catalog.chip(f"{H100}@{watts:g}w")
    assert capped.power.si == pytest.approx(watts)
    assert capped.rated_power == own.power
    for before, after in zip(own.peaks, capped.peaks, strict=True):
        low, high = after.rate.si_range
        assert watts / 700.0 <= after.rate.si / before.rate.si < 1.0
        assert low <= after.rate.si <= high <= before.rate.si
    assert capped.memory.bandwidth.si == own.memory.bandwidth.si
    assert capped.memory.capacity == own.memory.capacity


def test_measured_point_is_met_and_what_lies_between_is_a_straight_line(catalog):
    share = [catalog.chip(f"{H100}@{w}w").peaks[0].rate.si / catalog.chip(H100).peaks[0].rate.si for w in (350, 525)]
    assert share == pytest.approx([0.77, (0.77 + 1.0) / 2.0])


def test_system_saves_what_its_chips_save(catalog):
    own, capped = catalog.system(NODE), catalog.system(f"{NODE}@400w")
    assert own.power.all_in_per_chip.si - capped.power.all_in_per_chip.si == pytest.approx(300.0)
    assert catalog.chip_of(capped).power.si == pytest.approx(400.0)
    assert base_id(capped.id) == NODE
    assert catalog.match_systems([f"{NODE}@400W"]) == (capped,)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (f"{H100}@200w", "accepted: at least 350 and below 700 W"),
        (f"{H100}@700w", "accepted: at least 350 and below 700 W"),
        (f"{H100}@fast", "a power limit is written with its watts"),
        ("amd-mi300x@500w", "no curve of speed over a lowered power limit"),
        ("no-such-chip@500w", "unknown chip"),
    ],
)
def test_what_is_not_known_is_refused(catalog, name, words):
    with pytest.raises(CatalogError, match=words):
        catalog.chip(name)


def test_limit_is_read_from_the_name():
    assert limit_of("x@500W") == ("x", 500.0)


def test_lower_clocks_are_tried_only_where_power_is_limited(catalog):
    node, chip = catalog.system(NODE), catalog.chip(H100)
    other = catalog.system("amd-mi300x-platform")
    assert len(with_lower_clocks(node, chip, Limits())) == 1
    assert len(with_lower_clocks(node, chip, Limits(power="1 MW"))) == 2
    assert len(with_lower_clocks(node, chip, Limits(chip_power="100 W"))) == 1
    assert len(with_lower_clocks(node, chip, Limits(rack_power="12 kW"))) == 1
    assert len(with_lower_clocks(node, chip, Limits(rack_power="9 kW"))) == 2
    assert [one.id for one, _ in with_lower_clocks(node, chip, Limits(chip_power="500 W"))] == [NODE, f"{NODE}@500w"]
    assert len(with_lower_clocks(other, catalog.chip_of(other), Limits(power="1 MW"))) == 1
    assert lowest_limit(catalog.chip_of(other)) == catalog.chip_of(other).power.si
    assert capped_chip(chip, 350.0).lanes == H100


def test_slow_clock_serves_under_a_cap_that_the_full_clock_breaks(catalog):
    found = plan(study_of(limits={"power": "42 kW"}), catalog=catalog)
    assert [one.systems for one in found] == [(f"{NODE}{SIGN}350w",)]
    assert {excuse.system for excuse in found.excuses} == {NODE, "amd-mi300x-platform"}
    assert found[0].value("power_kw") <= 42.0
    assert any(
        "350 W instead of 700 W keep 77% of their arithmetic (54% to 87%)" in note for note in found[0].assumptions
    )
    assert found.power.usd_per_mw_year > 0.0
    assert any(f"{NODE}{SIGN}350w" in one.name for one in found.power.running)


def test_capped_machine_is_bought_at_the_price_of_the_whole_one(catalog):
    free = plan(study_of(), catalog=catalog)
    capped = plan(study_of(systems=[NODE, f"{NODE}@350w"]), catalog=catalog)
    cost = {one.systems[0]: one for one in capped}
    assert set(cost) == {NODE, f"{NODE}@350w"}
    costs = capped.money.costs
    assert costs[NODE].capex_per_chip == costs[f"{NODE}@350w"].capex_per_chip
    # Less power to house and to feed, no cheaper silicon.
    full, slow = (costs[name].per_chip_hour(0.8).parts() for name in (NODE, f"{NODE}@350w"))
    assert slow["capital"] == full["capital"]
    assert slow["facility"] < full["facility"]
    assert slow["energy"] < full["energy"]
    # The replay gives the power of an hour, and how far a rate is looked for depends on the rows beside it.
    one = next(one for one in free if one.systems == (NODE,))
    assert cost[NODE].value("usd_per_mtok") == pytest.approx(one.value("usd_per_mtok"), rel=0.01)
    # The range of the curve widens what is said about the slow clock.
    slow_rate, full_rate = (cost[name].metrics["max_request_s"] for name in (f"{NODE}@350w", NODE))
    assert slow_rate.high / slow_rate.low > full_rate.high / full_rate.low


def test_limit_of_the_chip_is_kept_or_refused_by_name(catalog):
    found = plan(study_of(limits={"chip_power": "500 W"}), catalog=catalog)
    assert [one.systems for one in found] == [(f"{NODE}@500w",)]
    words = {excuse.system: excuse.reason for excuse in found.excuses}
    assert "taken at 500 W instead" in words[NODE]
    assert "no curve of lower limits known" in words["amd-mi300x-platform"]
    low = plan(study_of(limits={"chip_power": "300 W"}), catalog=catalog)
    assert "its speed is known from 350 W up" in {e.system: e.reason for e in low.excuses}[NODE]
