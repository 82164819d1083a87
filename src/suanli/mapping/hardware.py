"""Numbers of one system as the step model wants them: SI floats with the efficiency of the chip family applied."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from suanli.catalog.schema import Chip, System
from suanli.chip import Efficiency
from suanli.chip.kernels import Kernels
from suanli.fabric import Network, NetworkLevel
from suanli.mapping.calibration import Calibration
from suanli.quantity import Quantity, QuantityError

Bound = Literal["low", "best", "high"]


@dataclass(frozen=True)
class Hardware:
    """One chip inside one system. Rates are datasheet peaks; `efficiency` fractions are kept beside them."""

    system: str
    chip: str
    chips: int
    peaks: Mapping[str, float]  # dense FLOP/s by dtype
    bandwidth: float  # B/s
    capacity: float  # B
    chip_power: float  # W
    all_in_power: float  # W
    network: Network
    scale_out_bandwidth: float  # B/s one way per chip, 0 without a network
    scale_out_latency: float  # s
    tile: tuple[float, float]
    matmul: float
    grouped_matmul: float
    attention: float
    memory: float
    kv_memory: float
    kernel_s: float
    idle_power: float
    memory_power: float
    compute_power: float
    calibration: Calibration | None = None
    exact: bool = True  # False: measured lanes without their correction surfaces, for screening

    def kernels(self) -> Kernels | None:
        """Measured lanes at this chip's peaks and bandwidth; None where only the closed form is left."""
        if self.calibration is None:
            return None
        kernels = self.calibration.kernels
        return replace(kernels, peaks=self.peaks, bandwidth=self.bandwidth, exact=self.exact)


def _pick(quantity: Quantity, bound: Bound) -> float:
    """Value of a quantity at the pessimistic, best or optimistic end of its range."""
    low, high = quantity.si_range
    return {"low": low, "best": quantity.si, "high": high}[bound]


def _reverse(bound: Bound) -> Bound:
    return {"low": "high", "best": "best", "high": "low"}[bound]  # type: ignore[return-value]


def missing_numbers(chip: Chip, system: System) -> list[str]:
    """What must be known before anything can be computed, and is not: one sentence each, with the reason given."""
    wanted: list[tuple[str, Quantity]] = [
        ("memory capacity", chip.memory.capacity),
        ("memory bandwidth", chip.memory.bandwidth),
        ("chip power", chip.power),
        ("all-in power", system.power.all_in_per_chip),
    ]
    wanted += [(f"{level.name} bandwidth", level.bandwidth) for level in system.levels]
    wanted += [(f"{level.name} latency", level.latency) for level in system.levels]
    gaps = [f"{name} unknown: {quantity.because}" for name, quantity in wanted if not quantity.known]
    if not any(peak.sparsity == "dense" and peak.rate.known for peak in chip.peaks):
        reasons = (
            "; ".join(sorted({peak.rate.because for peak in chip.peaks if peak.rate.because}))
            or "no peak in the catalog"
        )
        gaps.append(f"no dense peak known: {reasons}")
    return gaps


def _peaks(chip: Chip, bound: Bound) -> dict[str, float]:
    """Dense matrix peaks; a Cube-plus-Vector aggregate only stands in where no matrix-only figure exists."""
    peaks: dict[str, float] = {}
    for units in ("matrix_and_vector", "matrix"):
        for peak in chip.peaks:
            if peak.sparsity == "dense" and peak.units == units and peak.rate.known:
                peaks[peak.dtype] = _pick(peak.rate, bound)
    return peaks


def hardware_of(
    chip: Chip,
    system: System,
    efficiency: Efficiency,
    bound: Bound = "best",
    calibration: Calibration | None = None,
) -> Hardware:
    """Read the catalog records into floats at one end of their ranges ("low" is the slow end).

    `calibration` holds the measured lanes of the chip under the engine that will run. Raises QuantityError naming
    everything that is missing.
    """
    gaps = missing_numbers(chip, system)
    if gaps:
        raise QuantityError("; ".join(gaps))
    slow = _reverse(bound)
    levels = tuple(
        NetworkLevel(
            level.topology,
            level.dims,
            level.wraparound,
            _pick(level.bandwidth, bound),
            _pick(level.latency, slow),
            level.in_network_reduction,
        )
        for level in system.levels
    )
    lanes = calibration.collectives if calibration else {}
    network = Network(levels, _pick(efficiency.link, bound), _pick(efficiency.collective_s, slow), lanes)
    # Idling and memory draw the same watts at a lowered limit, and so a larger share of it.
    share = _pick(chip.rated_power, slow) / _pick(chip.power, slow) if chip.rated_power is not None else 1.0
    out = system.scale_out
    usable = out is not None and out.bandwidth.known and out.latency.known
    return Hardware(
        system=system.id,
        chip=chip.id,
        chips=system.chips,
        peaks=_peaks(chip, bound),
        bandwidth=_pick(chip.memory.bandwidth, bound),
        capacity=_pick(chip.memory.capacity, bound),
        chip_power=_pick(chip.power, slow),
        all_in_power=_pick(system.power.all_in_per_chip, slow),
        network=network,
        scale_out_bandwidth=_pick(out.bandwidth, bound) if out is not None and usable else 0.0,
        scale_out_latency=_pick(out.latency, slow) if out is not None and usable else 0.0,
        tile=(float(efficiency.tile[0]), float(efficiency.tile[1])),
        matmul=_pick(efficiency.matmul, bound),
        grouped_matmul=_pick(efficiency.grouped_matmul, bound),
        attention=_pick(efficiency.attention, bound),
        memory=_pick(efficiency.memory, bound),
        kv_memory=_pick(efficiency.kv_memory, bound),
        kernel_s=_pick(efficiency.kernel_s, slow),
        idle_power=_pick(efficiency.idle_power, slow) * share,
        memory_power=_pick(efficiency.memory_power, slow) * share,
        compute_power=_pick(efficiency.compute_power, slow),
        calibration=calibration,
    )


def across_systems(hardware: Hardware, chips: int) -> Hardware:
    """The same chips with the network between systems as one more level, when an instance needs `chips` of them.

    Raises QuantityError where the instance is larger than the system and that network is not known.
    """
    inside = hardware.network.size if hardware.network.levels else 1
    if chips <= inside:
        return hardware
    if hardware.scale_out_bandwidth <= 0.0:
        raise QuantityError(f"{chips} chips are more than one {hardware.system}, whose outer network is not known")
    outer = NetworkLevel(
        "switch", (-(-chips // inside),), True, hardware.scale_out_bandwidth, hardware.scale_out_latency
    )
    return replace(hardware, network=replace(hardware.network, levels=(*hardware.network.levels, outer)))
