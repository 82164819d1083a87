"""The best candidates of a plan replayed under its requests: percentiles, size and power as the simulator sees them.

The closed form screens tens of thousands of deployments. What it ranks first is served request by request. A deployment
that misses a limit there gets further instances until it keeps it, is priced again, and takes the place that its new
price gives it; the next candidate is replayed in turn, until all of the first rows were. Where another deployment of
the same system promises to cost less than that, it is replayed too. A system of which none holds at any size within
MOST_GROWTH keeps the size of the closed form, is marked and goes to the end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from suanli.search.assemble import Choice
from suanli.search.instance import Instance
from suanli.search.rank import ranked, sort_key
from suanli.search.replay import Bench
from suanli.search.replayed import Missed, Replayed
from suanli.search.result import Deployment
from suanli.search.study import Slo
from suanli.serving.outcome import DONE, SERIES
from suanli.serving.summary import Result
from suanli.serving.summary import Slo as RequestSlo

MS = 1e3
REPLAYS = 5  # rows that are replayed when nothing is said
MOST_GROWTH = 2.0  # times the instances of the closed form that are tried
SIZES = 8  # sizes tried up to there
SETTLEMENTS = 4  # systems that are looked at for each row to be replayed: those that fail make room for others
GIVEN_UP = "not replayed: too many systems before it failed theirs; see suanli simulate"
STEP, BISECTIONS = 1.25, 3  # of the search for the highest rate: to 3 %
WIDENINGS = 4
# Steps of ranks that a plan simulates: a deployment that needs more for one run is left to `suanli simulate`, and the
# highest rate is looked for where all of its runs stay within SEARCHED_STEPS.
MOST_STEPS, SEARCHED_STEPS = 2_000_000, 4_000_000
MOST_RANKS = 3_000  # that a plan simulates: memory and time of a step grow with them
BUSY = 0.9  # share of the time at work from which a prefill pool holds its prompts up itself
UNSERVED = 0.01  # share of requests without an end from which a deployment does not serve its traffic
# Requests come faster than they are served when the last tenth waits longer than this share of the whole run: behind a
# queue that grows it waits for the excess of the rate, behind one that does not for a few steps.
WAIT_SHARE, LAST = 0.05, 0.1

Rebuild = Callable[[tuple[Choice, ...]], Deployment | None]


@dataclass(frozen=True)
class Trial:
    """One run of a deployment at some size and rate."""

    result: Result
    missed: tuple[Missed, ...]
    behind: bool

    @property
    def kept(self) -> bool:
        """Whether the SLO holds."""
        return not self.missed and not self.behind


def verified(
    order: Sequence[Deployment],
    spares: Mapping[tuple[str, ...], Sequence[Deployment]],
    bench: Bench,
    count: int,
    objective: str,
    rebuild: Rebuild,
) -> tuple[Deployment, ...]:
    """The plan with its first `count` rows replayed, ranked by what they cost at the size that they need.

    spares : further deployments of the systems of a row, best first. rebuild : assembles choices again, at the size
    and power that they carry; None where a limit of the study breaks.
    """
    found = tuple(order)
    for _ in range(SETTLEMENTS * count):
        row = next((row for row, one in enumerate(found[:count]) if one.replay is None and not one.unreplayed), None)
        if row is None:
            break
        one = found[row]
        checked = _settled((one, *spares.get(one.systems, ())), bench, rebuild, objective)
        found = ranked([*found[:row], checked, *found[row + 1 :]], objective)
    return (
        tuple(
            replace(one, unreplayed=one.unreplayed or GIVEN_UP) if one.replay is None else one for one in found[:count]
        )
        + found[count:]
    )


def _settled(options: Sequence[Deployment], bench: Bench, rebuild: Rebuild, objective: str) -> Deployment:
    """The best of the deployments of a system that keeps the SLO when replayed; the first of them where none does.

    A replay never asks for fewer instances than the closed form, so an option is not tried where one that holds beats
    its promise. What is too large to be replayed takes nobody's place.
    """
    best = first = _checked_or_left(options[0], bench, rebuild)
    for option in options[1:]:
        if first.replay is None or (not best.fails and sort_key(best, objective) <= sort_key(option, objective)):
            continue
        other = _checked_or_left(option, bench, rebuild)
        holds = other.replay is not None and not other.fails
        if holds and (best.fails or sort_key(other, objective) < sort_key(best, objective)):
            best = replace(other, also_on=first.also_on)
    return best


def _checked_or_left(one: Deployment, bench: Bench, rebuild: Rebuild) -> Deployment:
    ranks = sum(pool.instances * pool.dp for pool in one.pools)
    if ranks > MOST_RANKS:
        return replace(one, unreplayed=f"not replayed: {ranks:,} ranks, a plan simulates {MOST_RANKS:,}")
    arrivals = bench.requests.arrival_s
    span_s = float(arrivals[-1]) or len(arrivals) / max(one.value("max_request_s"), 1e-9)
    steps = span_s / one.value("tpot_p50_ms") * MS * ranks
    if steps <= MOST_STEPS:
        return _checked(one, bench, rebuild)
    why = f"not replayed: {steps:,.0f} steps of {ranks:,} ranks, a plan simulates {MOST_STEPS:,}; see suanli simulate"
    return replace(one, unreplayed=why)


def _checked(one: Deployment, bench: Bench, rebuild: Rebuild) -> Deployment:
    """A deployment with its replay, at a size that keeps the SLO and of which no pool alone can be smaller."""
    pools = bench.instances(one.pools)
    trial = first = _trial(bench, pools)
    for _ in range(SIZES):
        if trial.kept:
            break
        pools = _grown(pools, one, trial)
        if any(
            now.pool.instances > MOST_GROWTH * then.instances + 1 for now, then in zip(pools, one.pools, strict=True)
        ):
            break
        trial = _trial(bench, pools)
    if trial.kept:
        pools, trial = _trimmed(bench, pools, one, trial)
        sized = rebuild(_choices(one, pools, trial.result))
        if sized is not None:
            return replace(sized, also_on=one.also_on, replay=_replayed(bench, pools, trial, one))
    pools = bench.instances(one.pools)
    same = rebuild(_choices(one, pools, first.result)) or one
    return replace(same, also_on=one.also_on, replay=_replayed(bench, pools, first, one))


def _trimmed(bench: Bench, pools: list[Instance], one: Deployment, trial: Trial) -> tuple[list[Instance], Trial]:
    """Take back what a grown pool does not need beside the other one: bisection down to the planned size."""
    for place, planned in enumerate(one.pools):
        low = planned.instances
        while low < pools[place].pool.instances:
            middle = (low + pools[place].pool.instances) // 2
            fewer = list(pools)
            fewer[place] = replace(fewer[place], pool=replace(fewer[place].pool, instances=middle))
            found = _trial(bench, fewer)
            if found.kept:
                pools, trial = fewer, found
            else:
                low = middle + 1
    return pools, trial


def _choices(one: Deployment, pools: Sequence[Instance], result: Result) -> tuple[Choice, ...]:
    powers = chip_powers(result, pools)
    return tuple(
        replace(choice, instances=instance.pool.instances, chip_power=power)
        for choice, instance, power in zip(one.choices, pools, powers, strict=True)
    )


def _grown(pools: Sequence[Instance], one: Deployment, trial: Trial) -> list[Instance]:
    """The pools with more instances where a limit is missed: prompts decide TTFT, decoding decides TPOT.

    Prompts that wait while their pool is not always at work wait for room where they are decoded.
    """
    metrics = {missed.metric for missed in trial.missed}
    waiting = "ttft" in metrics or trial.behind
    held_up = waiting and len(pools) > 1 and prefill_busy(trial.result) < BUSY
    slow = {"prefill": waiting and not held_up, "decode": "tpot" in metrics or held_up}
    found = []
    for instance, planned in zip(pools, one.pools, strict=True):
        more = max(round(planned.instances * (MOST_GROWTH - 1.0) / SIZES), 1)
        size = instance.pool.instances + (more if slow.get(planned.role, True) else 0)
        found.append(replace(instance, pool=replace(instance.pool, instances=size)))
    return found


def prefill_busy(result: Result) -> float:
    """Share of the time until the last arrival in which the ranks of the first pool run a step [-]."""
    outcome, pool = result.outcome, result.setup.pools[0]
    bins = max(int(float(np.nanmax(result.records["arrival_s"])) / outcome.sample_s), 1)
    ranks = pool.replicas * pool.ranks
    busy_s = float(outcome.series[:ranks, :bins, SERIES.index("busy_s")].sum())
    return busy_s / (ranks * bins * outcome.sample_s)


def _trial(bench: Bench, pools: Sequence[Instance], factor: float = 1.0) -> Trial:
    """Serve the requests, `factor` times as fast."""
    requests = bench.requests if factor == 1.0 else bench.requests.at_rate(factor)
    result = bench.run(pools, requests)
    open_loop = bench.study.workload.rate is not None
    return Trial(result, tuple(missed_limits(result, bench.study.slo)), open_loop and behind(result))


def missed_limits(result: Result, slo: Slo) -> list[Missed]:
    """Limits that the requests do not keep; a request that never gets its tokens counts as infinitely slow."""
    lost = result.records["status"] != DONE
    found = []
    for metric, times in (("ttft", result.ttft_s), ("tpot", result.tpot_s)):
        limits = slo.limits(metric)  # type: ignore[arg-type]
        if not limits:
            continue
        counted = np.where(lost, np.inf, times)
        counted = np.sort(counted[~np.isnan(counted)])
        for percentile, limit in limits.items():
            value = _percentile(counted, float(percentile[1:]) / 100.0)
            if value > limit:
                found.append(Missed(metric, percentile, value if np.isfinite(value) else None, limit))
    return found


def _percentile(ordered: NDArray[np.float64], share: float) -> float:
    """Value that a share of the sorted values does not exceed; 0 of none."""
    if ordered.size == 0:
        return 0.0
    return float(ordered[min(int(np.ceil(share * ordered.size)) - 1, ordered.size - 1)])


def behind(result: Result) -> bool:
    """Whether an open loop brings requests faster than they are served, or more than UNSERVED of them get lost."""
    records = result.records
    if np.mean(records["status"] != DONE) > UNSERVED:
        return True
    last = max(int(records.size * LAST), 1)
    return bool(np.nanmean(result.queue_s[-last:]) > WAIT_SHARE * result.outcome.end_s and records.size > 1 / LAST)


def chip_powers(result: Result, pools: Sequence[Instance]) -> list[float]:
    """Mean power of a chip of each pool while requests arrive [W]; idle power between steps included."""
    outcome = result.outcome
    arrivals = result.records["arrival_s"]
    span = float(np.nanmax(arrivals)) if result.setup.cluster.concurrency is None else outcome.end_s
    bins = max(int(span / outcome.sample_s), 1)
    seconds = bins * outcome.sample_s
    busy_s, energy_j = (outcome.series[:, :bins, SERIES.index(name)].sum(axis=1) for name in ("busy_s", "energy_j"))
    found = []
    for pool, instance in zip(result.setup.pools, pools, strict=True):
        ranks = slice(pool.first_rank, pool.first_rank + pool.replicas * pool.ranks)
        count = pool.replicas * pool.ranks
        idle = pool.table.idle_w * max(count * seconds - float(busy_s[ranks].sum()), 0.0)
        found.append((float(energy_j[ranks].sum()) + idle) / (seconds * count * instance.rank_chips))
    return found


def _replayed(bench: Bench, pools: Sequence[Instance], trial: Trial, planned: Deployment) -> Replayed:
    slo, rate = bench.study.slo, bench.study.workload.rate
    limits = RequestSlo(ttft_s=_strictest(slo, "ttft"), tpot_s=_strictest(slo, "tpot"))
    limited = limits.ttft_s is not None or limits.tpot_s is not None
    highest = None
    runs = WIDENINGS + BISECTIONS + 1
    affordable = runs * int(trial.result.outcome.totals["steps"].sum()) <= SEARCHED_STEPS
    if trial.kept and rate is not None and limited and affordable:
        sizes = zip(planned.pools, pools, strict=True)
        load = max(then.load * then.instances / now.pool.instances for then, now in sizes)
        highest = rate * highest_factor(lambda factor: _trial(bench, pools, factor).kept, 1.0 / load)
    return Replayed(
        summary=trial.result.summary(limits),
        roles=tuple(instance.pool.role for instance in pools),
        missed=trial.missed,
        behind=trial.behind,
        planned=tuple(pool.instances for pool in planned.pools),
        max_request_s=highest,
        utilisation=None if highest is None or rate is None else rate / highest,
    )


def _strictest(slo: Slo, metric: str) -> float | None:
    """Limit of the highest percentile: what a single request should keep [s]."""
    limits = slo.limits(metric)  # type: ignore[arg-type]
    return limits[max(limits)] if limits else None


def highest_factor(kept: Callable[[float], bool], guess: float) -> float:
    """Factor on the rate up to which the SLO holds, at least 1, where it is known to hold.

    From the guess of the closed form the rate moves in steps of STEP until the answer changes, then the step is halved
    BISECTIONS times.
    """
    low, high = 1.0, max(guess, STEP)
    if kept(high):
        for _ in range(WIDENINGS):
            low, high = high, high * STEP
            if not kept(high):
                break
    else:
        for _ in range(WIDENINGS):
            middle = high / STEP
            if middle <= low:
                break
            if kept(middle):
                low = middle
                break
            high = middle
    for _ in range(BISECTIONS):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if kept(middle) else (low, middle)
    return low
