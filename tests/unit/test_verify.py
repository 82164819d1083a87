"""The best rows of a plan are replayed: sized, priced and marked by what the simulator sees."""

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from suanli.mapping.step_table import StepTable
from suanli.report.html import html_text
from suanli.report.terminal import print_plan
from suanli.search import verify
from suanli.search.instance import instance_of
from suanli.search.plan import plan
from suanli.search.replay import bench_of
from suanli.search.replayed import Replayed
from suanli.search.result import Deployment, Plan
from suanli.search.study import Slo, Study, StudyError
from suanli.search.verify import behind, chip_powers, highest_factor, missed_limits
from suanli.serving.config import EngineConfig
from suanli.serving.simulate import simulate
from suanli.workload.requests import Requests

DOCUMENT = {
    "schema_version": 1,
    "model": "qwen3-32b",
    "weights": "fp8",
    "workload": {"profile": "azure-conversation-2023", "rate": "20 request/s"},
    "slo": {"ttft_p99": "2 s", "tpot_p99": "50 ms"},
    "systems": ["nvidia-hgx-h100-8", "amd-mi355x-platform"],
}


def study(**changes: object) -> Study:
    return Study.from_mapping(DOCUMENT | changes, "test")


@pytest.fixture(scope="module")
def found() -> Plan:
    return plan(study())


@pytest.mark.parametrize("truth", [1.0, 1.04, 1.7, 2.9])
@pytest.mark.parametrize("guess", [0.7, 1.0, 1.5, 3.0])
def test_highest_rate_is_found_to_three_percent(truth: float, guess: float) -> None:
    assert truth / 1.035 <= highest_factor(lambda factor: factor <= truth, guess) <= truth


def test_a_guess_far_off_costs_precision_and_never_promises_too_much() -> None:
    tried: list[float] = []

    def kept(factor: float) -> bool:
        tried.append(factor)
        return factor <= 1.3

    assert 1.0 <= highest_factor(kept, 20.0) <= 1.3
    assert len(tried) <= 8


def test_what_the_replay_asks_for_is_what_is_sold() -> None:
    """Under 40 ms the closed form takes two instances on H100; they miss a limit in the simulator, three keep it."""
    tight = study(slo={"ttft_p99": "2 s", "tpot_p99": "40 ms"}, systems=["nvidia-hgx-h100-8"])
    one = plan(tight)[0]
    assert one.replay is not None
    assert one.replay.planned == (2,)
    assert one.pools[0].instances == 3
    assert one.replay.keeps_slo
    small = plan(tight, replays=0)[0]
    assert small.replay is None
    assert small.pools[0].instances == 2
    bench = bench_of(tight, ["nvidia-hgx-h100-8"], count=5000)
    missed = missed_limits(bench.run(bench.instances(small.pools)), tight.slo)
    assert [(miss.metric, miss.percentile) for miss in missed] == [("tpot", "p99")]


def seen(one: Deployment, *, holds: bool) -> Deployment:
    return replace(one, replay=Replayed(summary={}, roles=(), missed=(), behind=not holds, planned=()))


@pytest.fixture(scope="module")
def screened() -> Plan:
    return plan(study(), replays=0)


@pytest.mark.parametrize("first_holds", [True, False])
def test_a_spare_takes_the_place_of_a_deployment_that_does_not_hold(
    screened: Plan, monkeypatch: pytest.MonkeyPatch, first_holds: bool
) -> None:
    one, *rest = screened.deployments
    spares = [other for other in screened.alternatives if other.systems == one.systems]
    tried: list[Deployment] = []

    def check(each: Deployment, *_: object) -> Deployment:
        tried.append(each)
        return seen(each, holds=first_holds or each is not one)

    monkeypatch.setattr(verify, "_checked_or_left", check)
    order = verify.verified([one, *rest], {one.systems: spares}, None, 1, "usd_per_mtok", None)  # type: ignore[arg-type]
    assert tried[:2] == ([one] if first_holds else [one, spares[0]])
    assert (order[0].layout == one.layout) == first_holds
    assert len(order) == len(screened.deployments)


def test_a_system_of_which_nothing_holds_comes_last_and_beats_nobody(
    screened: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = screened.deployments[0]

    def check(each: Deployment, *_: object) -> Deployment:
        return seen(each, holds=each.systems != first.systems)

    monkeypatch.setattr(verify, "_checked_or_left", check)
    order = verify.verified(screened.deployments, {}, None, 3, "usd_per_mtok", None)  # type: ignore[arg-type]
    assert (order[-1].layout, order[-1].fails, order[-1].p_beats_best) == (first.layout, True, 0.0)
    assert not any(one.fails for one in order[:-1])


def grown(one: Deployment) -> list[int]:
    """Pools that have more instances than the closed form planned."""
    assert one.replay is not None
    return [place for place, pool in enumerate(one.pools) if pool.instances > one.replay.planned[place]]


def test_a_grown_pool_is_no_larger_than_it_needs() -> None:
    """One instance less of any pool that grew misses a limit."""
    for limit in ("25 ms", "35 ms", "40 ms", "30 ms"):
        tight = study(
            slo={"ttft_p99": "1 s", "tpot_p99": limit},
            workload={"profile": "azure-conversation-2023", "rate": "35 request/s"},
            systems=["nvidia-hgx-h100-8"],
        )
        one = plan(tight)[0]
        if grown(one):
            break
    assert not one.fails
    assert grown(one)
    bench = bench_of(tight, ["nvidia-hgx-h100-8"])
    for place in grown(one):
        pools = list(one.pools)
        pools[place] = replace(pools[place], instances=pools[place].instances - 1)
        assert missed_limits(bench.run(bench.instances(pools)), tight.slo)


def test_utilisation_of_the_money_is_that_of_the_replay(found: Plan) -> None:
    for one in found:
        seen = one.replay
        assert seen is not None
        assert seen.max_request_s is not None
        assert one.utilisation == pytest.approx(20.0 / seen.max_request_s)
        assert seen.max_request_s >= 20.0
    assert found.money is not None
    assert found.money.account.ways.utilisation == found[0].utilisation


def test_power_behind_the_price_is_that_of_the_replay(found: Plan) -> None:
    one = found[0]
    bench = bench_of(study(), one.systems, count=5000)
    pools = bench.instances(one.pools)
    power = chip_powers(bench.run(pools), pools)[0]
    assert one.choices[0].chip_power == pytest.approx(power, rel=0.03)  # its table is made at the planned batch
    rate, chips, hardware = 20.0, one.pools[0].chips, one.choices[0].column.setting.hardware
    idle = (one.pools[0].chips_provisioned - chips) * hardware.idle_power * hardware.chip_power
    around = (hardware.all_in_power - hardware.chip_power) * one.pools[0].chips_provisioned
    watts = one.value("joules_per_output_token") * rate * bench.demand.output_tokens
    assert watts == pytest.approx(chips * (one.choices[0].chip_power or 0.0) + idle + around)
    assert one.prices[0].load == pytest.approx(watts / (hardware.all_in_power * one.pools[0].chips_provisioned))


def test_power_of_idle_and_busy_chips() -> None:
    """Two requests of one token at 100 W idle: a step of 1 s takes 50 J more, the rest of 4 s nothing."""
    table = StepTable(tokens=np.ones(1), base_s=np.ones(1), idle_w=100.0, base_j=np.full(1, 50.0))
    result = simulate(Requests.build([0.0, 4.0], 1, 1), table, EngineConfig(kv_blocks=10))
    bench = bench_of(study(), ["nvidia-hgx-h100-8"], count=10)
    pool = plan(study(systems=["nvidia-hgx-h100-8"]), replays=0)[0].pools[0]
    serving = bench.study.serving
    instance = instance_of(pool, bench.ready[pool.system], bench.demand, serving, caching=False)
    assert chip_powers(result, [instance])[0] * instance.rank_chips == pytest.approx((400.0 + 50.0) / 4.0, rel=0.02)


def test_lost_requests_count_as_infinitely_slow() -> None:
    table = StepTable(tokens=np.ones(1), base_s=np.full(1, 0.1))
    requests = Requests.build(np.arange(100.0), [9] * 98 + [200] * 2, 2)  # two prompts beyond the memory
    result = simulate(requests, table, EngineConfig(kv_blocks=5))
    assert missed_limits(result, Slo.model_validate({"ttft_p50": "1 s", "ttft_p95": "1 s"})) == []
    assert missed_limits(result, Slo.model_validate({"ttft_p99": "1 s"}))[0].value_s is None
    assert behind(result)


def test_a_queue_that_grows_is_noticed_without_any_limit() -> None:
    table = StepTable(tokens=np.ones(1), base_s=np.full(1, 0.01))
    engine = EngineConfig(kv_blocks=1000, max_num_seqs=1)
    for factor, expected in ((0.8, False), (1.2, True)):
        requests = Requests.build(np.arange(2000) * 0.1 / factor, 10, 10)
        assert behind(simulate(requests, table, engine)) is expected


def test_what_no_size_saves_is_marked_and_stays() -> None:
    """Every replica is down for the whole run."""
    outages = [{"replica": number, "start": "0 s"} for number in range(2)]
    lost = plan(study(systems=["nvidia-hgx-h100-8"], serving={"outages": outages}))
    assert len(lost) == 1
    assert lost[0].replay is not None
    if lost[0].pools[0].instances == 2:
        assert not lost[0].replay.keeps_slo
        text = io.StringIO()
        print_plan(Console(file=text, width=120), lost)
        assert "1\u2717" in text.getvalue()
        assert "misses the SLO in the replay" in text.getvalue()
        assert "misses the SLO in the replay" in html_text(lost)


def test_impossible_settings_are_refused_by_name() -> None:
    with pytest.raises(StudyError, match="serving: outage of replica 7"):
        plan(study(systems=["nvidia-hgx-h100-8"], serving={"outages": [{"replica": 7, "start": "0 s"}]}))


def test_a_recorded_trace_is_planned_on(tmp_path: Path) -> None:
    rows = [{"timestamp": 50 * i, "input_length": 900, "output_length": 80} for i in range(2000)]
    (tmp_path / "t.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    workload = {"trace": {"path": str(tmp_path / "t.jsonl"), "format": "mooncake"}}
    one = plan(study(workload=workload, systems=["nvidia-hgx-h100-8"]))
    assert one.workload["rate"] == pytest.approx(20.0, rel=1e-3)
    assert one.workload["input_tokens"] == 900
    assert one[0].replay is not None
    assert one[0].replay.summary["requests"] == 2000
    faster = plan(study(workload=workload | {"rate": "40 request/s"}, systems=["nvidia-hgx-h100-8"]))
    assert faster[0].replay is not None
    assert faster[0].replay.summary["end_s"] < 0.6 * float(one[0].replay.summary["end_s"] or 0.0)
