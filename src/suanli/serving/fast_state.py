"""State of the compiled core at time 0, from a checked setup."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from suanli.serving.config import ROUTERS, SCHEDULERS
from suanli.serving.fast_records import (
    ARRAYS,
    BIN,
    BLOCK,
    COST,
    EVENT,
    JOB,
    NEVER,
    NONE,
    OFF,
    POOL,
    RANK,
    SLOT,
    TABLE_FIELDS,
    TIMED,
    UP,
    WORLD,
)
from suanli.serving.outcome import BINS, ITL_BINS, STEP
from suanli.workload.requests import PRIORITIES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from suanli.serving.setup import Pool, Setup


class State(NamedTuple):
    """The world, and the arrays that it refers to."""

    world: NDArray[Any]
    arrays: dict[str, NDArray[Any]]


def _pool_values(pool: Pool) -> dict[str, Any]:
    engine = pool.engine
    return {
        **{name: getattr(pool.table, name) for name in TABLE_FIELDS},
        **{name: getattr(engine, name) for name in ("kv_blocks", "block_tokens", "max_num_seqs", "token_budget")},
        "scheduler": SCHEDULERS.index(engine.scheduler),
        "router": ROUTERS.index(pool.router),
        "admit_whole_prompt": engine.admit_whole_prompt,
        "watermark_blocks": int(engine.watermark * engine.kv_blocks),
        "chunked_prefill": engine.chunked_prefill,
        "spare": engine.speculative_tokens,
        "query_tokens": engine.query_tokens,
        "advance": pool.advance,
        "block_kv": pool.block_kv,
        "hash_tokens": pool.hash_tokens,
        "host_room": engine.host_kv_blocks // pool.block_kv if pool.block_kv else 0,
        "host_load_s_per_token": engine.host_load_s_per_token,
        "hands_over": pool.hands_over,
        "first_rank": pool.first_rank,
        "behind_rank": pool.first_rank + pool.replicas * pool.ranks,
        "ratio_start": pool.ratio[0],
        "ratio_floor": pool.ratio[1],
        "ratio_decay": pool.ratio[2],
    }


def _client_values(setup: Setup) -> dict[str, Any]:
    cluster, scale, decode = setup.cluster, setup.cluster.autoscale, setup.cluster.decode
    values: dict[str, Any] = {
        "shared_blocks": setup.chains.count,
        "concurrency": cluster.concurrency or 0,
        "path_s": cluster.path_s,
        "coupled": setup.coupled,
        "max_queue": np.iinfo(np.int64).max if cluster.max_queue is None else cluster.max_queue,
        "ttft_timeout_s": cluster.ttft_timeout_s or NEVER,
        "timeout_s": cluster.timeout_s or NEVER,
        "steps_from_s": setup.recording.steps_from_s,
        "look_s": NEVER,
        **dict.fromkeys(("lacks_first", "lacks_last", "last_arrived", "stranded_head", "stranded_tail"), NONE),
    }
    if scale is not None:
        values |= {"least_replicas": scale.minimum, "most_replicas": scale.maximum, "startup_s": scale.startup_s}
        values |= {"target_outstanding": scale.target_outstanding, "look_interval_s": scale.interval_s}
        values |= {"look_s": scale.interval_s}
    if decode is not None:
        values |= {"link_bandwidth": decode.link.bandwidth, "link_latency_s": decode.link.latency_s}
        values |= {"kv_bytes_per_token": decode.link.kv_bytes_per_token}
    return values


def _filled(dtype: np.dtype[Any], rows: list[dict[str, Any]]) -> NDArray[Any]:
    records = np.zeros(len(rows), dtype=dtype)
    for place, row in enumerate(rows):
        for name, value in row.items():
            records[name][place] = value
    return records


def _costs(setup: Setup) -> NDArray[Any]:
    costs = np.zeros((len(setup.pools), max(pool.base_s.size for pool in setup.pools)), dtype=COST)
    for row, pool in zip(costs, setup.pools, strict=True):
        row["base_s"][: pool.base_s.size] = pool.base_s
        row["base_j"][: pool.base_j.size] = pool.base_j
    return costs


def _ranks(setup: Setup) -> NDArray[Any]:
    ranks = np.zeros(setup.ranks, dtype=RANK)
    ranks["end_s"] = ranks["ready_s"] = NEVER
    ranks["sample_s"] = setup.recording.sample_s
    for name in ("lru_head", "lru_tail", "host_head", "host_tail", "partial"):
        ranks[name] = NONE
    for place, pool in enumerate(setup.pools):
        mine = np.arange(pool.first_rank, pool.first_rank + pool.replicas * pool.ranks)
        replica = (mine - pool.first_rank) // pool.ranks
        ranks["pool"][mine] = place
        ranks["group"][mine] = pool.first_rank + replica * pool.ranks
        ranks["group_ranks"][mine] = pool.ranks
        ranks["state"][mine] = np.where((replica < setup.cluster.replicas) | (place > 0), UP, OFF)
        ranks["free"][mine] = pool.engine.kv_blocks
        ranks["ratio"][mine] = pool.ratio[0]
    return ranks


def _events(setup: Setup, ranks: NDArray[Any]) -> NDArray[Any]:
    """Failures and repairs in order of time, a repair before a failure, then by replica."""
    groups = np.unique(ranks["group"])
    found = sorted(
        (time, order, outage.replica)
        for outage in setup.cluster.outages
        for order, time in enumerate((outage.end_s, outage.start_s))
        if time < NEVER
    )
    return np.array([(time, order, groups[replica]) for time, order, replica in found], dtype=EVENT)


def _link_followers(jobs: NDArray[Any], after: NDArray[np.int32]) -> None:
    """Followers of each request as a list in order of their number."""
    jobs["first_follower"] = jobs["next_follower"] = NONE
    later = np.flatnonzero(after >= 0)
    if later.size == 0:
        return
    jobs["follows"][later] = 1
    order = later[np.argsort(after[later], kind="stable")]
    before = after[order]
    new = np.diff(before, prepend=NONE) != 0
    jobs["first_follower"][before[new]] = order[new]
    jobs["next_follower"][order[:-1][~new[1:]]] = order[1:][~new[1:]]


def _jobs(setup: Setup) -> NDArray[Any]:
    requests, chains = setup.requests, setup.chains
    jobs = np.zeros(len(requests), dtype=JOB)
    for name in ("arrival_s", "admitted_s", "first_token_s", "done_s"):
        jobs[name] = np.nan
    jobs["rank"] = jobs["decode_rank"] = jobs["here"] = jobs["hold_rank"] = jobs["next_arrived"] = NONE
    path_s = setup.cluster.path_s
    jobs["due_s"], jobs["think_s"] = requests.arrival_s + path_s, requests.think_s + path_s
    jobs["input_tokens"] = jobs["target"] = requests.input_tokens
    jobs["wanted"], jobs["session"] = requests.output_tokens, requests.session
    jobs["full"], jobs["first_id"], jobs["shared"] = chains.full, chains.start[:-1], np.diff(chains.start)
    if setup.pools[0].engine.policy == "priority":
        jobs["line"] = requests.priority
    _link_followers(jobs, requests.after)
    return jobs


def _heap_size(setup: Setup) -> int:
    """Entries of the heaps; a transfer that an outage called off stays in its heap until its time."""
    times = 1 + len(setup.cluster.outages) if setup.cluster.decode else 1
    return 1 + (len(setup.requests) * times if setup.coupled else 1)


def fresh_state(setup: Setup) -> State:
    """State at time 0."""
    ranks, first = _ranks(setup), setup.pools[0]
    width = max(max(pool.engine.max_num_seqs, pool.engine.block_tokens) for pool in setup.pools)
    slots = np.zeros((ranks.size, max(width, 2 * PRIORITIES)), dtype=SLOT)
    slots["head"] = slots["tail"] = NONE
    blocks = np.zeros((first.replicas * first.ranks, setup.chains.count), dtype=BLOCK)
    blocks["pins"] = NONE
    arrays = {
        "pools": _filled(POOL, [_pool_values(pool) for pool in setup.pools]),
        "costs": _costs(setup),
        "jobs": _jobs(setup),
        "ranks": ranks,
        "slots": slots,
        "chain": np.ascontiguousarray(setup.chains.ids, dtype=np.int32),
        "blocks": blocks,
        "timed": np.zeros((2, _heap_size(setup)), dtype=TIMED),
        "events": _events(setup, ranks),
        "bins": np.zeros((ranks.size, BINS), dtype=BIN),
        "itl": np.zeros(ITL_BINS, dtype=np.int64),
        "steps": np.zeros((ranks.size, setup.recording.steps), dtype=STEP),
    }
    rows = {"cost_width": "costs", "slot_width": "slots", "block_width": "blocks"}
    rows |= {"timed_width": "timed", "bin_width": "bins", "steps_per_rank": "steps"}
    counts = {"pool_count": "pools", "job_count": "jobs", "rank_count": "ranks", "event_count": "events"}
    values = _client_values(setup)
    values |= {name: arrays[name].ctypes.data for name in ARRAYS}
    values |= {name: arrays[array].shape[1] for name, array in rows.items()}
    values |= {name: arrays[array].size for name, array in counts.items()}
    return State(_filled(WORLD, [values]), arrays)
