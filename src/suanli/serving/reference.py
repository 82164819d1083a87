"""One engine rank in readable Python: the specification of scheduling, memory and accounting.

A step is planned at its start (`plan`) and takes effect at its end (`finish`). Everything that happens to a request
happens here; `reference_cluster` decides when.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field

from suanli.serving.cost import step_joules, step_seconds
from suanli.serving.reference_blocks import BlockPool
from suanli.serving.reference_meter import Meter
from suanli.serving.setup import ADVANCE_BITS, RETRACT_STEPS, Setup
from suanli.workload.requests import PRIORITIES


@dataclass(slots=True, eq=False)
class Job:
    """A request inside the system. `tokens` is its KV length, `target` the length that its prefill must reach."""

    index: int
    input: int
    output: int
    priority: int
    session: int
    keys: list[Hashable]  # its hash blocks
    target: int
    tokens: int = 0
    generated: int = 0
    blocks: int = 0  # KV blocks held
    pinned: int = 0  # hash blocks held, part of `blocks`
    order: int = -1  # admission number
    last_token_s: float = 0.0
    decode_mark_j: float = 0.0  # the rank's energy per decoding sequence when it last joined the decoding ones

    @property
    def decoding(self) -> bool:
        """True when every token before the next one is in the cache."""
        return self.tokens >= self.target


@dataclass(slots=True)
class Batch:
    """Content of a step: prompt chunks in order, and the sequences that decode `advance` tokens each."""

    chunks: list[tuple[Job, int]] = field(default_factory=list)
    decodes: list[Job] = field(default_factory=list)
    advance: int = 0
    pairs_twice: int = 0
    kv_tokens: int = 0
    preempted: bool = False

    @property
    def prefill_tokens(self) -> int:
        """Prompt tokens of the step."""
        return sum(chunk for _, chunk in self.chunks)


class Rank:
    """An engine rank: waiting and running requests, KV blocks, counters."""

    def __init__(self, setup: Setup, meter: Meter) -> None:
        self.setup = setup
        self.engine = setup.engine
        self.meter = meter
        self.pool = BlockPool(self.engine.kv_blocks, setup.chains.block_kv)
        self.waiting: list[deque[Job]] = [deque() for _ in range(PRIORITIES)]
        self.running: list[Job] = []  # in order of admission
        self.batch = Batch()
        self.admissions = 0
        self.advance_part = 0  # fixed-point fraction of a token not yet given
        self.ratio, self.ratio_steps = setup.ratio[0], 0

    # --- queue -------------------------------------------------------------------------------------------------

    def queue(self, job: Job) -> deque[Job]:
        """The waiting line of a request."""
        return self.waiting[job.priority if self.engine.policy == "priority" else 0]

    def waiting_jobs(self) -> Iterator[Job]:
        """Waiting requests in the order in which they will be looked at."""
        for line in self.waiting:
            yield from line

    @property
    def outstanding(self) -> int:
        """Requests that were sent here and have not ended."""
        return len(self.running) + sum(len(line) for line in self.waiting)

    @property
    def load_tokens(self) -> int:
        """KV in use and prompts waiting [token]."""
        return self.pool.used * self.engine.block_tokens + sum(job.target for job in self.waiting_jobs())

    def uncached_tokens(self, job: Job) -> int:
        """Prompt tokens that this rank would have to compute [token]."""
        return job.target - min(self.pool.hits(job.keys) * self.setup.chains.hash_tokens, job.target - 1)

    # --- planning a step ---------------------------------------------------------------------------------------

    def plan(self, now: float) -> Batch:
        """Decide what the next step does and take its memory; an empty batch when there is nothing to do."""
        self.batch = Batch()
        if self.engine.scheduler == "sglang":
            self._plan_prompts(now)
            if not self.batch.chunks:
                self._plan_decodes()
        else:
            self._plan_decodes()
            self._plan_prompts(now)
        batch = self.batch
        batch.decodes = [job for job in batch.decodes if job in self.running]
        batch.kv_tokens = sum(job.tokens + 1 for job in batch.decodes)
        return batch

    def _plan_decodes(self) -> None:
        decoding = [job for job in self.running if job.decoding]
        if not decoding:
            return
        self.advance_part += self.setup.advance
        self.batch.advance = self.advance_part >> ADVANCE_BITS
        self.advance_part &= (1 << ADVANCE_BITS) - 1
        while sum(map(self._decode_need, decoding)) > self.pool.available:
            self._preempt(self._victim())
            decoding = [job for job in decoding if job in self.running]
        for job in decoding:
            self._grow(job, self._decode_need(job))
        self.batch.decodes = decoding

    def _plan_prompts(self, now: float) -> None:
        budget = self.engine.token_budget - self.engine.query_tokens * len(self.batch.decodes)
        for job in [job for job in self.running if not job.decoding]:  # at most one prompt is unfinished
            budget -= self._chunk(job, budget)
        reserve = 0.0  # SGLang: output of requests admitted in this step counts fully
        while budget > 0 and not self.batch.preempted and len(self.running) < self.engine.max_num_seqs:
            first = next(self.waiting_jobs(), None)
            if first is None or not self._admissible(first, budget, reserve):
                return
            self._admit(first, now)
            reserve += (1.0 - self._ratio()) * (first.output - first.generated)
            budget -= self._chunk(first, budget)

    def _chunk(self, job: Job, budget: int) -> int:
        """Put the next chunk of a prompt into the step; returns its tokens, 0 when there is no room."""
        chunk = min(job.target - job.tokens, budget)
        need = max(self._blocks(job.tokens + chunk, finished=job.tokens + chunk == job.target) - job.blocks, 0)
        while need > self.pool.available:
            victim = job if self.engine.scheduler == "sglang" else self._victim()
            self._preempt(victim)
            if victim is job:
                return 0
        self._grow(job, need)
        self.batch.chunks.append((job, chunk))
        self.batch.pairs_twice += chunk * (2 * job.tokens + chunk)
        job.tokens += chunk
        while job.pinned < len(job.keys) and (job.pinned + 1) * self.setup.chains.hash_tokens <= job.tokens:
            self.pool.publish(job.keys[job.pinned])
            job.pinned += 1
        return chunk

    # --- memory ------------------------------------------------------------------------------------------------

    def _blocks(self, tokens: int, *, finished: bool) -> int:
        """KV blocks for `tokens`, with the slots of draft tokens once the prompt is finished."""
        slots = tokens + (self.engine.speculative_tokens if finished else 0)
        return -(-slots // self.engine.block_tokens)

    def _decode_need(self, job: Job) -> int:
        return self._blocks(job.tokens + self.batch.advance, finished=True) - job.blocks

    def _grow(self, job: Job, blocks: int) -> None:
        self.pool.take(blocks)
        job.blocks += blocks

    def _release(self, job: Job) -> None:
        self.pool.give(job.blocks - job.pinned * self.pool.block_kv)
        for key in reversed(job.keys[: job.pinned]):
            self.pool.unpin(key)
        job.blocks = job.pinned = 0

    # --- admission and preemption ------------------------------------------------------------------------------

    def _ratio(self) -> float:
        _, floor, decay = self.setup.ratio
        return max(self.ratio - decay * self.ratio_steps, floor)

    def whole(self, job: Job) -> int:
        """KV blocks of a request when its last token is generated."""
        return self._blocks(job.input + job.output + self.engine.speculative_tokens, finished=True)

    def _admissible(self, job: Job, budget: int, reserve: float) -> bool:
        engine, hits = self.engine, self.pool.hits(job.keys)
        room = self.pool.available - self.pool.block_kv * self.pool.idle_among(job.keys[:hits])
        held = hits * self.pool.block_kv
        cached = min(hits * self.setup.chains.hash_tokens, job.target - 1)
        if not engine.chunked_prefill and budget < job.target - cached <= engine.token_budget:
            return False
        if engine.scheduler == "tensorrt_llm":
            promised = sum(self.whole(other) - other.blocks for other in self.running)
            return self.whole(job) - held <= room - promised
        if engine.scheduler == "sglang":
            outstanding = sum(other.output - other.generated for other in self.running)
            wanted = (
                max(job.target - held * engine.block_tokens, 0)
                + job.output
                - job.generated
                + 2 * engine.speculative_tokens
            )
            return wanted <= room * engine.block_tokens - self._ratio() * outstanding - reserve
        if self.running:
            room -= int(engine.watermark * engine.kv_blocks)
        first = min(cached + budget, job.target)
        tokens = job.target if engine.admit_whole_prompt else first
        return self._blocks(tokens, finished=tokens == job.target) - held <= room

    def _admit(self, job: Job, now: float) -> None:
        self.queue(job).popleft()
        hits = self.pool.hits(job.keys)
        for key in job.keys[:hits]:
            self.pool.pin(key)
        job.pinned = hits
        job.blocks = hits * self.pool.block_kv
        job.tokens = min(hits * self.setup.chains.hash_tokens, job.target - 1)
        job.order = self.admissions
        self.admissions += 1
        self.running.append(job)
        self.meter.admitted(job, now)

    def _victim(self) -> Job:
        """Who must go: the last admitted one of the least urgent class; SGLang: the one that generated least."""
        if self.engine.scheduler == "sglang":
            return min((job for job in self.running if job.decoding), key=lambda j: (j.generated, -j.input, -j.order))
        if self.engine.policy == "priority":
            return max(self.running, key=lambda job: (job.priority, job.order))
        return self.running[-1]

    def _preempt(self, job: Job) -> None:
        """Give up the KV of a running request and put it back into the queue."""
        self._leave(job)
        job.target = job.input + job.generated
        self.batch.preempted = True
        self.meter.preempted(job)
        if self.engine.scheduler == "sglang":
            self.queue(job).append(job)
            others = [other for other in self.running if other.decoding]
            decoded = sum(other.generated for other in others) + RETRACT_STEPS * len(others)
            self.ratio = min(decoded / (sum(other.output for other in others) + 1.0), 1.0)
            self.ratio_steps = 0
        else:
            self.queue(job).appendleft(job)

    def _leave(self, job: Job) -> None:
        """Take a request out of the running ones and free its memory."""
        if job.decoding:
            self.meter.charge(job, self.meter.decode_share_j - job.decode_mark_j)
        self._release(job)
        self.running.remove(job)
        job.tokens = 0

    # --- the step itself ---------------------------------------------------------------------------------------

    def seconds(self) -> float:
        """Duration of the planned step on this rank [s]; 0 when it is empty."""
        batch = self.batch
        tokens = batch.prefill_tokens + self.engine.query_tokens * len(batch.decodes)
        if tokens == 0:
            return 0.0
        requests = len(batch.chunks) + len(batch.decodes)
        return step_seconds(
            self.setup.table, self.setup.base_s, tokens, requests, 0.5 * batch.pairs_twice, batch.kv_tokens
        )

    def finish(self, start: float, end: float) -> list[Job]:
        """Let the planned step take effect at `end` [s]; returns the requests that are done, in order."""
        batch, done = self.batch, []
        self._account(start, end)
        self.ratio_steps += bool(batch.decodes)
        for job in batch.decodes:
            self.meter.token(job, end)
        for job in sorted(batch.decodes, key=lambda job: (job.output - job.generated, job.order)):
            job.tokens += batch.advance
            job.target = job.tokens
            job.generated = min(job.generated + batch.advance, job.output)
            if job.generated == job.output:
                done.append(job)
        for job, _ in batch.chunks:
            if job.decoding:  # the step that finishes a prompt samples a token
                self.meter.token(job, end)
                job.generated += 1
                job.decode_mark_j = self.meter.decode_share_j
                if job.generated == job.output:
                    done.append(job)
        for job in done:
            self._leave(job)
            self.meter.ended(job, end)
        if self.outstanding == 0:
            self.ratio, self.ratio_steps = self.setup.ratio[0], 0
        self.batch = Batch()
        return done

    def _account(self, start: float, end: float) -> None:
        batch, setup = self.batch, self.setup
        prefill, decode = batch.prefill_tokens, self.engine.query_tokens * len(batch.decodes)
        if prefill + decode == 0:
            self.meter.stalled(end - start)
            return
        sums = (len(batch.chunks) + len(batch.decodes), 0.5 * batch.pairs_twice, batch.kv_tokens)
        joules = step_joules(setup.table, setup.base_j, end - start, (prefill, decode), sums)
        for job, chunk in batch.chunks:
            self.meter.charge(job, joules[0] * (chunk / prefill))
        if batch.decodes:
            self.meter.decode_share_j += joules[1] / len(batch.decodes)
        given = sum(min(batch.advance, job.output - job.generated) for job in batch.decodes)
        self.meter.step((start, end), batch, given, joules, self.pool.used)
        self.meter.log((start, end), batch, sum(len(line) for line in self.waiting), self.pool.used)
