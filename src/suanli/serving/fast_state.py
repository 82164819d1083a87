"""State of the compiled core: few flat arrays of records, so that one compiled signature serves every simulation.

The number of arrays matters: every compiled function takes all of them, and the time to compile grows with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from suanli.serving.config import ROUTERS, SCHEDULERS
from suanli.serving.outcome import BINS, ITL_BINS, RECORD, SERIES, STEP, TOTALS
from suanli.workload.requests import PRIORITIES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from suanli.serving.setup import Pool, Setup

NONE = -1
NEVER = np.inf
# Where a request is: on its way, waiting on a rank, computing its prompt, fetching its KV, with KV to decode from the
# next step on, decoding, without an open rank, over.
AWAY, WAITING, PREFILLING, LOADING, ARRIVED, DECODING, STRANDED, OVER = range(8)

OFF, STARTING, UP, DRAINING, DOWN = range(5)  # states of a replica
SENT, MOVING = 0, 1  # heaps: requests on their way, KV transfers

TABLE_FIELDS = (
    *("per_request_s", "per_pair_s", "per_kv_token_s", "host_s", "host_per_request_s", "overlapped", "idle_w"),
    *("per_request_j", "per_pair_j", "per_kv_token_j"),
)

# One record per pool; the clients' side of the state and what concerns all pools is in the first.
MAIN = np.dtype(
    [
        ("kv_blocks", "i8"),
        ("block_tokens", "i8"),
        ("max_num_seqs", "i8"),
        ("token_budget", "i8"),
        ("scheduler", "i8"),  # position in SCHEDULERS
        ("router", "i8"),  # position in ROUTERS
        ("admit_whole_prompt", "i8"),
        ("watermark_blocks", "i8"),
        ("chunked_prefill", "i8"),
        ("spare", "i8"),  # draft tokens
        ("query_tokens", "i8"),
        ("advance", "i8"),
        ("block_kv", "i8"),
        ("hash_tokens", "i8"),
        ("shared_blocks", "i8"),
        ("hands_over", "i8"),  # requests go to the next pool after their prompt
        ("first_rank", "i8"),
        ("behind_rank", "i8"),
        ("concurrency", "i8"),  # 0 for an open loop
        ("coupled", "i8"),  # the end of a step can send a request somewhere
        ("max_queue", "i8"),
        ("ttft_timeout_s", "f8"),
        ("timeout_s", "f8"),
        ("link_bandwidth", "f8"),
        ("link_latency_s", "f8"),
        ("kv_bytes_per_token", "f8"),
        ("least_replicas", "i8"),
        ("most_replicas", "i8"),
        ("target_outstanding", "f8"),
        ("look_interval_s", "f8"),
        ("startup_s", "f8"),
        ("ratio_start", "f8"),
        ("ratio_floor", "f8"),
        ("ratio_decay", "f8"),
        ("steps_from_s", "f8"),
        *((name, "f8") for name in TABLE_FIELDS),
        ("turn", "i8"),  # round robin
        ("stream", "i8"),  # next request of the trace
        ("event", "i8"),  # next failure or repair
        ("look_s", "f8"),  # next look at the number of replicas
        ("lacks_first", "i8"),  # first request in order of arrival that may still lack its first token
        ("lacks_last", "i8"),
        ("last_arrived", "i8"),
        ("stranded_head", "i8"),
        ("stranded_tail", "i8"),
        ("now_s", "f8"),
    ],
    align=True,
)

JOB = np.dtype(
    [
        *((name, RECORD[name].str) for name in RECORD.names or ()),
        ("due_s", "f8"),  # earliest arrival
        ("think_s", "f8"),
        ("wanted", "i4"),  # output tokens asked for
        ("session", "i4"),
        ("first_follower", "i4"),
        ("next_follower", "i4"),
        ("full", "i4"),  # hash blocks that the prompt fills
        ("shared", "i4"),  # leading hash blocks that other requests hold too; their numbers are chain[first_id ...]
        ("first_id", "i8"),
        ("target", "i4"),
        ("tokens", "i4"),  # KV length; of a decoding request as of the decode count `mark`
        ("generated", "i4"),  # likewise
        ("blocks", "i4"),  # KV blocks held while its prompt is computed; follows from the KV length afterwards
        ("pinned", "i4"),
        ("cached_run", "i4"),  # its own unshared hash blocks that are idle in the cache
        ("prev", "i4"),  # neighbours in the waiting or running list
        ("next", "i4"),
        ("lru_prev", "i4"),
        ("lru_next", "i4"),
        ("next_arrived", "i4"),
        ("next_lost", "i4"),
        ("due", "i4"),  # output tokens when it leaves the rank where it is
        ("here", "i4"),  # rank where it waits or runs
        ("hold_rank", "i4"),  # rank that keeps its KV until it has been fetched
        ("run_rank", "i4"),  # rank of cached_run
        ("hold_blocks", "i4"),
        ("hold_pinned", "i4"),
        ("order", "i4"),
        ("line", "i1"),  # class
        ("state", "i1"),
        ("follows", "i1"),  # 1 when another request must end first
        ("mark", "i8"),
        ("fetched_s", "f8"),
        ("last_token_s", "f8"),
        ("decode_mark_j", "f8"),
    ],
    align=True,
)

RANK = np.dtype(
    [
        *((name, TOTALS[name].str) for name in TOTALS.names or ()),
        ("pool", "i8"),
        ("group", "i8"),  # first rank of its replica, which keeps what follows up to link_free_s
        ("group_ranks", "i8"),
        ("state", "i8"),
        ("start_s", "f8"),  # of the step in progress
        ("end_s", "f8"),
        ("on_s", "f8"),
        ("ready_s", "f8"),
        ("link_free_s", "f8"),
        ("free", "i8"),
        ("idle_kv", "i8"),  # KV blocks of idle cached hash blocks
        ("lru_head", "i8"),
        ("lru_tail", "i8"),
        ("running", "i8"),
        ("waiting", "i8"),
        ("waiting_tokens", "i8"),
        ("decoding", "i8"),
        ("partial", "i8"),  # request with an unfinished prompt
        ("sum_tokens", "i8"),  # KV lengths of the decoding requests
        ("count", "i8"),  # tokens that a request gained which has been decoding since the start
        ("grown", "i8"),  # slots already taken for the decode step in progress
        ("advance_part", "i8"),
        ("promised", "i8"),  # KV blocks that running requests will still need
        ("unsaid", "i8"),  # output tokens that running requests will still generate
        ("ratio_steps", "i8"),
        ("admissions", "i8"),
        ("heap", "i8"),
        ("fresh", "i8"),  # requests that join the decode batch with the next decode step
        ("chunks", "i8"),
        ("chunk_tokens", "i8"),
        ("pairs_twice", "i8"),
        ("decodes", "i8"),  # sequences that decode in this step
        ("advance", "i8"),
        ("preempted", "i8"),
        ("blocked", "i8"),  # the head of the queue cannot be admitted before something ends
        ("ended", "i8"),
        ("handed", "i8"),
        ("arrived", "i8"),
        ("expired", "i8"),
        ("logged", "i8"),
        ("ratio", "f8"),
        ("last_decode_s", "f8"),
        ("decode_share_j", "f8"),
        ("itl_max_s", "f8"),
        ("sample_s", "f8"),
    ],
    align=True,
)

# Per rank a table of slots: several short lists side by side.
SLOT = np.dtype(
    [
        ("end_key", "i8"),  # heap of decoding requests: decode count at their end, admission number
        ("end_job", "i4"),
        ("phase", "i4"),  # decoding requests by position inside a KV block
        ("fresh", "i4"),
        ("chunk_job", "i4"),
        ("chunk", "i4"),
        ("ended", "i4"),
        ("handed", "i4"),
        ("arrived", "i4"),
        ("expired", "i4"),
        ("head", "i4"),  # waiting requests by class, then running requests by class
        ("tail", "i4"),
    ],
    align=True,
)

BLOCK = np.dtype([("pins", "i4"), ("prev", "i4"), ("next", "i4")], align=True)  # pins -1: not cached

TIMED = np.dtype([("at_s", "f8"), ("job", "i8")], align=True)  # entry 0 of a heap has its size as job

EVENT = np.dtype([("at_s", "f8"), ("begins", "i8"), ("group", "i8")], align=True)


class World(NamedTuple):
    """Everything that the compiled functions see. First index of arrays with several: rank."""

    main: NDArray[Any]
    table: NDArray[np.float64]  # per pool two rows: seconds and joules at every token count
    jobs: NDArray[Any]
    ranks: NDArray[Any]
    slots: NDArray[Any]
    chain: NDArray[np.int32]
    blocks: NDArray[Any]
    timed: NDArray[Any]  # heaps SENT and MOVING
    events: NDArray[Any]  # failures and repairs
    series: NDArray[np.float64]
    itl_counts: NDArray[np.int64]
    steps: NDArray[Any]


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


def _main(setup: Setup) -> NDArray[Any]:
    main = np.zeros(len(setup.pools), dtype=MAIN)
    for place, pool in enumerate(setup.pools):
        for name, value in (_pool_values(pool) | (_client_values(setup) if place == 0 else {})).items():
            main[name][place] = value
    return main


def _table(setup: Setup) -> NDArray[np.float64]:
    rows = [row for pool in setup.pools for row in (pool.base_s, pool.base_j)]
    table = np.full((len(rows), max(row.size for row in rows)), np.nan)
    for place, row in enumerate(rows):
        table[place, : row.size] = row
    return table


def _ranks(setup: Setup) -> NDArray[Any]:
    ranks = np.zeros(setup.ranks, dtype=RANK)
    ranks["end_s"] = ranks["ready_s"] = NEVER
    ranks["sample_s"] = setup.recording.sample_s
    for name in ("lru_head", "lru_tail", "partial"):
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
    jobs["due_s"], jobs["think_s"] = requests.arrival_s, requests.think_s
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


def world(setup: Setup) -> World:
    """Fresh state at time 0."""
    ranks, first = _ranks(setup), setup.pools[0]
    width = max(max(pool.engine.max_num_seqs, pool.engine.block_tokens) for pool in setup.pools)
    slots = np.zeros((ranks.size, max(width, 2 * PRIORITIES)), dtype=SLOT)
    slots["head"] = slots["tail"] = NONE
    blocks = np.zeros((first.replicas * first.ranks, max(setup.chains.count, 1)), dtype=BLOCK)
    blocks["pins"] = NONE
    return World(
        main=_main(setup),
        table=_table(setup),
        jobs=_jobs(setup),
        ranks=ranks,
        slots=slots,
        chain=setup.chains.ids,
        blocks=blocks,
        timed=np.zeros((2, _heap_size(setup)), dtype=TIMED),
        events=_events(setup, ranks),
        series=np.zeros((ranks.size, BINS, len(SERIES))),
        itl_counts=np.zeros(ITL_BINS, dtype=np.int64),
        steps=np.zeros((ranks.size, setup.recording.steps), dtype=STEP),
    )
