"""The main job: a study in, a ranked plan out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from suanli.catalog.files import CatalogError
from suanli.catalog.loader import Catalog, load
from suanli.catalog.schema import Chip, System
from suanli.economics.finance import EconomicsError
from suanli.search.assemble import Choice, assemble, transfer_seconds
from suanli.search.candidates import Column, aggregated_column, decode_column, operating_point, prefill_column
from suanli.search.cite import citations_of, inputs_of, inputs_of_profile
from suanli.search.clocks import with_lower_clocks
from suanli.search.cost import NoPriceError, SystemCost, cost_or_rent
from suanli.search.demand import demand_of, traced
from suanli.search.evaluate import Evaluated, closed_rate, evaluate, offered_rate, order_of, screen
from suanli.search.excuses import any_fits, limit_excuse, power_excuse, slo_excuse
from suanli.search.front import front_of
from suanli.search.limits import too_long, unknown_region
from suanli.search.market import Market, market_of
from suanli.search.megawatt import PowerPrice
from suanli.search.model import StudyModel, read_model
from suanli.search.money import Money, Question, check, money_of, power_of, repriced
from suanli.search.rank import ranked, sort_key, without_twins
from suanli.search.records import Profiles, load_profiles
from suanli.search.replay import Bench
from suanli.search.result import Deployment, Excuse, Plan
from suanli.search.study import Study, StudyError
from suanli.search.systems import Ready, cited_sources, prepare, status_excuse, width_from_inputs
from suanli.search.traffic import workload_of
from suanli.search.verify import REPLAYS, verified
from suanli.serving.config import ConfigError
from suanli.serving.steady import Demand

Array = NDArray[np.float64]
# Two kinds of system have to promise a tenth less than one: a smaller gain is below what any prediction resolves.
PAIR_GAIN = 0.9

Progress = Callable[[str, int, int], None]
MS = 1e3
# Requests that are replayed: as many as come while ANSWERS answers are given one after the other, at the highest rate.
ANSWERS, FEWEST_REPLAYED, MOST_REPLAYED = 10.0, 5_000, 20_000
GAVE_WAY = "gave way to another deployment of its system: misses the SLO when replayed, or costs more then"
KEEP = 2  # aggregated rows per system that are worked out in full


@dataclass(frozen=True)
class Context:
    """What all systems of a plan share."""

    study: Study
    catalog: Catalog
    profiles: Profiles
    model: StudyModel
    demand: Demand
    market: Market

    @property
    def question(self) -> Question:
        """What the money of the plan depends on."""
        return Question(self.study, self.market, self.catalog, self.demand, self.model.graph.id)


def plan(
    study: Study, *, catalog: Catalog | None = None, progress: Progress | None = None, replays: int = REPLAYS
) -> Plan:
    """Rank the deployments that answer a study. Raises StudyError with every problem of the study.

    `progress` is called with (system id, number done, number in all). The best `replays` rows are replayed in the
    serving simulator; 0 leaves the closed form as it is.
    """
    context = _context(study, catalog)
    study = context.study
    systems, excuses = _systems(context)
    found: list[Deployment] = []
    others: list[Deployment] = []
    over_limit: list[Deployment] = []
    tables: list[Evaluated] = []
    costs: dict[str, SystemCost | None] = {}
    inputs: list[dict[str, object]] = inputs_of_profile(context.market.profile)
    for done, system in enumerate(systems):
        if progress:
            progress(system.id, done, len(systems))
        ready = _prepare(context, system)
        if isinstance(ready, Excuse):
            excuses.append(ready)
            continue
        costs[system.id], price_excuse = _cost(context, system)
        table = evaluate(ready, study, costs[system.id])
        tables.append(table)
        inputs += [dict(row) for row in inputs_of(ready, costs[system.id])]
        if price_excuse and study.objective == "usd_per_mtok":
            excuses.append(price_excuse)
            continue
        if not any_fits((table.aggregated, table.decode)):
            excuses.append(slo_excuse(system.id, (table.aggregated, table.decode), study.slo))
            continue
        within, beyond, excuse = _deployments(context, table, costs[system.id])
        found += within[:1]
        others += within[1:]
        over_limit += beyond[:1]
        if excuse:
            excuses.append(excuse)
    if progress:
        progress("pairs", len(systems), len(systems))
    pairs, beyond = _pairs(context, tables, costs)
    found, over_limit = found + pairs, over_limit + beyond
    first = ranked(without_twins(found), study.objective)
    order = _verified(context, first, others, tables, replays)
    shown = {one.layout for one in order}
    given_way = [replace(one, rank=0, tie_with_best=False, p_beats_best=0.0, unreplayed=GAVE_WAY) for one in first]
    others = [one for one in (*others, *given_way) if one.layout not in shown]
    money, power = _money(context, order, over_limit, costs)
    order = repriced(order, money, study.objective) if money else order
    used = {name for one in (*order, *others) for name in one.sources} | set(context.market.profile.sources())
    return Plan(
        study=study.plain(),
        model=context.model.describe(),
        workload=context.demand.__dict__ | {"rate": study.workload.rate, "concurrency": study.workload.concurrency},
        objective=study.objective,
        deployments=order,
        alternatives=tuple(others),
        excuses=tuple(sorted(excuses, key=lambda excuse: excuse.system)),
        evaluated=sum(table.rows for table in tables),
        edition=study.edition,
        money=money,
        power=power,
        citations=citations_of(used, context.catalog),
        inputs=tuple(inputs),
        fronts={table.ready.system.id: front_of(table.aggregated, costs[table.ready.system.id]) for table in tables},
    )


def _verified(
    context: Context,
    order: Sequence[Deployment],
    others: Sequence[Deployment],
    tables: Sequence[Evaluated],
    replays: int,
) -> tuple[Deployment, ...]:
    """The plan with its best rows replayed, and `others` of the same systems where they hold at less.

    Raises StudyError for settings of the engines that cannot be.
    """
    if not replays or not order:
        return tuple(order)
    best = order[0]
    answer_s = (best.value("ttft_p50_ms") + context.demand.output_tokens * best.value("tpot_p50_ms")) / MS
    wanted = best.value("max_request_s") * ANSWERS * answer_s
    count = int(min(max(wanted, FEWEST_REPLAYED), MOST_REPLAYED))
    requests, notes = workload_of(context.study, context.catalog, count, 0)
    ready = {table.ready.system.id: table.ready for table in tables}
    bench = Bench(context.study, context.demand, requests, tuple(notes), ready)

    def rebuild(choices: tuple[Choice, ...]) -> Deployment | None:
        rate = context.study.workload.rate
        if rate is None:
            size, column = choices[0].instances or 1, choices[0].column
            users = float(context.study.workload.concurrency or 0.0)
            rate = size * closed_rate(column, choices[0].row, users / size)
        one = assemble(choices, rate, context.demand)
        return one if limit_excuse(one, context.study.limits, context.market.pue) is None else None

    try:
        spares: dict[tuple[str, ...], list[Deployment]] = {}
        for one in others:
            spares.setdefault(one.systems, []).append(one)
        return verified(order, spares, bench, replays, context.study.objective, rebuild)
    except ConfigError as error:
        raise StudyError([f"serving: {line}" for line in str(error).split("; ")]) from None


def _money(
    context: Context,
    order: Sequence[Deployment],
    over_limit: Sequence[Deployment],
    costs: Mapping[str, SystemCost | None],
) -> tuple[Money | None, PowerPrice | None]:
    """Money of the ranked deployments, and the price of a power cap. Raises StudyError."""
    try:
        money = money_of(order, {name: cost for name, cost in costs.items() if cost}, context.question)
        return money, power_of([*order, *over_limit], context.question)
    except EconomicsError as error:
        raise StudyError(list(error.problems)) from None


def _context(study: Study, catalog: Catalog | None) -> Context:
    problems: list[str] = []
    try:
        facts = catalog or load(study.overlays)
    except CatalogError as error:
        raise StudyError(error.problems) from None
    try:
        model = read_model(study.model, study.weights, facts)
    except StudyError as error:
        problems += error.problems
    try:
        study = traced(study)
        demand = demand_of(study, facts)
    except StudyError as error:
        problems += error.problems
    try:
        market = market_of(study, facts)
    except EconomicsError as error:
        problems += error.problems
    if study.systems != "all":
        try:
            facts.match_systems(study.systems)
        except CatalogError as error:
            problems += [f"systems: {line}" for line in error.problems]
    problems += unknown_region(study, facts)
    if problems:
        raise StudyError(problems)
    if long := too_long(demand, model.graph):
        raise StudyError(long)
    context = Context(study, facts, load_profiles(), model, demand, market)
    try:
        check(context.question)
    except EconomicsError as error:
        raise StudyError(list(error.problems)) from None
    return context


def _systems(context: Context) -> tuple[list[System], list[Excuse]]:
    """Systems to compute, and excuses for those that are left out beforehand."""
    study, catalog = context.study, context.catalog
    everything = study.systems == "all"
    chosen = tuple(catalog.systems.values()) if everything else catalog.match_systems(study.systems)
    literal = set() if everything else {name.lower() for name in study.systems}
    kept, excuses = [], []
    for system in chosen:
        named = bool(literal & {system.id, *(alias.lower() for alias in system.aliases)})
        chip = catalog.chip_of(system)
        excuse = status_excuse(system, chip, study, named=named)
        if excuse:
            excuses.append(excuse)
            continue
        for one, core in with_lower_clocks(system, chip, study.limits):
            hungry = _too_hungry(one, core, study)
            if hungry:
                excuses.append(hungry)
            else:
                kept.append(one)
    return kept, excuses


def _too_hungry(system: System, chip: Chip, study: Study) -> Excuse | None:
    known = chip.power.known and system.power.all_in_per_chip.known
    return power_excuse(system, chip, study.limits) if known else None


def _prepare(context: Context, system: System) -> Ready | Excuse:
    return prepare(
        system,
        context.catalog.chip_of(system),
        study=context.study,
        graph=context.model.graph,
        weights=context.model.weights,
        demand=context.demand,
        profiles=context.profiles,
    )


def _cost(context: Context, system: System) -> tuple[SystemCost | None, Excuse | None]:
    try:
        return cost_or_rent(system, context.market), None
    except (NoPriceError, EconomicsError) as error:
        return None, Excuse(system.id, str(error), "price")


def evaluated_tables(study: Study, catalog: Catalog | None = None) -> list[Evaluated]:
    """Tables of every system of a study, without choosing or describing anything. Raises StudyError."""
    context = _context(study, catalog)
    found = (_prepare(context, system) for system in _systems(context)[0])
    return [screen(ready, study) for ready in found if isinstance(ready, Ready)]


def _choice(ready: Ready, column: Column, row: int, cost: SystemCost | None, width: float) -> Choice:
    sources = (*cited_sources(ready.chip, ready.system), *(cost.sources if cost else ()))
    return Choice(column, row, ready.system, ready.chip, cost, ready.widths, ready.evidence, width, sources)


def _input_width(ready: Ready, column: Column, row: int, study: Study) -> float:
    """Factor from repeating one deployment at both ends of guessed inputs; 1 where everything is published."""
    if not ready.incomplete:
        return 1.0
    place = column.placements.take(np.array([row]))
    function = {"aggregated": aggregated_column, "prefill": prefill_column, "decode": decode_column}[column.role]
    low, high = (
        float(function(replace(column.setting, hardware=hardware), place, study.slo).rate[0])
        for hardware in (ready.low, ready.high)
    )
    return width_from_inputs(float(column.rate[row]), low, high)


def _deployments(
    context: Context, table: Evaluated, cost: SystemCost | None
) -> tuple[list[Deployment], list[Deployment], Excuse | None]:
    """Aggregated and same-system disaggregated deployments of one system, best first: within the limits, and beyond."""
    study, ready = context.study, table.ready
    found: list[Deployment] = []
    column = table.aggregated
    offered = offered_rate(study, column)
    score = order_of(column, ready, offered, study.objective, cost)
    rows = [int(row) for row in np.argsort(score, kind="stable")[:KEEP] if np.isfinite(score[row])]
    width = _input_width(ready, column, rows[0], study) if rows else 1.0
    for row in rows:
        choice, rate = _choice(ready, column, row, cost, width), float(offered[row])
        if study.workload.concurrency is not None:
            instances = choice.instances_for(rate)
            choice = replace(choice, instances=instances)
            rate = instances * closed_rate(column, row, study.workload.concurrency / instances)
        found.append(assemble((choice,), rate, context.demand))
    found += _disaggregated(context, table, table, cost, cost)
    found.sort(key=lambda one: sort_key(one, study.objective))
    broken = [limit_excuse(one, study.limits, context.market.pue) for one in found]
    within = [one for one, excuse in zip(found, broken, strict=True) if excuse is None]
    beyond = [one for one, excuse in zip(found, broken, strict=True) if excuse is not None]
    if found and not within:
        return [], beyond, Excuse(ready.system.id, str(broken[0]), "limit")
    if not found:
        return [], [], slo_excuse(ready.system.id, table.columns, study.slo)
    return within, beyond, None


def _disaggregated(
    context: Context, first: Evaluated, second: Evaluated, cost_first: SystemCost | None, cost_second: SystemCost | None
) -> list[Deployment]:
    """Best prefill pool on one system with the best decode pool on another (or the same)."""
    rate = context.study.workload.rate
    if rate is None or not (np.any(first.prefill.rate > 0.0) and np.any(second.decode.rate > 0.0)):
        return []
    study = context.study
    decode_row = _best_row(second.decode, second.ready, rate, study.objective, cost_second)
    prefill_row = _best_row(first.prefill, first.ready, rate, study.objective, cost_first)
    decode_width = _input_width(second.ready, second.decode, decode_row, study)
    decode = _choice(second.ready, second.decode, decode_row, cost_second, decode_width)
    sent = transfer_seconds(
        operating_point(first.prefill, prefill_row, float(first.prefill.rate[prefill_row])),
        operating_point(second.decode, decode_row, decode.best_rate),
    )
    if not np.isfinite(sent):
        return []
    # The transfer eats into the TTFT limit: choose the prefill pool again with it added.
    column = prefill_column(first.prefill.setting, first.prefill.placements, study.slo, sent)
    if not np.any(column.rate > 0.0):
        return []
    row = _best_row(column, first.ready, rate, study.objective, cost_first)
    prefill = _choice(first.ready, column, row, cost_first, _input_width(first.ready, column, row, study))
    return [assemble((prefill, decode), rate, context.demand)]


def _best_row(column: Column, ready: Ready, rate: float, objective: str, cost: SystemCost | None) -> int:
    score = order_of(column, ready, np.full(len(column.placements), rate), objective, cost)
    return int(np.argmin(score))


def _pairs(
    context: Context, tables: list[Evaluated], costs: Mapping[str, SystemCost | None]
) -> tuple[list[Deployment], list[Deployment]]:
    """Prefill on one system, decode on another of the same vendor (KV formats of two vendors do not match).

    Only pairs that promise to beat what either system does alone are worked out: within the limits, and beyond.
    """
    rate, objective = context.study.workload.rate, context.study.objective
    if rate is None or objective == "ttft":
        return [], []
    scores = [_least(table, costs[table.ready.system.id], rate, objective) for table in tables]
    found: list[Deployment] = []
    beyond: list[Deployment] = []
    for (first, alone), (second, other_alone) in product(zip(tables, scores, strict=True), repeat=2):
        one, other = first.ready.system, second.ready.system
        if one.id == other.id or one.vendor != other.vendor:
            continue
        if alone["prefill"] + other_alone["decode"] >= PAIR_GAIN * min(alone["alone"], other_alone["alone"]):
            continue
        pairs = _disaggregated(context, first, second, costs[one.id], costs[other.id])
        for pair in pairs:
            (found if limit_excuse(pair, context.study.limits, context.market.pue) is None else beyond).append(pair)
    return found, beyond


def _least(table: Evaluated, cost: SystemCost | None, rate: float, objective: str) -> dict[str, float]:
    """Least score of a system as prefill pool, as decode pool, and alone: money, chips or energy."""
    if objective == "usd_per_mtok" and cost is None:
        return {"prefill": np.inf, "decode": np.inf, "alone": np.inf}

    def least(column: Column) -> float:
        offered = np.full(len(column.placements), rate)
        return float(order_of(column, table.ready, offered, objective, cost).min(initial=np.inf))

    pools = {"prefill": least(table.prefill), "decode": least(table.decode)}
    together = min(least(table.aggregated), pools["prefill"] + pools["decode"])
    return pools | {"alone": together}
