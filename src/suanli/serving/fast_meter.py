"""Accounting of the compiled core: histogram, time series, totals, step log; the counterpart of `reference_meter`."""

from __future__ import annotations

import math

from suanli.serving.cost import step_joules
from suanli.serving.fast_records import OVER, World, bin_at, cost_at, itl_at, job_at, pool_at, rank_at, slot_at, step_at
from suanli.serving.kernel import kernel
from suanli.serving.outcome import BINS, itl_bin


@kernel
def gaps(w: World, r: int, gap: float, count: int) -> None:
    """Book `count` gaps of `gap` [s] between tokens."""
    itl_at(w, itl_bin(gap)).count += count
    rank_at(w, r).itl_max_s = max(rank_at(w, r).itl_max_s, gap)


@kernel
def widen(w: World, r: int) -> None:
    """Double the width of the time-series bins of a rank."""
    for place in range(BINS):
        into, first = bin_at(w, r, place), bin_at(w, r, min(2 * place, BINS - 1))
        second = bin_at(w, r, min(2 * place + 1, BINS - 1))
        kept = 1.0 if 2 * place < BINS else 0.0
        into.busy_s = kept * (first.busy_s + second.busy_s)
        into.energy_j = kept * (first.energy_j + second.energy_j)
        into.prefill_tokens = kept * (first.prefill_tokens + second.prefill_tokens)
        into.decode_tokens = kept * (first.decode_tokens + second.decode_tokens)
        into.batch_s = kept * (first.batch_s + second.batch_s)
        into.kv_block_s = kept * (first.kv_block_s + second.kv_block_s)
    rank_at(w, r).sample_s *= 2.0


@kernel
def _add(w: World, r: int, place: int, values: tuple[float, float, float, float, float, float], share: float) -> None:
    into = bin_at(w, r, place)
    into.busy_s += values[0] * share
    into.energy_j += values[1] * share
    into.prefill_tokens += values[2] * share
    into.decode_tokens += values[3] * share
    into.batch_s += values[4] * share
    into.kv_block_s += values[5] * share


@kernel
def _sample(
    w: World, r: int, start: float, end: float, values: tuple[float, float, float, float, float, float]
) -> None:
    rank = rank_at(w, r)
    while end >= rank.sample_s * BINS:
        widen(w, r)
    width = rank.sample_s
    first, last = int(start / width), int(end / width)
    if first == last:
        _add(w, r, first, values, 1.0)
        return
    for place in range(first, last + 1):
        low, high = max(start, place * width), min(end, (place + 1) * width)
        _add(w, r, place, values, (high - low) / (end - start))


@kernel
def _log(w: World, r: int, start: float, end: float, used: int) -> None:
    rank = rank_at(w, r)
    if rank.logged < w.steps_per_rank and start >= w.steps_from_s:
        step = step_at(w, r, rank.logged)
        step.start_s, step.end_s, step.rank = start, end, r
        step.prefill_tokens, step.prefill_requests = rank.chunk_tokens, rank.chunks
        step.decode_requests, step.waiting, step.kv_blocks = rank.decodes, rank.waiting, used
        rank.logged += 1


@kernel
def account(w: World, r: int, start: float, end: float, given: int) -> None:
    """Book the step that ends on a rank; its decode gave `given` tokens."""
    rank, totals = rank_at(w, r), rank_at(w, r)
    p = pool_at(w, rank.pool)
    prefill, decode = rank.chunk_tokens, p.query_tokens * rank.decodes
    seconds = end - start
    if prefill + decode == 0:
        totals.idle_step_s += seconds
        return
    kv_tokens = rank.sum_tokens + rank.decodes if rank.decodes > 0 else 0
    sequences = rank.chunks + rank.decodes
    sums = (sequences, 0.5 * rank.pairs_twice, kv_tokens)
    prefill_j, decode_j = step_joules(
        p, cost_at(w, rank.pool, prefill + decode).base_j, seconds, (prefill, decode), sums
    )
    for place in range(rank.chunks):
        job_at(w, slot_at(w, r, place).chunk_job).energy_j += prefill_j * (slot_at(w, r, place).chunk / prefill)
    if rank.decodes > 0:
        rank.decode_share_j += decode_j / rank.decodes
    used = p.kv_blocks - rank.free - rank.idle_kv
    totals.steps += 1
    totals.prefill_tokens += prefill
    totals.decode_tokens += given
    totals.loaded_tokens += rank.step_loaded_tokens
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
    job = job_at(w, i)
    job.done_s, job.status, job.output_tokens = now, status, job.generated
    job.state = OVER


@kernel
def token(w: World, r: int, i: int, now: float) -> None:
    """The step that finished a prompt gave the request its first or next token."""
    job = job_at(w, i)
    if math.isnan(job.first_token_s):
        job.first_token_s = now
    else:
        gaps(w, r, now - job.last_token_s, 1)
    job.last_token_s = now
