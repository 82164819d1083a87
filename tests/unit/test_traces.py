"""Readers of request traces, on small files written here: what they read, and that they name every line they cannot."""

import gzip
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from suanli.workload.traces import TraceError, read_azure, read_burstgpt, read_mooncake
from suanli.workload.traces_prefix import lru_hit_rate
from suanli.workload.traces_servegen import read_servegen
from suanli.workload.traces_sessions import read_sessions

AZURE = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:15:46.6805900,374,44
2023-11-16 18:15:50.9951690,396,109
2024-05-10 00:00:00.009930+00:00,879,0
2023-11-16 18:15:47.6805900,91,16
"""


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_azure(tmp_path: Path) -> None:
    trace = read_azure(write(tmp_path / "a.csv", AZURE))
    np.testing.assert_allclose(trace.requests.arrival_s, [0.0, 1.0, 4.314579], rtol=1e-6)
    assert trace.requests.input_tokens.tolist() == [374, 91, 396]
    assert trace.left_out == {"no generated tokens": 1}


def test_every_bad_line_is_named(tmp_path: Path) -> None:
    lines = AZURE.splitlines()
    lines[2] = "2023-11-16 18:15:50.9951690,many,109"
    lines[3] = "2023-11-16 18:15:51,12"
    lines[4] = "yesterday,91,-5"
    with pytest.raises(TraceError) as error:
        read_azure(write(tmp_path / "a.csv", "\n".join(lines)))
    numbers = [int(problem.split("line ")[1].split(":")[0]) for problem in error.value.problems]
    assert numbers == [3, 4, 5]
    assert "ContextTokens 'many' is not a whole number" in str(error.value)


@pytest.mark.parametrize(
    ("value", "said"), [("-5", "GeneratedTokens"), ("1e999", "GeneratedTokens"), ("", "not a whole")]
)
def test_bad_counts_are_named(tmp_path: Path, value: str, said: str) -> None:
    text = AZURE.replace(",109", f",{value}").replace("GeneratedTokens\n", "GeneratedTokens\n", 1)
    with pytest.raises(TraceError, match="line 3") as error:
        read_azure(write(tmp_path / "a.csv", text))
    assert said in str(error.value) or "output_tokens" in str(error.value)


def test_missing_column_and_missing_file(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="no column 'ContextTokens'"):
        read_azure(write(tmp_path / "a.csv", "TIMESTAMP,Tokens\n"))
    with pytest.raises(TraceError, match="cannot be read"):
        read_azure(tmp_path / "none.csv")
    with pytest.raises(TraceError, match="cannot be read"):
        read_azure(write(tmp_path / "a.csv.gz", "not compressed"))


def test_an_empty_trace_has_no_requests(tmp_path: Path) -> None:
    assert len(read_azure(write(tmp_path / "a.csv", AZURE.splitlines()[0])).requests) == 0


def test_burstgpt_leaves_out_failures_and_keeps_sessions(tmp_path: Path) -> None:
    text = (
        "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
        "5,7,1.5,ChatGPT,472,18,490,Conversation log\n"
        "45,9,0.1,ChatGPT,1087,0,1087,Conversation log\n"
        "118.5,7,2.5,GPT-4,417,276,693,Conversation log\n"
    )
    trace = read_burstgpt(write(tmp_path / "b.csv", text))
    assert trace.requests.arrival_s.tolist() == [0.0, 113.5]
    assert trace.requests.session[0] == trace.requests.session[1]
    assert trace.left_out == {"no response tokens": 1}


def mooncake_line(**changes: object) -> str:
    row = {"timestamp": 27, "input_length": 1100, "output_length": 5, "hash_ids": [1, 2, 3]}
    return json.dumps(row | changes)


def test_mooncake(tmp_path: Path) -> None:
    lines = [mooncake_line(timestamp=3027, hash_ids=[1, 2, 4]), mooncake_line(), ""]
    requests = read_mooncake(write(tmp_path / "m.jsonl", "\n".join(lines))).requests
    assert requests.arrival_s.tolist() == [0.0, 3.0]
    assert requests.prefixes is not None
    assert requests.prefixes.ids.tolist() == [1, 2, 3, 1, 2, 4]
    assert lru_hit_rate(requests.prefixes, None) == pytest.approx(2 / 6)
    assert lru_hit_rate(requests.prefixes, 1) == 0.0


def test_mooncake_names_bad_lines(tmp_path: Path) -> None:
    lines = [
        mooncake_line(),
        "{broken",
        "[1]",
        mooncake_line(input_length=0),
        mooncake_line(output_length=2.5),
        mooncake_line(hash_ids=[1]),
        mooncake_line(hash_ids="x"),
        '{"timestamp": 1}',
        mooncake_line(timestamp=True),
    ]
    with pytest.raises(TraceError) as error:
        read_mooncake(write(tmp_path / "m.jsonl", "\n".join(lines)))
    assert [int(problem.split("line ")[1].split(":")[0]) for problem in error.value.problems] == list(range(2, 10))


def test_long_error_lists_are_cut_with_a_count(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"and 30 more lines") as error:
        read_mooncake(write(tmp_path / "m.jsonl", "\n".join(["x"] * 50)))
    assert len(error.value.problems) == 50


def session(requests: list[dict[str, object]], **changes: object) -> str:
    return json.dumps({"id": "s", "block_size": 64, "requests": requests} | changes)


def turn(think: float, tokens: int, runs: list[list[int]], **changes: object) -> dict[str, object]:
    return {"t": 0.0, "type": "n", "in": tokens, "out": 9, "think_time": think, "hash_rle": runs} | changes


def test_sessions_are_chains_of_turns(tmp_path: Path) -> None:
    inner = [turn(0.5, 64, [[9, 1]])]
    lines = [
        session([turn(0.0, 128, [[1, 2]]), turn(3.0, 200, [[1, 2], [5, 1]]), {"type": "subagent", "requests": inner}]),
        session([turn(0.0, 64, [[1, 1]]), turn(1.0, 64, [[1, 1]], out=0), turn(2.0, 128, [[1, 2]])]),
    ]
    path = tmp_path / "s.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    trace = read_sessions(path, start_s=np.array([5.0, 1.0]))
    requests = trace.requests
    assert trace.left_out == {"no output tokens": 1}
    # the second session starts first
    assert requests.session.tolist() == [1, 1, 0, 0, 0]
    assert requests.after.tolist() == [-1, 0, -1, 2, 3]
    assert requests.think_s.tolist() == [0.0, 2.0, 0.0, 3.0, 0.5]
    assert requests.prefixes is not None
    ids = [requests.prefixes.ids[a:b].tolist() for a, b in pairwise(requests.prefixes.start)]
    assert ids[1][:1] == ids[0]
    assert ids[3][:2] == ids[2]
    assert not set(ids[0]) & set(ids[2])


def test_bad_sessions_are_named(tmp_path: Path) -> None:
    lines = [
        session([turn(0.0, 128, [[1, 2]])]),
        session([turn(0.0, 128, [[1, 1]])]),
        session([], block_size=0),
        session([turn(-1.0, 64, [[1, 1]])]),
        session([turn(0.0, 64, [[1]])]),
        session([], block_size=16),
        json.dumps({"id": "s", "block_size": 64, "requests": "none"}),
    ]
    with pytest.raises(TraceError) as error:
        read_sessions(write(tmp_path / "s.jsonl", "\n".join(lines)))
    assert [int(problem.split("line ")[1].split(":")[0]) for problem in error.value.problems] == [2, 3, 4, 5, 6, 7]


def test_servegen_draws_at_the_published_rates(tmp_path: Path) -> None:
    rows = ("client,window_start_s,rate_rps,cv,pattern,p1,p2", "0,0,2.0,1.5,Gamma,1,1", "1,0,1.0,0.8,Weibull,1,1")
    windows = "\n".join((*rows, "1,600,4,1,Gamma,1,1", ""))
    paths = [write(tmp_path / "w.csv", windows), *(write(tmp_path / f"{n}.json", '{"10": 3, "30": 1}') for n in "io")]
    requests = read_servegen(*paths, span_s=(0.0, 1200.0), rng=np.random.default_rng(1)).requests
    assert len(requests) == pytest.approx(600 * 7, rel=0.1)
    assert np.sum(requests.arrival_s < 600) == pytest.approx(600 * 3, rel=0.15)
    assert requests.input_tokens.mean() == pytest.approx(15, rel=0.05)
    with pytest.raises(TraceError, match="line 2: pattern 'Pareto'"):
        read_servegen(
            write(tmp_path / "w.csv", windows.replace("Gamma", "Pareto", 1)),
            *paths[1:],
            span_s=(0.0, 600.0),
            rng=np.random.default_rng(1),
        )
