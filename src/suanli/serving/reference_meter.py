"""What the reference core writes down: request records, counters, histogram, time series, step log of one rank."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from suanli.serving.outcome import BINS, SERIES, STEP, TOTALS, itl_bin

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from suanli.serving.reference_job import Batch, Job
    from suanli.serving.setup import Setup


class Meter:
    """Books of one rank; records and histogram are shared by all ranks."""

    def __init__(self, setup: Setup, rank: int, records: NDArray[np.void], itl_counts: NDArray[np.int64]) -> None:
        self.rank = rank
        self.records = records
        self.itl_counts = itl_counts
        self.itl_max_s = 0.0
        self.totals: dict[str, float] = dict.fromkeys(TOTALS.names or (), 0)
        self.series: dict[int, list[float]] = {}  # columns of SERIES by bin; a bin without anything is not there
        self.sample_s = setup.recording.sample_s
        self.steps = np.zeros(setup.recording.steps, dtype=STEP)
        self.steps_from_s = setup.recording.steps_from_s
        self.logged = 0
        self.decode_share_j = 0.0  # energy per decoding sequence, summed over all steps

    # --- requests ----------------------------------------------------------------------------------------------

    def admitted(self, job: Job, now: float) -> None:
        """A request takes part in its first step, or again after a preemption."""
        record = self.records[job.index]
        if np.isnan(record["admitted_s"]):
            record["admitted_s"] = now
            record["cached_tokens"] = job.tokens

    def preempted(self, job: Job) -> None:
        """A request gave up its KV."""
        self.records[job.index]["preemptions"] += 1
        self.totals["preemptions"] += 1

    def token(self, job: Job, now: float) -> None:
        """A step gave this request its next token, or several at once."""
        record = self.records[job.index]
        if np.isnan(record["first_token_s"]):
            record["first_token_s"] = now
        else:
            gap = now - job.last_token_s
            self.itl_counts[itl_bin(gap)] += 1
            self.itl_max_s = max(self.itl_max_s, gap)
        job.last_token_s = now

    def charge(self, job: Job, joules: float) -> None:
        """Energy that a request is responsible for."""
        self.records[job.index]["energy_j"] += joules

    def ended(self, job: Job, now: float, status: int) -> None:
        """A request is over."""
        record = self.records[job.index]
        record["done_s"], record["status"], record["output_tokens"] = now, status, job.generated

    # --- steps -------------------------------------------------------------------------------------------------

    def stalled(self, seconds: float) -> None:
        """The rank had nothing to do in a step of its group."""
        self.totals["idle_step_s"] += seconds

    def step(self, span: tuple[float, float], batch: Batch, given: int, joules: tuple[float, float], kv: int) -> None:
        """A step with work: `given` decode tokens, energy of (prompts, decode), `kv` blocks in use."""
        start, end = span
        seconds, sequences = end - start, len(batch.chunks) + len(batch.decodes)
        totals = self.totals
        totals["steps"] += 1
        totals["prefill_tokens"] += batch.prefill_tokens
        totals["decode_tokens"] += given
        totals["loaded_tokens"] += batch.loaded_tokens
        totals["busy_s"] += seconds
        totals["prefill_j"] += joules[0]
        totals["decode_j"] += joules[1]
        totals["batch_s"] += sequences * seconds
        totals["kv_block_s"] += kv * seconds
        totals["kv_peak"] = max(totals["kv_peak"], kv)
        values = (seconds, joules[0] + joules[1], batch.prefill_tokens, given, sequences * seconds, kv * seconds)
        self._sample(start, end, values)

    def log(self, span: tuple[float, float], batch: Batch, waiting: int, kv: int) -> None:
        """Remember a step for the trace."""
        if span[0] >= self.steps_from_s and self.logged < self.steps.size:
            counts = (batch.prefill_tokens, len(batch.chunks), len(batch.decodes), waiting, kv)
            self.steps[self.logged] = (*span, self.rank, *counts)
            self.logged += 1

    def _sample(self, start: float, end: float, values: tuple[float, ...]) -> None:
        """Add the values of a step to the time series, divided over the bins in proportion to time."""
        while end >= self.sample_s * BINS:
            self.widen()
        first, last = int(start / self.sample_s), int(end / self.sample_s)
        if first == last:
            here = self._bin(first)
            here[:] = [old + value for old, value in zip(here, values, strict=True)]
            return
        for position in range(first, last + 1):
            low, high = max(start, position * self.sample_s), min(end, (position + 1) * self.sample_s)
            share = (high - low) / (end - start)
            here = self._bin(position)
            for column, value in enumerate(values):
                here[column] += value * share

    def _bin(self, position: int) -> list[float]:
        return self.series.setdefault(position, [0.0] * len(SERIES))

    def widen(self) -> None:
        """Double the width of the time-series bins."""
        before, self.series = self.series, {}
        for position in sorted(before):
            here = self._bin(position // 2)
            here[:] = [old + value for old, value in zip(here, before[position], strict=True)]
        self.sample_s *= 2.0

    def time_series(self) -> NDArray[np.float64]:
        """The time series as an array (BINS, columns)."""
        table = np.zeros((BINS, len(SERIES)))
        for position, values in self.series.items():
            table[position] = values
        return table
