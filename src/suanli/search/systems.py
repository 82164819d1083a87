"""Which systems a study may use, and ready-made settings for those; an excuse for each of the others."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from suanli.catalog.dates import surely_before
from suanli.catalog.schema import Chip, System
from suanli.chip import Efficiency, efficiency_of
from suanli.mapping.calibration import Calibration, engine_calibration, evidence_class, evidence_of
from suanli.mapping.hardware import Bound, Hardware, hardware_of, missing_numbers
from suanli.mapping.precision import precision_of
from suanli.quantity import OPINION_KINDS, Quantity
from suanli.search.candidates import Setting
from suanli.search.records import Profiles, Widths
from suanli.search.result import Excuse
from suanli.search.study import Study
from suanli.serving.steady import Demand
from suanli.workload.ops import Attention, ModelGraph

STATUS_EXCUSES = {
    "announced": "announced, not on sale",
    "roadmap": "on the roadmap",
    "internal": "used by its maker only, neither sold nor rented",
    "retired": "no longer sold",
}


# Fields of Hardware that come from the efficiency profile and not from the datasheet
EFFICIENCY_FIELDS = (
    "matmul",
    "grouped_matmul",
    "attention",
    "memory",
    "kv_memory",
    "kernel_s",
    "idle_power",
    "memory_power",
    "compute_power",
)


ENDS: tuple[Bound, Bound] = ("low", "high")


@dataclass(frozen=True)
class Ready:
    """A system that can be computed on."""

    system: System
    chip: Chip
    setting: Setting
    low: Hardware
    high: Hardware
    widths: Widths
    evidence: str

    @property
    def incomplete(self) -> bool:
        """Whether numbers that the answer needs are somebody's estimate."""
        return self.evidence == "datasheet_incomplete" or self.chip.rated_power is not None


def status_excuse(system: System, chip: Chip, study: Study, *, named: bool) -> Excuse | None:
    """Roadmap, internal and regional exclusions; systems that the user names are only held to the region."""
    status = system.availability.status
    since = f" ({system.availability.since})" if system.availability.since else ""
    roadmap = status in ("announced", "roadmap")
    if status != "on_sale" and not named and not (roadmap and study.include_roadmap):
        hint = "; name it or set include_roadmap: true" if roadmap else "; name it to plan on it all the same"
        return Excuse(system.id, STATUS_EXCUSES[status] + since + hint, "roadmap" if roadmap else "region")
    if study.edition and system.availability.since and surely_before(study.edition, system.availability.since):
        return Excuse(
            system.id, f"not on sale in {study.edition}: available since {system.availability.since}", "roadmap"
        )
    region = study.limits.region
    if region is None:
        return None
    for record in (system, chip):
        entry = record.availability.regions.get(region)
        if entry is not None and entry.text is None:
            return Excuse(system.id, f"not sold in region {region}: {entry.because}", "region")
    if region not in system.availability.regions and region not in chip.availability.regions:
        return Excuse(system.id, f"no record that it is sold in region {region}", "region")
    return None


def needed_quantities(chip: Chip, system: System) -> list[Quantity]:
    """Every catalog number that a plan on this system rests on."""
    peaks = [peak.rate for peak in chip.peaks if peak.sparsity == "dense" and peak.rate.known]
    links = [quantity for level in system.levels for quantity in (level.bandwidth,)]
    return [*peaks, chip.memory.capacity, chip.memory.bandwidth, *links]


def cited_sources(chip: Chip, system: System) -> tuple[str, ...]:
    """Source ids of the catalog numbers that a plan on this system uses."""
    quantities = [*needed_quantities(chip, system), chip.power, system.power.all_in_per_chip]
    quantities += [level.latency for level in system.levels]
    if chip.rated_power is not None:
        quantities += [point.arithmetic for point in chip.power_points]
    if system.scale_out is not None:
        quantities += [system.scale_out.bandwidth, system.scale_out.latency]
    return tuple(sorted({quantity.source for quantity in quantities}))


def incomplete(chip: Chip, system: System, evidence: str) -> str:
    """The class of evidence, or incomplete where a needed number is an estimate or a guess."""
    if any(quantity.kind in OPINION_KINDS for quantity in needed_quantities(chip, system)):
        return "datasheet_incomplete"
    return evidence


def prepare(
    system: System,
    chip: Chip,
    *,
    study: Study,
    graph: ModelGraph,
    weights: str,
    demand: Demand,
    profiles: Profiles,
) -> Ready | Excuse:
    """Hardware, precision and engine of a system, or the reason why it cannot be computed."""
    gaps = missing_numbers(chip, system)
    if gaps:
        return Excuse(system.id, "; ".join(gaps), "data")
    efficiency = efficiency_of(chip, dict(profiles.efficiencies))
    engine = profiles.engine_of(system)
    fits, calibration = engine.fits(chip), engine_calibration(chip, engine, efficiency)
    known = any(chip.id in one.chips for one in fits)
    evidence = evidence_of(evidence_class(efficiency, calibration), family=bool(fits), chip=known)
    engine = engine.profiled(chip)
    if not fits:
        engine = engine.slowed(profiles.unfitted.get(evidence, 1.0))
    best = _hardware(chip, system, efficiency, calibration, "best")
    low, high = (_hardware(chip, system, efficiency, calibration, bound) for bound in ENDS)
    latent = any(isinstance(op, Attention) and op.latent for group in graph.groups for op in group.operators)
    kv = study.kv_cache or ("fp8" if engine.kv_cache == "fp8" and weights not in ("bf16", "fp16") else "bf16")
    try:
        precision = precision_of(
            weights,
            best.peaks,
            activations=study.activations,
            kv=kv,
            latent_attention=latent,
            published=dict(graph.dtypes) if study.weights is None else {},
        )
    except ValueError as error:
        return Excuse(system.id, str(error), "data")
    if not known:
        evidence = incomplete(chip, system, evidence)
    setting = Setting(graph, best, engine, precision, demand)
    return Ready(system, chip, setting, low, high, profiles.widths[evidence], evidence)


def _hardware(
    chip: Chip, system: System, efficiency: Efficiency, calibration: Calibration | None, bound: Bound
) -> Hardware:
    """Catalog numbers at one end of their ranges; efficiencies stay at their best value (their error is earned)."""
    end = hardware_of(chip, system, efficiency, bound, calibration)
    best = hardware_of(chip, system, efficiency, "best", calibration)
    network = replace(end.network, efficiency=best.network.efficiency, call_s=best.network.call_s)
    return replace(end, network=network, **{name: getattr(best, name) for name in EFFICIENCY_FIELDS})


def width_from_inputs(best: float, low: float, high: float) -> float:
    """Factor from rates at the two ends of guessed inputs; a rate of zero at the low end counts as a factor of ten."""
    bottom = low if low > 0.0 else best / 10.0
    top = max(high, best)
    return math.sqrt(max(top / bottom, 1.0)) if np.isfinite(top) else math.inf
