"""State of the compiled core: flat arrays of records, so that one compiled signature serves every simulation."""

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

PARAMS = np.dtype(
    [
        ("kv_blocks", "i8"),
        ("block_tokens", "i8"),
        ("max_num_seqs", "i8"),
        ("token_budget", "i8"),
        ("scheduler", "i8"),  # position in SCHEDULERS
        ("router", "i8"),  # position in ROUTERS
        ("priority", "i8"),
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
        ("per_request_s", "f8"),
        ("per_pair_s", "f8"),
        ("per_kv_token_s", "f8"),
        ("host_s", "f8"),
        ("host_per_request_s", "f8"),
        ("overlapped", "i8"),
        ("idle_w", "f8"),
        ("per_request_j", "f8"),
        ("per_pair_j", "f8"),
        ("per_kv_token_j", "f8"),
    ],
    align=True,
)
TABLE_FIELDS = PARAMS.names[PARAMS.names.index("per_request_s") :] if PARAMS.names else ()

JOB = np.dtype(
    [
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
        ("line", "i1"),  # class
        ("state", "i1"),
        ("mark", "i8"),
        ("order", "i8"),
        ("last_token_s", "f8"),
        ("decode_mark_j", "f8"),
    ],
    align=True,
)

RANK = np.dtype(
    [
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
        ("prefill_tokens", "i8"),
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

GROUP = np.dtype([("start_s", "f8"), ("end_s", "f8")], align=True)

DRIVER = np.dtype([("stream", "i8"), ("sent", "i8"), ("line", "i8"), ("turn", "i8"), ("now_s", "f8")], align=True)

BLOCK = np.dtype([("pins", "i4"), ("prev", "i4"), ("next", "i4")], align=True)  # pins -1: not cached


class World(NamedTuple):
    """Everything that the compiled functions see. First index of two-dimensional arrays: rank."""

    params: NDArray[Any]
    base_s: NDArray[np.float64]
    base_j: NDArray[np.float64]
    input_tokens: NDArray[np.int32]
    output_tokens: NDArray[np.int32]
    arrival_s: NDArray[np.float64]
    think_s: NDArray[np.float64]
    session: NDArray[np.int32]
    stream: NDArray[np.int32]  # requests that follow no other one
    follow_start: NDArray[np.int64]
    follow: NDArray[np.int32]
    full: NDArray[np.int32]
    chain_start: NDArray[np.int64]
    chain: NDArray[np.int32]
    driver: NDArray[Any]
    groups: NDArray[Any]
    ranks: NDArray[Any]
    jobs: NDArray[Any]
    records: NDArray[Any]
    blocks: NDArray[Any]
    phases: NDArray[np.int32]  # decoding requests by position inside a KV block
    heap_key: NDArray[np.int64]  # end of decoding requests: decode count, admission number
    heap_job: NDArray[np.int32]
    fresh: NDArray[np.int32]
    chunk_job: NDArray[np.int32]
    chunk: NDArray[np.int32]
    ended: NDArray[np.int32]
    heads: NDArray[np.int32]  # (rank, waiting or running, class)
    tails: NDArray[np.int32]
    sent_s: NDArray[np.float64]  # heap of requests on their way
    sent_job: NDArray[np.int32]
    totals: NDArray[Any]
    series: NDArray[np.float64]
    itl_counts: NDArray[np.int64]
    steps: NDArray[Any]
    bits: NDArray[np.float64]  # one number, seen as float and as int
    bits_as_int: NDArray[np.int64]


def _params(setup: Setup) -> NDArray[Any]:
    engine, cluster, chains = setup.engine, setup.cluster, setup.chains
    params = np.zeros(1, dtype=PARAMS)
    values = {
        **{name: getattr(setup.table, name) for name in TABLE_FIELDS},
        **{name: getattr(engine, name) for name in ("kv_blocks", "block_tokens", "max_num_seqs", "token_budget")},
        "scheduler": SCHEDULERS.index(engine.scheduler),
        "router": ROUTERS.index(cluster.router),
        "priority": engine.policy == "priority",
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
        params[name] = value
    return params


def _ranks(setup: Setup) -> NDArray[Any]:
    ranks = np.zeros(setup.ranks, dtype=RANK)
    ranks["free"] = setup.engine.kv_blocks
    ranks["ratio"] = setup.ratio[0]
    ranks["sample_s"] = setup.recording.sample_s
    for name in ("lru_head", "lru_tail", "partial"):
        ranks[name] = NONE
    return ranks


def _followers(setup: Setup) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int32]]:
    """Requests that follow none, and the followers of each request as offsets and numbers."""
    after = setup.requests.after
    if not np.any(after >= 0):
        return np.arange(after.size, dtype=np.int32), np.zeros(1, dtype=np.int64), np.zeros(0, dtype=np.int32)
    later = np.flatnonzero(after >= 0)
    start = np.zeros(after.size + 1, dtype=np.int64)
    np.cumsum(np.bincount(after[later], minlength=after.size), out=start[1:])
    order = later[np.argsort(after[later], kind="stable")]
    return np.flatnonzero(after < 0).astype(np.int32), start, order.astype(np.int32)


def _records(setup: Setup) -> NDArray[Any]:
    records = np.zeros(len(setup.requests), dtype=RECORD)
    for name in ("arrival_s", "admitted_s", "first_token_s", "done_s"):
        records[name] = np.nan
    records["input_tokens"] = setup.requests.input_tokens
    records["rank"] = NONE
    return records


def _jobs(setup: Setup) -> NDArray[Any]:
    jobs = np.zeros(len(setup.requests), dtype=JOB)
    jobs["target"] = setup.requests.input_tokens
    if setup.engine.policy == "priority":
        jobs["line"] = setup.requests.priority
    return jobs


def _blocks(setup: Setup) -> NDArray[Any]:
    blocks = np.zeros((setup.ranks, max(setup.chains.count, 1)), dtype=BLOCK)
    blocks["pins"] = NONE
    return blocks


def world(setup: Setup) -> World:
    """Fresh state at time 0."""
    ranks, seqs = setup.ranks, setup.engine.max_num_seqs
    stream, follow_start, follow = _followers(setup)
    groups = np.zeros(setup.cluster.replicas, dtype=GROUP)
    groups["end_s"] = NEVER
    sent = len(setup.requests) if setup.coupled else 1
    bits = np.zeros(1)
    return World(
        params=_params(setup),
        base_s=setup.base_s,
        base_j=setup.base_j,
        input_tokens=setup.requests.input_tokens,
        output_tokens=setup.requests.output_tokens,
        arrival_s=setup.requests.arrival_s,
        think_s=setup.requests.think_s,
        session=setup.requests.session,
        stream=stream,
        follow_start=follow_start,
        follow=follow,
        full=setup.chains.full,
        chain_start=setup.chains.start,
        chain=setup.chains.ids,
        driver=np.zeros(1, dtype=DRIVER),
        groups=groups,
        ranks=_ranks(setup),
        jobs=_jobs(setup),
        records=_records(setup),
        blocks=_blocks(setup),
        phases=np.zeros((ranks, setup.engine.block_tokens), dtype=np.int32),
        heap_key=np.zeros((ranks, seqs), dtype=np.int64),
        heap_job=np.zeros((ranks, seqs), dtype=np.int32),
        fresh=np.zeros((ranks, seqs), dtype=np.int32),
        chunk_job=np.zeros((ranks, seqs), dtype=np.int32),
        chunk=np.zeros((ranks, seqs), dtype=np.int32),
        ended=np.zeros((ranks, seqs), dtype=np.int32),
        heads=np.full((ranks, 2, PRIORITIES), NONE, dtype=np.int32),
        tails=np.full((ranks, 2, PRIORITIES), NONE, dtype=np.int32),
        sent_s=np.zeros(sent),
        sent_job=np.zeros(sent, dtype=np.int32),
        totals=np.zeros(ranks, dtype=TOTALS),
        series=np.zeros((ranks, BINS, len(SERIES))),
        itl_counts=np.zeros(ITL_BINS, dtype=np.int64),
        steps=np.zeros((ranks, setup.recording.steps), dtype=STEP),
        bits=bits,
        bits_as_int=bits.view(np.int64),
    )
