"""Replicas and the router of the reference core: who is up, who gets a request."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from suanli.serving.reference import Rank
from suanli.serving.reference_job import Job
from suanli.serving.setup import Pool

NEVER = float("inf")


class State(Enum):
    """Of a replica. Only an UP one gets requests; a DRAINING one finishes what it has."""

    OFF = 0
    STARTING = 1
    UP = 2
    DRAINING = 3
    DOWN = 4


class Group:
    """The ranks of one replica: they begin and end their steps together."""

    def __init__(self, pool: Pool, ranks: list[Rank], state: State) -> None:
        self.pool = pool
        self.ranks = ranks
        self.state = state
        self.on_s = 0.0  # since when it has been up
        self.ready_s = NEVER
        self.start_s = 0.0
        self.end_s = NEVER  # of the step in progress

    @property
    def outstanding(self) -> int:
        """Requests that were sent here and have not left."""
        return sum(rank.outstanding for rank in self.ranks)

    @property
    def stepping(self) -> bool:
        """True while a step is in progress."""
        return self.end_s < NEVER

    def begin(self, now: float) -> None:
        """Begin a step if there is anything to do."""
        if self.state not in (State.UP, State.DRAINING):
            return
        batches = [rank.plan(now) for rank in self.ranks]
        if any(batch.chunks or batch.decodes for batch in batches):
            self.start_s = now
            self.end_s = now + max(rank.seconds() for rank in self.ranks)

    def turn(self, state: State, now: float) -> None:
        """Change the state; time in STARTING, UP and DRAINING counts as up."""
        counts = (State.STARTING, State.UP, State.DRAINING)
        if self.state in counts and state not in counts:
            for rank in self.ranks:
                rank.meter.totals["up_s"] += now - self.on_s
        if self.state not in counts and state in counts:
            self.on_s = now
        self.state = state

    def rest(self, now: float) -> None:
        """A draining replica without requests is switched off."""
        if self.state is State.DRAINING and self.outstanding == 0:
            self.turn(State.OFF, now)
            for rank in self.ranks:
                rank.wipe()


class Fleet:
    """All replicas of all pools."""

    def __init__(self, pools: tuple[Pool, ...], initial: int, rank_of: Callable[[Pool], Rank]) -> None:
        self.pools = pools
        self.groups: list[Group] = []
        for place, pool in enumerate(pools):
            for replica in range(pool.replicas):
                on = place > 0 or replica < initial
                ranks = [rank_of(pool) for _ in range(pool.ranks)]
                self.groups.append(Group(pool, ranks, State.UP if on else State.OFF))
        self.ranks = [rank for group in self.groups for rank in group.ranks]
        self.turns = [0] * len(pools)

    def group_of(self, rank: Rank) -> Group:
        """The replica of a rank."""
        return next(group for group in self.groups if rank in group.ranks)

    def route(self, job: Job, place: int) -> Rank | None:
        """The rank of pool `place` that gets a request; equal scores go to the lower number. None when none is up."""
        pool = self.pools[place]
        ranks = [
            rank for group in self.groups if group.pool is pool and group.state is State.UP for rank in group.ranks
        ]
        if not ranks:
            return None
        if pool.router == "session" and job.session >= 0:
            return ranks[job.session % len(ranks)]
        if pool.router == "least_outstanding":
            return min(ranks, key=lambda rank: rank.outstanding)
        if pool.router == "least_kv":
            return min(ranks, key=lambda rank: rank.load_tokens)
        if pool.router == "prefix_aware":
            return min(ranks, key=lambda rank: rank.load_tokens + rank.uncached_tokens(job))
        self.turns[place] += 1
        return ranks[(self.turns[place] - 1) % len(ranks)]
