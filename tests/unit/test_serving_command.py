"""`suanli simulate` from the outside, and replays of a plan."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from suanli.cli import main
from suanli.search.plan import plan
from suanli.search.replay import pools_of_file, replay
from suanli.search.study import Study, StudyError

STUDY = """\
schema_version: 1
model: qwen3-32b
weights: fp8
workload: {profile: azure-conversation-2023, rate: 20 request/s}
slo: {ttft_p99: 2 s, tpot_p99: 50 ms}
systems: [nvidia-hgx-h100-8]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    (tmp_path / "study.yaml").write_text(STUDY)
    return tmp_path


@pytest.fixture
def run(folder: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[object, str, str]]:
    assert folder.exists()

    def call(*arguments: str) -> tuple[object, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main(arguments)
        captured = capsys.readouterr()
        return end.value.code or 0, captured.out, captured.err

    return call


def test_replay_agrees_with_the_closed_form_at_light_load(folder: Path) -> None:
    """Two descriptions of the same engine: mean step and first token within a few percent and tens."""
    study = Study.from_yaml(folder / "study.yaml")
    best = plan(study)[0]
    summary = replay(study, best.pools, count=4000).result.summary()
    assert summary["tpot_p50_ms"] == pytest.approx(best.value("tpot_p50_ms"), rel=0.1)
    assert summary["ttft_p50_ms"] == pytest.approx(best.value("ttft_p50_ms"), rel=0.5)
    assert summary["saturated"] is False


def test_table_and_files(run: Callable[..., tuple[int, str, str]], folder: Path) -> None:
    code, out, _ = run("simulate", "study.yaml", "--requests", "500", "--records", "r.parquet", "--trace", "t.json")
    assert code == 0
    for words in ("time to first token", "500 requests in", "500 done", "meet the limits", "KV blocks of 16 tokens"):
        assert words in out
    assert pq.read_table(folder / "r.parquet").num_rows == 500
    assert json.loads((folder / "t.json").read_text())["traceEvents"]


def test_limits_from_a_log_are_used_and_shown_beside_the_predicted(run: Callable[..., tuple[int, str, str]]) -> None:
    arguments = ("simulate", "study.yaml", "--requests", "300", "--kv-blocks", "700", "--report", "served.html")
    code, out, _ = run(*arguments)
    assert code == 0
    assert "kv_blocks 700 given," in out
    assert "700 KV blocks" in out
    page = Path("served.html").read_text()
    assert page.count("<svg") == 9
    assert "limit 2,000" in page
    assert "whole request (E2E)" in page
    assert not re.search(r">[0-9.]+e[+-]?[0-9]+<", page)  # no exponents on the axes
    assert "kv_blocks 700 given" in page


def test_json_repeats_and_a_plan_file_is_accepted(run: Callable[..., tuple[int, str, str]]) -> None:
    run("plan", "study.yaml", "--out", "plan")
    arguments = ("simulate", "study.yaml", "--requests", "300", "--format", "json")
    assert run(*arguments)[1] == run(*arguments)[1]
    first, second = (json.loads(run(*arguments, "--deployment", name)[1]) for name in ("1", "plan/plan.json"))
    assert first["done"] == 300
    assert first["pools"][0]["system"] == "nvidia-hgx-h100-8"
    assert first["ttft_p99_ms"] == pytest.approx(second["ttft_p99_ms"], rel=1e-2)  # the file has rounded figures


def test_a_trace_that_begins_after_the_run_is_refused(run: Callable[..., tuple[int, str, str]], folder: Path) -> None:
    begin = ("--trace", "t.json", "--trace-from", "1e9", "--records", "r.parquet")
    code, out, err = run("simulate", "study.yaml", "--requests", "300", *begin)
    assert (code, out, err) == (2, "", "error: --trace-from: 1e+09 s given, no step begins after that\n")
    assert not list(folder.glob("*.json")) + list(folder.glob("*.parquet"))


def test_a_trace_is_replayed_whole(run: Callable[..., tuple[int, str, str]], folder: Path) -> None:
    rows = [json.dumps({"timestamp": 100 * i, "input_length": 600, "output_length": 9}) for i in range(40)]
    (folder / "trace.jsonl").write_text("\n".join(rows))
    run("plan", "study.yaml", "--out", "plan")
    trace = "workload: {trace: {path: trace.jsonl, format: mooncake}}"
    (folder / "traced.yaml").write_text(STUDY.replace(STUDY.splitlines()[3], trace))
    code, out, err = run("simulate", "traced.yaml", "--deployment", "plan/plan.json", "--format", "json")
    assert (code, err) == (0, "")
    assert json.loads(out)["done"] == 40
    (folder / "trace.jsonl").write_text("\n".join([*rows, "broken"]))
    code, _, err = run("simulate", "traced.yaml", "--deployment", "plan/plan.json")
    assert code == 2
    assert "line 41: not JSON" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--deployment", "99"], "99 given, the plan has 1 to"),
        (["--deployment", "none.json"], "none.json: cannot be read"),
        (["--max-num-seqs", "999999"], "must hold max_num_seqs 999999 decoding sequences"),
        (["--router", "best"], "--router: 'best' given, accepted:"),
    ],
)
def test_wrong_input_is_said_in_a_line(
    run: Callable[..., tuple[int, str, str]], arguments: list[str], said: str
) -> None:
    code, out, err = run("simulate", "study.yaml", *arguments)
    assert (code, out) == (2, "")
    assert said in err
    assert len(err.strip().splitlines()) == 1


def test_fixed_lengths_closed_loops_and_shared_prefixes() -> None:
    document = {
        "schema_version": 1,
        "model": "qwen3-32b",
        "weights": "fp8",
        "workload": {"input_tokens": 2000, "output_tokens": 100, "rate": "5 request/s", "prefix_hit_rate": 0.5},
        "slo": {},
        "systems": ["nvidia-hgx-h100-8"],
    }
    study = Study.from_mapping(document, "test")
    found = replay(study, plan(study)[0].pools, count=500)
    cached = found.result.records["cached_tokens"]
    assert np.median(cached) == pytest.approx(1000, abs=16)
    assert any("share their first 50%" in note for note in found.assumptions)
    closed = document | {"workload": {"input_tokens": 2000, "output_tokens": 100, "concurrency": 8}}
    study = Study.from_mapping(closed, "test")
    records = replay(study, plan(study)[0].pools, count=200).result.records
    there = np.array([np.sum((records["arrival_s"] <= t) & (records["done_s"] > t)) for t in records["done_s"][:150]])
    assert there.max() <= 8


def test_a_file_without_deployment_is_refused(folder: Path) -> None:
    (folder / "empty.json").write_text("{}")
    with pytest.raises(StudyError, match="no deployment with pools"):
        pools_of_file(folder / "empty.json")


def test_waits_of_one_server_are_those_of_theory(run: Callable[..., tuple[int, str, str]], folder: Path) -> None:
    """The whole command as M/D/1: one instance, one request at a time, answers of one token (Pollaczek-Khinchine)."""
    run("plan", "study.yaml", "--out", "plan", "--replay", "0")
    pool = json.loads((folder / "plan" / "plan.json").read_text())["deployments"][0]["pools"][0] | {"instances": 1}
    (folder / "one.json").write_text(json.dumps({"pools": [pool]}))
    fixed = "workload: {input_tokens: 1000, output_tokens: 1, rate: RATE request/s}"

    def records(rate: float, count: int) -> dict[str, np.ndarray]:
        (folder / "md1.yaml").write_text(STUDY.replace(STUDY.splitlines()[3], fixed.replace("RATE", f"{rate:.6f}")))
        limits = ("--deployment", "one.json", "--max-num-seqs", "1", "--requests", str(count))
        code, _, _ = run("simulate", "md1.yaml", *limits, "--records", "r.parquet")
        assert code == 0
        table = pq.read_table(folder / "r.parquet")
        return {name: table[name].to_numpy() for name in ("arrival_s", "admitted_s", "done_s")}

    alone = records(0.1, 10)
    service = float(np.median(alone["done_s"] - alone["admitted_s"]))
    for load in (0.5, 0.8):
        busy = records(load / service, 40_000)
        wait = float((busy["admitted_s"] - busy["arrival_s"]).mean())
        assert wait == pytest.approx(load * service / (2.0 * (1.0 - load)), rel=0.06)
        inside = float((busy["done_s"] - busy["arrival_s"]).sum())
        times = np.sort(np.concatenate([busy["arrival_s"], busy["done_s"]]))
        change = np.concatenate([np.ones(40_000), -np.ones(40_000)])
        order = np.argsort(np.concatenate([busy["arrival_s"], busy["done_s"]]), kind="stable")
        area = float((np.cumsum(change[order])[:-1] * np.diff(times)).sum())
        assert area == pytest.approx(inside, rel=1e-9)  # Little's law


def test_an_overload_ends_and_says_so(run: Callable[..., tuple[int, str, str]], folder: Path) -> None:
    run("plan", "study.yaml", "--out", "plan", "--replay", "0")
    capacity = json.loads((folder / "plan" / "plan.json").read_text())["deployments"][0]["metrics"]["max_request_s"]
    faster = STUDY.replace("rate: 20 request/s", f"rate: {3.0 * capacity['value']:.3f} request/s")
    (folder / "fast.yaml").write_text(faster)
    code, out, _ = run("simulate", "fast.yaml", "--deployment", "plan/plan.json", "--report", "page.html")
    assert code == 0
    assert "saturated: requests come faster than they are served" in out
    assert "Saturated" in (folder / "page.html").read_text()


def test_prompts_beyond_the_memory_are_counted_and_explained(
    run: Callable[..., tuple[int, str, str]], folder: Path
) -> None:
    run("plan", "study.yaml", "--out", "plan", "--replay", "0")
    fixed = "workload: {input_tokens: 9000000, output_tokens: 1, rate: 1 request/s}"
    (folder / "long.yaml").write_text(STUDY.replace(STUDY.splitlines()[3], fixed))
    code, out, _ = run("simulate", "long.yaml", "--deployment", "plan/plan.json", "--requests", "30")
    assert code == 0
    assert "30 too long" in out
    assert "30 requests are refused: with their output they do not fit" in out


def test_a_folder_that_is_not_there_is_named(run: Callable[..., tuple[int, str, str]]) -> None:
    code, _, err = run("simulate", "study.yaml", "--requests", "20", "--records", "none/r.parquet")
    assert code == 2
    assert err.strip() == "error: none/r.parquet: no folder none"


def test_nothing_is_written_where_one_of_the_folders_is_missing(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["simulate", "study.yaml", "--records", "a.parquet", "--report", "none/b.html"])
    assert stop.value.code == 2
    assert capsys.readouterr().err == "error: none/b.html: no folder none\n"
    assert not (folder / "a.parquet").exists()
