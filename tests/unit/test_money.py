"""The money of a plan: parts add up, one answer in every view, what is asked is answered or refused by name."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from suanli.economics.finance import EconomicsError, capital_recovery_factor
from suanli.economics.price import HOURS_PER_YEAR
from suanli.search.cost import NoPriceError, cost_of, cost_or_rent
from suanli.search.fleet import fleet_of
from suanli.search.market import market_of
from suanli.search.megawatt import power_price
from suanli.search.money import TOP, account_of, bill_of, classes_of, rate_of, sampled
from suanli.search.plan import plan
from suanli.search.scenarios import BUILT_IN
from suanli.search.study import Study, StudyError
from suanli.serving.steady import Demand

TOKENS = 4096.0 + 512.0
CHAT = Demand(4096.0, 512.0, 0.0, 0.0, 1.0)


def study_of(**changes):
    base = {
        "schema_version": 1,
        "model": "qwen3-32b",
        "weights": "fp8",
        "workload": {"input_tokens": 4096, "output_tokens": 512, "rate": "40 request/s"},
        "slo": {"ttft_p99": "5 s", "tpot_p99": "60 ms"},
        "systems": ["nvidia-hgx-h100-8", "nvidia-hgx-h200-8", "google-tpu-v6e-pod"],
        "revenue": "api",
    }
    return Study.from_mapping(base | changes, "s.yaml")


@pytest.fixture(scope="module")
def found(catalog):
    return plan(study_of(), catalog=catalog)


@pytest.fixture(scope="module")
def money(found):
    return found.money


def test_lines_parts_and_bill_add_up_to_the_price_of_an_hour(found, money):
    for one in money.deployments:
        hourly = one.deployment.value("usd_per_hour")
        assert sum(one.waterfall.values()) == pytest.approx(hourly)
        assert sum(one.deployment.cost_parts.values()) == pytest.approx(hourly)
        assert one.bill.busy + one.bill.idle + one.bill.unavailable + one.bill.undeployed == pytest.approx(hourly)
        assert min(one.bill.busy, one.bill.idle, one.bill.unavailable, one.bill.undeployed) >= 0.0
        assert float(one.fleet.usd_per_hour(one.fleet.best)) == pytest.approx(hourly)
        assert float(one.fleet.usd_per_mtok(one.fleet.best)) == pytest.approx(one.deployment.value("usd_per_mtok"))
    assert found[0].rank == money.account.one.deployment.rank == 1


def test_cost_per_class_times_volume_is_the_bill(found):
    for one in found:
        rate = rate_of(one)
        per_hour = rate * 3600.0 / 1e6
        bill = one.value("usd_per_mtok_uncached_input") * 4096.0 + one.value("usd_per_mtok_output") * 512.0
        assert bill * per_hour == pytest.approx(one.value("usd_per_hour"))
        classes = classes_of(one, CHAT).values()
        assert sum(c.full * c.tokens_per_s * 0.0036 for c in classes) == pytest.approx(one.value("usd_per_hour"))
        busy = sum(c.direct * c.tokens_per_s * 0.0036 for c in classes)
        assert busy == pytest.approx(bill_of(one).busy)
        assert one.value("usd_per_mtok") * TOKENS * per_hour == pytest.approx(one.value("usd_per_hour"))


def test_present_value_of_the_costs_is_the_annuity_of_the_hourly_price(money):
    flow = account_of(money.deployments[0], replace(money.question, study=study_of(revenue=None))).cash
    assert flow.revenue_usd_per_mtok is None
    assert flow.irr is None
    years = float(flow.flow.times[-1])
    annuity = -flow.npv * capital_recovery_factor(flow.discount_rate, years)
    assert annuity == pytest.approx(money.deployments[0].deployment.value("usd_per_hour") * HOURS_PER_YEAR)
    for row in flow.flow.table():
        assert row["net"] == pytest.approx(sum(value for key, value in row.items() if key not in ("year", "net")))


def test_sales_at_the_cost_earn_the_cost_of_capital(money):
    one = money.deployments[0].deployment
    price = f"{one.value('usd_per_mtok'):.12f} USD/Mtoken"
    cash = account_of(money.deployments[0], replace(money.question, study=study_of(revenue=price))).cash
    assert cash.irr == pytest.approx(cash.discount_rate, rel=1e-6)
    assert cash.npv == pytest.approx(0.0, abs=1e-6 * one.value("usd_per_hour") * HOURS_PER_YEAR)


def test_a_loan_below_the_return_lifts_the_return_of_the_owners(catalog):
    found = plan(study_of(economics="neocloud-debt-2026-a3", systems=["nvidia-hgx-h100-8"]), catalog=catalog)
    cash = found.money.account.cash
    assert cash.loan.interest < cash.irr < cash.owners_irr
    assert found.money.account.cash.loan.term <= cash.flow.times[-1]


def test_a_lessee_buys_nothing(catalog):
    found = plan(study_of(economics="lease-2026", systems=["nvidia-hgx-h100-8"]), catalog=catalog)
    assert "capex_musd" not in found[0].metrics
    assert found[0].prices[0].cost.capex_per_chip is None
    assert sum(found.money.deployments[0].waterfall.values()) == pytest.approx(found[0].value("usd_per_hour"))
    assert found.money.account.cash.flow.totals()["purchase"] == 0.0


def test_quantiles_are_ordered_and_probabilities_are_shared_out(found, money):
    assert sum(one.p_cheapest for one in money.deployments) == pytest.approx(1.0)
    for place, one in zip(found, money.deployments, strict=False):
        for headline in one.headlines.values():
            assert headline.p10 <= headline.p50 <= headline.p90
        estimate, drawn = place.metrics["usd_per_mtok"], one.headlines["usd_per_mtok"]
        assert (estimate.low, estimate.high) == pytest.approx(
            (min(drawn.p10, estimate.value), max(drawn.p90, estimate.value))
        )
    # An owner knows the power that it takes from the grid; a tenant does not.
    owned, rented = (
        next(one for one in money.deployments if word in one.deployment.cost_basis) for word in ("owned", "rented")
    )
    assert owned.headlines["g_co2_per_mtok"].p50 > 0.0
    assert "g_co2_per_mtok" not in rented.headlines
    assert rented.deployment.systems == ("google-tpu-v6e-pod",)


def test_the_same_machine_under_two_names_is_cheaper_half_of_the_time(money):
    one = money.deployments[0]
    fleets = [replace(one.fleet, name=name) for name in ("a", "b")]
    first, second = sampled([one.deployment, one.deployment], fleets, money.question.demand, samples=512)
    assert first.p_cheaper_than_next == second.p_beats_best == 0.5
    # Without the common error of the prediction they part.
    apart = [replace(fleet, error_group=fleet.name) for fleet in fleets]
    other = sampled([one.deployment, one.deployment], apart, money.question.demand, samples=512)[0]
    assert other.p_cheaper_than_next != 0.5


def test_twenty_deployments_with_ten_thousand_samples_take_two_seconds_at_most(money):
    one = money.deployments[0]
    names = [f"plan {index}" for index in range(TOP)]
    fleets = [replace(one.fleet, name=name, error_group=name) for name in names]
    start = time.process_time()
    sampled([one.deployment] * TOP, fleets, money.question.demand, samples=10_000)
    assert time.process_time() - start < 2.0


def test_tornado_is_the_price_with_one_input_moved(money):
    account = money.account
    sizes = [swing.size for swing in account.swings]
    assert sizes == sorted(sizes, reverse=True)
    assert all(size > 0.0 for size in sizes)
    swing = next(swing for swing in account.swings if swing.key == "hardware.life")
    best = account.one.fleet.best
    low = account.one.fleet.ranges["hardware.life"].low
    assert swing.at_low == pytest.approx(float(account.one.fleet.usd_per_mtok({**best, "hardware.life": low})))


def test_ways_of_paying_cost_the_same_at_break_even(money):
    ways = money.account.ways
    own = ways.ways[0]
    one = money.account.one.deployment
    assert own.usd_per_mtok == pytest.approx(one.value("usd_per_mtok"), rel=1e-6)
    crossing = [way for way in ways.ways if way.break_even is not None]
    assert crossing
    for way in crossing:
        assert 0.0 < way.break_even <= 1.0
        costs = [side.alternative.usd_per_mtok(way.break_even, ways.tokens_per_s) for side in (own, way)]
        assert costs[0] == pytest.approx(costs[1])
    assert {way.name.split()[0] for way in ways.ways} >= {"owned", "rented", "API"}
    for values in ways.curve().values():
        assert values == sorted(values, reverse=True)


def test_built_in_scenarios_are_worse_than_planned(money):
    planned = money.scenario_costs["as planned"]
    assert set(money.scenario_costs) == set(BUILT_IN)
    for name, row in money.scenario_costs.items():
        for fleet, cost in row.items():
            assert cost >= planned[fleet] * (1.0 - 1e-12), (name, fleet)
    assert money.regret.worst_regret[money.regret.choice] == min(money.regret.worst_regret.values())


def test_a_study_adds_scenarios(catalog):
    scenarios = {"free power": {"energy.electricity": "0 USD/kWh"}, "yuan": {"energy.electricity": "7.1 CNY/kWh"}}
    found = plan(study_of(scenarios=scenarios, systems=["nvidia-hgx-h100-8"]), catalog=catalog)
    costs = found.money.scenario_costs
    (name,) = costs["as planned"]
    assert costs["free power"][name] < costs["as planned"][name]
    dear = plan(
        study_of(
            economics={"profile": "hyperscaler-owned-2026", "energy.electricity": "1 USD/kWh"},
            systems=["nvidia-hgx-h100-8"],
        ),
        catalog=catalog,
    )
    assert costs["yuan"][name] == pytest.approx(dear[0].value("usd_per_mtok"), rel=1e-3)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"scenarios": {"x": {"hardware.live": "4 year"}}}, "did you mean 'hardware.life'"),
        ({"scenarios": {"x": {"hardware.life": "0 year"}}}, "above 0 year"),
        ({"scenarios": {"x": {"energy.electricity": "5 EUR/kWh"}}}, "exchange.EUR"),
        ({"revenue": "-1 USD/Mtoken"}, "at least 0"),
        ({"revenue": "1 USD/kWh"}, "USD/Mtoken"),
        ({"revenue": {"output": "1 USD/Mtoken"}}, "revenue.uncached_input: missing"),
        ({"revenue": {"reasoning": "1 USD/Mtoken"}}, "revenue.reasoning: unknown"),
        ({"model": "qwen3-14b", "revenue": "api"}, "no API price"),
        ({"edition": "2019-01"}, "no profile like"),
        ({"grid": "us-virginai"}, "did you mean us-virginia"),
        ({"grid": "cn-west-domestic-chips"}, "tariff only for halls"),
        ({"economics": "rented-3y-2026", "limits": {"site_power": "1 MW"}}, "energy.pue"),
        ({"economics": {"profile": "hyperscaler-owned-2026", "hardware.life": "0 year"}}, "above 0 year"),
        ({"economics": {"profile": "hyperscaler-owned-2026", "energy.load": "1.2 count"}}, "at most 1"),
        ({"economics": {"profile": "hyperscaler-owned-2026", "system.capex": "-1 USD/chip"}}, "at least 0"),
        ({"economics": {"profile": "hyperscaler-owned-2026", "facility.rent": "90 EUR/kW/month"}}, "exchange.EUR"),
    ],
)
def test_impossible_money_is_named_before_anything_is_computed(catalog, changes, words):
    with pytest.raises(StudyError) as caught:
        plan(study_of(**changes), catalog=catalog)
    assert words in "\n".join(caught.value.problems)


def test_an_edition_is_a_month():
    with pytest.raises(StudyError, match="edition"):
        study_of(edition="2025-13")


def test_an_edition_looks_at_nothing_newer(catalog):
    market = market_of(study_of(edition="2025-08"), catalog)
    assert market.profile.id == "hyperscaler-owned-2025-08"
    assert max(price.edition for price in market.prices) <= "2025-08"
    assert max(bill.edition for bill in market.bills) <= "2025-08"
    then = cost_of(catalog.system("nvidia-gb200-nvl72"), market)
    now = cost_of(catalog.system("nvidia-gb200-nvl72"), market_of(study_of(), catalog))
    assert then.per_chip_hour(0.8).total > now.per_chip_hour(0.8).total  # four years of life instead of six
    # Its bill is of October: in August it could only be rented.
    b200 = catalog.system("nvidia-dgx-b200")
    with pytest.raises(NoPriceError, match="up to 2025-08"):
        cost_of(b200, market)
    rented = cost_or_rent(b200, market)
    assert (rented.basis, rented.capex_per_chip) == ("rented 3y", None)
    assert rented.per_chip_hour(0.5).rent == pytest.approx(2.9)


def test_prices_of_the_region_come_first(catalog):
    pod = catalog.system("google-tpu-v6e-pod")
    hour = {}
    for region in ("us", "eu", "cn"):
        market = market_of(study_of(economics="rented-on-demand-2026", limits={"region": region}), catalog)
        hour[region] = cost_of(pod, market)
    assert hour["us"].per_chip_hour(1.0).rent == pytest.approx(2.70)
    assert hour["eu"].per_chip_hour(1.0).rent == pytest.approx(2.97)
    assert hour["cn"].basis == "rented on demand, price of another region"
    assert "region" not in hour["eu"].basis


def test_a_way_of_paying_in_yuan_is_told_in_dollars(catalog):
    h100 = catalog.system("nvidia-hgx-h100-8")
    own = {"profile": "china-west-owned-2026", "system.capex": "100000 CNY/chip"}
    cost = cost_of(h100, market_of(study_of(economics=own), catalog))
    assert cost.capex_per_chip == pytest.approx(14_000.0)  # 0.14 USD per yuan
    in_yuan = float(np.asarray(cost.quote.cost.total))
    assert cost.per_chip_hour(cost.quote.values["energy.load"]).total == pytest.approx(in_yuan * 0.14)
    one = plan(study_of(economics=own, systems=["nvidia-hgx-h100-8"], revenue=None), catalog=catalog)
    fleet = one.money.account.one.fleet
    assert "exchange.USD" in fleet.columns()
    assert sum(fleet.waterfall().values()) == pytest.approx(one[0].value("usd_per_hour"))


def test_domestic_chips_get_their_own_tariff(catalog):
    market = market_of(study_of(economics="china-west-owned-2026"), catalog)
    tariff = {
        name: cost_of(catalog.system(name), market).quote.values["energy.electricity"]
        for name in ("huawei-cloudmatrix384", "nvidia-hgx-h100-8")
    }
    assert tariff == {"huawei-cloudmatrix384": 0.40, "nvidia-hgx-h100-8": 0.6}


def test_the_width_of_a_price_is_its_sampled_interval(catalog):
    cost = cost_of(catalog.system("nvidia-gb200-nvl72"), market_of(study_of(), catalog))
    down, up = cost.width
    low, _, high = cost.quote.interval(4096, seed=9)
    best = float(np.asarray(cost.quote.cost.total))
    assert best / down == pytest.approx(low, rel=0.02)
    assert best * up == pytest.approx(high, rel=0.02)
    assert down >= 1.0
    assert up > down  # a life of six years can only be shorter


def test_load_over_one_is_refused(catalog):
    cost = cost_of(catalog.system("nvidia-hgx-h100-8"), market_of(study_of(), catalog))
    with pytest.raises(EconomicsError, match="between 0 and 1"):
        cost.per_chip_hour(np.array([0.2, 1.2]))


def test_a_grid_replaces_the_tariff(catalog):
    market = market_of(study_of(grid="us-virginia"), catalog)
    assert market.profile.values()["energy.electricity"] == pytest.approx(0.1301)
    assert market.pue == pytest.approx(1.18)


def shaped(one, name, usd_per_hour, kw, chips):
    """A deployment with other numbers."""
    rename = {"usd_per_hour": usd_per_hour, "power_kw": kw, "chips": chips}
    metrics = {
        **one.metrics,
        **{key: replace(one.metrics[key], value=value, low=value, high=value) for key, value in rename.items()},
    }
    metrics["usd_per_mtok"] = replace(metrics["usd_per_mtok"], value=usd_per_hour)
    pools = tuple(replace(pool, system=name) for pool in one.pools)
    return replace(one, pools=pools, metrics=metrics)


def test_a_cap_that_binds_has_the_price_of_moving_to_leaner_machines(found):
    cheap = shaped(found[0], "hungry", 100.0, 1_000.0, 1_000)
    lean = shaped(found[0], "lean", 160.0, 400.0, 500)
    free = power_price([cheap, lean], 40.0, 2e6)
    assert (free.binding, free.usd_per_mw_year, free.dark_chips) == (False, 0.0, 0)
    bound = power_price([cheap, lean], 40.0, 700e3)
    # Half of the traffic on each; a kW more moves 1/600 of it, which saves 60 USD/h times that share.
    assert bound.served == pytest.approx(1.0)
    assert [one.request_s for one in bound.running] == pytest.approx([20.0, 20.0])
    assert bound.usd_per_mw_year == pytest.approx(60.0 * HOURS_PER_YEAR / 0.6)
    assert bound.dark_chips == 300
    # With 100 kW more, the least cost falls by what the price says.
    more = power_price([cheap, lean], 40.0, 800e3)
    paid = [
        sum(
            one.request_s / 40.0 * {1_000: 100.0, 500: 160.0}[round(one.chips / one.request_s * 40)]
            for one in p.running
        )
        for p in (bound, more)
    ]
    assert (paid[0] - paid[1]) * HOURS_PER_YEAR == pytest.approx(bound.usd_per_mw_year * 0.1)


def test_a_cap_below_the_traffic_needs_a_price_of_the_tokens(found):
    one = shaped(found[0], "only", 100.0, 1_000.0, 1_000)
    dark = power_price([one], 40.0, 250e3)
    assert dark.usd_per_mw_year is None
    assert dark.served == pytest.approx(0.25)
    assert dark.request_s_per_mw == pytest.approx(40.0)
    assert dark.dark_chips == 750
    sold = power_price([one], 40.0, 250e3, usd_per_request=0.01)
    assert sold.usd_per_mw_year == pytest.approx((40.0 * 0.01 * 3600.0 - 100.0) * HOURS_PER_YEAR)
    stock = power_price([one], 40.0, 250e3, chips=100, usd_per_request=0.01)
    assert stock.usd_per_mw_year == pytest.approx(0.0)  # the stock binds before the power does
    assert power_price([replace(one, prices=())], 40.0, 1e6) is None


def test_rack_and_chip_limits_exclude_by_name(catalog):
    limits = {"rack_power": "40 kW"}
    found = plan(study_of(systems=["nvidia-gb200-nvl72", "nvidia-hgx-h100-8"], limits=limits), catalog=catalog)
    assert [one.systems for one in found] == [("nvidia-hgx-h100-8",)]
    assert "> 40 kW" in found.excuses[0].reason
    found = plan(study_of(systems=["nvidia-hgx-h100-8"], limits={"chip_power": "500 W"}), catalog=catalog)
    assert "a chip draws 700 W > 500 W" in found.excuses[0].reason


def test_site_power_is_it_power_times_pue(found, catalog):
    best = found[0]
    site = best.value("power_kw") * 1.12
    for share, kept in ((1.001, True), (0.999, False)):
        again = plan(study_of(systems=list(best.systems), limits={"site_power": f"{site * share} kW"}), catalog=catalog)
        assert (bool(len(again)) and again[0].name == best.name) is kept


def test_broken_chips_and_work_share_the_bill(found):
    one = next(one for one in found if any(pool.chips < pool.chips_provisioned for pool in one.pools))
    bill = bill_of(one)
    seen = one.utilisation / max(pool.load for pool in one.pools)  # by the replay, over that of the closed form
    used = [pool.chips / pool.chips_provisioned for pool in one.pools]
    hours = [price.usd_per_hour for price in one.prices]
    busy = seen * sum(usd * share * pool.load for usd, share, pool in zip(hours, used, one.pools, strict=True))
    assert bill.busy == pytest.approx(busy)
    # Machines are sold whole: what is in no instance is neither work nor waiting for work.
    assert bill.undeployed == pytest.approx(sum(usd * (1.0 - share) for usd, share in zip(hours, used, strict=True)))
    assert bill.undeployed > 0.0
    assert bill.unavailable == pytest.approx(one.value("usd_per_hour") * 0.03)  # available 97 % of the time
    assert bill.usd_per_useful_hour == pytest.approx(one.value("usd_per_hour") ** 2 / busy)
    whole = [replace(pool, load=1.0, chips=pool.chips_provisioned) for pool in one.pools]
    full = replace(one, pools=tuple(whole), replay=None)
    assert bill_of(full).undeployed == 0.0
    assert (bill_of(full).idle, bill_of(full).unavailable, bill_of(full).spare_enough) == (0.0, 0.0, False)


def test_a_deployment_without_a_price_has_no_fleet(found):
    with pytest.raises(EconomicsError, match="no price"):
        fleet_of(replace(found[0], prices=()), TOKENS, 1.0)
