"""Clients, router, replicas and links in readable Python: the specification of what happens when.

At one instant things happen in this order: steps end; KV transfers end; replicas fail, come back, become ready; the
number of replicas is adjusted; requests arrive; clients give up; idle replicas begin their next step. So a step that
begins at t sees everything that happened up to and including t. What is simultaneous in one of these goes by number.
"""

from __future__ import annotations

import heapq
import math

import numpy as np

from suanli.serving.outcome import ITL_BINS, QUEUE_FULL, RECORD, TIMED_OUT, TOO_LONG, TOTALS, Outcome
from suanli.serving.reference import Rank
from suanli.serving.reference_blocks import Key
from suanli.serving.reference_fleet import NEVER, Fleet, Group, State
from suanli.serving.reference_job import Job
from suanli.serving.reference_meter import Meter
from suanli.serving.setup import Pool, Setup


class ReferenceCluster:
    """One simulation in progress."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.cluster = setup.cluster
        self.records = np.zeros(len(setup.requests), dtype=RECORD)
        for name in ("arrival_s", "admitted_s", "first_token_s", "done_s"):
            self.records[name] = np.nan
        self.records["input_tokens"] = setup.requests.input_tokens
        self.records["rank"] = self.records["decode_rank"] = -1
        self.itl_counts = np.zeros(ITL_BINS, dtype=np.int64)
        self.made = 0  # ranks made so far
        self.fleet = Fleet(setup.pools, self.cluster.replicas, self._new_rank)
        self.sent: list[tuple[float, int]] = []  # heap of (arrival, request)
        self.followers: dict[int, list[int]] = {}
        self.next_in_line = 0  # closed loop: first request not sent yet
        self.arrived: list[Job] = []  # in order of arrival
        self.patience = [0, 0]  # first of `arrived` that may still lack its first token, its last token
        self.stranded: list[Job] = []  # no replica was up
        self.transfers: list[tuple[float, int, Job]] = []  # heap of (end, request)
        self.link_free_s = {id(rank): 0.0 for group in self.fleet.groups for rank in group.ranks}
        self.events = sorted(
            (time, order, outage.replica)
            for outage in self.cluster.outages
            for order, time in enumerate((outage.end_s, outage.start_s))
            if time < NEVER
        )
        self.look_s = self.cluster.autoscale.interval_s if self.cluster.autoscale else NEVER
        self.now = 0.0

    def _new_rank(self, pool: Pool) -> Rank:
        meter = Meter(self.setup, self.made, self.records, self.itl_counts)
        self.made += 1
        return Rank(pool, meter, self._fetch)

    def run(self) -> Outcome:
        """Simulate until nothing can happen any more."""
        self._send_first()
        while (now := self._next_time()) < NEVER:
            self.now = now
            for group in self.fleet.groups:
                if group.end_s == now:
                    self._end(group)
            self._end_transfers()
            self._change_replicas()
            while self.sent and self.sent[0][0] == now:
                self._arrive(heapq.heappop(self.sent)[1])
            self._give_up()
            for group in self.fleet.groups:
                if not group.stepping:
                    group.begin(now)
        return self._outcome()

    def _next_time(self) -> float:
        times = [group.end_s for group in self.fleet.groups]
        times += [group.ready_s for group in self.fleet.groups]
        times += [heap[0][0] for heap in (self.sent, self.transfers, self.events) if heap]
        times += [self._deadline(0), self._deadline(1)]
        event = min(times)
        can_start = bool(self.stranded) and any(group.state is State.OFF for group in self.fleet.groups)
        return min(event, self.look_s) if event < NEVER or can_start else NEVER

    # --- clients -----------------------------------------------------------------------------------------------

    def _send_first(self) -> None:
        requests, limit = self.setup.requests, self.cluster.concurrency
        for index, before in enumerate(requests.after):
            if before >= 0:
                self.followers.setdefault(int(before), []).append(index)
            elif limit is None:
                heapq.heappush(self.sent, (self._due(index), index))
        for _ in range(min(limit or 0, len(requests))):
            self._send_next_in_line()

    def _due(self, index: int) -> float:
        """Earliest time at which a request can reach the router [s]."""
        return float(self.setup.requests.arrival_s[index]) + self.cluster.path_s

    def _send_next_in_line(self) -> None:
        index = self.next_in_line
        if index < len(self.setup.requests):
            heapq.heappush(self.sent, (max(self._due(index), self.now + self.cluster.path_s), index))
            self.next_in_line += 1

    def _over(self, job: Job, status: int | None) -> None:
        """A request has ended, as a `status` or done: those that wait for it are sent."""
        job.over = True
        if status is not None:
            self.fleet.ranks[0].meter.ended(job, self.now, status)
        requests = self.setup.requests
        for follower in self.followers.get(job.index, []):
            think = float(requests.think_s[follower]) + self.cluster.path_s
            at = max(self._due(follower), self.now + think)
            heapq.heappush(self.sent, (at, follower))
        if self.cluster.concurrency is not None:
            self._send_next_in_line()

    def _arrive(self, index: int) -> None:
        self.records[index]["arrival_s"] = self.now
        job = self._job(index)
        self.arrived.append(job)
        if all(self.fleet.ranks[pool.first_rank].can_hold(job) for pool in self.setup.pools):
            self._send_on(job)
        else:
            self._over(job, TOO_LONG)

    def _job(self, index: int) -> Job:
        requests, chains = self.setup.requests, self.setup.chains
        shared = chains.ids[chains.start[index] : chains.start[index + 1]].tolist()
        own: list[Key] = [(index, block) for block in range(len(shared), int(chains.full[index]))]
        by_class = self.setup.pools[0].engine.policy == "priority"
        return Job(
            index,
            int(requests.input_tokens[index]),
            int(requests.output_tokens[index]),
            int(requests.priority[index]) if by_class else 0,
            int(requests.session[index]),
            [*shared, *own],
            target=int(requests.input_tokens[index]),
        )

    def _deadline(self, which: int) -> float:
        """When the next client gives up: without first token (0), without last token (1)."""
        limit = (self.cluster.ttft_timeout_s, self.cluster.timeout_s)[which]
        if limit is None:
            return NEVER
        while (place := self.patience[which]) < len(self.arrived):
            job = self.arrived[place]
            if not job.over and not (which == 0 and self.records[job.index]["first_token_s"] >= 0.0):
                return float(self.records[job.index]["arrival_s"]) + limit
            self.patience[which] += 1
        return NEVER

    def _give_up(self) -> None:
        for which in (0, 1):
            while self._deadline(which) <= self.now:
                job = self.arrived[self.patience[which]]
                self.patience[which] += 1
                rank = job.rank
                if rank and job in rank.running and self.fleet.group_of(rank).stepping:
                    if job not in rank.expired:
                        rank.expired.append(job)
                else:
                    self._expire(job)

    def _expire_all(self, rank: Rank) -> None:
        """Take out those whose client gave up during the step, unless the step ended them."""
        expired, rank.expired = rank.expired, []
        for job in expired:
            if not job.over:
                self._expire(job)

    def _expire(self, job: Job) -> None:
        if job in self.stranded:
            self.stranded.remove(job)
        rank = job.rank
        if rank:
            rank.leave(job)
        Rank.let_go(job)
        self._over(job, TIMED_OUT)
        if rank:
            self.fleet.group_of(rank).rest(self.now)

    # --- requests between ranks --------------------------------------------------------------------------------

    def _send_on(self, job: Job) -> None:
        """Give a request to a rank: of the next pool when its prompt is there already."""
        place = 1 if job.hold else 0
        rank = self.fleet.route(job, place)
        if rank is None:
            self.stranded.append(job)
            return
        self.records[job.index]["decode_rank" if place else "rank"] = rank.meter.rank
        if self.cluster.max_queue is not None and rank.queued >= self.cluster.max_queue:
            Rank.let_go(job)
            self._over(job, QUEUE_FULL)
        else:
            rank.enqueue(job)

    def _end(self, group: Group) -> None:
        end, group.end_s = group.end_s, NEVER
        for rank in group.ranks:
            done, handed = rank.finish(group.start_s, end)
            for job in done:
                self._over(job, None)
            for job in handed:
                self._send_on(job)
            self._expire_all(rank)
        group.rest(end)

    def _fetch(self, job: Job) -> None:
        """Begin to move the KV of a request to the rank that has made room for it."""
        decode = self.cluster.decode
        if decode is None or job.hold is None or job.rank is None:
            return
        ends = [id(rank) for rank in (job.hold.rank, job.rank)]
        begin = max(self.now, *(self.link_free_s[end] for end in ends))
        size = job.target * decode.link.kv_bytes_per_token
        job.fetched_s = begin + (decode.link.latency_s + size / decode.link.bandwidth)
        for end in ends:
            self.link_free_s[end] = job.fetched_s
        heapq.heappush(self.transfers, (job.fetched_s, job.index, job))

    def _end_transfers(self) -> None:
        while self.transfers and self.transfers[0][0] == self.now:
            end, _, job = heapq.heappop(self.transfers)
            if job.fetched_s == end and job.rank:  # otherwise it was called off
                Rank.let_go(job)
                job.fetched_s = None
                job.rank.meter.token(job, self.now)

    # --- replicas ----------------------------------------------------------------------------------------------

    def _change_replicas(self) -> None:
        while self.events and self.events[0][0] == self.now:
            _, begins, replica = self.events.pop(0)
            group = self.fleet.groups[replica]
            if begins and group.state is not State.OFF:
                self._fail(group)
            elif not begins and group.state is State.DOWN:
                group.turn(State.UP, self.now)
        for group in self.fleet.groups:
            if group.ready_s == self.now:
                group.ready_s = NEVER
                group.turn(State.UP, self.now)
        if self.look_s == self.now:
            self._scale()
        stranded, self.stranded = self.stranded, []
        for job in stranded:
            self._send_on(job)

    def _fail(self, group: Group) -> None:
        """All memory is lost; every request that was there, or whose prompt is kept there, is sent again."""
        lost: list[Job] = []
        for rank in group.ranks:
            self._expire_all(rank)
            lost += sorted(rank.running, key=lambda job: (job.line, job.order))
            lost += rank.waiting_jobs()
        kept = [job for job in self.arrived if job.hold and job.hold.rank in group.ranks and job not in lost]
        lost += sorted(kept, key=lambda job: job.index)
        group.end_s = group.ready_s = NEVER
        group.turn(State.DOWN, self.now)
        for job in lost:
            if job.rank:
                job.rank.leave(job)
            else:  # stranded on its way to the decode pool
                self.stranded.remove(job)
                job.target = job.input + job.generated
            Rank.let_go(job)
            for rank in self.fleet.ranks:  # nobody else can use its own blocks
                rank.drop_own(job)
            self.records[job.index]["retries"] += 1
        for rank in group.ranks:
            rank.wipe()
        for job in lost:
            self._send_on(job)

    def _scale(self) -> None:
        scale = self.cluster.autoscale
        if scale is None:
            return
        self.look_s += scale.interval_s
        groups = self.fleet.groups
        outstanding = sum(group.outstanding for group in groups) + len(self.stranded)
        wanted = min(max(math.ceil(outstanding / scale.target_outstanding), scale.minimum), scale.maximum)
        have = [group for group in groups if group.state in (State.UP, State.STARTING)]
        for state in (State.DRAINING, State.OFF):
            for group in groups:
                if len(have) < wanted and group.state is state:
                    have.append(group)
                    group.turn(State.UP if state is State.DRAINING else State.STARTING, self.now)
                    if state is State.OFF:
                        group.ready_s = self.now + scale.startup_s
        up = [group for group in groups if group.state is State.UP]
        if len(have) > wanted and up:
            up[-1].turn(State.DRAINING, self.now)
            up[-1].rest(self.now)

    # --- result ------------------------------------------------------------------------------------------------

    def _outcome(self) -> Outcome:
        for group in self.fleet.groups:
            group.turn(State.OFF, self.now)
        meters = [rank.meter for rank in self.fleet.ranks]
        width = max(meter.sample_s for meter in meters)
        for meter in meters:
            while meter.sample_s < width:
                meter.widen()
        return Outcome(
            records=self.records,
            totals=np.array([tuple(meter.totals.values()) for meter in meters], dtype=TOTALS),
            series=np.array([meter.time_series() for meter in meters]),
            sample_s=width,
            itl_counts=self.itl_counts,
            itl_max_s=max(meter.itl_max_s for meter in meters),
            steps=np.concatenate([meter.steps[: meter.logged] for meter in meters]),
            end_s=float(self.now),
        )
