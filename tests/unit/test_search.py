"""Parts of the search: packing, ranking, intervals, excuses, prices."""

from __future__ import annotations

import math

import numpy as np
import pytest

from suanli.search.cost import NoPriceError, cost_of, cost_or_rent
from suanli.search.demand import demand_of_profile, variation
from suanli.search.estimate import Estimate, combine, spread
from suanli.search.market import market_of
from suanli.search.plan import plan
from suanli.search.provision import provisioned_chips
from suanli.search.rank import pareto, probability_below
from suanli.search.study import Study, StudyError
from suanli.search.systems import status_excuse


def _study(**changes: object) -> Study:
    base: dict[str, object] = {
        "schema_version": 1,
        "model": "qwen3-32b",
        "weights": "fp8",
        "workload": {"profile": "azure-conversation-2023", "rate": "100 request/s"},
        "slo": {"ttft_p99": "2 s", "tpot_p99": "50 ms"},
        "systems": ["nvidia-hgx-h100-8"],
    }
    return Study.from_mapping(base | changes, "s.yaml")


@pytest.mark.parametrize(
    ("system", "instance", "count", "paid"),
    [
        ("nvidia-hgx-h100-8", 2, 5, 16),  # four to a node of eight
        ("nvidia-hgx-h100-8", 8, 3, 24),
        ("nvidia-hgx-h100-8", 16, 2, 32),
    ],
)
def test_instances_are_packed_into_whole_nodes(catalog, system, instance, count, paid):
    found = provisioned_chips(catalog.system(system), np.array([float(instance)]), np.array([float(count)]))
    assert found.tolist() == [paid]


def test_slices_are_sold_in_their_own_sizes(catalog):
    pod = catalog.system("google-tpu-v6e-pod")
    sizes = sorted(pod.slices)
    needed = np.array([3.0])
    found = float(provisioned_chips(pod, needed, np.array([1.0]))[0])
    assert found == min(size for size in sizes if size >= 3)


def test_independent_errors_add_in_squares_of_logarithms():
    assert combine(2.0) == pytest.approx(2.0)
    assert combine(2.0, 2.0) == pytest.approx(2.0 ** math.sqrt(2.0))
    estimate = spread(10.0, 2.0, 4.0, "x")
    assert (estimate.low, estimate.high) == (5.0, 40.0)


def test_probability_of_being_cheaper():
    same = Estimate(1.0, 0.8, 1.25, "x")
    assert probability_below(same, same) == pytest.approx(0.5)
    # One 80 % half-width apart, errors of both: distance ln 1.25 against sqrt(2) ln(1.25)/1.2816 -> z = 0.906.
    other = Estimate(1.25, 1.0, 1.5625, "x")
    assert probability_below(same, other) == pytest.approx(0.8176, abs=1e-3)
    assert probability_below(other, same) == pytest.approx(1.0 - 0.8176, abs=1e-3)


def test_pareto_front_keeps_what_nothing_beats():
    points = [(1.0, 5.0), (2.0, 4.0), (1.5, 3.0), (3.0, 1.0), (3.0, 0.5)]
    assert sorted(pareto(points)) == [0, 1, 3]


def test_profile_becomes_demand(catalog):
    profile = catalog.workloads["azure-conversation-2023"]
    demand = demand_of_profile(profile, 0.0)
    assert demand.input_tokens == pytest.approx(1155, rel=0.01)
    assert demand.output_tokens == pytest.approx(211, rel=0.01)
    # p50 1,020 and p90 2,734: log-normal width 0.77, coefficient of variation 0.9.
    assert variation(profile.input_tokens) == pytest.approx(0.9, abs=0.05)


def test_owned_and_rented_prices_are_told_apart(catalog):
    market = market_of(_study(), catalog)
    tpu = catalog.system("google-tpu-v6e-pod")
    with pytest.raises(NoPriceError, match="no purchase price"):
        cost_of(tpu, market)
    assert cost_or_rent(tpu, market).basis.startswith("rented")
    assert cost_of(catalog.system("nvidia-hgx-h100-8"), market).basis.startswith("owned")


def test_prices_of_one_study_are_in_one_currency(catalog):
    # Between the price of a 910C in a tender (332,000 CNY with services) and that of the bare chip (180,000 CNY).
    for economics in ("hyperscaler-owned-2026", "china-west-owned-2026"):
        cost = cost_of(catalog.system("huawei-cloudmatrix384"), market_of(_study(economics=economics), catalog))
        assert cost.capex_per_chip is not None
        assert 180_000 / 8.0 < cost.capex_per_chip < 2 * 332_000 / 6.5


def test_roadmap_systems_need_to_be_asked_for(catalog):
    system = catalog.system("amd-helios-72")
    chip = catalog.chip_of(system)
    assert status_excuse(system, chip, _study(), named=False) is not None
    assert status_excuse(system, chip, _study(include_roadmap=True), named=False) is None
    assert status_excuse(system, chip, _study(), named=True) is None


def test_region_excuse_names_the_reason(catalog):
    system = catalog.system("huawei-cloudmatrix384")
    excuse = status_excuse(system, catalog.chip_of(system), _study(limits={"region": "us"}), named=True)
    assert excuse is not None
    assert "not sold in region us" in excuse.reason


def test_impossible_slo_gives_an_empty_plan_with_floors(catalog):
    found = plan(_study(slo={"tpot_p99": "0.1 ms"}), catalog=catalog)
    assert len(found) == 0
    assert "TPOT floor" in found.excuses[0].reason


def test_memory_that_does_not_fit_is_said(catalog):
    found = plan(_study(model="llama-3.1-405b", weights="bf16", systems=["nvidia-hgx-h100-8"]), catalog=catalog)
    assert len(found) == 0
    assert found.excuses[0].kind == "memory"


def test_all_problems_of_a_study_at_once():
    with pytest.raises(StudyError) as error:
        Study.from_mapping(
            {
                "schema_version": 1,
                "model": "x",
                "workload": {"profile": "p", "rate": "-3 request/s"},
                "slo": {"ttft_p99": "2"},
                "limits": {"power": "5 s"},
                "colour": "red",
            },
            "s.yaml",
        )
    text = "\n".join(error.value.problems)
    assert len(error.value.problems) == 4
    for part in ("workload.rate", "slo.ttft_p99", "limits.power", "colour", "above zero", "no unit", "wrong dimension"):
        assert part in text


def test_unknown_names_are_reported_together(catalog):
    with pytest.raises(StudyError) as error:
        plan(_study(model="qwen3-33b", systems=["nvidia-h1000"], economics="cheap"), catalog=catalog)
    text = "\n".join(error.value.problems)
    assert "qwen3-32b" in text  # near match
    assert "systems" in text
    assert "cheap" in text


def test_two_pools_of_different_systems(catalog):
    # The pair that the market was built for: prefill on Ascend 950PR, decode on 950DT.
    found = plan(
        _study(
            model="deepseek-r1",
            workload={"input_tokens": 4000, "output_tokens": 1000, "rate": "20 request/s"},
            slo={"ttft_p99": "5 s", "tpot_p99": "60 ms"},
            systems=["huawei-atlas-650-8", "huawei-atlas-950-superpod-64"],
            objective="chips",
        ),
        catalog=catalog,
    )
    everything = (*found, *found.alternatives)
    assert any(one.mode == "disaggregated" for one in everything)
    for one in everything:
        assert one.evidence == "datasheet_incomplete"
        assert one.metrics["max_request_s"].high / one.metrics["max_request_s"].low > 3.0


def test_closed_loop_study(catalog):
    found = plan(_study(workload={"input_tokens": 1000, "output_tokens": 300, "concurrency": 256}), catalog=catalog)
    best = found[0]
    # Little's law: users in flight over the time of one answer is the request rate.
    answer = best.value("ttft_p50_ms") + 300 * best.value("tpot_p50_ms")
    served = best.value("usd_per_hour") / 3600 / (best.value("usd_per_mtok") * 1300 / 1e6)
    assert served == pytest.approx(256 / (answer / 1e3), rel=0.15)


def test_plan_is_plain_data(catalog):
    content = plan(_study(), catalog=catalog).to_dict()
    assert content["schema_version"] == 1
    assert content["deployments"][0]["rank"] == 1
    cited = {row["source"] for row in content["inputs"] if ", " not in row["source"]}
    assert cited <= set(content["citations"])
    assert all(len(entry) > 1 for entry in content["citations"].values()), "a source without a record"


def test_a_quote_of_the_user_comes_before_shipped_prices(tmp_path):
    overlay = tmp_path / "quote.yaml"
    overlay.write_text(
        "schema_version: 1\n"
        "sources: [{id: my-quote, title: Quote, publisher: seller, date: '2026-11', locator: mail, read_as: own}]\n"
        "---\n"
        "schema_version: 1\n"
        "prices: [{id: my-h100, subject: nvidia-hgx-h100-8, what: purchase, edition: 2026-11, seller: one,"
        " price: {value: 80000, unit: USD/system, kind: vendor, source: my-quote}}]\n"
    )
    cheap = plan(_study(overlays=[str(overlay)]))[0]
    shipped = plan(_study())[0]
    assert "my-quote" in cheap.sources
    # 10,000 USD of machine per chip and what stands around it, against a bill of more than 25,000.
    assert cheap.cost_parts["capital"] < 0.6 * shipped.cost_parts["capital"]
