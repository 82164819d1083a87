"""The shape of every catalog file. This one file drives loading, checking and the reference page of the docs.

Bandwidth is one-way, per chip, per level. Peaks are keyed by (dtype, sparsity); dense is what plans use. Power is kept
apart as chip, all-in (chip plus its share of host, switch and NIC), rack and facility.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from suanli.quantity import ByteRate, Bytes, Flops, Hertz, Number, Quantity, Seconds, Text, Watts
from suanli.sources import Source

Dtype = Literal["fp64", "fp32", "tf32", "bf16", "fp16", "fp8", "int8", "int4", "fp6", "mxfp4", "nvfp4", "fp4"]
Architecture = Literal["gpu", "systolic", "cube", "other"]
Topology = Literal["switch", "full_mesh", "torus", "mesh", "twisted_torus", "dragonfly"]
Status = Literal["on_sale", "internal", "announced", "roadmap", "retired"]
Identifier = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.\-]*$")]


def _fact_tag(given: object) -> str:
    is_text = "text" in given if isinstance(given, Mapping) else isinstance(given, Text)
    return "text" if is_text else "quantity"


Fact = Annotated[Annotated[Quantity, Tag("quantity")] | Annotated[Text, Tag("text")], Discriminator(_fact_tag)]


class Record(BaseModel):
    """Strict base: unknown keys are errors, instances are immutable."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class Peak(Record):
    """Peak rate of one number format on the matrix units (or matrix plus vector units where `units` says so)."""

    dtype: Dtype
    sparsity: Literal["dense", "structured"] = "dense"
    units: Literal["matrix", "matrix_and_vector"] = "matrix"
    rate: Flops


class Compute(Record):
    """What multiplies: SMs of a GPU, MXUs of a TPU, PE arrays of a Trainium, cube cores of an Ascend."""

    architecture: Architecture
    units: Number  # SMs, CUs, MXUs, cube cores ... per chip
    unit_name: str
    array: tuple[int, int] | None = None  # rows x columns of one systolic array or cube face
    clock: Hertz | None = None
    flops_per_clock_per_unit: dict[Dtype, Quantity] = {}


class Memory(Record):
    """Main memory of one chip. `capacity` is what software can allocate at most, before any framework reserve."""

    kind: Text
    capacity: Bytes
    marketed: Bytes | None = None  # the figure on the datasheet
    physical: Bytes | None = None  # memory soldered on, before spare rows and reserves
    bandwidth: ByteRate
    stacks: Number | None = None
    pin_rate: ByteRate | None = None  # one data pin, e.g. 5.24 Gbit/s
    bus_width: Bytes | None = None  # bits of one stack (of the whole chip where stacks is not given)


class Availability(Record):
    """Can it be bought or rented, where, since when. Roadmap items carry a date and stay out of a default search."""

    status: Status
    since: str | None = None  # YYYY[-MM[-DD]] or YYYY-Qn
    regions: dict[str, Text] = {}  # region -> how it is sold there; "text: null" with because = not sold there
    source: str
    note: str | None = None


class PowerPoint(Record):
    """Speed of a chip whose power limit is lowered, as shares of the speed at its own limit."""

    limit: Watts
    arithmetic: Number  # of the peak rates: the clock that the limit leaves
    memory: Number  # of the memory bandwidth


class Chip(Record):
    """One accelerator package."""

    schema_version: Literal[1]
    id: Identifier
    aliases: tuple[str, ...] = ()
    name: str
    vendor: str
    family: str  # calibration family: hopper, blackwell, cdna3, tpu, trainium, ascend ...
    lanes: Identifier | None = None  # chip whose measured operators apply; its own by default
    released: Text
    availability: Availability
    compute: Compute
    peaks: tuple[Peak, ...]
    memory: Memory
    power: Watts  # chip power limit (TDP)
    power_points: tuple[PowerPoint, ...] = ()  # what is known of lower limits
    rated_power: Watts | None = None  # of a chip at a lowered limit: its own one
    traps: tuple[str, ...] = ()  # what a careless reader gets wrong about the published numbers
    facts: dict[str, Fact] = {}  # everything else that was found


class Level(Record):
    """One level of the scale-up fabric, from the inside out. `dims` multiply to the chips that the level joins."""

    name: str
    topology: Topology
    dims: tuple[int, ...]
    wraparound: bool = True  # only read for a torus: False for slices without closing links
    bandwidth: ByteRate  # one way, per chip, all links of this level together
    latency: Seconds
    in_network_reduction: bool = False
    links: Number | None = None  # links per chip at this level, all peers or axes together
    tiers: int = Field(default=1, ge=1)  # switches in a row between two chips; only read for a switch
    note: str | None = None


class SliceShape(Record):
    """A shape of a torus that can be rented: the chips along each axis and the axes whose ends are joined."""

    dims: tuple[int, ...]
    wraparound: tuple[bool, ...]


class ScaleOut(Record):
    """Network between systems."""

    network: Text
    bandwidth: ByteRate  # one way, per chip
    latency: Seconds


class SystemPower(Record):
    """Power of the system at three borders. Facility power is all-in x PUE and belongs to the grid."""

    all_in_per_chip: Watts  # chip + its share of host, NIC, switch, fans
    rack: Watts | None = None
    system: Watts | None = None
    cooling: Text | None = None


class System(Record):
    """What is bought: `chips` accelerators joined by `levels`; an engine instance lives inside one of them."""

    schema_version: Literal[1]
    id: Identifier
    aliases: tuple[str, ...] = ()
    name: str
    vendor: str
    chip: Identifier
    chips: int = Field(gt=0)
    chips_per_node: int = Field(gt=0)  # chips behind one host
    levels: tuple[Level, ...]
    slices: tuple[int, ...] = ()  # chip counts that can be rented or bought; empty: multiples of a node
    shapes: tuple[SliceShape, ...] = ()  # of a torus: the shapes behind `slices`
    scale_out: ScaleOut | None
    power: SystemPower
    availability: Availability
    engines: tuple[str, ...]  # ids in data/engines, preferred first
    traps: tuple[str, ...] = ()
    facts: dict[str, Fact] = {}


class Price(Record):
    """One dated price. `unit` of `price` says per what: USD/chip, USD/system, USD/chip/h ..."""

    id: Identifier
    subject: Identifier  # chip or system id
    what: Literal["purchase", "rent", "owning_cost"]
    term: Literal["on_demand", "capacity_block", "1y", "3y", "5y", "life", "spot"] | None = None
    region: str = "us"
    edition: str  # YYYY-MM of the edition that the price belongs to
    seller: str
    price: Quantity


class PriceFile(Record):
    """A file of prices."""

    schema_version: Literal[1]
    prices: tuple[Price, ...]


class Grid(Record):
    """Electricity and facility of a region."""

    schema_version: Literal[1]
    id: Identifier
    name: str
    region: str
    electricity: Quantity  # money/kWh
    pue: Number
    carbon: Quantity | None = None  # g/kWh
    conditions: tuple[str, ...] = ()  # e.g. tariff only for domestic chips


class ApiPrice(Record):
    """Price of a hosted model, money per token class."""

    id: Identifier
    model: str
    seller: str
    as_of: str
    uncached_input: Quantity
    cached_input: Quantity | None = None
    output: Quantity


class ApiPriceFile(Record):
    """A file of API prices."""

    schema_version: Literal[1]
    prices: tuple[ApiPrice, ...]


class Lengths(Record):
    """Distribution of token counts per request as published statistics (tokens)."""

    mean: Quantity
    p50: Quantity | None = None
    p90: Quantity | None = None
    p99: Quantity | None = None
    maximum: Quantity | None = None


class WorkloadProfile(Record):
    """Statistics of a public request trace; the raw trace is not shipped."""

    schema_version: Literal[1]
    id: Identifier
    name: str
    input_tokens: Lengths
    output_tokens: Lengths
    rate: Quantity | None = None  # request/s of the recorded service
    interarrival_cv: Quantity | None = None
    prefix_hit_rate: Quantity | None = None  # fraction of input tokens, infinite cache
    notes: tuple[str, ...] = ()


class ModelCard(Record):
    """What the publisher says about a model; its structure is the config.json beside this file."""

    schema_version: Literal[1]
    id: Identifier
    aliases: tuple[str, ...] = ()  # Hugging Face ids
    name: str
    publisher: str
    released: str
    licence: str
    config_source: str  # source id of config.json
    total_parameters: Quantity
    active_parameters: Quantity
    weights: Dtype  # format of the published checkpoint
    notes: tuple[str, ...] = ()


class SourceFile(Record):
    """A file of sources."""

    schema_version: Literal[1]
    sources: tuple[Source, ...]


class Contents(Record):
    """Everything that a catalog holds, as one document."""

    chips: tuple[Chip, ...] = ()
    systems: tuple[System, ...] = ()
    prices: tuple[Price, ...] = ()
    api_prices: tuple[ApiPrice, ...] = ()
    grids: tuple[Grid, ...] = ()
    workloads: tuple[WorkloadProfile, ...] = ()
    models: tuple[ModelCard, ...] = ()
    sources: tuple[Source, ...] = ()


class Known(Record):
    """A finding of the checks that is explained: the sources themselves do not fit together."""

    check: str
    subject: str
    because: str


class KnownFile(Record):
    """The findings that are explained."""

    schema_version: Literal[1]
    known: tuple[Known, ...]
