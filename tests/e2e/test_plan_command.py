"""`suanli plan`, `explain` and `init` from the outside."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys

from suanli.report.csv_text import csv_columns


def test_table_ranks_the_systems_of_the_study(run):
    done = run("plan", "study.yaml")
    assert (done.code, done.err) == (0, "")
    assert "The cheapest answer is" in done.out
    for name in ("nvidia-hgx-h100-8", "amd-mi300x-platform", "How sure"):
        assert name in done.out
    assert max(len(line) for line in done.out.splitlines()) <= 120


def test_json_alone_is_on_stdout_and_repeats_byte_for_byte(run):
    first, second = run("plan", "study.yaml", "--format", "json"), run("plan", "study.yaml", "--format", "json")
    content = json.loads(first.out)
    assert first.out == second.out
    assert first.err == ""
    assert [one["rank"] for one in content["deployments"]] == [1, 2]
    assert {name for one in content["deployments"] for name in one["systems"]} == {
        "nvidia-hgx-h100-8",
        "amd-mi300x-platform",
    }
    for one in content["deployments"]:
        for estimate in one["metrics"].values():
            assert estimate["low"] <= estimate["value"] <= estimate["high"]
        assert set(one["sources"]) <= set(content["citations"])


def test_csv_has_the_documented_columns(run):
    rows = list(csv.DictReader(io.StringIO(run("plan", "study.yaml", "--format", "csv").out)))
    assert tuple(rows[0]) == csv_columns()
    assert len(rows) == 2
    assert len(list(csv.DictReader(io.StringIO(run("plan", "study.yaml", "--format", "csv", "--top", "1").out)))) == 1


def test_out_writes_three_whole_files(run, folder):
    done = run("plan", "study.yaml", "--out", "out", "--format", "json")
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["plan.csv", "plan.json", "report.html"]
    assert (folder / "out" / "plan.json").read_text(encoding="utf-8") == done.out
    assert done.err.splitlines() == ["wrote out/plan.json", "wrote out/plan.csv", "wrote out/report.html"]
    report = (folder / "out" / "report.html").read_text(encoding="utf-8")
    for one in json.loads(done.out)["deployments"]:
        assert f'id="row-{one["rank"]}"' in report
        for system in one["systems"]:
            assert system in report


def test_options_alone_ask_the_same_question_as_a_file(run):
    by_file = run("plan", "study.yaml", "--format", "csv").out
    by_options = run(
        *("plan", "--model", "qwen3-32b", "--weights", "fp8", "--profile", "azure-conversation-2023", "--rate", "20/s"),
        *("--ttft", "2 s", "--tpot", "50 ms", "--systems", "nvidia-hgx-h100-8", "--systems", "amd-mi300x-platform"),
        *("--format", "csv"),
    ).out
    assert by_options == by_file


def test_options_replace_keys_of_the_file(run):
    done = run("plan", "study.yaml", "--rate", "5/s", "--systems", "nvidia-hgx-h100-8", "--format", "json")
    study = json.loads(done.out)["study"]
    assert study["workload"] == {"profile": "azure-conversation-2023", "rate": 5.0, "prefix_hit_rate": 0.0}
    assert study["systems"] == ["nvidia-hgx-h100-8"]
    assert study["slo"] == {"ttft_p99": 2.0, "tpot_p99": 0.05}
    done = run("plan", "study.yaml", "--input", "512", "--output", "64", "--concurrency", "8", "--format", "json")
    assert json.loads(done.out)["study"]["workload"] == {
        "input_tokens": 512.0,
        "output_tokens": 64.0,
        "concurrency": 8.0,
        "prefix_hit_rate": 0.0,
    }


def test_limits_are_kept_by_every_row(run):
    done = run("plan", "study.yaml", "--chips", "8", "--power", "12 kW", "--format", "json")
    content = json.loads(done.out)
    for one in content["deployments"]:
        assert one["metrics"]["chips"]["value"] <= 8
        assert one["metrics"]["power_kw"]["value"] <= 12
    named = {one["systems"][0].split("@")[0] for one in content["deployments"]}  # also at lowered clocks
    assert len(named) + len(content["excuses"]) == 2


def test_objective_sorts_the_rows(run):
    done = run("plan", "study.yaml", "--objective", "tokens_per_joule", "--format", "json")
    values = [one["metrics"]["tokens_per_joule"]["value"] for one in json.loads(done.out)["deployments"]]
    assert values == sorted(values, reverse=True)
    assert "most energy-efficient" in run("plan", "study.yaml", "--objective", "tokens_per_joule").out


def test_explain_takes_the_step_apart(run):
    done = run("explain", "study.yaml", "--deployment", "2")
    assert done.code == 0
    for word in ("T_math", "T_memory", "Takeaway: bound by", "Memory per chip", "USD/h", "Sources"):
        assert word in done.out
    content = json.loads(run("explain", "study.yaml", "--format", "json").out)
    step = content["steps"][0]
    assert step["lower_ms"] <= step["upper_ms"]
    assert abs(sum(one["total_ms"] for one in step["operators"]) - step["seconds_ms"]) < 0.01 * step["seconds_ms"]


def test_study_from_init_can_be_planned(run):
    assert run("init", "new.yaml").code == 0
    done = run("plan", "new.yaml", "--systems", "nvidia-hgx-h100-8", "--format", "json")
    assert done.code == 0
    assert json.loads(done.out)["study"]["model"] == "qwen3-235b-a22b"


def test_help_names_every_command(run):
    done = run("--help")
    assert done.code == 0
    for name in ("plan", "explain", "init", "catalog"):
        assert f"\n  {name} " in done.out
    assert run().out == done.out
    assert run("--version").out.startswith("suanli ")


def test_help_loads_no_numerical_library():
    code = (
        "import sys\nfrom suanli.cli import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print([name for name in ('numpy', 'pydantic', 'pint', 'typer', 'rich') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
