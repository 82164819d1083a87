"""The load that a benchmark applied, on one prepared deployment: from tables of step times to the measured columns."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from suanli.mapping.engine import Engine
from suanli.serving.loop import Instance, Served, run_loop
from suanli.serving.split import SplitPools, run_split
from suanli.validation.deployment import Case, RefusalError
from suanli.validation.predict import PoolTable, Prepared

Array = NDArray[np.float64]

MS = 1e3
ROUNDS = 10  # requests per user of the InferenceX client (num-prompts = 10 x concurrency), and where none is stated
MOST_SPLIT = 40_000  # requests of a simulated pair of pools
MOST_REQUESTS = 20_000  # of one simulated instance; longer runs look the same
LEAST_OPEN = 1000  # requests of an open loop where the number is not stated


def predict_row(prepared: Prepared, engine: Engine, rounds: int = ROUNDS) -> dict[str, float]:
    """Metrics of a row under an engine's times. Raises RefusalError.

    rounds : requests per user that are simulated; fewer are quicker and weigh the start of a run more.
    """
    case = prepared.case
    if len(prepared.tables) > 1:
        return _split(prepared, engine, rounds)
    table = prepared.tables[0]
    if table.pool.role == "prefill":
        return _prefill_only(table, engine)
    if table.pool.role == "decode":
        return _decode_only(case, table, engine)
    if case.load in ("mlperf_offline", "all_at_once") and not case.prompts:
        return _queue_full(case, table, engine)
    served = _serve(case, table, engine, rounds)
    return _metrics(case, table, served, quick=rounds < ROUNDS)


def instance_of(case: Case, table: PoolTable, engine: Engine) -> Instance:
    """The loop's view of one instance."""
    return Instance(
        seconds=table.grid.seconds(engine),
        tokens=table.grid.tokens,
        batch=table.grid.batch,
        limit=max(int(table.limit), 1),
        budget=table.budget,
        prefill_first=engine.scheduler == "prefill_first",
        poll=int(engine.poll_steps.si),
        frontend_s=engine.frontend_s.si,
        path_s=engine.first_token_s.si,
        hold_steps=case.settings.wait_steps or 0,
        hold_tokens=_hold_tokens(case, table),
        gain=gain_of(case, engine),
        query=1.0 + case.drafts,
    )


def _hold_tokens(case: Case, table: PoolTable) -> float:
    """Prompt tokens that end a wait for more prompts [-]."""
    if case.settings.wait_every_rank:
        ranks = table.pool.place[2]  # prompts until every rank has one: n (1 + 1/2 + ... + 1/n), coupon collector
        return case.lengths.input_tokens * ranks * sum(1.0 / (i + 1) for i in range(ranks))
    return (case.settings.wait_share or 0.0) * table.budget


def gain_of(case: Case, engine: Engine) -> float:
    """Expected tokens per decode step: 1 + a + a^2 + ... over the drafted ones (Leviathan et al. 2023)."""
    return sum(engine.acceptance.si**position for position in range(case.drafts + 1))


def _requests(case: Case, table: PoolTable, rounds: int) -> int:
    prompts = case.prompts
    share = 1.0 / table.pool.instances
    users = max(case.users * share, 1.0)
    if case.load in ("static_batch", "single_stream"):
        return max(round(users), 1)
    if prompts:
        count = prompts * share
    elif case.users:
        count = rounds * users
    else:
        count = max(LEAST_OPEN, 4.0 * table.limit)
    return int(min(max(count, 1.0), MOST_REQUESTS * rounds / ROUNDS))


def _serve(case: Case, table: PoolTable, engine: Engine, rounds: int) -> Served:
    count = _requests(case, table, rounds)
    inputs, outputs = case.lengths.draw(count)
    instance = instance_of(case, table, engine)
    share = 1.0 / table.pool.instances
    if case.load in ("open_loop", "mlperf_server", "mlperf_interactive"):
        rate = case.rate * share
        if rate <= 0.0:
            raise RefusalError("request rate not known")
        gaps = np.random.default_rng(1).exponential(1.0 / rate, count)
        return run_loop(instance, inputs, outputs, sent=np.cumsum(gaps))
    if case.load == "all_at_once":
        return run_loop(instance, inputs, outputs)
    if case.users <= 0.0:
        raise RefusalError("number of users not known")
    return run_loop(instance, inputs, outputs, users=max(round(case.users * share), 1))


def _metrics(case: Case, table: PoolTable, served: Served, *, quick: bool) -> dict[str, float]:
    seconds = _sending_seconds(served) if case.load.startswith("mlperf") else served.seconds
    rate = float(served.outputs.sum()) / seconds * table.pool.instances / case.chips
    ttft = served.ttft * MS
    found = {"output_tok_s_per_chip": rate, "ttft_p50_ms": float(np.median(ttft)), "ttft_mean_ms": float(ttft.mean())}
    if served.tpot.size:
        found["tpot_p50_ms"] = float(np.median(served.tpot)) * MS
        found["tpot_mean_ms"] = float(served.tpot.mean()) * MS
    if not quick:
        found["total_tok_s_per_chip"] = rate * (1.0 + case.lengths.input_tokens / max(case.lengths.output_tokens, 1.0))
        found["ttft_p99_ms"] = float(np.percentile(ttft, 99))
        found["e2e_mean_ms"] = float((served.done - served.sent).mean()) * MS
        found["e2e_batch_ms"] = seconds * MS
    return found


def _sending_seconds(served: Served) -> float:
    """Length of a run with arrivals of its own [s], without the tail after the last one unless it is a long one.

    A benchmark counts what is completed while requests come in; a tail of more than a fifth means that they queued.
    """
    sending = float(served.sent.max() - served.sent.min())
    return served.seconds if served.seconds > 1.2 * sending else sending


def step_at(table: PoolTable, seconds: Array, tokens: float, batch: float) -> float:
    """Time of one step [s]."""
    grid = table.grid
    i = min(max(int(np.searchsorted(grid.tokens, tokens)) - 1, 0), len(grid.tokens) - 2)
    j = min(max(int(np.searchsorted(grid.batch, batch)) - 1, 0), len(grid.batch) - 2)
    u = min((tokens - grid.tokens[i]) / (grid.tokens[i + 1] - grid.tokens[i]), 1.0)
    v = min((batch - grid.batch[j]) / (grid.batch[j + 1] - grid.batch[j]), 1.0)
    low = seconds[i, j] * (1.0 - v) + seconds[i, j + 1] * v
    return float(low * (1.0 - u) + (seconds[i + 1, j] * (1.0 - v) + seconds[i + 1, j + 1] * v) * u)


@dataclass(frozen=True)
class Steady:
    """Steady state at a number of decoding requests: mean time per token [s], requests per second of an instance."""

    tpot: float
    rate: float


def steady(case: Case, table: PoolTable, engine: Engine, batch: float, seconds: Array) -> Steady:
    """Decoding requests that are replaced as they end: prompts share steps with them or pause them."""
    gain = gain_of(case, engine)
    prompt, output = case.lengths.input_tokens, max(case.lengths.output_tokens, 1.0)
    steps = max((output - 1.0) / gain, 1e-9) + (1.0 if engine.scheduler == "mixed" else 0.0)
    tokens = batch * prompt / steps  # prompt tokens per decode step
    # A full queue has a prompt for every lane (attention rank of a micro-batch), so the lanes take them in together.
    least = prompt * table.pool.place[1] * table.pool.place[2]
    plain = step_at(table, seconds, 0.0, batch)
    if engine.scheduler == "prefill_first":
        whole = min(max(least, tokens), table.budget)
        tpot_step = plain + tokens / whole * step_at(table, seconds, whole, 0.0)
    else:
        room = max(table.budget - batch * (1.0 + case.drafts), 1.0)
        whole = min(max(least, tokens), room)
        share = tokens / whole
        mixed = step_at(table, seconds, whole, batch)
        tpot_step = (1.0 - share) * plain + share * mixed if share <= 1.0 else share * mixed
    return Steady(tpot_step / gain, batch / (tpot_step * steps))


def full_batch(case: Case, table: PoolTable, engine: Engine) -> float:
    """Requests that decode while others always wait [-].

    Memory or the sequence limit bounds them. Where prompts share steps with decoding they also fall to what leaves
    room in the token budget for the prompts that replace those that end.
    """
    if engine.scheduler != "mixed":
        return max(table.limit, 1.0)
    steps = max(case.lengths.output_tokens, 1.0) / gain_of(case, engine)
    each = 1.0 + case.drafts + case.lengths.input_tokens / steps  # tokens of a request in a step, its prompt spread
    return max(min(table.limit, table.budget / each), 1.0)


def _queue_full(case: Case, table: PoolTable, engine: Engine) -> dict[str, float]:
    """A queue that never empties: the instance runs at its limit."""
    found = steady(case, table, engine, full_batch(case, table, engine), table.grid.seconds(engine))
    frontend = 1.0 / engine.frontend_s.si if engine.frontend_s.si > 0.0 else np.inf
    rate = min(found.rate, frontend) * case.lengths.output_tokens * table.pool.instances / case.chips
    return {
        "output_tok_s_per_chip": rate,
        "total_tok_s_per_chip": rate * (1.0 + case.lengths.input_tokens / max(case.lengths.output_tokens, 1.0)),
        "tpot_p50_ms": found.tpot * MS,
        "tpot_mean_ms": found.tpot * MS,
    }


def _prefill_only(table: PoolTable, engine: Engine) -> dict[str, float]:
    seconds = table.grid.seconds(engine)
    size = table.pool.place[0] * table.pool.place[1] * table.pool.place[2]
    rate = table.budget / step_at(table, seconds, table.budget, 0.0) / size
    return {"prefill_tok_s_per_chip": rate}


def _decode_only(case: Case, table: PoolTable, engine: Engine) -> dict[str, float]:
    if case.users <= 0.0:
        raise RefusalError("batch not known")
    seconds = table.grid.seconds(engine)
    batch = min(case.users / table.pool.instances, table.limit)
    each = step_at(table, seconds, 0.0, batch) / gain_of(case, engine)
    size = table.pool.place[0] * table.pool.place[1] * table.pool.place[2]
    return {"decode_tok_s_per_chip": batch / each / size, "tpot_mean_ms": each * MS, "tpot_p50_ms": each * MS}


def _split(prepared: Prepared, engine: Engine, rounds: int) -> dict[str, float]:
    """A closed loop on prefill and decode pools."""
    case = prepared.case
    prefill, decode = prepared.tables
    if case.users <= 0.0:
        raise RefusalError("number of users not known")
    pools = SplitPools(
        prefill=instance_of(case, prefill, engine),
        prefill_workers=round(prefill.pool.instances),
        decode=instance_of(case, decode, engine),
        decode_workers=round(decode.pool.instances),
        transfer_s=_transfer(case, prefill, decode),
    )
    prompts = case.prompts
    most = MOST_SPLIT if rounds >= ROUNDS else min(rounds * case.users, MOST_SPLIT / 4)
    count = int(min(prompts or rounds * case.users, max(most, 3.0 * case.users)))
    inputs, outputs = case.lengths.draw(count)
    served = run_split(pools, inputs, outputs, round(case.users))
    late = engine.handover_steps.si * float(np.median(served.tpot)) * pools.decode.gain
    served = replace(served, first=np.minimum(served.first + late, served.done))
    return _metrics(case, decode, served, quick=rounds < ROUNDS) | _rates(case, served)


def split_steady(prepared: Prepared, engine: Engine, ttft: float) -> dict[str, float]:
    """Throughput and TPOT of separate pools in steady state, at a given mean TTFT [s]: quick, for fits.

    Users spend TTFT and then their decode time; the prompts cannot come faster than the prefill pool takes them.
    """
    case = prepared.case
    prefill, decode = prepared.tables
    if case.users <= 0.0:
        raise RefusalError("number of users not known")
    output, gain = max(case.lengths.output_tokens, 1.0), gain_of(case, engine)
    share = prefill.budget / max(case.lengths.input_tokens, 1.0)  # prompts of a full prefill step
    most = prefill.pool.instances * share / step_at(prefill, prefill.grid.seconds(engine), prefill.budget, 0.0)
    seconds = decode.grid.seconds(engine)
    running, rate, tpot = case.users, 0.0, 0.0
    for _ in range(12):  # a contraction: more requests at once take longer each
        batch = min(max(running / decode.pool.instances, 1.0), decode.limit)
        tpot = step_at(decode, seconds, 0.0, batch) / gain
        rate = min(case.users / (ttft + output * tpot), most, decode.limit * decode.pool.instances / (output * tpot))
        running = 0.5 * (running + rate * output * tpot)
    speed = rate * output / case.chips
    total = speed * (1.0 + case.lengths.input_tokens / output)
    pace = {"tpot_p50_ms": tpot * MS, "tpot_mean_ms": tpot * MS}
    return {"output_tok_s_per_chip": speed, "total_tok_s_per_chip": total, **pace}


def _rates(case: Case, served: Served) -> dict[str, float]:
    rate = float(served.outputs.sum()) / served.seconds / case.chips
    total = rate * (1.0 + case.lengths.input_tokens / max(case.lengths.output_tokens, 1.0))
    return {"output_tok_s_per_chip": rate, "total_tok_s_per_chip": total}


def _transfer(case: Case, prefill: PoolTable, decode: PoolTable) -> float:
    """Time to move the KV cache of one request between the pools [s]; inside one system over its fabric."""
    source, sink = prefill.pool.hardware, decode.pool.hardware
    outer = min(source.scale_out_bandwidth, sink.scale_out_bandwidth)
    levels = source.network.levels
    inside = case.chips <= case.system.chips and levels
    link = levels[0].bandwidth * source.network.efficiency if inside else outer
    size = prefill.kv_bytes * case.lengths.input_tokens
    return source.scale_out_latency + size / link if link > 0.0 else 0.0
