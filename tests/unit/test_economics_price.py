import math

import numpy as np
import pytest

from suanli.economics.finance import (
    EconomicsError,
    annuity,
    capital_recovery_factor,
    irr,
    npv,
    payback,
    weighted_cost_of_capital,
)
from suanli.economics.price import (
    build_usd_per_kw_month,
    owned_usd_per_chip_hour,
    rented_usd_per_chip_hour,
    usd_per_mtok,
)
from suanli.economics.tokens import (
    api_usd_per_busy_hour,
    break_even_utilisation,
    class_seconds,
    g_co2_per_mtok,
    token_costs,
    tokens_per_joule,
    tokens_per_s_per_mw,
    usd_per_useful_hour,
)

OWNED = {
    "capex_usd_per_chip": 40_000.0,
    "residual_fraction": 0.1,
    "life_years": 5.0,
    "cost_of_capital": 0.08,
    "power_w_all_in": 2_000.0,
    "average_load_fraction": 0.8,
    "pue": 1.2,
    "usd_per_kwh": 0.08,
    "facility_usd_per_kw_month": 150.0,
    "opex_fraction_per_year": 0.03,
}


def test_capital_recovery_factor_of_a_textbook_case():
    # 5 years at 8 %: 0.250456 in any annuity table.
    assert capital_recovery_factor(0.08, 5) == pytest.approx(0.250456, abs=1e-6)


def test_zero_rate_repays_evenly():
    assert capital_recovery_factor(0.0, 4) == 0.25
    assert annuity(100.0, 0.0, 4) == 25.0


def test_tiny_rate_joins_the_zero_rate_smoothly():
    assert capital_recovery_factor(1e-9, 5) == pytest.approx(0.2, rel=1e-8)


@pytest.mark.parametrize(
    ("rate", "years", "word"), [(0.1, 0.0, "life"), (0.1, -1.0, "life"), (-0.1, 5.0, "discount rate")]
)
def test_impossible_life_and_rate_are_named(rate, years, word):
    with pytest.raises(EconomicsError, match=word):
        capital_recovery_factor(rate, years)


def test_npv_and_irr_of_a_bond():
    flows = [-100.0, 5.0, 5.0, 105.0]
    assert npv(0.05, flows) == pytest.approx(0.0, abs=1e-12)
    assert irr(flows) == pytest.approx(0.05, abs=1e-12)


def test_irr_is_refused_where_there_is_none_or_several():
    assert irr([-1.0, -1.0]) is None
    assert irr([-100.0, 230.0, -132.0]) is None  # roots at 10 % and 20 %


def test_negative_irr_is_found():
    assert irr([-100.0, 40.0, 40.0]) == pytest.approx(-0.1367, abs=1e-4)


def test_payback_interpolates_inside_the_year():
    assert payback([-100.0, 40.0, 40.0, 40.0]) == pytest.approx(2.5)
    assert payback([-100.0, 40.0]) is None
    assert payback([0.0, 1.0]) == 0.0


def test_weighted_cost_of_capital_deducts_interest():
    assert weighted_cost_of_capital(0.75, 0.1, 0.2, 0.2) == pytest.approx(0.75 * 0.08 + 0.25 * 0.2)
    with pytest.raises(EconomicsError, match="debt fraction"):
        weighted_cost_of_capital(1.2, 0.1, 0.2)


def test_owned_price_recomputed_by_hand():
    cost = owned_usd_per_chip_hour(**OWNED)
    assert cost.capital == pytest.approx((40_000 - 4_000 / 1.08**5) * 0.2504564546 / 8766)
    assert cost.facility == pytest.approx(2.0 * 150 / 730.5)
    assert cost.energy == pytest.approx(2.0 * 0.8 * 1.2 * 0.08)
    assert cost.opex == pytest.approx(1_200 / 8766)
    assert cost.total == pytest.approx(sum(cost.parts().values()))


def test_owned_price_broadcasts():
    cost = owned_usd_per_chip_hour(**{**OWNED, "usd_per_kwh": np.array([0.05, 0.10])})
    assert np.shape(cost.total) == (2,)
    assert cost.total[1] > cost.total[0]


@pytest.mark.parametrize(
    ("key", "value", "word"),
    [
        ("capex_usd_per_chip", -1.0, "capex"),
        ("pue", 0.9, "PUE"),
        ("usd_per_kwh", -0.01, "electricity"),
        ("average_load_fraction", 1.1, "load"),
        ("residual_fraction", 1.5, "residual"),
        ("life_years", 0.0, "life"),
        ("power_w_all_in", -5.0, "power"),
    ],
)
def test_impossible_inputs_are_named(key, value, word):
    with pytest.raises(EconomicsError, match=word):
        owned_usd_per_chip_hour(**{**OWNED, key: value})


def test_own_building_as_a_monthly_charge():
    # 12 $/W, all plant, zero rate, 10 years: 1200 $/kW/year.
    charge = build_usd_per_kw_month(
        build_usd_per_w=12.0, shell_fraction=0.0, shell_life_years=30, plant_life_years=10, cost_of_capital=0.0
    )
    assert charge == pytest.approx(100.0)


def test_rent_with_discount_and_support():
    cost = rented_usd_per_chip_hour(list_usd_per_chip_hour=4.0, discount_fraction=0.25, support_fraction=0.03)
    assert cost.rent == 3.0
    assert cost.total == pytest.approx(3.09)


def test_usd_per_mtok():
    assert usd_per_mtok(3.6, 1_000.0) == pytest.approx(1.0)
    with pytest.raises(EconomicsError, match="token rate"):
        usd_per_mtok(1.0, 0.0)


def test_token_classes_share_the_bill_by_time():
    tokens = {"uncached_input": 1e6, "cached_input": 3e6, "output": 1e5, "reasoning": 3e5}
    busy = class_seconds(tokens=tokens, prefill_s=600.0, decode_s=1200.0, cached_load_s=60.0)
    costs = token_costs(usd_per_hour=10.0, duration_s=3600.0, tokens=tokens, busy_s=busy, allocated_fraction=0.9)
    assert costs.total_usd == pytest.approx(10.0)
    assert costs.unallocated_usd == pytest.approx(1.0)
    assert costs.busy_usd == pytest.approx(10.0 * 1860 / 3600)
    assert costs.utilisation == pytest.approx(1860 / 3600)
    assert busy["reasoning"] == pytest.approx(900.0)
    assert costs.classes["output"].full_usd_per_mtok == pytest.approx(costs.classes["reasoning"].full_usd_per_mtok)
    assert costs.classes["cached_input"].direct_usd_per_mtok == pytest.approx(10 * 60 / 3600 / 3)
    assert costs.usd_per_request(20.0) == pytest.approx(0.5)


def test_busy_longer_than_deployed_is_refused():
    with pytest.raises(EconomicsError, match="busy time"):
        token_costs(usd_per_hour=1.0, duration_s=10.0, tokens={"output": 1.0}, busy_s={"output": 11.0})


def test_seconds_without_a_bearer_are_refused():
    with pytest.raises(EconomicsError, match="no output"):
        class_seconds(tokens={"uncached_input": 1.0}, prefill_s=1.0, decode_s=1.0)
    with pytest.raises(EconomicsError, match="has no tokens"):
        token_costs(usd_per_hour=1.0, duration_s=10.0, tokens={}, busy_s={"cached_input": 1.0})
    with pytest.raises(EconomicsError, match="unknown token class"):
        token_costs(usd_per_hour=1.0, duration_s=10.0, tokens={"audio": 1.0}, busy_s={})


def test_break_even_utilisation():
    assert (
        break_even_utilisation(
            fixed_usd_per_hour=1.0, alternative_usd_per_busy_hour=2.5, variable_usd_per_busy_hour=0.5
        )
        == 0.5
    )
    assert (
        break_even_utilisation(
            fixed_usd_per_hour=1.0, alternative_usd_per_busy_hour=0.4, variable_usd_per_busy_hour=0.5
        )
        == math.inf
    )


def test_api_price_of_a_busy_hour():
    assert api_usd_per_busy_hour(
        {"uncached_input": 1.0, "output": 4.0}, {"uncached_input": 1_000.0, "output": 500.0}
    ) == pytest.approx(10.8)
    with pytest.raises(EconomicsError, match="cached_input"):
        api_usd_per_busy_hour({"output": 4.0}, {"cached_input": 1.0})


def test_useful_hour_refuses_utilisation_over_one():
    assert usd_per_useful_hour(2.0, 0.5) == 4.0
    with pytest.raises(EconomicsError, match="utilisation"):
        usd_per_useful_hour(2.0, 1.01)


def test_energy_and_carbon_of_a_token():
    assert tokens_per_joule(1_000.0, 2_000.0) == 0.5
    assert tokens_per_s_per_mw(1_000.0, 2_000.0) == pytest.approx(5e5)
    assert g_co2_per_mtok(1_000.0, 3_600.0, 400.0) == pytest.approx(400.0)  # 3.6 J/token = 1 kWh/Mtok
