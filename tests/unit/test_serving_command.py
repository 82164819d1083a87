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
