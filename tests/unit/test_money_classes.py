"""What a cached token costs: machine time of its own, from the step model, inside the same bill."""

from __future__ import annotations

import pytest

from suanli.search.money import bill_of, classes_of, rate_of
from suanli.search.plan import plan
from suanli.search.study import Study
from suanli.serving.steady import Demand

INPUT, OUTPUT = 8192.0, 512.0
SYSTEMS = ["nvidia-hgx-h100-8", "amd-mi300x-platform"]


def deployments_of(catalog, hit_rate):
    study = Study.from_mapping(
        {
            "schema_version": 1,
            "model": "qwen3-32b",
            "weights": "fp8",
            "workload": {
                "input_tokens": INPUT,
                "output_tokens": OUTPUT,
                "rate": "40 request/s",
                "prefix_hit_rate": hit_rate,
            },
            "slo": {"ttft_p99": "5 s", "tpot_p99": "60 ms"},
            "systems": SYSTEMS,
        },
        "s.yaml",
    )
    found = plan(study, catalog=catalog)
    return (*found.deployments, *found.alternatives)


@pytest.fixture(scope="module", params=[0.3, 0.9])
def hit(request, catalog):
    return request.param, deployments_of(catalog, request.param)


def test_pools_together_and_apart_are_both_looked_at(hit):
    assert {len(one.pools) for one in hit[1]} == {1, 2}


def test_classes_with_cached_tokens_add_up_to_the_bill(hit):
    hit_rate, found = hit
    demand = Demand(INPUT, OUTPUT, 0.0, 0.0, 1.0, hit_rate)
    for one in found:
        classes = classes_of(one, demand)
        hourly = one.value("usd_per_hour")
        assert sum(c.full * c.tokens_per_s * 0.0036 for c in classes.values()) == pytest.approx(hourly)
        assert sum(c.direct * c.tokens_per_s * 0.0036 for c in classes.values()) == pytest.approx(bill_of(one).busy)
        assert classes["cached_input"].tokens_per_s == pytest.approx(hit_rate * INPUT * rate_of(one))


def test_cached_token_costs_something_and_less_than_a_new_one(hit):
    for one in hit[1]:
        cached, new = one.value("usd_per_mtok_cached_input"), one.value("usd_per_mtok_uncached_input")
        assert cached > 0.0
        if one.evidence == "measured_operators":  # where attention is slow, 5,700 new tokens on one cached cost as much
            assert cached < new


def test_cached_token_is_cheap_where_few_new_tokens_read_it(catalog):
    """Its time grows with the new tokens that attend to it: 820 of them read it faster than 5,700."""

    def ratios(hit_rate, system):
        found = [one for one in deployments_of(catalog, hit_rate) if one.systems[0] == system]
        return [one.value("usd_per_mtok_cached_input") / one.value("usd_per_mtok_uncached_input") for one in found]

    for system in SYSTEMS:
        assert max(ratios(0.9, system)) < min(ratios(0.3, system))


def test_without_a_prefix_cache_there_is_no_price_of_cached_tokens(catalog):
    for one in deployments_of(catalog, 0.0):
        assert "usd_per_mtok_cached_input" not in one.metrics
        assert one.value("usd_per_mtok_uncached_input") > 0.0
