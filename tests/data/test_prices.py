"""Prices, API prices and grids: dates, currencies, order of editions and of token classes."""

from __future__ import annotations

import re
from collections import defaultdict

import pytest

from suanli.catalog.loader import Catalog, load
from suanli.catalog.schema import Price
from suanli.economics.profile import load_profile
from suanli.economics.quote import Machine, quote
from suanli.quantity import parse_unit

LAST_EDITION = "2026-11"
CURRENCY_OF_REGION = {"us": {"USD"}, "cn": {"CNY", "USD"}, "eu": {"EUR", "USD"}, "jp": {"USD"}}
PER = {"purchase": {"chip", "system"}, "rent": {"chip/h"}, "owning_cost": {"chip/h"}}

RENTED_AND_BOUGHT = (
    *(("nvidia-hgx-h100-8", True), ("nvidia-hgx-h200-8", True), ("nvidia-dgx-b200", True)),
    *(("nvidia-gb200-nvl72", True), ("nvidia-gb300-nvl72", True), ("amd-mi300x-platform", True)),
    *(("amd-mi355x-platform", True), ("huawei-cloudmatrix384", False)),
)


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load()


def _subjects(catalog: Catalog, name: str) -> tuple[str, str]:
    return name, catalog.systems[name].chip


def _best(price: Price) -> float:
    return price.price.si


def test_every_price_is_dated_with_an_edition_that_has_passed(catalog: Catalog) -> None:
    assert len(catalog.prices) >= 150
    for price in catalog.prices.values():
        assert re.fullmatch(r"20\d\d-(0[1-9]|1[0-2])", price.edition), price.id
        assert "2022-01" <= price.edition <= LAST_EDITION, price.id
        assert price.price.as_of is None or price.price.as_of <= "2026-11-23", price.id


def test_every_price_names_a_chip_or_a_system(catalog: Catalog) -> None:
    known = set(catalog.chips) | set(catalog.systems)
    assert {price.subject for price in catalog.prices.values()} <= known


def test_unit_fits_what_is_priced_and_where(catalog: Catalog) -> None:
    for price in catalog.prices.values():
        currency, _, per = price.price.unit.partition("/")
        assert currency in CURRENCY_OF_REGION[price.region], price.id
        assert per in PER[price.what], price.id
        subject_is_system = price.subject in catalog.systems
        assert (per == "system") == (subject_is_system and price.what == "purchase"), price.id


def test_currencies_are_never_mixed_inside_one_price(catalog: Catalog) -> None:
    for price in catalog.prices.values():
        money = parse_unit(price.price.unit)[1]
        assert all(parse_unit(other.unit)[1] == money for other in price.price.alternatives), price.id


def test_prices_are_positive_or_say_why_they_are_unknown(catalog: Catalog) -> None:
    for price in catalog.prices.values():
        if price.price.known:
            assert price.price.si_range[0] > 0, price.id
        else:
            assert price.price.because, price.id


def test_one_seller_has_one_price_per_subject_term_region_and_edition(catalog: Catalog) -> None:
    seen: dict[tuple[object, ...], list[str]] = defaultdict(list)
    for p in catalog.prices.values():
        seen[p.subject, p.what, p.term, p.region, p.edition, p.seller, p.price.unit].append(p.id)
    assert [ids for ids in seen.values() if len(ids) > 1] == []


def test_owning_is_cheaper_for_the_larger_buyer_and_below_the_rent(catalog: Catalog) -> None:
    compared = 0
    for edition in ("2025-08", "2026-04", "2026-07"):
        for chip in {p.subject for p in catalog.prices.values() if p.edition == edition and p.what == "owning_cost"}:
            large = _best(catalog.prices[f"{chip}-own-hyperscaler-{edition}"])
            small = _best(catalog.prices[f"{chip}-own-neocloud-{edition}"])
            assert large < small, (chip, edition)
            if edition == "2026-07":
                assert small <= _best(catalog.prices[f"{chip}-rent-3y-{edition}"]), chip
            compared += 1
    assert compared == 18


def test_capacity_blocks_did_not_get_cheaper_in_2026(catalog: Catalog) -> None:
    prices = catalog.prices
    chips = [p.subject for p in prices.values() if p.term == "capacity_block" and p.edition == "2026-01"]
    rises = {c: _best(prices[f"{c}-aws-block-2026-07"]) / _best(prices[f"{c}-aws-block-2026-01"]) for c in chips}
    assert len(rises) == 9
    assert min(rises.values()) >= 1.0
    assert max(rises.values()) == pytest.approx(1.32, abs=0.01)


@pytest.mark.parametrize(("system", "rented"), RENTED_AND_BOUGHT)
def test_headline_systems_have_prices(catalog: Catalog, system: str, rented: bool) -> None:
    subjects = _subjects(catalog, system)
    found = [p for p in catalog.prices.values() if p.subject in subjects and p.price.known]
    bought = [p for p in found if p.what == "purchase" and p.subject == system and p.price.unit == "USD/system"]
    assert bought
    per_chip = min(_best(p) for p in bought) / catalog.systems[system].chips
    assert 10_000 < per_chip < 120_000
    assert rented == any(p.what == "rent" for p in found)


@pytest.mark.parametrize("chip", ["google-tpu-v6e", "google-tpu-7x", "aws-trainium2", "aws-trainium3"])
def test_clouds_own_chips_have_a_rent(catalog: Catalog, chip: str) -> None:
    assert any(p.what == "rent" and p.price.known for p in catalog.prices.values() if p.subject == chip)


@pytest.mark.parametrize(
    "system", ["nvidia-dgx-a100", "nvidia-h100-pcie-8", "nvidia-h100-nvl-8", "nvidia-rtx-pro-6000-8"]
)
def test_cards_that_shops_sell_have_a_purchase_price(catalog: Catalog, system: str) -> None:
    subjects = _subjects(catalog, system)
    assert any(price.what == "purchase" and price.subject in subjects for price in catalog.prices.values())


def test_price_of_the_card_agrees_with_what_another_house_says_owning_it_costs(catalog: Catalog) -> None:
    """SemiAnalysis, 2026-H2: RTX PRO 6000 at 0.975 kW, 0.68 USD/h for a hyperscaler."""
    machine = Machine(("nvidia-rtx-pro-6000-8", "nvidia-rtx-pro-6000-se"), 8, "NVIDIA", (877.0, 975.0, 1072.0))
    answer = quote(load_profile("hyperscaler-owned-2026"), machine, catalog.prices.values())
    low, _, high = answer.interval()
    assert answer.basis == "chip price"
    assert float(answer.cost.total) == pytest.approx(0.68, rel=0.15)
    assert low <= 0.68 <= high


def test_chip_price_is_below_its_share_of_the_system(catalog: Catalog) -> None:
    for system, price in (("nvidia-hgx-h100-8", "2026-06"), ("nvidia-hgx-h200-8", "2026-06")):
        chip = catalog.systems[system].chip
        whole = _best(catalog.prices[f"{system}-purchase-{price}"]) / catalog.systems[system].chips
        assert _best(catalog.prices[f"{chip}-purchase-{price}"]) < whole


def test_cloudmatrix_price_agrees_across_currencies_within_the_exchange_rate(catalog: Catalog) -> None:
    dollars = catalog.prices["huawei-cloudmatrix384-purchase-usd-2025"].price
    yuan = catalog.prices["huawei-cloudmatrix384-purchase-cny-2025"].price
    assert dollars.value is not None
    assert yuan.value is not None
    assert 6.8 < yuan.value / dollars.value < 7.5  # CNY per USD in 2025


def test_tender_price_is_money_over_cards(catalog: Catalog) -> None:
    assert catalog.prices["ascend-910c-tender-2026-04"].price.value == pytest.approx(2.06e9 / 6208, rel=0.005)


def test_api_prices_are_ordered_by_token_class(catalog: Catalog) -> None:
    assert len(catalog.api_prices) >= 60
    for price in catalog.api_prices.values():
        assert price.uncached_input.si > 0, price.id
        assert price.uncached_input.si <= price.output.si * 1.0001, price.id
        if price.cached_input is not None:
            assert price.cached_input.si < price.uncached_input.si, price.id
        assert {price.uncached_input.unit, price.output.unit} == {"USD/Mtoken"}


def test_cached_tokens_cost_between_two_and_sixty_percent(catalog: Catalog) -> None:
    ratios = [
        price.cached_input.si / price.uncached_input.si
        for price in catalog.api_prices.values()
        if price.cached_input is not None
    ]
    assert min(ratios) >= 0.015
    assert max(ratios) <= 0.6
    assert max(ratios) / min(ratios) > 10


def test_grids_have_a_price_a_pue_and_carbon_or_a_reason(catalog: Catalog) -> None:
    assert {"us-texas", "us-virginia", "cn-west-domestic-chips", "eu-average"} <= set(catalog.grids)
    for grid in catalog.grids.values():
        assert grid.electricity.unit == {"us": "USD/kWh", "cn": "CNY/kWh", "eu": "EUR/kWh"}[grid.region]
        assert 1.0 < grid.pue.si < 1.6
        assert grid.carbon is not None
        assert grid.carbon.because if not grid.carbon.known else 20 < grid.carbon.si * 3.6e6 < 1000, grid.id


def test_subsidised_tariff_is_conditional_and_at_most_half_off(catalog: Catalog) -> None:
    cheap, plain = catalog.grids["cn-west-domestic-chips"], catalog.grids["cn-west"]
    assert cheap.conditions
    assert not plain.conditions
    assert cheap.electricity.si < plain.electricity.si
    assert plain.electricity.si_range[1] == pytest.approx(2 * cheap.electricity.si)
