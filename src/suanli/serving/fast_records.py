"""Records of the compiled core: arrays of them hold all state, so that one compiled signature serves every simulation.

Compiled functions get one argument for all of them, a record of addresses; the time to compile a function grows with
its arguments, and an array counts as many.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from suanli.serving.kernel import accessor
from suanli.serving.outcome import RECORD, SERIES, STEP, TOTALS

if TYPE_CHECKING:
    pass

NONE = -1
HOST = -2  # pins of a hash block that is in the second memory
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

POOL = np.dtype(
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
        ("host_room", "i8"),  # hash blocks of the second memory
        ("host_load_s_per_token", "f8"),
        ("hands_over", "i8"),  # requests go to the next pool after their prompt
        ("first_rank", "i8"),
        ("behind_rank", "i8"),
        ("ratio_start", "f8"),
        ("ratio_floor", "f8"),
        ("ratio_decay", "f8"),
        *((name, "f8") for name in TABLE_FIELDS),
        ("turn", "i8"),  # round robin
    ],
    align=True,
)

# Arrays of records that the compiled functions see, by address.
ARRAYS = ("pools", "costs", "jobs", "ranks", "slots", "chain", "blocks", "timed", "events", "bins", "itl", "steps")

WORLD = np.dtype(
    [
        *((name, "i8") for name in ARRAYS),
        ("cost_width", "i8"),  # entries of one row, of the arrays that have rows
        ("slot_width", "i8"),
        ("block_width", "i8"),
        ("timed_width", "i8"),
        ("bin_width", "i8"),
        ("steps_per_rank", "i8"),
        ("pool_count", "i8"),
        ("job_count", "i8"),
        ("rank_count", "i8"),
        ("event_count", "i8"),
        ("shared_blocks", "i8"),
        ("concurrency", "i8"),  # 0 for an open loop
        ("path_s", "f8"),
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
        ("steps_from_s", "f8"),
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

COST = np.dtype([("base_s", "f8"), ("base_j", "f8")])  # of a step of so many tokens

JOB = np.dtype(
    [
        *((name, RECORD[name].str) for name in RECORD.names or ()),
        ("due_s", "f8"),  # earliest arrival at the router
        ("think_s", "f8"),
        ("wanted", "i4"),  # output tokens asked for
        ("session", "i4"),
        ("first_follower", "i4"),
        ("next_follower", "i4"),
        ("full", "i4"),  # hash blocks that the prompt fills
        ("shared", "i4"),  # leading hash blocks that other requests hold too; their numbers are chain[first_id ...]
        ("first_id", "i4"),
        ("target", "i4"),
        ("tokens", "i4"),  # KV length; of a decoding request as of the decode count `mark`
        ("generated", "i4"),  # likewise
        ("blocks", "i4"),  # KV blocks held while its prompt is computed; follows from the KV length afterwards
        ("pinned", "i4"),
        ("cached_run", "i4"),  # its own unshared hash blocks that are idle in the cache
        ("host_run", "i4"),  # those behind them in the second memory
        ("prev", "i4"),  # neighbours in the waiting or running list
        ("next", "i4"),
        ("lru_prev", "i4"),
        ("lru_next", "i4"),
        ("host_prev", "i4"),
        ("host_next", "i4"),
        ("next_arrived", "i4"),
        ("next_lost", "i4"),
        ("due", "i4"),  # output tokens when it leaves the rank where it is
        ("here", "i4"),  # rank where it waits or runs
        ("hold_rank", "i4"),  # rank that keeps its KV until it has been fetched
        ("run_rank", "i4"),  # rank of cached_run and host_run
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
        ("group", "i8"),  # first rank of its replica, which keeps what follows up to ready_s
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
        ("host_head", "i8"),
        ("host_tail", "i8"),
        ("host_used", "i8"),
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
        ("step_loaded_tokens", "i8"),
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

BLOCK = np.dtype([("pins", "i4"), ("prev", "i4"), ("next", "i4")], align=True)  # pins NONE: nowhere

TIMED = np.dtype([("at_s", "f8"), ("job", "i8")], align=True)  # entry 0 of a heap has its size as job

EVENT = np.dtype([("at_s", "f8"), ("begins", "i8"), ("group", "i8")], align=True)

ID = np.dtype([("id", "i4")])

BIN = np.dtype([(name, "f8") for name in SERIES])

COUNT = np.dtype([("count", "i8")])

World = Any  # a record of WORLD in compiled code
Record = Any  # a record of an array, read and written in place


@accessor(POOL, "pools")
def pool_at(w: World, place: int) -> Record:
    """Engines of one kind."""


@accessor(COST, "costs", "cost_width")
def cost_at(w: World, place: int, tokens: int) -> Record:
    """Cost of a step of so many tokens on pool `place`."""


@accessor(JOB, "jobs")
def job_at(w: World, i: int) -> Record:
    """A request."""


@accessor(RANK, "ranks")
def rank_at(w: World, r: int) -> Record:
    """An engine rank."""


@accessor(SLOT, "slots", "slot_width")
def slot_at(w: World, r: int, place: int) -> Record:
    """Entry of the short lists of a rank."""


@accessor(ID, "chain")
def chain_at(w: World, place: int) -> Record:
    """Number of a hash block that requests share."""


@accessor(BLOCK, "blocks", "block_width")
def block_at(w: World, r: int, block: int) -> Record:
    """A shared hash block on a rank."""


@accessor(TIMED, "timed", "timed_width")
def timed_at(w: World, heap: int, place: int) -> Record:
    """Entry of a heap."""


@accessor(EVENT, "events")
def event_at(w: World, place: int) -> Record:
    """A failure or repair."""


@accessor(BIN, "bins", "bin_width")
def bin_at(w: World, r: int, place: int) -> Record:
    """Time-series bin of a rank."""


@accessor(COUNT, "itl")
def itl_at(w: World, place: int) -> Record:
    """Bin of the histogram of gaps."""


@accessor(STEP, "steps", "steps_per_rank")
def step_at(w: World, r: int, place: int) -> Record:
    """Logged step of a rank."""
