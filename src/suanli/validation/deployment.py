"""From a row of measurements to the deployment that was measured: chips, model, precision, engine, placement, load.

What the row does not say is assumed by one rule for all rows, and every assumption is written down.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from suanli.catalog.files import CatalogError
from suanli.catalog.loader import Catalog
from suanli.catalog.schema import Chip, System
from suanli.chip import Efficiency, efficiency_of
from suanli.mapping.calibration import engine_calibration, evidence_class, evidence_of
from suanli.mapping.engine import Engine
from suanli.mapping.hardware import Hardware, across_systems, hardware_of, missing_numbers
from suanli.mapping.memory import weight_bytes
from suanli.mapping.placement import Placements, experts_of
from suanli.mapping.precision import BYTES, STAND_INS, Precision, precision_of
from suanli.quantity import QuantityError
from suanli.validation.lengths import Lengths, lengths_of
from suanli.validation.measured import Row
from suanli.validation.recipes import Settings, settings_of
from suanli.workload.fields import ModelError
from suanli.workload.from_config import graph_from_config
from suanli.workload.ops import Attention, ModelGraph

Sized = list[tuple[str, tuple[int, int, int, int], float | None, int]]  # role, placement, workers, chips of one

BRANCH = re.compile(r"\bbranch\b")  # in the notes of a row: a build that is not a release


class RefusalError(ValueError):
    """A row cannot be predicted, and why."""


@dataclass(frozen=True)
class Pool:
    """Instances of one placement: prefill, decode, or both."""

    role: str  # aggregated, prefill or decode
    hardware: Hardware
    place: tuple[int, int, int, int]  # tp, pp, dp, ep
    instances: float

    @property
    def chips(self) -> float:
        """Chips of all instances [-]."""
        return self.place[0] * self.place[1] * self.place[2] * self.instances


@dataclass(frozen=True)
class Case:
    """A measured deployment, ready to be predicted."""

    row: Row
    chip: Chip
    system: System
    graph: ModelGraph
    precision: Precision
    engine: Engine
    evidence: str  # of the operator times
    family_fitted: bool  # whether the engine was fitted on the chip family
    chip_fitted: bool  # and on the chip itself
    pools: tuple[Pool, ...]
    lengths: Lengths
    load: str
    users: float  # of the whole deployment, 0 where the load is not a number of users
    rate: float  # requests/s of the whole deployment, 0 where the load is not a rate
    drafts: int  # drafted tokens per step
    settings: Settings
    notes: tuple[str, ...]

    @property
    def chips(self) -> float:
        """Chips of all pools [-]."""
        return sum(pool.chips for pool in self.pools)

    @property
    def prompts(self) -> float | None:
        """Requests of the run, None where neither the row nor its benchmark says how many."""
        return self.row.number("prompts") or self.settings.prompts


@dataclass(frozen=True)
class Facts:
    """Catalog and profiles that rows are looked up in.

    unfitted : factor on device times by class of evidence, for engines that were not fitted on a chip family.
    """

    catalog: Catalog
    engines: dict[str, Engine]
    efficiencies: dict[str, Efficiency]
    unfitted: Mapping[str, float]

    def system_of(self, row: Row, chip: Chip) -> System:
        """System of a row; where it has another chip or none is given, the first one with the chip."""
        name = row.text("system")
        if name:
            try:
                system = self.catalog.system(name)
            except CatalogError:
                system = None
            if system is not None and system.chip == chip.id:
                return system
        same = [system for system in self.catalog.systems.values() if system.chip == chip.id]
        known = [system for system in same if not missing_numbers(chip, system)]
        if not known:
            raise RefusalError(f"no system in the catalog with chip {chip.id} whose numbers are known")
        return known[0]

    def engine_of(self, row: Row, system: System) -> tuple[Engine, list[str]]:
        """Profile of the engine of a row, and what was assumed."""
        name, notes = row.text("engine"), []
        if name not in self.engines:
            stand_in = next((e for e in system.engines if e in self.engines), "generic")
            notes.append(f"engine '{name or 'not stated'}' without a profile: {stand_in} taken")
            name = stand_in
        if row.text("load").startswith("mlperf") and f"{name}-mlperf" in self.engines:
            name = f"{name}-mlperf"
            notes.append("engine as submitted to MLPerf: without HTTP and tokenizer")
        elif BRANCH.search(row.text("notes")) and f"{name}-branch" in self.engines:
            name = f"{name}-branch"
            notes.append("a development branch of the engine for a new architecture")
        return self.engines[name], notes


@lru_cache(maxsize=256)
def _graph(catalog_key: int, model: str) -> ModelGraph:
    catalog = _catalogs[catalog_key]
    card = catalog.model(model)
    return graph_from_config(catalog.model_config(card.id), card.id)


_catalogs: dict[int, Catalog] = {}


def case_of(row: Row, facts: Facts) -> Case:
    """Read one row. Raises RefusalError with the reason when it cannot be predicted."""
    try:
        return _case(row, facts)
    except CatalogError as error:
        raise RefusalError("; ".join(error.problems)) from None
    except (QuantityError, ModelError) as error:
        raise RefusalError(str(error)) from None


def _case(row: Row, facts: Facts) -> Case:
    chip = facts.catalog.chip(row.text("chip"))
    system = facts.system_of(row, chip)
    efficiency = efficiency_of(chip, facts.efficiencies)
    _catalogs[id(facts.catalog)] = facts.catalog
    graph = _graph(id(facts.catalog), row.text("model"))
    engine, notes = facts.engine_of(row, system)
    calibration = engine_calibration(chip, engine, efficiency)
    hardware = hardware_of(chip, system, efficiency, calibration=calibration)
    operators, fits = evidence_class(efficiency, calibration), engine.fits(chip)
    engine = engine.profiled(chip, row.text("engine_version"), row.text("date") or "9999")
    if not fits:
        engine = engine.slowed(facts.unfitted.get(evidence_of(operators, family=False, chip=False), 1.0))
    settings, cited = settings_of(row, chip)
    notes += [f"server settings as in {name}" for name in cited]
    engine = _limits(row, engine, settings)
    precision, more = _precision(row, facts, graph, hardware, engine, settings)
    notes += more
    lengths, more, reason = lengths_of(row)
    notes += more
    if lengths is None:
        raise RefusalError(reason)
    pools, more = _pools(row, graph, hardware, precision, engine, settings)
    notes += more
    drafts = 0
    if row.speculative:
        drafts = int(row.number("speculative_tokens") or settings.drafts or 1)
        if row.number("speculative_tokens") is None:
            notes.append(f"drafted tokens not stated: {drafts} per step assumed")
    load, more = _load(row)
    return Case(
        row=row,
        chip=chip,
        system=system,
        graph=graph,
        precision=precision,
        engine=engine,
        evidence=operators,
        family_fitted=bool(fits),
        chip_fitted=any(chip.id in one.chips for one in fits),
        pools=pools,
        lengths=lengths,
        load=load,
        users=row.number("concurrency") or 0.0,
        rate=row.number("request_rate") or 0.0,
        drafts=drafts,
        settings=settings,
        notes=tuple(notes + more),
    )


def _limits(row: Row, engine: Engine, settings: Settings) -> Engine:
    """Engine with the limits that the benchmark's server had, by its recipe and then by the row itself."""
    recipe = settings.model_dump(
        include={"token_budget", "max_requests", "memory_fraction", "poll_steps"}, exclude_none=True
    )
    stated = {"max_requests": row.number("max_num_seqs"), "token_budget": row.number("max_num_batched_tokens")}
    given = recipe | {name: value for name, value in stated.items() if value}
    choices = settings.model_dump(include={"kv_cache", "graph_batches"}, exclude_none=True)
    return engine.with_values(**given).model_copy(update=choices)


def _precision(
    row: Row, facts: Facts, graph: ModelGraph, hardware: Hardware, engine: Engine, settings: Settings
) -> tuple[Precision, list[str]]:
    notes = []
    card = facts.catalog.model(row.text("model"))
    weights = row.text("weights_dtype")
    if not weights:
        weights = card.weights
        notes.append(f"weights in {weights} as published")
    if weights not in BYTES:
        raise RefusalError(f"weights in '{weights}'; known: {', '.join(sorted(BYTES))}")
    latent = any(isinstance(op, Attention) and op.latent for group in graph.groups for op in group.operators)
    published = dict(graph.dtypes)
    own = weights in published.values() or not published or card.weights == weights
    kept = published if own else {}
    if published and not own and set(published) == {"expert"} and card.weights == published["expert"]:
        kept, weights = published, "bf16"  # only the experts are quantised; the row names the format of the products
        notes.append(f"experts in {published['expert']}, the rest in 16 bit, as published")
    if published and own and set(published) == {"expert"}:
        weights = "bf16"
    activation = row.text("activation_dtype")
    if set(published.values()) == {"mxfp4"} and "mxfp4" in kept.values():
        # Kernels of chips with four-bit units multiply by 8-bit activations, those of older chips expand the weights.
        activation = "fp8" if "fp4" in hardware.peaks else "bf16"
        notes.append(f"activations of the experts in {activation}: default of the kernels, not stated")
    kv = row.text("kv_dtype")
    if kv not in ("bf16", "fp16", "fp8", "int8"):
        # Checkpoints whose attention is left in 16 bit carry no scales for a cache in 8 bit.
        low = weights not in ("bf16", "fp16", "int8")
        kv = settings.kv_cache or ("fp8" if low and engine.kv_cache in ("fp8", "as_weights") else "bf16")
        notes.append(
            f"KV cache in {kv} ({'as the benchmark sets it' if settings.kv_cache else f'default of {engine.id}'})"
        )
    precision = precision_of(
        weights,
        hardware.peaks,
        activations=activation if activation in STAND_INS and activation != weights else None,
        kv=kv,
        latent_attention=latent,
        published=kept,
    )
    return precision, notes + list(precision.notes)


def _load(row: Row) -> tuple[str, list[str]]:
    load = row.text("load")
    if load:
        return load, []
    if row.text("mode") in ("prefill_only", "decode_only"):
        return "static_batch", ["load not stated: a full batch assumed"]
    raise RefusalError("load not stated")


def _pools(
    row: Row, graph: ModelGraph, hardware: Hardware, precision: Precision, engine: Engine, settings: Settings
) -> tuple[tuple[Pool, ...], list[str]]:
    if row.text("mode") == "disaggregated":
        return _split_pools(row, graph, hardware)
    chips = row.number("chips")
    if chips is None:
        raise RefusalError("number of chips not known")
    notes: list[str] = []
    width, stages = row.number("tp"), int(row.number("pp") or 1)
    groups, spread = row.number("attn_dp"), row.number("ep")
    if settings.attention_dp and experts_of(graph) and width is not None:
        groups = spread = width
        notes.append("attention data-parallel and experts spread, as the benchmark's text says")
    if width is None:
        width = _smallest(graph, hardware, precision, engine, chips, stages)
        notes.append(f"parallelism not stated: instances of {width:.0f} chips, the smallest that hold the weights")
    place, more = _place(graph, int(width), stages, groups, spread)
    role = {"prefill_only": "prefill", "decode_only": "decode"}.get(row.text("mode"), "aggregated")
    instances = chips / (place[0] * place[1] * place[2])
    return (Pool(role, across_systems(hardware, int(width) * stages), place, instances),), notes + more


def _place(
    graph: ModelGraph, width: int, stages: int, dp: float | None, ep: float | None
) -> tuple[tuple[int, int, int, int], list[str]]:
    """Tensor, pipeline, data and expert degrees of an instance `width` chips wide."""
    groups = min(int(dp or 1), width)
    notes = []
    experts = experts_of(graph)
    spread = 1
    if experts:
        spread = int(ep) if ep else (width if groups > 1 else 1)
        if not ep:
            notes.append(f"expert parallelism not stated: {spread} assumed")
        spread = min(spread, width)
    if width % groups:
        raise RefusalError(f"{groups} attention groups do not divide an instance of {width} chips")
    return (width // groups, stages, groups, spread), notes


def _smallest(
    graph: ModelGraph, hardware: Hardware, precision: Precision, engine: Engine, chips: float, stages: int
) -> float:
    """Fewest chips (powers of two) whose memory holds the weights with a tenth of it left for the cache."""
    width = 1
    while width < chips / stages:
        place = Placements.of([(width, stages, 1, 1)])
        weights = float(weight_bytes(graph, place, precision)[0])
        if weights < 0.9 * hardware.capacity * engine.memory_fraction.si - engine.reserve.si:
            break
        width *= 2
    return float(min(width, int(chips / stages)))


def _split_pools(row: Row, graph: ModelGraph, hardware: Hardware) -> tuple[tuple[Pool, ...], list[str]]:
    pools, notes = [], []
    for role in ("prefill", "decode"):
        width, workers = row.number(f"{role}_tp"), row.number(f"{role}_workers")
        if width is None:
            raise RefusalError(f"width of the {role} workers not known")
        stages = int(row.number(f"{role}_pp") or 1)
        place, more = _place(graph, int(width), stages, row.number(f"{role}_attn_dp"), row.number(f"{role}_ep"))
        notes += [f"{role}: {line}" for line in more]
        pools.append((role, place, workers, int(width) * stages))
    pools = _missing_workers(row, pools)
    return tuple(
        Pool(role, across_systems(hardware, size), place, float(workers or 0.0)) for role, place, workers, size in pools
    ), notes


def _missing_workers(row: Row, pools: Sized) -> Sized:
    """Fill in the number of workers of one pool from the chips of the deployment."""
    chips = row.number("chips")
    known = sum((workers or 0.0) * size for _, _, workers, size in pools)
    missing = [entry for entry in pools if not entry[2]]
    if not missing:
        return pools
    if chips is None or len(missing) > 1:
        raise RefusalError("number of prefill or decode workers not known")
    _, _, _, size = missing[0]
    left = (chips - known) / size
    if left < 1 or not math.isclose(left, round(left)):
        raise RefusalError("workers and chips do not match")
    return [(role, place, workers or round(left), width) for role, place, workers, width in pools]
