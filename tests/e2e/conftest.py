"""Run the command line as a user does, in a folder of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from suanli.cli import main

STUDY = """\
schema_version: 1
model: qwen3-32b
weights: fp8
workload: {profile: azure-conversation-2023, rate: 20 request/s}
slo: {ttft_p99: 2 s, tpot_p99: 50 ms}
systems: [nvidia-hgx-h100-8, amd-mi300x-platform]
"""


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty working folder with a good study."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("NO_COLOR", "1")
    (tmp_path / "study.yaml").write_text(STUDY, encoding="utf-8")
    return tmp_path


@pytest.fixture
def run(folder: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Call `suanli ARGUMENTS` in the folder."""
    del folder

    def call(*arguments: str) -> Done:
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main(arguments)
        captured = capsys.readouterr()
        code = end.value.code
        return Done(0 if code is None else int(code), captured.out, captured.err)

    return call
