import subprocess
import sys

import numpy as np
import pytest

from suanli.economics.cashflow import cash_flow, waterfall, with_loan
from suanli.economics.change import split_change
from suanli.economics.compare import break_even, of_api, of_quote
from suanli.economics.finance import EconomicsError
from suanli.economics.power import Option, best_mix, chips_under_caps, shadow_price_per_mw
from suanli.economics.quote import Quote
from suanli.economics.residual import capital_cost_by_age, geometric_residual, straight_line_residual
from suanli.economics.sensitivity import morris, sobol
from suanli.economics.uncertainty import (
    ERROR,
    Candidate,
    Range,
    least_regret,
    probability_cheaper,
    sample_costs,
    sample_headlines,
    scenario_costs,
    tornado,
    uniform_columns,
)
from suanli.economics.workbook import write_workbook

VALUES = {
    "system.capex": 40_000.0,
    "system.power": 2_000.0,
    "hardware.life": 4.5,
    "hardware.residual": 0.1,
    "finance.cost_of_capital": 0.08,
    "facility.rent": 150.0,
    "facility.provisioning": 1.0,
    "energy.electricity": 0.08,
    "energy.demand_charge": 0.0,
    "energy.pue": 1.2,
    "energy.load": 0.8,
    "operations.per_chip": 255.0,
    "operations.of_capex": 0.0,
}
RENT = {"system.rent": 3.0, "rent.discount": 0.1, "rent.support": 0.0, "rent.per_chip": 0.0}
LEASE = {key: value for key, value in VALUES.items() if not key.startswith(("finance", "hardware"))} | {
    "lease.rate": 0.09,
    "lease.term": 4.0,
    "lease.residual": 0.2,
}


def certain(values):
    return {key: Range(value, value, value) for key, value in values.items()}


def candidate(name, capex=(30_000.0, 40_000.0, 55_000.0), **more):
    ranges = certain(VALUES) | {"system.capex": Range(*capex), "energy.electricity": Range(0.04, 0.08, 0.13)}
    return Candidate(name, "owned", ranges, chips=8.0, tokens_per_s=1e4, **more)


def test_a_fractional_life_ends_inside_a_year():
    flow = cash_flow("owned", VALUES, 10.0, "USD", revenue_per_year=300_000.0)
    assert flow.times.tolist() == [0, 1, 2, 3, 4, 4.5]
    assert flow.lines["energy"][-1] == pytest.approx(flow.lines["energy"][1] / 2)
    assert flow.lines["resale"][-1] == pytest.approx(40_000.0)
    assert flow.irr() is None
    assert 0 < flow.payback_years() < 4.5


def test_rent_needs_a_horizon_and_lease_has_its_own():
    with pytest.raises(EconomicsError, match="years: missing"):
        cash_flow("rented", RENT, 1.0, "USD")
    assert cash_flow("rented", RENT, 1.0, "USD", years=2).totals()["rent"] == pytest.approx(-2.7 * 8766 * 2)
    lease = cash_flow("leased", LEASE, 1.0, "USD")
    assert lease.times[-1] == 4
    assert lease.lines["purchase"].tolist() == [0.0] * 5
    assert lease.totals()["rent"] < -40_000 * (1 - 0.2)


@pytest.mark.parametrize(
    ("years", "revenue", "word"),
    [(9.0, 0.0, "hardware.life"), (2.0, 0.0, "residual"), (-1.0, 0.0, "above 0"), (None, [1.0], "years given")],
)
def test_impossible_cash_flows_are_named(years, revenue, word):
    with pytest.raises(EconomicsError, match=word):
        cash_flow("owned", VALUES, 1.0, "USD", years=years, revenue_per_year=revenue)


def test_a_loan_lowers_the_outlay_and_its_bad_terms_are_named():
    flow = cash_flow("owned", VALUES, 1.0, "USD")
    geared = with_loan(flow, 0.75, 0.1, 4)
    assert geared.net[0] == pytest.approx(flow.net[0] * 0.25)
    assert geared.lines["interest"][1] == pytest.approx(-30_000 * 0.1)
    with pytest.raises(EconomicsError, match="debt_fraction"):
        with_loan(flow, 1.5, 0.1, 4)
    with pytest.raises(EconomicsError, match="debt_term"):
        with_loan(flow, 0.5, 0.1, 9)


def test_waterfalls_of_lease_and_rent_add_up():
    assert waterfall("rented", RENT) == pytest.approx({"rent": 2.7, "operations": 0.0})
    lines = waterfall("leased", LEASE)
    assert lines["lease"] > 0
    assert "facility: own building" not in lines


def test_workbook_is_written(tmp_path):
    file = tmp_path / "flow.xlsx"
    write_workbook(cash_flow("owned", VALUES, 1.0, "USD"), 0.08, file)
    assert file.read_bytes()[:2] == b"PK"


def test_one_more_megawatt_is_worth_the_best_use_of_it():
    options = [Option("dense", 30.0, {"site": 3.0, "stock": 1.0}), Option("lean", 20.0, {"site": 1.0, "stock": 1.0})]
    power_bound = best_mix(options, {"site": 10.0, "stock": 100.0})
    assert power_bound.amounts == pytest.approx({"dense": 0.0, "lean": 10.0})
    assert power_bound.shadow_price == pytest.approx({"site": 20.0, "stock": 0.0})
    assert power_bound.left["stock"] == pytest.approx(90.0)  # chips left dark
    both = best_mix(options, {"site": 20.0, "stock": 10.0})
    assert both.amounts == pytest.approx({"dense": 5.0, "lean": 5.0})
    assert both.shadow_price == pytest.approx({"site": 5.0, "stock": 15.0})


def test_lower_clocks_beat_dark_chips_under_a_cap():
    # One chip at full clock 1000 W for 100, at 600 W for 80: below 1000 W each, run all of them slower.
    clocks = [
        Option("full", 100.0, {"hall": 1_000.0, "chips": 1.0}),
        Option("600 W", 80.0, {"hall": 600.0, "chips": 1.0}),
    ]
    mix = best_mix(clocks, {"hall": 800e3, "chips": 1_000.0})
    assert mix.amounts == pytest.approx({"full": 500.0, "600 W": 500.0})
    assert mix.left["chips"] == pytest.approx(0.0, abs=1e-6)
    assert mix.shadow_price["hall"] * 1e6 == pytest.approx(20.0 / 400.0 * 1e6)


@pytest.mark.parametrize(
    ("options", "limits", "word"),
    [
        ([], {"a": 1.0}, "none given"),
        ([Option("x", 1.0, {"a": 1.0})], {"a": -1.0}, "at least 0"),
        ([Option("x", 1.0, {"b": 1.0})], {"a": 1.0}, "without a limit"),
        ([Option("x", 1.0, {})], {"a": 1.0}, "infinite"),
    ],
)
def test_impossible_mixes_are_named(options, limits, word):
    with pytest.raises(EconomicsError, match=word):
        best_mix(options, limits)


def test_a_finite_difference_agrees_with_the_dual():
    options = [Option("chip", 20.0, {"site": 1_000.0, "stock": 1.0})]

    def value(cap):
        return best_mix(options, {"site": cap, "stock": 900.0}).value_per_year

    assert shadow_price_per_mw(value, 5e5, 1e3) == pytest.approx(20_000.0)
    assert shadow_price_per_mw(value, 9.5e5, 1e3) == pytest.approx(0.0)
    with pytest.raises(EconomicsError, match="step"):
        shadow_price_per_mw(value, 1.0, 0.0)


def test_nested_caps():
    caps = [(1_900.0, 72), (132e3, 10), (1.2e6, 4), (4e6, 1)]
    assert chips_under_caps(1_870.0, [(1_900.0, 72), (150e3, 1)]) == 72
    assert chips_under_caps(1_870.0, caps) == min(
        min(min(72, 132_000 // 1_870) * 10, 1_200_000 // 1_870) * 4, 4_000_000 // 1_870
    )
    assert chips_under_caps(2_000.0, caps) == 0
    with pytest.raises(EconomicsError, match="power"):
        chips_under_caps(0.0, caps)


def test_residuals():
    assert straight_line_residual(3.0, 6.0) == 0.5
    assert straight_line_residual(9.0, 6.0, 0.1) == pytest.approx(0.1)
    assert geometric_residual(6.0, 0.3, 3.0) == pytest.approx(0.09)
    assert np.all(np.diff(capital_cost_by_age(40_000.0, 0.08, np.array([2.0, 4.0, 6.0]), 0.3, 3.0)) < 0)
    with pytest.raises(EconomicsError, match="residual"):
        geometric_residual(1.0, 0.0, 3.0)
    with pytest.raises(EconomicsError, match="age"):
        straight_line_residual(-1.0, 6.0)


def test_shared_inputs_are_one_draw_and_own_inputs_are_not():
    one, two = candidate("one"), candidate("two")
    shared = set(one.columns().values()) & set(two.columns().values())
    assert shared == {"energy.electricity"}
    grouped = [candidate(name, error=Range(0.8, 1.0, 1.2, "interval80"), error_group="gpu") for name in ("one", "two")]
    assert grouped[0].columns()[ERROR] == grouped[1].columns()[ERROR] == "group gpu:prediction.factor"


def test_the_same_machine_is_cheaper_half_of_the_time_and_a_dearer_one_never():
    fixed = (40_000.0, 40_000.0, 40_000.0)
    draws = sample_costs(
        [candidate("a", fixed), candidate("b", fixed), candidate("c", (60_000.0,) * 3), candidate("d")], 512
    )
    assert probability_cheaper(draws["a"], draws["b"]) == 0.5
    assert probability_cheaper(draws["c"], draws["a"]) == 0.0
    assert 0.2 < probability_cheaper(draws["a"], draws["d"]) < 0.8


def test_samples_are_reproducible_and_names_must_differ():
    first, second = (sample_costs([candidate("a")], 100, seed=3)["a"] for _ in range(2))
    assert first.tolist() == second.tolist()
    assert len(first) == 100
    with pytest.raises(EconomicsError, match="names must differ"):
        sample_costs([candidate("a"), candidate("a")], 4)
    with pytest.raises(EconomicsError, match="samples"):
        uniform_columns(["x"], 0, 0)


def test_a_candidate_without_ranges_is_one_number():
    sure = Candidate("a", "owned", certain(VALUES), 8.0, 1e4)
    assert sample_costs([sure], 64)["a"].tolist() == [sure.best()]


def test_ranges_must_be_ordered():
    with pytest.raises(EconomicsError, match="ordered"):
        Range(1.0, 0.5, 2.0)
    with pytest.raises(EconomicsError, match="above 0"):
        Range(0.0, 1.0, 2.0, "interval80")


def test_tornado_is_sorted_and_recomputed():
    one = candidate("a", error=Range(0.8, 1.0, 1.25, "interval80"))
    ranges = {**one.ranges, ERROR: one.error}
    swings = tornado(ranges, one.usd_per_mtok)
    assert [swing.size for swing in swings] == sorted((swing.size for swing in swings), reverse=True)
    assert swings[0].key == ERROR
    assert swings[0].at_low == pytest.approx(one.best() / 0.8)
    assert {swing.key for swing in swings} == {ERROR, "system.capex", "energy.electricity"}


def test_morris_and_sobol_agree_on_a_known_function():
    ranges = {
        "a": Range(0.0, 0.5, 1.0),
        "b": Range(0.0, 0.5, 1.0),
        "c": Range(0.0, 0.5, 1.0),
        "fixed": Range(1.0, 1.0, 1.0),
    }

    def answer(values):
        return 4.0 * values["a"] + 2.0 * values["b"] + 0.0 * values["c"] + values["fixed"]

    effects = morris(ranges, answer, trajectories=20)
    assert [effect.key for effect in effects] == ["a", "b", "c"]
    assert effects[0].mu_star == pytest.approx(2 * effects[1].mu_star, rel=0.2)
    shares = {share.key: share for share in sobol(ranges, answer, base_samples=512)}
    assert shares["a"].first == pytest.approx(0.8, abs=0.05)
    assert shares["b"].total == pytest.approx(0.2, abs=0.05)
    assert shares["c"].total == pytest.approx(0.0, abs=0.01)
    with pytest.raises(EconomicsError, match="power of two"):
        sobol(ranges, answer, base_samples=100)
    with pytest.raises(EconomicsError, match="nothing to be sensitive to"):
        morris(certain(VALUES), answer)


def test_least_regret_hedges():
    costs = {"cheap power": {"big": 1.0, "small": 1.4}, "dear power": {"big": 3.0, "small": 1.8}}
    result = least_regret(costs)
    assert result.choice == "small"
    assert result.worst_regret == pytest.approx({"big": 1.2, "small": 0.4})
    with pytest.raises(EconomicsError, match="must have the options"):
        least_regret({"a": {"x": 1.0}, "b": {"y": 1.0}})
    with pytest.raises(EconomicsError, match="no scenarios"):
        least_regret({})


def test_split_of_a_change_with_an_interaction():
    before, after = {"inputs": 2.0, "plan": 10.0}, {"inputs": 3.0, "plan": 8.0}
    shares = split_change(before, after, lambda state: state["inputs"] * state["plan"])
    assert shares == pytest.approx({"inputs": 9.0, "plan": -5.0})
    with pytest.raises(EconomicsError, match="groups differ: model"):
        split_change(before, after | {"model": 1.0}, lambda _: 0.0)


def test_importing_economics_loads_no_heavy_library():
    code = (
        "import sys, suanli.economics.quote, suanli.economics.sensitivity, suanli.economics.power;"
        "print([name for name in ('scipy', 'SALib', 'pandas', 'pint') if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_owned_rented_and_api_at_the_same_utilisation():
    own = Quote("owned", "USD", certain(VALUES), "given", "study", (), pays_idle=True)
    hourly = Quote("rented", "USD", certain(RENT), "given", "study", (), pays_idle=False)
    reserved = Quote("rented", "USD", certain(RENT), "given", "study", (), pays_idle=True)
    owned = of_quote("owned", own, 8.0, idle_load=0.3, busy_load=0.9)
    assert owned.variable_per_busy_hour == pytest.approx(8 * 2.0 * 0.6 * 1.2 * 0.08)
    by_hour, by_year = of_quote("by hour", hourly, 8.0), of_quote("by year", reserved, 8.0)
    assert (by_hour.fixed_per_hour, by_year.variable_per_busy_hour) == (0.0, 0.0)
    assert by_hour.per_useful_hour(0.1) == by_hour.per_useful_hour(1.0) == pytest.approx(8 * 2.7)
    share = break_even(owned, by_hour)
    assert owned.per_useful_hour(share) == pytest.approx(by_hour.per_useful_hour(share))
    assert owned.per_useful_hour(share * 1.1) < by_hour.per_useful_hour(share * 1.1)
    assert break_even(by_hour, owned) == share
    assert break_even(by_year, by_hour) == pytest.approx(1.0)
    rates = {"uncached_input": 8e3, "output": 2e3}
    api = of_api("api", {"uncached_input": 0.3, "output": 1.2}, rates)
    assert api.per_useful_hour(0.5) == pytest.approx((0.3 * 8e3 + 1.2 * 2e3) * 3600 / 1e6)
    assert owned.usd_per_mtok(0.5, 1e4) == pytest.approx(owned.per_useful_hour(0.5) / 36.0)
    with pytest.raises(EconomicsError, match="same fixed cost"):
        break_even(api, by_hour)
    with pytest.raises(EconomicsError, match="loads"):
        of_quote("owned", own, 8.0, idle_load=0.9, busy_load=0.3)


def test_headlines_are_sampled_together():
    one = Candidate("a", "owned", candidate("a").ranges | {"energy.carbon": Range(300.0, 350.0, 400.0)}, 8.0, 1e4)
    draws = sample_headlines([one], 64)["a"]
    watts = 8 * 2_000 * 0.8 * 1.2
    assert draws["tokens_per_joule"].tolist() == [pytest.approx(1e4 / watts)] * 64
    assert draws["tokens_per_s_per_mw"][0] == pytest.approx(1e10 / watts)
    assert np.median(draws["g_co2_per_mtok"]) == pytest.approx(350.0 * watts / 1e4 / 3.6, rel=0.01)
    assert draws["usd_per_mtok"] == pytest.approx(draws["usd_per_chip_hour"] * 8 / 36.0)
    rented = Candidate("b", "rented", certain(RENT), 8.0, 1e4)
    assert set(sample_headlines([rented], 4)["b"]) == {"usd_per_chip_hour", "usd_per_mtok"}


def test_named_scenarios_feed_the_regret():
    plans = [candidate("a"), candidate("b", (45_000.0, 50_000.0, 60_000.0))]
    costs = scenario_costs(plans, {"now": {}, "dear power": {"energy.electricity": 0.2}})
    assert costs["now"]["a"] == pytest.approx(plans[0].best())
    assert costs["dear power"]["a"] > costs["now"]["a"]
    assert least_regret(costs).choice == "a"
