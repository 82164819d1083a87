"""Bad input: every problem in one line on stderr, status 2, nothing written, no traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

# A chip with no published rate in a server of its own.
OVERLAY = """\
schema_version: 1
sources:
  - {id: mine, title: A chip without figures, publisher: us, date: "2026-11", locator: this file, read_as: own}
---
id: my-chip
base: nvidia-h100-sxm
peaks:
  - {dtype: bf16, rate: {value: null, unit: TFLOP/s, kind: vendor, source: mine, because: not published}}
---
id: my-node
base: nvidia-hgx-h100-8
chip: my-chip
"""
CASES = sorted((Path(__file__).parent / "bad").glob("*.yaml"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_bad_study_gives_the_expected_lines(run, folder, case):
    """The lines expected stand beside the study, in a file of the same name ending in .err."""
    (folder / case.name).write_text(case.read_text(encoding="utf-8"), encoding="utf-8")
    done = run("plan", case.name, "--out", "out")
    assert done.err == case.with_suffix(".err").read_text(encoding="utf-8")
    assert done.out == ""
    assert done.code == 2
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["missing.yaml"], "error: missing.yaml: cannot be read"),
        ([], "error: give a study file, or --model with a workload; see `suanli plan --help`"),
        (["--model", "qwen3-8b"], "error: workload: give exactly one of: trace, profile, input_tokens"),
        (
            ["--model", "qwen3-8b", "--input", "9", "--output", "9", "--rate", "-5/s"],
            "error: --rate: '-5/s' must be above zero",
        ),
        (["--model", "qwen3-8b", "--input", "9", "--output", "9", "--rate", "5"], "error: --rate: '5' has no unit"),
        (["--model", "qwen3-8b", "--profile", "azure", "--rate", "5/s"], "error: --profile: unknown profile 'azure'"),
        (["study.yaml", "--tpot", "50"], "error: --tpot: '50' has no unit"),
        (
            ["study.yaml", "--systems", "nvidia-hgx-h10-8"],
            "error: --systems: unknown system 'nvidia-hgx-h10-8'; did you mean nvidia-",
        ),
        (["study.yaml", "--overlay", "none.yaml"], "none.yaml: cannot be read"),
        (["study.yaml", "--economics", "free"], "error: --economics: unknown profile 'free'; accepted: "),
        (["study.yaml", "--region", "mars"], "error: --region: unknown region 'mars'; accepted: "),
        (
            ["--model", "qwen3-8b", "--input", "50000", "--output", "9", "--rate", "5/s"],
            "error: workload: 50,009 tokens in and out on average, qwen3-8b takes 40,960 (max_position_embeddings)",
        ),
        (["--model", "no/config.json", "--input", "9", "--output", "9", "--rate", "5/s"], "cannot be read"),
    ],
)
def test_bad_options_are_named(run, arguments, line):
    done = run("plan", *arguments)
    assert done.code == 2
    assert line in done.err
    assert done.err.count("\n") == 1
    assert done.out == ""


def test_all_problems_come_at_once(run, folder):
    (folder / "bad.yaml").write_text(
        "schema_version: 1\nmodel: qwen3-235b\nworkload: {profile: azure, rate: 1/s}\nsystems: [h1]\neconomics: free\n",
        encoding="utf-8",
    )
    done = run("plan", "bad.yaml")
    starts = [line.split(": ")[2] for line in done.err.splitlines()]
    assert starts == ["model", "workload.profile", "economics", "systems"]


def test_unknown_key_lists_what_is_accepted(run, folder):
    (folder / "bad.yaml").write_text((folder / "study.yaml").read_text() + "system: all\n", encoding="utf-8")
    done = run("plan", "bad.yaml")
    assert done.code == 2
    assert done.err.startswith("error: bad.yaml: system: unknown key; accepted: schema_version, model, weights")


def test_null_peak_is_an_excuse_not_a_number(run, folder):
    """A chip whose peaks nobody knows is refused by name of what is missing; the other systems are planned."""
    (folder / "mine.yaml").write_text(OVERLAY, encoding="utf-8")
    done = run("plan", "study.yaml", "--overlay", "mine.yaml", "--systems", "my-node,nvidia-hgx-h100-8")
    assert done.code == 0
    assert "my-node: no dense peak known: not published" in done.out
    assert "nvidia-hgx-h100-8" in done.out


def test_impossible_slo_is_an_empty_plan_with_excuses(run):
    done = run("plan", "study.yaml", "--tpot", "10 us", "--out", "out")
    assert done.code == 0
    assert "No system answers this study: 2 systems with an excuse each." in done.out
    assert done.out.count("TPOT floor") == 2


def test_unwritable_folder_is_one_line(run, folder):
    (folder / "out").write_text("a file in the way", encoding="utf-8")
    done = run("plan", "study.yaml", "--out", "out")
    assert done.code == 2
    assert done.err == "error: out: File exists\n"
    assert done.out == ""


def test_unknown_command_has_a_near_match(run):
    done = run("plam")
    assert (done.code, done.err) == (2, "error: unknown command 'plam'; did you mean 'plan'?\n")


def test_explain_of_a_rank_that_is_not_there(run):
    done = run("explain", "study.yaml", "--deployment", "9")
    assert (done.code, done.err) == (2, "error: --deployment: 9 given, the plan has 1 to 2\n")


def test_init_does_not_overwrite(run, folder):
    before = (folder / "study.yaml").read_text(encoding="utf-8")
    done = run("init")
    assert (done.code, done.err) == (2, "error: study.yaml: exists already; give another name\n")
    assert (folder / "study.yaml").read_text(encoding="utf-8") == before
