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

    from suanli.serving.setup import Setup

NONE = -1
NEVER = np.inf
WAITING, PREFILLING, DECODING, OVER = range(4)

TABLE_FIELDS = (
    *("per_request_s", "per_pair_s", "per_kv_token_s", "host_s", "host_per_request_s", "overlapped", "idle_w"),
    *("per_request_j", "per_pair_j", "per_kv_token_j"),
)

# One record: what is fixed, and the clients' side of the state.
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
        ("group_ranks", "i8"),
        ("concurrency", "i8"),  # 0 for an open loop
        ("coupled", "i8"),  # the end of a request can send another one
        ("ratio_start", "f8"),
        ("ratio_floor", "f8"),
        ("ratio_decay", "f8"),
        ("steps_from_s", "f8"),
        *((name, "f8") for name in TABLE_FIELDS),
        ("stream", "i8"),  # next request of the trace
        ("sent", "i8"),  # size of the heap of requests on their way
        ("turn", "i8"),  # round robin
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
        ("follows", "i4"),  # 1 when another request must end first
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
        ("line", "i4"),  # class
        ("state", "i4"),
        ("mark", "i8"),
        ("order", "i8"),
        ("last_token_s", "f8"),
        ("decode_mark_j", "f8"),
    ],
    align=True,
)

RANK = np.dtype(
    [
        *((name, TOTALS[name].str) for name in TOTALS.names or ()),
        ("start_s", "f8"),  # of the step in progress; of the group, in its first rank
        ("end_s", "f8"),
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
        ("head", "i4"),  # waiting requests by class, then running requests by class
        ("tail", "i4"),
    ],
    align=True,
)

BLOCK = np.dtype([("pins", "i4"), ("prev", "i4"), ("next", "i4")], align=True)  # pins -1: not cached

SENT = np.dtype([("at_s", "f8"), ("job", "i8")], align=True)


class World(NamedTuple):
    """Everything that the compiled functions see. First index of arrays with several: rank."""

    main: NDArray[Any]
    table: NDArray[np.float64]  # seconds and joules at every token count
    jobs: NDArray[Any]
    ranks: NDArray[Any]
    slots: NDArray[Any]
    chain: NDArray[np.int32]
    blocks: NDArray[Any]
    sent: NDArray[Any]  # heap of requests on their way
    series: NDArray[np.float64]
    itl_counts: NDArray[np.int64]
    steps: NDArray[Any]


def _main(setup: Setup) -> NDArray[Any]:
    engine, cluster, chains = setup.engine, setup.cluster, setup.chains
    main = np.zeros(1, dtype=MAIN)
    values = {
        **{name: getattr(setup.table, name) for name in TABLE_FIELDS},
        **{name: getattr(engine, name) for name in ("kv_blocks", "block_tokens", "max_num_seqs", "token_budget")},
        "scheduler": SCHEDULERS.index(engine.scheduler),
        "router": ROUTERS.index(cluster.router),
        "admit_whole_prompt": engine.admit_whole_prompt,
        "watermark_blocks": int(engine.watermark * engine.kv_blocks),
        "chunked_prefill": engine.chunked_prefill,
        "spare": engine.speculative_tokens,
        "query_tokens": engine.query_tokens,
        "advance": setup.advance,
        "block_kv": chains.block_kv,
        "hash_tokens": chains.hash_tokens,
        "shared_blocks": chains.count,
        "group_ranks": cluster.ranks,
        "concurrency": cluster.concurrency or 0,
        "coupled": setup.coupled,
        "ratio_start": setup.ratio[0],
        "ratio_floor": setup.ratio[1],
        "ratio_decay": setup.ratio[2],
        "steps_from_s": setup.recording.steps_from_s,
    }
    for name, value in values.items():
        main[name] = value
    return main


def _ranks(setup: Setup) -> NDArray[Any]:
    ranks = np.zeros(setup.ranks, dtype=RANK)
    ranks["end_s"] = NEVER
    ranks["free"] = setup.engine.kv_blocks
    ranks["ratio"] = setup.ratio[0]
    ranks["sample_s"] = setup.recording.sample_s
    for name in ("lru_head", "lru_tail", "partial"):
        ranks[name] = NONE
    return ranks


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
    jobs["rank"] = NONE
    jobs["due_s"], jobs["think_s"] = requests.arrival_s, requests.think_s
    jobs["input_tokens"] = jobs["target"] = requests.input_tokens
    jobs["wanted"], jobs["session"] = requests.output_tokens, requests.session
    jobs["full"], jobs["first_id"], jobs["shared"] = chains.full, chains.start[:-1], np.diff(chains.start)
    if setup.engine.policy == "priority":
        jobs["line"] = requests.priority
    _link_followers(jobs, requests.after)
    return jobs


def world(setup: Setup) -> World:
    """Fresh state at time 0."""
    ranks, engine = setup.ranks, setup.engine
    slots = np.zeros((ranks, max(engine.max_num_seqs, engine.block_tokens, 2 * PRIORITIES)), dtype=SLOT)
    slots["head"] = slots["tail"] = NONE
    blocks = np.zeros((ranks, max(setup.chains.count, 1)), dtype=BLOCK)
    blocks["pins"] = NONE
    return World(
        main=_main(setup),
        table=np.stack([setup.base_s, setup.base_j]),
        jobs=_jobs(setup),
        ranks=_ranks(setup),
        slots=slots,
        chain=setup.chains.ids,
        blocks=blocks,
        sent=np.zeros(len(setup.requests) if setup.coupled else 1, dtype=SENT),
        series=np.zeros((ranks, BINS, len(SERIES))),
        itl_counts=np.zeros(ITL_BINS, dtype=np.int64),
        steps=np.zeros((ranks, setup.recording.steps), dtype=STEP),
    )
