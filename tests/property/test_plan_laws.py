"""Laws of a plan: looser limits and better hardware never make the answer worse."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from suanli.mapping.placement import enumerate_placements
from suanli.search.candidates import aggregated_column, decode_column, prefill_column
from suanli.search.plan import plan
from suanli.search.study import Slo, Study

# Batch sizes are searched on grids of 2 % (candidates.STEPS), so two optima can only be told apart to that.
RESOLUTION = 0.02

FEW = ("nvidia-hgx-h100-8", "nvidia-gb200-nvl72", "amd-mi300x-platform")


def _study(**changes: object) -> Study:
    base: dict[str, object] = {
        "schema_version": 1,
        "model": "qwen3-32b",
        "weights": "fp8",
        "workload": {"profile": "azure-conversation-2023", "rate": "200 request/s"},
        "slo": {"ttft_p99": "2 s", "tpot_p99": "40 ms"},
        "systems": list(FEW),
    }
    return Study.from_mapping(base | changes, "test")


def _best(catalog, **changes: object) -> float:
    found = plan(_study(**changes), catalog=catalog, replays=0)  # laws of the closed form
    return found[0].value("usd_per_mtok") if len(found) else np.inf


@settings(deadline=None, max_examples=12)
@given(tpot=st.floats(min_value=12.0, max_value=100.0), looser=st.floats(min_value=1.0, max_value=3.0))
def test_a_looser_slo_never_costs_more(catalog, tpot, looser):
    tight = _best(catalog, slo={"ttft_p99": "2 s", "tpot_p99": f"{tpot} ms"})
    loose = _best(catalog, slo={"ttft_p99": f"{2 * looser} s", "tpot_p99": f"{tpot * looser} ms"})
    assert loose <= tight * (1 + RESOLUTION)


@settings(deadline=None, max_examples=10)
@given(power=st.floats(min_value=5.0, max_value=500.0), more=st.floats(min_value=1.0, max_value=4.0))
def test_a_larger_power_cap_never_costs_more(catalog, power, more):
    capped = _best(catalog, limits={"power": f"{power} kW"})
    assert _best(catalog, limits={"power": f"{power * more} kW"}) <= capped


@pytest.mark.parametrize("role", ["aggregated", "prefill", "decode"])
@settings(deadline=None, max_examples=12)
@given(factor=st.floats(min_value=1.0, max_value=4.0), tpot=st.floats(min_value=0.01, max_value=0.2))
def test_better_hardware_never_serves_less(ready, role, factor, tpot):
    function = {"aggregated": aggregated_column, "prefill": prefill_column, "decode": decode_column}[role]
    setting = ready("nvidia-hgx-h200-8", "qwen3-30b-a3b", "fp8").setting
    place = enumerate_placements(setting.graph, 8, 8, 2)
    slo = Slo.model_validate({"ttft_p99": "2 s", "tpot_p99": f"{tpot} s"})
    base = function(setting, place, slo).rate
    hardware = setting.hardware
    for change in (
        {"bandwidth": hardware.bandwidth * factor},
        {"peaks": {name: rate * factor for name, rate in hardware.peaks.items()}},
        {"capacity": hardware.capacity * factor},
    ):
        better = function(replace(setting, hardware=replace(hardware, **change)), place, slo).rate
        assert np.all(better >= base * (1 - RESOLUTION)), change


@settings(deadline=None, max_examples=20)
@given(small=st.sampled_from([2, 4, 8]), large=st.sampled_from([8, 16, 32]))
def test_a_larger_domain_offers_every_smaller_placement(ready, small, large):
    graph = ready("nvidia-gb200-nvl72", "qwen3-235b-a22b", "fp8").setting.graph
    few = enumerate_placements(graph, small, small)
    many = enumerate_placements(graph, large, large)

    def rows(place):
        return set(zip(place.tp, place.pp, place.dp, place.ep, strict=True))

    # A domain's own odd divisors (its half and quarter) are powers of two here, so nothing is lost by growing.
    assert rows(few) <= rows(many)


def test_memory_never_exceeds_capacity(catalog):
    found = plan(_study(systems=["nvidia-*", "amd-*"]), catalog=catalog)
    assert len(found) > 5
    for deployment in (*found, *found.alternatives):
        for pool in deployment.pools:
            memory = pool.memory
            used = memory["weights_gb"] + memory["kv_cache_gb"] + memory["reserve_gb"]
            assert used <= memory["capacity_gb"]


def test_limits_hold_for_every_deployment(catalog):
    found = plan(_study(limits={"power": "100 kW", "chips": 64}), catalog=catalog)
    for deployment in (*found, *found.alternatives):
        assert deployment.value("power_kw") <= 100.0
        assert deployment.value("chips") <= 64


def test_latencies_keep_the_slo(catalog):
    found = plan(_study(), catalog=catalog)
    for deployment in (*found, *found.alternatives):
        assert deployment.value("ttft_p99_ms") <= 2000.0 * (1 + 1e-6)
        assert deployment.value("tpot_p99_ms") <= 40.0 * (1 + 1e-6)
