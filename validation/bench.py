"""Speeds of the planner on this machine: `make bench`.

Every figure is taken in one run, single-threaded, after a warm-up; compare figures within a run only.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

from suanli.catalog.loader import load  # noqa: E402 (threads are set first)
from suanli.search.plan import evaluated_tables  # noqa: E402
from suanli.search.study import Study  # noqa: E402

STUDY = Path(__file__).parents[1] / "examples" / "qwen3-235b-azure.yaml"
REPEATS = 3
# Points that the strongest peer evaluates per second: 37 (dense) to 60 (DeepSeek-V3), measured on a machine of this
# class, see docs/design/peers.md.
PEER_POINTS_PER_S = 60.0


def bench_search() -> float:
    """Deployments evaluated per CPU-second, all systems of the README's study, best of a few repeats."""
    study, catalog = Study.from_yaml(STUDY), load()
    best = 0.0
    for _ in range(REPEATS + 1):
        start = time.process_time()
        tables = evaluated_tables(study, catalog)
        seconds = time.process_time() - start
        best = max(best, sum(table.rows for table in tables) / seconds)
    return best


def bench_cold() -> tuple[float, float]:
    """Wall seconds and peak memory [MB] of the README's command in a process of its own."""
    command = [sys.executable, "-m", "suanli", "plan", str(STUDY), "--format", "json"]
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - start
    return seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e3


def bench_catalog() -> float:
    """Wall seconds of a cold process that loads the catalog from its cache, interpreter start included."""
    code = "from suanli.catalog.loader import load; load()"
    subprocess.run([sys.executable, "-c", code], check=True)
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    """Print all figures."""
    rate = bench_search()
    print(f"deployments evaluated per second, one core  {rate:>12,.0f}   ({rate / PEER_POINTS_PER_S:,.0f}x the peer)")
    seconds, memory = bench_cold()
    print(f"README study, cold process                  {seconds:>10.1f} s   {memory:,.0f} MB")
    print(f"catalog from cache, cold process            {bench_catalog():>10.2f} s")


if __name__ == "__main__":
    main()
