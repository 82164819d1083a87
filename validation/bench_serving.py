"""Speeds of the serving simulator on this machine: `python -m validation.bench_serving [--shared DIR] [--peer PYTHON]`.

One thread, CPU seconds, best of a few repeats after a warm-up; compare figures within one run only. With the public
traces in DIR/traces the Azure conversation trace is replayed, otherwise requests of the same statistics. PEER is the
Python of an environment with ai-dynamo 1.6.1, whose offline replay then runs on the same trace (needs DIR/peers).
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from suanli.mapping.step_table import StepTable
from suanli.serving.config import Cluster, EngineConfig
from suanli.serving.simulate import simulate
from suanli.workload import arrivals
from suanli.workload.requests import Prefixes, Requests
from suanli.workload.traces import read_azure, read_mooncake

REPEATS = 5
# Limits of the engine in the peer's script, and steps of about the length of its polynomial (27 ms on average).
ENGINE = EngineConfig(kv_blocks=7000, max_num_seqs=256, token_budget=2048)
TABLE = StepTable(
    tokens=np.array([0.0, 64.0, 512.0, 2048.0]),
    base_s=np.array([0.012, 0.013, 0.03, 0.1]),
    per_kv_token_s=1.5e-7,
    idle_w=300.0,
    base_j=np.array([0.0, 0.1, 0.8, 3.0]),
)
CONTEXT = 4096  # the peer's script cuts requests to this length


def conversation(shared: Path | None) -> Requests:
    """Azure conversation trace, or requests like it (statistics: catalog profile azure-conversation-2023)."""
    path = shared / "traces" / "azure" / "AzureLLMInferenceTrace_conv.csv" if shared else None
    if path and path.exists():
        return read_azure(path).requests.clipped(CONTEXT)
    rng = np.random.default_rng(0)
    inputs = arrivals.lengths({0.0: 1.0, 0.5: 1020.0, 0.9: 2734.0, 0.99: 4142.0, 1.0: 14050.0}, 19_366, rng)
    outputs = arrivals.lengths({0.0: 1.0, 0.5: 129.0, 0.9: 424.0, 0.99: 601.0, 1.0: 1000.0}, 19_366, rng)
    return Requests.build(arrivals.gamma(5.53, 1.09, 19_366, rng), inputs, outputs).clipped(CONTEXT)


def with_unique_prefixes(requests: Requests, block_tokens: int) -> Requests:
    """The same requests with hash ids that nobody shares, as in the peer's script."""
    blocks = -(-requests.input_tokens.astype(np.int64) // block_tokens)
    start = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(blocks)])
    prefixes = Prefixes(block_tokens, start, np.arange(start[-1]))
    return Requests.build(requests.arrival_s, requests.input_tokens, requests.output_tokens, prefixes=prefixes)


def cpu_seconds(run: Callable[[], object], repeats: int = REPEATS) -> float:
    """Best CPU time of a call after a warm-up [s]."""
    run()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return min(times)


def bench_trace(shared: Path | None) -> dict[str, float]:
    """One trace, one replica, and eight."""
    requests = conversation(shared)
    caching = EngineConfig(kv_blocks=7000, max_num_seqs=256, token_budget=2048, prefix_caching=True)
    unique = with_unique_prefixes(requests, 16)
    found = {
        "requests": float(len(requests)),
        "one replica [s]": cpu_seconds(lambda: simulate(requests, TABLE, ENGINE)),
        "with prefix cache, 16-token blocks [s]": cpu_seconds(lambda: simulate(unique, TABLE, caching)),
    }
    faster, eight = requests.at_rate(8.0), {}
    for router in ("round_robin", "least_outstanding", "least_kv"):
        cluster = Cluster(replicas=8, router=router)
        eight[f"8 replicas, {router}, 8x rate [s]"] = cpu_seconds(lambda c=cluster: simulate(faster, TABLE, ENGINE, c))
    memory_short = EngineConfig(kv_blocks=1500, max_num_seqs=256, token_budget=2048)
    result = simulate(requests, TABLE, memory_short)
    found |= eight
    found["memory short, one replica [s]"] = cpu_seconds(lambda: simulate(requests, TABLE, memory_short))
    found["preemptions then"] = float(result.records["preemptions"].sum())
    return found


def bench_mooncake(shared: Path | None) -> dict[str, float]:
    """A trace with shared prefixes of 12,000 tokens on average."""
    path = shared / "traces" / "mooncake" / "conversation_trace.jsonl" if shared else None
    if path is None or not path.exists():
        return {}
    requests = read_mooncake(path).requests
    engine = EngineConfig(kv_blocks=60_000, token_budget=8192, prefix_caching=True)
    return {"Mooncake conversation, prefix cache [s]": cpu_seconds(lambda: simulate(requests, TABLE, engine))}


def many(count: int) -> Requests:
    """Requests like the conversation trace, arriving at a rate that the engine keeps up with."""
    rng = np.random.default_rng(1)
    trace = conversation(None)
    pick = rng.integers(0, len(trace), count)
    return Requests.build(arrivals.poisson(5.0, count, rng), trace.input_tokens[pick], trace.output_tokens[pick])


def bench_million() -> dict[str, float]:
    """A million requests."""
    requests = many(10**6)
    return {"1,000,000 requests [s]": cpu_seconds(lambda: simulate(requests, TABLE, ENGINE), repeats=1)}


def bench_memory() -> dict[str, float]:
    """Peak memory of a process that simulates ten million requests [MB] and summarises them."""
    code = (
        "from validation.bench_serving import ENGINE, TABLE, many, simulate; import resource;"
        "simulate(many(10**7), TABLE, ENGINE).summary();"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return {"10,000,000 requests, peak memory [MB]": float(done.stdout)}


def bench_start() -> dict[str, float]:
    """A process of its own: imports, loading the compiled core, a small run, percentiles [s wall]."""
    code = (
        "import numpy as np; from suanli.serving.simulate import simulate;"
        "from suanli.serving.config import EngineConfig;"
        "from suanli.mapping.step_table import constant_step; from suanli.workload.requests import Requests;"
        "simulate(Requests.build(np.arange(99.0), 9, 9), constant_step(0.1), EngineConfig(kv_blocks=99)).summary()"
    )
    times = []
    for _ in range(3):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        times.append(time.perf_counter() - start)
    return {"start, run and exit with a warm cache [s]": min(times)}


def bench_peer(shared: Path, peer: Path) -> dict[str, float]:
    """NVIDIA Dynamo 1.6.1 offline replay of the same trace [s CPU]."""
    trace = shared / "traces" / "azure" / "AzureLLMInferenceTrace_conv.csv"
    times = []
    for _ in range(3):
        command = [str(peer), str(shared / "peers" / "dynamo_replay.py"), str(trace), "--workers", "1"]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        times.append(json.loads(done.stdout.strip().splitlines()[-1])["cpu_s"])
    return {"Dynamo 1.6.1 offline replay, one worker [s]": min(times)}


def main() -> None:
    """Print a table of figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=None, help="folder with traces/ and peers/")
    parser.add_argument("--peer", type=Path, default=None, help="python with ai-dynamo 1.6.1")
    parser.add_argument("--memory", action="store_true", help="also ten million requests")
    given = parser.parse_args()
    start = time.perf_counter()
    simulate(Requests.build([0.0], 1, 1), TABLE, ENGINE)
    found = {"first run, compiling or loading [s wall]": time.perf_counter() - start}
    found |= bench_trace(given.shared) | bench_mooncake(given.shared) | bench_million() | bench_start()
    if given.peer and given.shared:
        found |= bench_peer(given.shared, given.peer)
        found["peer over ours, prefix cache on"] = (
            found["Dynamo 1.6.1 offline replay, one worker [s]"] / found["with prefix cache, 16-token blocks [s]"]
        )
    if given.memory:
        found |= bench_memory()
    found["peak memory of this run [MB]"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    for name, value in found.items():
        print(f"{name:<48}{value:12.3f}")


if __name__ == "__main__":
    main()
