"""Sections of a study for the serving simulator: how requests arrive, how they are served, and what goes wrong."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from suanli.search.amounts import Bandwidth, Duration, Memory, Moment, Strict
from suanli.serving.config import Policy, Router

Count = Annotated[int, Field(ge=1)]
Process = Literal["poisson", "gamma", "diurnal", "bursts"]
# Keys that each process needs
NEEDED: dict[Process, tuple[str, ...]] = {
    "poisson": (),
    "gamma": ("cv",),
    "diurnal": ("peak_to_mean", "period"),
    "bursts": ("factor", "calm", "burst"),
}


class Arrivals(Strict):
    """When requests come, around the rate of the workload; without a process as bursty as the profile says."""

    process: Process | None = None
    cv: Annotated[float, Field(gt=0)] | None = None  # gamma: coefficient of variation of the gaps
    peak_to_mean: Annotated[float, Field(ge=1, le=2)] | None = None  # diurnal
    period: Duration | None = None  # diurnal
    factor: Annotated[float, Field(gt=1)] | None = None  # bursts: rate inside one over the rate outside
    calm: Duration | None = None  # mean time between bursts
    burst: Duration | None = None  # mean length of one

    @model_validator(mode="after")
    def _keys_of_the_process(self) -> Self:
        needed = NEEDED[self.process] if self.process else ()
        given = [name for name in type(self).model_fields if name != "process" and getattr(self, name) is not None]
        missing = [name for name in needed if name not in given]
        if missing:
            raise ValueError(f"process {self.process} needs {', '.join(missing)}")
        if spare := [name for name in given if name not in needed]:
            raise ValueError(f"{', '.join(spare)} do not belong to process {self.process or '(none)'}")
        return self


class Sessions(Strict):
    """Conversations: every turn sends the whole conversation so far again, with `new_tokens` more."""

    turns: Annotated[int, Field(ge=2)]
    new_tokens: Count
    think: Moment  # between an answer and the next turn


class Outage(Strict):
    """A replica that fails; those of a decode pool are numbered behind the others."""

    replica: Annotated[int, Field(ge=0)]
    start: Moment
    end: Duration | None = None  # when it is back; never, when not given


class Autoscale(Strict):
    """Replicas that come and go with the requests in the system."""

    minimum: Count
    maximum: Count
    target_outstanding: Annotated[float, Field(gt=0)]  # requests per replica
    interval: Duration  # between looks
    startup: Moment  # until a new replica serves


class Serving(Strict):
    """Settings of the engines and of what stands before them; what is not given follows from the plan."""

    router: Router = "least_outstanding"
    policy: Policy = "fcfs"  # order of waiting requests
    prefix_caching: bool | None = None  # on where the requests share prefixes
    kv_blocks: Count | None = None  # per rank, as the engine logs them
    max_num_seqs: Count | None = None  # per rank, as the engine is told
    host_kv: Memory | None = None  # per chip, for what the prefix cache evicts
    host_bandwidth: Bandwidth | None = None  # per chip, from there to the chip
    speculative_tokens: Annotated[int, Field(ge=0)] = 0
    acceptance: Annotated[float, Field(ge=0, le=1)] | None = None  # of each drafted token
    draft_time: Moment | None = None  # to draft them, per step
    max_queue: Count | None = None  # waiting requests at a rank; further ones are refused
    ttft_timeout: Duration | None = None  # a client leaves without first token
    timeout: Duration | None = None  # a client leaves without last token
    outages: tuple[Outage, ...] = ()
    autoscale: Autoscale | None = None

    @model_validator(mode="after")
    def _together(self) -> Self:
        if (self.host_kv is None) != (self.host_bandwidth is None):
            raise ValueError("host_kv and host_bandwidth go together")
        if self.host_kv is not None and self.prefix_caching is False:
            raise ValueError("host_kv holds what the prefix cache evicts: not with prefix_caching: false")
        drafting = (self.acceptance is not None, self.draft_time is not None)
        if drafting != (self.speculative_tokens > 0,) * 2:
            raise ValueError("speculative_tokens, acceptance and draft_time go together")
        return self
