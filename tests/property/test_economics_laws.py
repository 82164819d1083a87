import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from suanli.economics.cashflow import cash_flow, waterfall, with_loan
from suanli.economics.change import split_change
from suanli.economics.finance import (
    EconomicsError,
    annuity,
    capital_recovery_factor,
    discount_factor,
    irr,
    npv,
    payback,
)
from suanli.economics.model import chip_hour
from suanli.economics.money import convert, value_in
from suanli.economics.power import Option, best_mix
from suanli.economics.price import (
    HOURS_PER_YEAR,
    owned_usd_per_chip_hour,
    payment_usd_per_chip_year,
    running_usd_per_chip_hour,
)
from suanli.economics.residual import capital_cost_by_age, geometric_residual, straight_line_residual
from suanli.economics.tokens import TOKEN_CLASSES, break_even_utilisation, token_costs, usd_per_useful_hour
from suanli.economics.uncertainty import Range, least_regret, probability_cheaper, probability_cheapest
from suanli.quantity import Quantity

rates = st.one_of(st.just(0.0), st.floats(1e-9, 0.6))
lives = st.floats(0.5, 40.0)
fractions = st.floats(0.0, 1.0)
money = st.floats(0.0, 1e7)

owned_values = st.fixed_dictionaries(
    {
        "capex.server": st.floats(1.0, 1e6),
        "capex.cluster": st.floats(0.0, 1e6),
        "system.power": st.floats(0.0, 5e3),
        "hardware.life": st.integers(1, 12).map(float),
        "hardware.residual": fractions,
        "finance.cost_of_capital": rates,
        "facility.rent": st.floats(0.0, 500.0),
        "facility.build": st.floats(0.0, 50.0),
        "facility.shell_share": fractions,
        "facility.shell_life": lives,
        "facility.plant_life": lives,
        "facility.maintenance": st.floats(0.0, 0.1),
        "facility.provisioning": st.floats(1.0, 2.0),
        "energy.electricity": st.floats(0.0, 1.0),
        "energy.demand_charge": st.floats(0.0, 50.0),
        "energy.pue": st.floats(1.0, 3.0),
        "energy.load": fractions,
        "operations.per_chip": st.floats(0.0, 1e4),
        "operations.of_capex": st.floats(0.0, 0.2),
    }
)


@settings(deadline=None)
@given(owned_values)
def test_parts_sum_to_the_whole(values):
    cost = chip_hour("owned", values)
    assert math.isclose(cost.total, math.fsum(cost.parts().values()), rel_tol=1e-12)
    assert math.isclose(cost.scaled(7.0).total, 7.0 * cost.total, rel_tol=1e-12)
    assert math.isclose(cost.total, math.fsum(waterfall("owned", values).values()), rel_tol=1e-9, abs_tol=1e-12)


@settings(deadline=None)
@given(money, rates, st.integers(1, 40))
def test_present_value_of_an_annuity_is_the_capex(capex, rate, years):
    payment = annuity(capex, rate, years)
    assert math.isclose(npv(rate, [0.0] + [payment] * years), capex, rel_tol=1e-9, abs_tol=1e-9)


@settings(deadline=None)
@given(money, fractions, rates, st.integers(1, 40))
def test_payments_and_resale_repay_the_capex(capex, residual, rate, years):
    payment = payment_usd_per_chip_year(
        capex_usd_per_chip=capex, residual_fraction=residual, life_years=years, rate_per_year=rate
    )
    repaid = npv(rate, [0.0] + [payment] * years) + residual * capex * discount_factor(rate, years)
    assert math.isclose(repaid, capex, rel_tol=1e-9, abs_tol=1e-9)


@settings(deadline=None)
@given(money, fractions, lives)
def test_without_interest_the_loss_of_value_is_spread_evenly(capex, residual, life):
    payment = payment_usd_per_chip_year(
        capex_usd_per_chip=capex, residual_fraction=residual, life_years=life, rate_per_year=0.0
    )
    assert math.isclose(payment, capex * (1 - residual) / life, rel_tol=1e-12)


@settings(deadline=None)
@given(money, fractions, rates, lives, lives)
def test_a_longer_life_never_raises_the_annual_cost(capex, residual, rate, one, other):
    short, long = sorted((one, other))
    cost = [
        payment_usd_per_chip_year(
            capex_usd_per_chip=capex, residual_fraction=residual, life_years=life, rate_per_year=rate
        )
        for life in (short, long)
    ]
    assert cost[1] <= cost[0] * (1 + 1e-9)


@settings(deadline=None)
@given(rates, st.integers(1, 40))
def test_recovery_costs_at_least_the_interest_and_at_least_the_write_off(rate, life):
    factor = capital_recovery_factor(rate, life)
    assert factor >= max(rate, 1 / life) * (1 - 1e-9)
    assert factor <= (rate + 1 / life) * (1 + 1e-9)


@settings(deadline=None)
@given(owned_values, st.sampled_from(["capex.server", "energy.electricity", "system.power", "energy.pue"]))
def test_dearer_inputs_never_lower_the_price(values, key):
    dearer = values | {key: values[key] * 1.5}
    assert chip_hour("owned", dearer).total >= chip_hour("owned", values).total * (1 - 1e-12)


@settings(deadline=None)
@given(owned_values)
def test_owned_is_running_plus_capital(values):
    shared = {
        "capex_usd_per_chip": values["capex.server"],
        "power_w_all_in": values["system.power"],
        "average_load_fraction": values["energy.load"],
        "pue": values["energy.pue"],
        "usd_per_kwh": values["energy.electricity"],
        "facility_usd_per_kw_month": values["facility.rent"],
    }
    owned = owned_usd_per_chip_hour(
        **shared,
        residual_fraction=values["hardware.residual"],
        life_years=values["hardware.life"],
        cost_of_capital=values["finance.cost_of_capital"],
    )
    assert math.isclose(
        owned.total - owned.capital, running_usd_per_chip_hour(**shared).total, rel_tol=1e-9, abs_tol=1e-9
    )


seconds = st.floats(0.0, 1e5)
counts = st.floats(1.0, 1e12)


@settings(deadline=None)
@given(
    st.floats(0.0, 1e4), st.tuples(*[seconds] * 4), st.tuples(*[counts] * 4), st.floats(1.0, 3.0), st.floats(0.1, 1.0)
)
def test_cost_per_class_times_volume_is_the_bill(price, busy, tokens, slack, allocated):
    duration = max(sum(busy) * slack / allocated, 1.0)
    costs = token_costs(
        usd_per_hour=price,
        duration_s=duration,
        tokens=dict(zip(TOKEN_CLASSES, tokens, strict=True)),
        busy_s=dict(zip(TOKEN_CLASSES, busy, strict=True)),
        allocated_fraction=allocated,
    )
    bill = price / 3600 * duration
    assert math.isclose(costs.total_usd, bill, rel_tol=1e-9, abs_tol=1e-12)
    if sum(busy) > 0:
        full = math.fsum(one.full_usd_per_mtok * one.tokens / 1e6 for one in costs.classes.values())
        assert math.isclose(full, bill, rel_tol=1e-9, abs_tol=1e-12)
    direct = math.fsum(one.direct_usd_per_mtok * one.tokens / 1e6 for one in costs.classes.values())
    assert math.isclose(direct + costs.idle_usd + costs.unallocated_usd, bill, rel_tol=1e-9, abs_tol=1e-9)


@settings(deadline=None)
@given(st.floats(0.01, 100.0), st.floats(0.0, 10.0), st.floats(0.01, 100.0))
def test_at_break_even_both_cost_the_same_per_useful_hour(fixed, variable, margin):
    alternative = variable + margin
    share = break_even_utilisation(
        fixed_usd_per_hour=fixed, alternative_usd_per_busy_hour=alternative, variable_usd_per_busy_hour=variable
    )
    if share <= 1:
        assert math.isclose(usd_per_useful_hour(fixed, share) + variable, alternative, rel_tol=1e-6)
    else:
        assert fixed + variable >= alternative * (1 - 1e-9)


@settings(deadline=None)
@given(st.floats(-1e6, 1e6), st.floats(0.01, 100.0), st.sampled_from(["kWh", "chip", "W", "system"]))
def test_foreign_money_needs_a_rate(amount, rate, per):
    foreign = Quantity(value=amount, unit=f"CNY/{per}", kind="third_party", source="study")
    with pytest.raises(EconomicsError, match=r"exchange\.CNY"):
        convert(foreign, "USD", {}, "here")
    known = {"CNY": Quantity(value=rate, unit="CNY/USD", kind="third_party", source="study")}
    own = convert(foreign, "USD", known, "here")
    assert math.isclose(value_in(own, f"USD/{per}") * rate, amount, rel_tol=1e-9, abs_tol=1e-12)


@settings(max_examples=50, deadline=None)
@given(owned_values, st.floats(1.0, 1e5))
def test_discounted_outlays_are_the_annuity_of_the_chip_hour(values, chips):
    values = values | {"finance.cost_of_capital": max(values["finance.cost_of_capital"], 1e-6)}
    rate, life = values["finance.cost_of_capital"], values["hardware.life"]
    flow = cash_flow("owned", values, chips, "USD")
    level = -flow.npv(rate) * capital_recovery_factor(rate, life)
    assert math.isclose(level, chip_hour("owned", values).total * chips * HOURS_PER_YEAR, rel_tol=1e-6)


@settings(max_examples=50, deadline=None)
@given(owned_values, fractions, st.floats(0.0, 0.3), st.integers(1, 12), st.floats(0.0, 1e9))
def test_the_cash_flow_adds_up(values, share, interest, term, revenue):
    flow = cash_flow("owned", values, 8.0, "USD", revenue_per_year=revenue)
    term = min(term, int(values["hardware.life"]))
    geared = with_loan(flow, share, interest, term)
    for table in (flow, geared):
        size = sum(float(np.abs(line).sum()) for line in table.lines.values())
        assert math.isclose(sum(row["net"] for row in table.table()), sum(table.totals().values()), abs_tol=1e-9 * size)
        for row in table.table():
            rest = row["net"] - sum(value for key, value in row.items() if key not in {"year", "net"})
            assert abs(rest) <= 1e-9 * size
    loan = geared.totals()
    assert math.isclose(-loan["repayment"], loan["loan"], rel_tol=1e-9, abs_tol=1e-6)
    lender = geared.net - flow.net
    assert abs(npv(interest, lender)) <= 1e-6 * max(loan["loan"], 1.0)


@settings(deadline=None)
@given(st.floats(1.0, 1e6), st.lists(st.floats(1.0, 1e6), min_size=1, max_size=20))
def test_npv_at_the_irr_is_zero(outlay, returns):
    flows = [-outlay, *returns]
    rate = irr(flows)
    assert rate is not None
    assert rate > -1
    scale = math.fsum(abs(flow) * (1 + rate) ** -year for year, flow in enumerate(flows))
    assert abs(npv(rate, flows)) <= 1e-6 * scale


@settings(deadline=None)
@given(st.floats(1.0, 1e6), st.lists(st.floats(0.0, 1e6), min_size=1, max_size=20))
def test_payback_is_where_the_sum_turns_positive(outlay, returns):
    flows = [-outlay, *returns]
    years = payback(flows)
    if years is None:
        assert sum(flows) <= 1e-9 * outlay
    else:
        whole = math.floor(years)
        assert np.cumsum(flows)[whole if whole < years else max(whole - 1, 0)] <= 0


@settings(deadline=None)
@given(st.floats(0.0, 1e3), st.floats(0.0, 1e3), st.floats(0.0, 1e3), st.lists(st.floats(0.001, 0.999), min_size=1))
def test_a_range_keeps_its_ends_and_its_middle(first, second, third, shares):
    low, best, high = sorted((first, second, third))
    one = Range(low, best, high)
    drawn = one.quantile(np.sort(np.asarray(shares)))
    assert np.all((drawn >= low - 1e-9) & (drawn <= high + 1e-9))
    assert np.all(np.diff(drawn) >= -1e-9)
    assert one.quantile(np.array([0.5]))[0] == pytest.approx(best, abs=1e-9)


@settings(deadline=None)
@given(st.floats(0.01, 1.0), st.floats(1.0, 100.0))
def test_an_80_percent_interval_has_its_quantiles(low, high):
    drawn = Range(low, 1.0, high, "interval80").quantile(np.array([0.1, 0.5, 0.9]))
    assert drawn == pytest.approx([low, 1.0, high], rel=1e-9)


@settings(deadline=None)
@given(st.lists(st.floats(-10, 10), min_size=2, max_size=5))
def test_shares_of_a_change_add_up(effects):
    names = [f"g{index}" for index in range(len(effects))]

    def answer(state):
        product = 1.0
        for name, effect in zip(names, effects, strict=True):
            product *= 1.0 + state[name] * effect
        return product

    before, after = dict.fromkeys(names, 0), dict.fromkeys(names, 1)
    shares = split_change(before, after, answer)
    assert math.isclose(sum(shares.values()), answer(after) - answer(before), rel_tol=1e-9, abs_tol=1e-6)


options = st.lists(
    st.tuples(st.floats(-10.0, 100.0), st.floats(0.1, 10.0), st.floats(0.1, 10.0)), min_size=1, max_size=6
).map(
    lambda rows: [
        Option(f"o{index}", value, {"power": power, "chips": chips}) for index, (value, power, chips) in enumerate(rows)
    ]
)


@settings(max_examples=60, deadline=None)
@given(options, st.floats(0.5, 1e3), st.floats(0.5, 1e3), st.floats(0.0, 100.0))
def test_a_mix_keeps_its_limits_and_its_duals_pay_for_it(choices, power, chips, more):
    limits = {"power": power, "chips": chips}
    mix = best_mix(choices, limits)
    for name, limit in limits.items():
        used = sum(mix.amounts[option.name] * option.uses[name] for option in choices)
        assert used <= limit * (1 + 1e-6)
        assert math.isclose(mix.left[name], limit - used, abs_tol=1e-6 * limit)
        assert mix.shadow_price[name] >= -1e-9
    paid = sum(mix.shadow_price[name] * limit for name, limit in limits.items())
    assert math.isclose(paid, mix.value_per_year, rel_tol=1e-6, abs_tol=1e-6)
    wider = best_mix(choices, limits | {"power": power + more})
    assert wider.value_per_year >= mix.value_per_year * (1 - 1e-9) - 1e-9
    assert wider.value_per_year <= mix.value_per_year + mix.shadow_price["power"] * more + 1e-6 * (
        1 + mix.value_per_year
    )


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 9), st.floats(0, 9)), min_size=1, max_size=50))
def test_probabilities_of_two_add_to_one(pairs):
    first, second = np.array(pairs).T
    assert probability_cheaper(first, second) + probability_cheaper(second, first) == pytest.approx(1.0)
    assert sum(probability_cheapest({"a": first, "b": second}).values()) == pytest.approx(1.0)


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 9), st.floats(0, 9), st.floats(0, 9)), min_size=1, max_size=6))
def test_least_regret_is_never_worse_than_another_choice(rows):
    costs = {f"s{index}": dict(zip("abc", row, strict=True)) for index, row in enumerate(rows)}
    result = least_regret(costs)
    assert all(value >= 0 for row in result.regret.values() for value in row.values())
    assert result.worst_regret[result.choice] == min(result.worst_regret.values())


@settings(deadline=None)
@given(fractions.filter(lambda value: value > 0.01), st.floats(0.5, 6.0), st.floats(0.0, 20.0), st.floats(0.0, 20.0))
def test_machines_never_gain_value(quoted, quoted_age, one, other):
    young, old = sorted((one, other))
    assert geometric_residual(old, quoted, quoted_age) <= geometric_residual(young, quoted, quoted_age) + 1e-12
    assert straight_line_residual(old, quoted_age, 0.1) <= straight_line_residual(young, quoted_age, 0.1) + 1e-12
    assert geometric_residual(quoted_age, quoted, quoted_age) == pytest.approx(quoted)


@settings(deadline=None)
@given(st.floats(0.05, 0.9), st.floats(0.0, 0.3))
def test_on_a_geometric_curve_later_sale_costs_less_per_year(quoted, rate):
    # On one geometric curve a year costs at most the interest and the first decline, and less the older the machine.
    decline = -math.log(quoted) / 3.0
    cost = capital_cost_by_age(1.0, rate, np.array([1.0, 3.0, 6.0, 12.0]), quoted, 3.0)
    assert np.all(cost <= (rate + decline) * (1 + 1e-9))
    assert np.all(np.diff(cost) <= 1e-9)
