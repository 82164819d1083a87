"""The inference engine as a model input: scheduler limits, host time, kernel paths and memory policy, from data files.

An engine file holds the engine's general figures and, under `profiles`, what was fitted for a vendor or a chip family
from a version on. A profile only names what differs; `Engine.profiled` lays it over the general figures.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from suanli.catalog.files import read_yaml
from suanli.catalog.schema import Chip, Identifier, Record
from suanli.quantity import Bytes, Number, Quantity, Seconds

# Part of a step (suanli.mapping.ledger.PARTS) -> field that multiplies its time
FACTORS = {
    "matmul": "matmul_factor",
    "experts": "expert_factor",
    "attention": "attention_factor",
    "collective": "collective_factor",
    "launch": "kernel_factor",
}
FACTOR_NAMES = (*FACTORS.values(), "block_expert_factor")


class Fit(Record):
    """Where fitted figures come from: measured rows, sweeps and chips, median residual [log]."""

    date: str
    command: str
    rows: int
    sweeps: int
    residual: dict[str, float]
    chips: tuple[str, ...] = ()


class LaneChoice(Record):
    """Kernels of one kind that an engine runs on some chip families but that were measured under another engine.

    where_faster : only at sizes where they beat its own measured ones (servers set the backend by load).
    """

    op: str
    dtype: str
    families: tuple[str, ...] = ()  # empty: all
    measured_under: Identifier
    where_faster: bool = False
    source: str
    because: str


class Profile(Record):
    """What one version range of an engine does differently on some chips.

    since : first version, as "0.5.9" (compared number by number). from_date : used where a version is not known.
    """

    vendors: tuple[str, ...] = ()  # of the chips, empty: all
    families: tuple[str, ...] = ()  # empty: all
    since: str = "0"
    from_date: str = "0000"
    fit: Fit | None = None
    set: dict[str, Quantity]

    def holds(self, chip: Chip) -> bool:
        """Whether it is about chips of this vendor and family."""
        return chip.vendor in (self.vendors or (chip.vendor,)) and chip.family in (self.families or (chip.family,))


class Engine(Record):
    """One inference engine: what it does by default and what its host side costs."""

    schema_version: Literal[1]
    id: Identifier
    name: str
    kernels: str | None = None  # engine whose measured kernels it runs, where it is not its own
    scheduler: Literal["mixed", "prefill_first"]
    token_budget: Number  # tokens per step
    max_requests: Number  # sequences per step and engine instance
    memory_fraction: Number  # of `memory_of` that the engine may fill
    memory_of: Literal["chip", "free"]  # the fraction is of all memory, or of what weights and reserve leave free
    reserved_output: Number  # share of a request's output that its admission needs room for
    reserve: Bytes  # activations, graphs, communication buffers per chip
    kv_cache: Literal["bf16", "fp8", "as_weights"]
    host_s: Seconds  # per step, not hidden behind the device
    host_per_request_s: Seconds  # per running request and step
    kernel_factor: Number  # kernels started per operator of the graph
    matmul_factor: Number  # time of dense matrix products over the operator model
    expert_factor: Number  # time of routed experts over the operator model
    block_expert_factor: Number  # the same for weights in 8 bit with block scales, which run other kernels
    attention_factor: Number  # time of attention over the operator model
    collective_factor: Number  # time of collectives over the fabric model
    first_token_s: Seconds  # API, tokenizer and first-response path per request, unloaded
    frontend_s: Seconds  # serial front-end time per request
    poll_steps: Number  # decode steps between two looks at the queue of new requests; 1: every step
    handover_steps: Number  # decode steps from the arrival of a cache by transfer to the first token
    draft_host_s: Seconds  # per step with drafted tokens, not hidden behind the device
    acceptance: Number  # probability that a drafted token is accepted, given that all before it were
    expert_skew: Number  # extra load of the busiest expert group over the mean
    graph_batches: tuple[int, ...] = ()  # batches of captured graphs; decode steps are filled up to the next one
    two_batch_overlap: bool = False  # hides the expert exchange between nodes behind computing
    lane_choices: tuple[LaneChoice, ...] = ()
    profiles: tuple[Profile, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def lanes(self) -> str:
        """Id under which its kernels were measured."""
        return self.kernels or self.id

    def factors(self, *, blocks: bool = False) -> dict[str, float]:
        """Factor on the time of each part of a step [-]; parts that are not named have none.

        blocks : experts in 8 bit with block scales.
        """
        found = {part: getattr(self, name).si for part, name in FACTORS.items()}
        return found | {"experts": self.block_expert_factor.si} if blocks else found

    def profiled(self, chip: Chip, version: str = "", date: str = "9999") -> Engine:
        """Figures for a chip and version; by date where the version says nothing, the newest without either.

        Later profiles win over earlier ones.
        """
        key = version_key(version)
        changes: dict[str, Quantity] = {}
        for profile in self.profiles:
            if profile.holds(chip):
                since = version_key(profile.since)
                if key >= since if key is not None and since is not None else date >= profile.from_date:
                    changes |= profile.set
        return self.model_copy(update=changes)

    def fits(self, chip: Chip) -> tuple[Fit, ...]:
        """Fits on the family of a chip."""
        return tuple(one.fit for one in self.profiles if one.fit and chip.family in one.families and one.holds(chip))

    def slowed(self, factor: float) -> Engine:
        """The engine with all device times `factor` times as long [-]."""
        return self.with_values(**{name: getattr(self, name).si * factor for name in FACTOR_NAMES})

    def with_values(self, **values: float) -> Engine:
        """The same engine with other values (in SI); for fits and studies."""
        changes = {}
        for name, value in values.items():
            old: Quantity = getattr(self, name)
            factor = old.si_range[1] / old.high if old.high else 1.0
            changes[name] = Quantity(value=value / factor, unit=old.unit, kind="derived", source=old.source)
        return self.model_copy(update=changes)


def version_key(version: str) -> tuple[int, ...] | None:
    """Leading numbers of a version, None when it has none: "0.5.12.post1" -> (0, 5, 12)."""
    found = re.match(r"v?(\d+(?:\.\d+)*)", version)
    return tuple(int(part) for part in found[1].split(".")) if found else None


class FittedProfiles(Record):
    """Profiles of one engine that a fit has written."""

    schema_version: Literal[1]
    engine: Identifier
    profiles: tuple[Profile, ...]


def read_engines(folder: Path) -> dict[str, Engine]:
    """Engines of a folder by id: the general files, with the fitted profiles of `fits/` behind their own.

    Raises CatalogError.
    """
    engines = {engine.id: engine for path in sorted(folder.glob("*.yaml")) if (engine := read_yaml(path, Engine))}
    for path in sorted((folder / "fits").glob("*.yaml")):
        fitted = read_yaml(path, FittedProfiles)
        engine = engines[fitted.engine]
        engines[engine.id] = engine.model_copy(update={"profiles": (*engine.profiles, *fitted.profiles)})
    return engines
