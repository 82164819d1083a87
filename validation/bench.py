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

import numpy as np  # noqa: E402 (threads are set first)

from suanli.catalog.loader import DATA, load  # noqa: E402
from suanli.chip.efficiency import calibration_folder  # noqa: E402
from suanli.chip.kernels import kernels_of  # noqa: E402
from suanli.chip.packs import packs_of  # noqa: E402
from suanli.fabric.flow import simulate  # noqa: E402
from suanli.fabric.graph import grid  # noqa: E402
from suanli.fabric.schedule import exchange_steps, torus_all_reduce_jobs  # noqa: E402
from suanli.search.plan import evaluated_tables  # noqa: E402
from suanli.search.records import load_profiles  # noqa: E402
from suanli.search.study import Study  # noqa: E402

STUDY = Path(__file__).parents[1] / "examples" / "qwen3-235b-azure.yaml"
REPEATS = 3
OPERATORS = 200_000
# Seconds of the same 512-chip all-to-all in ASTRA-sim, whose torus all-to-all is 2.3 to 5 times too slow besides.
ASTRA_S = 0.57
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


def bench_operators() -> float:
    """Times of matrix products of random shapes per CPU-second, in one call, best of a few repeats."""
    chip, folder = load().chip("nvidia-h100-sxm"), calibration_folder(DATA)
    peaks = {peak.dtype: peak.rate.si for peak in chip.peaks if peak.sparsity == "dense" and peak.rate.known}
    family = load_profiles().efficiencies[chip.family]
    kernels = kernels_of(peaks, chip.memory.bandwidth.si, "vllm", packs_of(folder, chip.id), {}, family)
    m, n, k = np.exp2(np.random.default_rng(0).uniform(0.0, 14.0, (3, OPERATORS)))
    best = 0.0
    for _ in range(REPEATS + 1):
        start = time.process_time()
        kernels.matmul(m, n, k, "fp8")
        best = max(best, OPERATORS / (time.process_time() - start))
    return best


def bench_flow() -> tuple[float, float]:
    """CPU-seconds of simulating an all-to-all of 512 chips and an all-reduce on a torus of 9,216."""
    cube, pod = (8, 8, 8), (16, 24, 24)
    for dims in ((2, 2, 2), cube):  # the first call compiles
        start = time.process_time()
        simulate(grid(dims, 1e11), [exchange_steps(grid(dims, 1e11), 1e9, dims=dims)])
        exchange = time.process_time() - start
    start = time.process_time()
    simulate(grid(pod, 1e11), torus_all_reduce_jobs(grid(pod, 1e11), pod, 1e9))
    return exchange, time.process_time() - start


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
    print(f"operator times per second, one core         {bench_operators():>12,.0f}")
    exchange, reduction = bench_flow()
    print(f"512-chip all-to-all, flow by flow           {exchange:>10.2f} s   ({ASTRA_S / exchange:.1f}x ASTRA-sim)")
    print(f"9,216-chip torus all-reduce, flow by flow   {reduction:>10.2f} s")
    seconds, memory = bench_cold()
    print(f"README study, cold process                  {seconds:>10.1f} s   {memory:,.0f} MB")
    print(f"catalog from cache, cold process            {bench_catalog():>10.2f} s")


if __name__ == "__main__":
    main()
