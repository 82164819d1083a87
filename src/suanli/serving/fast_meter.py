"""Accounting of the compiled core: histogram, time series, totals, step log; the counterpart of `reference_meter`."""

from __future__ import annotations

import math

from suanli.serving.cost import step_joules
from suanli.serving.fast_state import OVER, World
from suanli.serving.kernel import kernel
from suanli.serving.outcome import BINS, SERIES, itl_bin

COLUMNS = len(SERIES)


@kernel
def gaps(w: World, r: int, gap: float, count: int) -> None:
    """Book `count` gaps of `gap` [s] between tokens."""
    w.itl_counts[itl_bin(gap)] += count
    w.ranks[r].itl_max_s = max(w.ranks[r].itl_max_s, gap)


@kernel
def widen(w: World, r: int) -> None:
    """Double the width of the time-series bins of a rank."""
    for place in range(BINS):
        for column in range(COLUMNS):
            value = 0.0
            if 2 * place < BINS:
                value = w.series[r, 2 * place, column] + w.series[r, 2 * place + 1, column]
            w.series[r, place, column] = value
    w.ranks[r].sample_s *= 2.0


@kernel
def _sample(
    w: World, r: int, start: float, end: float, values: tuple[float, float, float, float, float, float]
) -> None:
    rank = w.ranks[r]
    while end >= rank.sample_s * BINS:
        widen(w, r)
    width = rank.sample_s
    first, last = int(start / width), int(end / width)
    if first == last:
        for column in range(COLUMNS):
            w.series[r, first, column] += values[column]
        return
    for place in range(first, last + 1):
        low, high = max(start, place * width), min(end, (place + 1) * width)
        for column in range(COLUMNS):
            w.series[r, place, column] += values[column] * ((high - low) / (end - start))


@kernel
def _log(w: World, r: int, start: float, end: float, used: int) -> None:
    rank = w.ranks[r]
    if rank.logged < w.steps.shape[1] and start >= w.main[0].steps_from_s:
        step = w.steps[r, rank.logged]
        step.start_s, step.end_s, step.rank = start, end, r
        step.prefill_tokens, step.prefill_requests = rank.chunk_tokens, rank.chunks
        step.decode_requests, step.waiting, step.kv_blocks = rank.decodes, rank.waiting, used
        rank.logged += 1


@kernel
def account(w: World, r: int, start: float, end: float, given: int) -> None:
    """Book the step that ends on a rank; its decode gave `given` tokens."""
    rank, totals = w.ranks[r], w.ranks[r]
    p = w.main[rank.pool]
    prefill, decode = rank.chunk_tokens, p.query_tokens * rank.decodes
    seconds = end - start
    if prefill + decode == 0:
        totals.idle_step_s += seconds
        return
    kv_tokens = rank.sum_tokens + rank.decodes if rank.decodes > 0 else 0
    sequences = rank.chunks + rank.decodes
    sums = (sequences, 0.5 * rank.pairs_twice, kv_tokens)
    prefill_j, decode_j = step_joules(p, w.table[2 * rank.pool + 1], seconds, (prefill, decode), sums)
    for place in range(rank.chunks):
        w.jobs[w.slots[r, place].chunk_job].energy_j += prefill_j * (w.slots[r, place].chunk / prefill)
    if rank.decodes > 0:
        rank.decode_share_j += decode_j / rank.decodes
    used = p.kv_blocks - rank.free - rank.idle_kv
    totals.steps += 1
    totals.prefill_tokens += prefill
    totals.decode_tokens += given
    totals.busy_s += seconds
    totals.prefill_j += prefill_j
    totals.decode_j += decode_j
    totals.batch_s += sequences * seconds
    totals.kv_block_s += used * seconds
    totals.kv_peak = max(totals.kv_peak, used)
    batch_s, kv_s = sequences * seconds, used * seconds
    _sample(w, r, start, end, (seconds, prefill_j + decode_j, float(prefill), float(given), batch_s, kv_s))
    _log(w, r, start, end, used)


@kernel
def ended(w: World, i: int, now: float, status: int) -> None:
    """A request is over."""
    job = w.jobs[i]
    job.done_s, job.status, job.output_tokens = now, status, job.generated
    job.state = OVER


@kernel
def token(w: World, r: int, i: int, now: float) -> None:
    """The step that finished a prompt gave the request its first or next token."""
    job = w.jobs[i]
    if math.isnan(job.first_token_s):
        job.first_token_s = now
    else:
        gaps(w, r, now - job.last_token_s, 1)
    job.last_token_s = now
