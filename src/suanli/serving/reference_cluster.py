"""Several ranks behind a router in readable Python: the specification of what happens when.

At one instant things happen in this order: steps end, requests arrive (in the order of the workload), idle ranks begin
their next step. So a step that begins at t sees everything that happened up to and including t.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable

import numpy as np

from suanli.serving.outcome import ITL_BINS, RECORD, TOO_LONG, Outcome
from suanli.serving.reference import Job, Rank
from suanli.serving.reference_meter import Meter
from suanli.serving.setup import Setup

NEVER = float("inf")


class Group:
    """The ranks of one replica: they begin and end their steps together."""

    def __init__(self, ranks: list[Rank]) -> None:
        self.ranks = ranks
        self.start_s = 0.0
        self.end_s = NEVER  # of the step in progress

    def begin(self, now: float) -> None:
        """Begin a step if there is anything to do."""
        batches = [rank.plan(now) for rank in self.ranks]
        if any(batch.chunks or batch.decodes for batch in batches):
            self.start_s = now
            self.end_s = now + max(rank.seconds() for rank in self.ranks)

    def end(self) -> list[Job]:
        """End the step in progress; returns the requests that are done."""
        done = [job for rank in self.ranks for job in rank.finish(self.start_s, self.end_s)]
        self.end_s = NEVER
        return done


class ReferenceCluster:
    """All replicas, the router and the clients."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        requests = setup.requests
        n, per_group = len(requests), setup.cluster.ranks
        self.records = np.zeros(n, dtype=RECORD)
        for name in ("arrival_s", "admitted_s", "first_token_s", "done_s"):
            self.records[name] = np.nan
        self.records["input_tokens"] = requests.input_tokens
        self.records["rank"] = -1
        self.itl_counts = np.zeros(ITL_BINS, dtype=np.int64)
        self.ranks = [Rank(setup, Meter(setup, i, self.records, self.itl_counts)) for i in range(setup.ranks)]
        self.groups = [Group(self.ranks[i : i + per_group]) for i in range(0, setup.ranks, per_group)]
        self.sent: list[tuple[float, int]] = []  # heap of (arrival, request)
        self.followers: dict[int, list[int]] = {}
        self.next_in_line = 0  # closed loop: first request not sent yet
        self.turn = 0  # round robin
        self.now = 0.0

    def run(self) -> Outcome:
        """Simulate until nothing can happen any more."""
        self._send_first()
        while (now := self._next_time()) < NEVER:
            self.now = now
            for group in self.groups:
                if group.end_s == now:
                    for job in group.end():
                        self._over(job.index)
            while self.sent and self.sent[0][0] == now:
                self._arrive(heapq.heappop(self.sent)[1])
            for group in self.groups:
                if group.end_s == NEVER:
                    group.begin(now)
        return self._outcome()

    def _next_time(self) -> float:
        steps = min(group.end_s for group in self.groups)
        return min(steps, self.sent[0][0] if self.sent else NEVER)

    # --- clients -----------------------------------------------------------------------------------------------

    def _send_first(self) -> None:
        requests, limit = self.setup.requests, self.setup.cluster.concurrency
        for index, before in enumerate(requests.after):
            if before >= 0:
                self.followers.setdefault(int(before), []).append(index)
            elif limit is None:
                heapq.heappush(self.sent, (float(requests.arrival_s[index]), index))
        for _ in range(min(limit or 0, len(requests))):
            self._send_next_in_line()

    def _send_next_in_line(self) -> None:
        index = self.next_in_line
        if index < len(self.setup.requests):
            heapq.heappush(self.sent, (max(float(self.setup.requests.arrival_s[index]), self.now), index))
            self.next_in_line += 1

    def _over(self, index: int) -> None:
        """A request has ended, whatever way: those that wait for it are sent."""
        requests = self.setup.requests
        for follower in self.followers.get(index, []):
            at = max(float(requests.arrival_s[follower]), self.now + float(requests.think_s[follower]))
            heapq.heappush(self.sent, (at, follower))
        if self.setup.cluster.concurrency is not None:
            self._send_next_in_line()

    def _arrive(self, index: int) -> None:
        self.records[index]["arrival_s"] = self.now
        job = self._job(index)
        rank = self._route(job)
        self.records[index]["rank"] = rank
        if self.ranks[rank].whole(job) > self.setup.engine.kv_blocks:
            self.ranks[rank].meter.ended(job, self.now, TOO_LONG)
            self._over(index)
        else:
            self.ranks[rank].queue(job).append(job)

    def _job(self, index: int) -> Job:
        requests, chains = self.setup.requests, self.setup.chains
        shared = chains.ids[chains.start[index] : chains.start[index + 1]].tolist()
        own: list[Hashable] = [(index, block) for block in range(len(shared), int(chains.full[index]))]
        return Job(
            index,
            int(requests.input_tokens[index]),
            int(requests.output_tokens[index]),
            int(requests.priority[index]),
            int(requests.session[index]),
            [*shared, *own],
            target=int(requests.input_tokens[index]),
        )

    # --- router ------------------------------------------------------------------------------------------------

    def _route(self, job: Job) -> int:
        """Number of the rank that gets a request; equal scores go to the lower number."""
        ranks, router = self.ranks, self.setup.cluster.router
        numbers = range(len(ranks))
        if router == "session" and job.session >= 0:
            return job.session % len(ranks)
        if router == "least_outstanding":
            return min(numbers, key=lambda i: ranks[i].outstanding)
        if router == "least_kv":
            return min(numbers, key=lambda i: ranks[i].load_tokens)
        if router == "prefix_aware":
            return min(numbers, key=lambda i: ranks[i].load_tokens + ranks[i].uncached_tokens(job))
        self.turn += 1
        return (self.turn - 1) % len(ranks)

    # --- result ------------------------------------------------------------------------------------------------

    def _outcome(self) -> Outcome:
        meters = [rank.meter for rank in self.ranks]
        width = max(meter.sample_s for meter in meters)
        for meter in meters:
            while meter.sample_s < width:
                meter.widen()
        return Outcome(
            records=self.records,
            totals=np.array([meter.totals for meter in meters]),
            series=np.stack([meter.series for meter in meters]),
            sample_s=width,
            itl_counts=self.itl_counts,
            itl_max_s=max(meter.itl_max_s for meter in meters),
            steps=np.concatenate([meter.steps[: meter.logged] for meter in meters]),
            end_s=self.now,
        )
