"""Every setting of the simulator that a study can name has an effect on a replay."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from suanli.cli import main
from suanli.search.plan import plan
from suanli.search.replay import Replay, replay
from suanli.search.result import Plan
from suanli.search.study import Study, StudyError

DOCUMENT: dict[str, Any] = {
    "schema_version": 1,
    "model": "qwen3-32b",
    "weights": "fp8",
    "workload": {"input_tokens": 1200, "output_tokens": 150, "rate": "20 request/s"},
    "slo": {"ttft_p99": "2 s", "tpot_p99": "50 ms"},
    "systems": ["nvidia-hgx-h100-8"],
}
SESSIONS = {"turns": 4, "new_tokens": 100, "think": "2 s"}


@pytest.fixture(scope="module")
def best() -> Plan:
    return plan(Study.from_mapping(DOCUMENT, "test"), replays=0)


@pytest.fixture(scope="module")
def served(best: Plan) -> Any:
    def run(serving: dict[str, Any] | None = None, count: int = 1500, **workload: Any) -> Replay:
        document = DOCUMENT | {"serving": serving or {}, "workload": DOCUMENT["workload"] | workload}
        return replay(Study.from_mapping(document, "test"), best[0].pools, count=count)

    return run


def statuses(found: Replay) -> dict[str, Any]:
    return found.result.summary()


def test_limits_of_the_engine(served: Any) -> None:
    few = served({"max_num_seqs": 4})
    assert statuses(few)["max_num_seqs"] == 4
    assert statuses(few)["queue_p50_ms"] > 100 * statuses(served())["queue_p50_ms"]
    tight = statuses(served({"kv_blocks": 250}))
    assert tight["kv_blocks"] == 250
    assert tight["kv_peak_share"] > 5 * statuses(served())["kv_peak_share"]
    assert tight["queue_p50_ms"] > 10 * statuses(served())["queue_p50_ms"]


def test_queues_and_patience(served: Any) -> None:
    assert statuses(served({"max_num_seqs": 4, "max_queue": 3}))["queue_full"] > 0
    assert statuses(served({"max_num_seqs": 4, "ttft_timeout": "1 s"}))["timed_out"] > 0
    assert statuses(served({"timeout": "1 s"}))["timed_out"] > 0


def test_priorities_go_first(served: Any) -> None:
    found = served({"policy": "priority", "max_num_seqs": 16}, priorities=[0.2, 0.8])
    urgent = found.result.setup.requests.priority == 0
    assert np.mean(urgent) == pytest.approx(0.2, abs=0.05)
    assert np.median(found.result.queue_s[urgent]) < 0.1 * np.median(found.result.queue_s[~urgent])


def test_conversations_reuse_their_prefixes_and_a_second_memory_keeps_more(served: Any) -> None:
    found = served({"router": "session"}, sessions=SESSIONS)
    assert found.result.setup.requests.session.max() > 100
    # Turns of 1200, 1450, 1700 and 1950 tokens: all but the first find the whole conversation before them.
    assert statuses(found)["cached_share"] == pytest.approx(4350 / 6300, abs=0.01)
    assert statuses(served(sessions=SESSIONS))["cached_share"] < 0.6  # some turns come to the other replica
    assert statuses(served({"prefix_caching": False}, sessions=SESSIONS))["cached_share"] == 0.0
    small = {"kv_blocks": 2000}
    evicted = statuses(served(small, sessions=SESSIONS))["cached_share"]
    host = small | {"host_kv": "200 GB", "host_bandwidth": "50 GB/s"}
    kept = served(host, sessions=SESSIONS)
    assert evicted < 0.9 * statuses(kept)["cached_share"]
    assert kept.result.outcome.totals["loaded_tokens"].sum() > 0


def test_drafted_tokens(served: Any) -> None:
    drafting = {"speculative_tokens": 3, "acceptance": 0.8, "draft_time": "1 ms"}
    plain, fast = statuses(served()), statuses(served(drafting))
    assert fast["tpot_p50_ms"] < 0.7 * plain["tpot_p50_ms"]
    useless = statuses(served(drafting | {"acceptance": 0.0}))
    assert useless["tpot_p50_ms"] > plain["tpot_p50_ms"]


def test_routers(served: Any) -> None:
    names = ("round_robin", "least_outstanding", "least_kv", "prefix_aware", "session")
    ends = {name: served({"router": name}, sessions=SESSIONS).result.records["rank"].tobytes() for name in names}
    assert len(set(ends.values())) >= 4


def test_failures_lose_no_request(served: Any) -> None:
    found = statuses(served({"outages": [{"replica": 0, "start": "20 s", "end": "40 s"}]}))
    assert found["done"] == 1500
    assert found["ttft_p99_ms"] > statuses(served())["ttft_p99_ms"]


def test_everything_fails(served: Any, best: Plan) -> None:
    outages = [{"replica": number, "start": "0 s"} for number in range(best[0].pools[0].instances)]
    found = statuses(served({"outages": outages}))
    assert (found["done"], found["unfinished"]) == (0, 1500)
    assert found["ttft_p50_ms"] is None


def test_replicas_follow_the_load(served: Any) -> None:
    scale = {"minimum": 1, "maximum": 6, "target_outstanding": 20, "interval": "5 s", "startup": "10 s"}
    found = statuses(served({"autoscale": scale}))
    assert found["replicas_mean"] != best_replicas(served)
    assert found["done"] == 1500


def best_replicas(served: Any) -> float:
    return float(statuses(served())["replicas_mean"])


@pytest.mark.parametrize(
    ("arrivals", "least", "most"),
    [
        ({"process": "poisson"}, 0.9, 1.1),
        ({"process": "gamma", "cv": 3}, 2.5, 3.5),
        ({"process": "bursts", "factor": 10, "calm": "20 s", "burst": "4 s"}, 1.1, 9.0),
        ({"process": "diurnal", "peak_to_mean": 1.8, "period": "60 s"}, 1.0, 3.0),
    ],
)
def test_arrivals(served: Any, arrivals: dict[str, Any], least: float, most: float) -> None:
    at = served(arrivals=arrivals, count=6000).result.records["arrival_s"]
    gaps = np.diff(at)
    assert least < gaps.std() / gaps.mean() < most
    assert at.size / at[-1] == pytest.approx(20.0, rel=0.25)


WRONG = [
    ({"serving": {"host_kv": "9 GB"}}, "serving: host_kv and host_bandwidth go together"),
    ({"serving": {"speculative_tokens": 2}}, "serving: speculative_tokens, acceptance and draft_time go together"),
    ({"serving": {"router": "best"}}, "serving.router: Input should be 'round_robin'"),
    ({"serving": {"autoscale": {"minimum": 1}}}, "serving.autoscale.maximum: missing"),
    ({"serving": {"timeout": "-1 s"}}, "'-1 s' must be above zero"),
    ({"serving": {"outages": [{"replica": 0, "start": "1 s", "stop": "2 s"}]}}, "accepted: replica, start, end"),
]
WRONG += [
    ({"workload": DOCUMENT["workload"] | changes}, said)
    for changes, said in (
        ({"arrivals": {"process": "gamma"}}, "process gamma needs cv"),
        ({"arrivals": {"cv": 2}}, "cv do not belong to process (none)"),
        ({"priorities": [0.5, 0.6]}, "shares of the classes that add up to 1"),
        ({"sessions": SESSIONS, "prefix_hit_rate": 0.3}, "sessions need input_tokens"),
        ({"rate": "0 request/s"}, "must be above zero"),
    )
]


@pytest.mark.parametrize(("changes", "said"), WRONG)
def test_what_cannot_be_is_refused_by_name(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(StudyError) as refused:
        Study.from_mapping(DOCUMENT | changes, "s.yaml")
    assert said in str(refused.value)
    assert all(line.startswith("s.yaml: ") for line in refused.value.problems)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"instances": 0}, "pools.0.instances: 0 given"),
        ({"tp": "two"}, "pools.0.tp: 'two' given"),
        ({"batch": float("nan")}, "pools.0.batch: nan given"),
        ({"role": "both"}, "pools: both given"),
        ({"system": "nvidia-h1000"}, "unknown system 'nvidia-h1000'"),
        ({"tp": 3}, "3"),
        ({"token_budget": 1}, ""),
    ],
)
def test_a_broken_plan_file_is_refused(
    best: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, Any], said: str
) -> None:
    pool = best[0].to_dict()["pools"][0] | change
    (tmp_path / "p.json").write_text(json.dumps({"pools": [pool]}))
    (tmp_path / "s.yaml").write_text(json.dumps(DOCUMENT))
    with pytest.raises(SystemExit) as end:
        main(["simulate", str(tmp_path / "s.yaml"), "--deployment", str(tmp_path / "p.json"), "--requests", "20"])
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    if said and end.value.code:
        assert end.value.code == 2
        assert said in captured.err
