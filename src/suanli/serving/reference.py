"""One engine rank in readable Python: the specification of scheduling, memory and accounting.

A step is planned at its start (`plan`) and takes effect at its end (`finish`). Everything that happens to a request
inside an engine happens here; `reference_cluster` decides when.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from suanli.serving.cost import step_joules, step_seconds
from suanli.serving.outcome import DONE
from suanli.serving.reference_blocks import BlockPool
from suanli.serving.reference_job import Batch, Hold, Job
from suanli.serving.reference_meter import Meter
from suanli.serving.setup import ADVANCE_BITS, RETRACT_STEPS, Pool
from suanli.workload.requests import PRIORITIES


class Rank:
    """An engine rank: waiting and running requests, KV blocks, counters.

    fetch : called when a request whose prompt was computed elsewhere has its memory here.
    """

    def __init__(self, pool: Pool, meter: Meter, fetch: Callable[[Job], None]) -> None:
        self.pool = pool
        self.engine = pool.engine
        self.meter = meter
        self.fetch = fetch
        self.waiting: list[deque[Job]] = [deque() for _ in range(PRIORITIES)]
        self.running: list[Job] = []  # in order of admission
        self.expired: list[Job] = []  # to be taken out at the end of the step
        self.admissions = 0
        self.advance_part = 0  # fixed-point fraction of a token not yet given
        self.wipe()

    def wipe(self) -> None:
        """Lose all memory and the step in progress."""
        host = self.engine.host_kv_blocks // self.pool.block_kv if self.pool.block_kv else 0
        self.blocks = BlockPool(self.engine.kv_blocks, self.pool.block_kv, host)
        self.batch = Batch()
        self.expired = []
        self._rest()

    def _rest(self) -> None:
        self.ratio, self.ratio_steps = self.pool.ratio[0], 0

    # --- queue -------------------------------------------------------------------------------------------------

    def enqueue(self, job: Job) -> None:
        """A request is sent here."""
        job.rank = self
        job.due = job.generated + 1 if self.pool.hands_over else job.output
        self.waiting[job.line].append(job)

    def waiting_jobs(self) -> Iterator[Job]:
        """Waiting requests in the order in which they will be looked at."""
        for line in self.waiting:
            yield from line

    @property
    def queued(self) -> int:
        """Requests that wait."""
        return sum(len(line) for line in self.waiting)

    @property
    def outstanding(self) -> int:
        """Requests that were sent here and have not left."""
        return len(self.running) + self.queued

    @property
    def load_tokens(self) -> int:
        """KV in use and prompts waiting [token]."""
        return self.blocks.used * self.engine.block_tokens + sum(job.target for job in self.waiting_jobs())

    def uncached_tokens(self, job: Job) -> int:
        """Prompt tokens that this rank would have to compute [token]."""
        return job.target - min(sum(self._hits(job)) * self.pool.hash_tokens, job.target - 1)

    # --- planning a step ---------------------------------------------------------------------------------------

    def plan(self, now: float) -> Batch:
        """Decide what the next step does and take its memory; an empty batch when there is nothing to do."""
        self.batch = Batch()
        for job in self.running:
            if job.decoding and job.decode_mark_j is None:  # its KV has arrived
                job.decode_mark_j = self.meter.decode_share_j
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
        self.advance_part += self.pool.advance
        self.batch.advance = self.advance_part >> ADVANCE_BITS
        self.advance_part &= (1 << ADVANCE_BITS) - 1
        while sum(map(self._decode_need, decoding)) > self.blocks.available:
            self._preempt(self._victim())
            decoding = [job for job in decoding if job in self.running]
        for job in decoding:
            self._grow(job, self._decode_need(job))
        self.batch.decodes = decoding

    def _plan_prompts(self, now: float) -> None:
        budget = self.engine.token_budget - self.engine.query_tokens * len(self.batch.decodes)
        for job in [job for job in self.running if job.tokens < job.target]:  # at most one prompt is unfinished
            budget -= self._chunk(job, budget)
        reserve = 0.0  # SGLang: output of requests admitted in this step counts fully
        while budget > 0 and not self.batch.preempted and len(self.running) < self.engine.max_num_seqs:
            first = next(self.waiting_jobs(), None)
            if first is None or not self._admissible(first, budget, reserve):
                return
            reserve += (1.0 - self._ratio()) * (first.due - first.generated)
            if first.hold:
                self._admit_computed(first, now)
            else:
                self._admit(first, now)
                budget -= self._chunk(first, budget)

    def _chunk(self, job: Job, budget: int) -> int:
        """Put the next chunk of a prompt into the step; returns its tokens, 0 when there is no room."""
        chunk = min(job.target - job.tokens, budget)
        need = max(self._blocks_of(job.tokens + chunk, finished=job.tokens + chunk == job.target) - job.blocks, 0)
        while need > self.blocks.available:
            victim = job if self.engine.scheduler == "sglang" else self._victim()
            self._preempt(victim)
            if victim is job:
                return 0
        self._grow(job, need)
        self.batch.chunks.append((job, chunk))
        self.batch.pairs_twice += chunk * (2 * job.tokens + chunk)
        job.tokens += chunk
        if self.pool.block_kv:
            while job.pinned < len(job.keys) and (job.pinned + 1) * self.pool.hash_tokens <= job.tokens:
                self.blocks.publish(job.keys[job.pinned])
                job.pinned += 1
        return chunk

    # --- memory ------------------------------------------------------------------------------------------------

    def _hits(self, job: Job) -> tuple[int, int]:
        """Hash blocks of a prompt cached here, and those after them in the second memory."""
        return self.blocks.hits(job.keys) if self.pool.block_kv else (0, 0)

    def _blocks_of(self, tokens: int, *, finished: bool) -> int:
        """KV blocks for `tokens`, with the slots of draft tokens once the prompt is finished."""
        slots = tokens + (self.engine.speculative_tokens if finished else 0)
        return -(-slots // self.engine.block_tokens)

    def _decode_need(self, job: Job) -> int:
        return self._blocks_of(job.tokens + self.batch.advance, finished=True) - job.blocks

    def whole(self, job: Job) -> int:
        """KV blocks of a request when its last token here is generated."""
        return self._blocks_of(job.input + job.due + self.engine.speculative_tokens, finished=True)

    def can_hold(self, job: Job) -> bool:
        """Whether the request fits into the memory of this rank when nothing else is there."""
        slots = job.input + job.output + self.engine.speculative_tokens
        return self._blocks_of(slots, finished=True) <= self.engine.kv_blocks

    def _grow(self, job: Job, blocks: int) -> None:
        self.blocks.take(blocks)
        job.blocks += blocks

    def _release(self, job: Job, blocks: int, pinned: int) -> None:
        self.blocks.give(blocks - pinned * self.pool.block_kv)
        for key in reversed(job.keys[:pinned]):
            self.blocks.unpin(key)

    # --- admission and preemption ------------------------------------------------------------------------------

    def _ratio(self) -> float:
        _, floor, decay = self.pool.ratio
        return max(self.ratio - decay * self.ratio_steps, floor)

    def _admissible(self, job: Job, budget: int, reserve: float) -> bool:
        engine = self.engine
        hits, loads = self._hits(job)
        room = self.blocks.available - self.pool.block_kv * self.blocks.idle_among(job.keys[:hits])
        held = hits * self.pool.block_kv
        cached = job.target if job.hold else min((hits + loads) * self.pool.hash_tokens, job.target - 1)
        if not engine.chunked_prefill and budget < job.target - cached <= engine.token_budget:
            return False
        if engine.scheduler == "tensorrt_llm":
            promised = sum(self.whole(other) - other.blocks for other in self.running)
            return self.whole(job) - held <= room - promised
        if engine.scheduler == "sglang":
            outstanding = sum(other.due - other.generated for other in self.running)
            own = job.due - job.generated + 2 * engine.speculative_tokens
            wanted = max(job.target - held * engine.block_tokens, 0) + own
            return wanted <= room * engine.block_tokens - self._ratio() * outstanding - reserve
        if self.running:
            room -= int(engine.watermark * engine.kv_blocks)
        tokens = job.target if engine.admit_whole_prompt else min(cached + budget, job.target)
        return self._blocks_of(tokens, finished=tokens == job.target) - held <= room

    def _enter(self, job: Job) -> None:
        self.waiting[job.line].popleft()
        job.order = self.admissions
        self.admissions += 1
        self.running.append(job)

    def _admit(self, job: Job, now: float) -> None:
        self._enter(job)
        hits, loads = self._hits(job)
        for key in job.keys[:hits]:
            self.blocks.pin(key)
        job.pinned = hits + loads
        self.blocks.load(job.keys[hits : job.pinned])
        self.batch.loaded_tokens += loads * self.pool.hash_tokens
        job.blocks = job.pinned * self.pool.block_kv
        job.tokens = min(job.pinned * self.pool.hash_tokens, job.target - 1)
        self.meter.admitted(job, now)

    def _admit_computed(self, job: Job, now: float) -> None:
        """Make room for a request whose prompt was computed elsewhere, and fetch its KV."""
        self._enter(job)
        job.tokens = job.target
        job.fetched_s = now
        self._grow(job, self._blocks_of(job.target, finished=True))
        self.fetch(job)

    def _victim(self) -> Job:
        """Who must go: the last admitted one of the least urgent class; SGLang: the one that generated least."""
        if self.engine.scheduler == "sglang":
            return min((job for job in self.running if job.decoding), key=lambda j: (j.generated, -j.input, -j.order))
        return max((job for job in self.running if job.fetched_s is None), key=lambda job: (job.line, job.order))

    def _preempt(self, job: Job) -> None:
        """Give up the KV of a running request and put it back into the queue."""
        self.leave(job)
        job.rank = self
        self.batch.preempted = True
        self.meter.preempted(job)
        if self.engine.scheduler == "sglang":
            self.waiting[job.line].append(job)
            others = [other for other in self.running if other.decoding]
            decoded = sum(other.generated for other in others) + RETRACT_STEPS * len(others)
            self.ratio = min(decoded / (sum(other.due for other in others) + 1.0), 1.0)
            self.ratio_steps = 0
        else:
            self.waiting[job.line].appendleft(job)

    def leave(self, job: Job) -> None:
        """Take a request out of the queue or the running ones and free its memory here."""
        if job in self.running:
            if job.decode_mark_j is not None:
                self.meter.charge(job, self.meter.decode_share_j - job.decode_mark_j)
            self._release(job, job.blocks, job.pinned)
            self.running.remove(job)
        else:
            self.waiting[job.line].remove(job)
        job.tokens = job.blocks = job.pinned = 0
        job.target = job.input + job.generated
        job.decode_mark_j = job.fetched_s = job.rank = None

    def hand_over(self, job: Job) -> None:
        """The prompt is finished and the request goes on elsewhere; its KV stays until it has been fetched."""
        job.hold = Hold(self, job.blocks, job.pinned)
        self.running.remove(job)
        job.blocks = job.pinned = job.tokens = 0
        job.decode_mark_j = job.rank = None

    def drop_own(self, job: Job) -> None:
        """Forget the idle hash blocks that no other request shares."""
        for key in job.keys:
            if isinstance(key, tuple):
                self.blocks.drop(key)

    @staticmethod
    def let_go(job: Job) -> None:
        """The KV kept for a request is not needed any more."""
        if job.hold:
            job.hold.rank._release(job, job.hold.blocks, job.hold.pinned)
            job.hold = None

    # --- the step itself ---------------------------------------------------------------------------------------

    def seconds(self) -> float:
        """Duration of the planned step on this rank [s]; 0 when it is empty."""
        batch, pool = self.batch, self.pool
        tokens = batch.prefill_tokens + self.engine.query_tokens * len(batch.decodes)
        if tokens == 0:
            return 0.0
        requests = len(batch.chunks) + len(batch.decodes)
        seconds = step_seconds(
            pool.table, float(pool.base_s[tokens]), requests, 0.5 * batch.pairs_twice, batch.kv_tokens
        )
        return seconds + self.engine.host_load_s_per_token * batch.loaded_tokens

    def finish(self, start: float, end: float) -> tuple[list[Job], list[Job]]:
        """Let the planned step take effect at `end` [s]; returns the requests that are done and those handed over."""
        self._account(start, end)
        done = self._advance_decodes(end)
        handed = self._finish_prompts(end, done)
        for job in done:
            self.leave(job)
            self.meter.ended(job, end, DONE)
        for job in handed:
            self.hand_over(job)
        if self.outstanding == 0:
            self._rest()
        self.batch = Batch()
        return done, handed

    def _advance_decodes(self, end: float) -> list[Job]:
        """Every decoding request gets its tokens; returns those that are done."""
        batch = self.batch
        self.ratio_steps += bool(batch.decodes)
        for job in batch.decodes:
            self.meter.token(job, end)
        order = sorted(batch.decodes, key=lambda job: (job.output - job.generated, job.order))
        for job in order:
            job.tokens += batch.advance
            job.target = job.tokens
            job.generated = min(job.generated + batch.advance, job.output)
        return [job for job in order if job.generated == job.output]

    def _finish_prompts(self, end: float, done: list[Job]) -> list[Job]:
        """The step that finishes a prompt samples a token; adds to `done`, returns those that go on elsewhere."""
        handed = []
        for job, _ in self.batch.chunks:
            if not job.decoding:
                continue
            job.generated += 1
            job.decode_mark_j = self.meter.decode_share_j
            if self.pool.hands_over and job.generated < job.output:
                handed.append(job)
                continue
            self.meter.token(job, end)
            if job.generated == job.output:
                done.append(job)
        return handed

    def _account(self, start: float, end: float) -> None:
        batch, pool = self.batch, self.pool
        prefill, decode = batch.prefill_tokens, self.engine.query_tokens * len(batch.decodes)
        if prefill + decode == 0:
            self.meter.stalled(end - start)
            return
        sums = (len(batch.chunks) + len(batch.decodes), 0.5 * batch.pairs_twice, batch.kv_tokens)
        joules = step_joules(pool.table, float(pool.base_j[prefill + decode]), end - start, (prefill, decode), sums)
        for job, chunk in batch.chunks:
            self.meter.charge(job, joules[0] * (chunk / prefill))
        if batch.decodes:
            self.meter.decode_share_j += joules[1] / len(batch.decodes)
        given = sum(min(batch.advance, job.output - job.generated) for job in batch.decodes)
        self.meter.step((start, end), batch, given, joules, self.blocks.used)
        self.meter.log((start, end), batch, self.queued, self.blocks.used)
