"""One calibrated collective inside a switched domain, and the packs that hold them.

time = max(bound, exp(surface(log2 size, log2 ranks)) * (launch + moved bytes / (efficiency * bandwidth))) for two ranks
and more, where `moved` is what a chip must send at least with the usual algorithm. `bandwidth` is one way per chip, so
a faster link is never slower. Fitted to measured sweeps of the library and of the engines' own kernels, all inside a
captured graph; a call from the host costs `host_call_s` more, at every size (docs/theory/collectives.md).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from suanli.catalog.schema import Record
from suanli.surface import Surface, decode

Array = NDArray[np.float64]
Real = float | Array
Exchange = Literal["ep_dispatch", "ep_combine", "ep_dispatch_ll", "ep_combine_ll"]
Collective = Literal["all_reduce", "all_gather", "reduce_scatter", "all_to_all"] | Exchange

# Bytes that one of n chips sends over the payload: two passes for an all-reduce, one for the others. The payload of an
# expert exchange is what its token copies weigh: tokens x experts per token x hidden width x bytes.
MOVED: Mapping[str, Callable[[Array], Array]] = {
    "all_reduce": lambda n: 2.0 * (n - 1.0) / n,
    "all_gather": lambda n: (n - 1.0) / n,
    "reduce_scatter": lambda n: (n - 1.0) / n,
    "all_to_all": lambda n: (n - 1.0) / n,
    "ep_dispatch": lambda n: (n - 1.0) / n,
    "ep_combine": lambda n: (n - 1.0) / n,
    "ep_dispatch_ll": lambda n: (n - 1.0) / n,
    "ep_combine_ll": lambda n: (n - 1.0) / n,
}


@dataclass(frozen=True)
class CollectiveLane:
    """launch [s] in a graph, share of one-way bandwidth that large payloads reach (above 1 with in-network sums)."""

    op: Collective
    launch: float
    efficiency: float
    surface: Surface | None = None

    def base(self, ranks: Real, size: Real, bandwidth: Real) -> Array:
        """Physical part [s]."""
        moved = MOVED[self.op](np.asarray(ranks, dtype=float)) * np.asarray(size)
        return np.asarray(self.launch + moved / (self.efficiency * np.asarray(bandwidth)))

    def time(self, ranks: Real, size: Real, bandwidth: Real) -> Array:
        """Time [s] of `size` bytes over `ranks` chips with one-way `bandwidth` [B/s] each; nothing for one chip."""
        count = np.maximum(np.asarray(ranks, dtype=float), 2.0)
        time = self.base(count, size, bandwidth)
        if self.surface is not None:
            time = time * np.exp(self.surface((np.log2(np.maximum(size, 1.0)), np.log2(count))))
        # a chip must receive the whole payload from others once, except copies of one token that travel together
        least = 0.0 if self.op.startswith("ep_") else (count - 1.0) / count
        bound = least * np.asarray(size) / bandwidth
        return np.asarray(np.where(np.asarray(ranks) > 1, np.maximum(time, bound), 0.0))


class CollectiveRecord(Record):
    """Stored form of a lane. `library` is nccl or the engine whose kernel it is; errors are of held-out sizes."""

    op: Collective
    library: str
    version: str
    rows: int
    dropped: int
    launch_us: float
    efficiency: float
    knots: tuple[tuple[float, ...], ...]
    step: float
    values: str
    median_error: float
    p90_error: float
    spread: float

    def lane(self) -> CollectiveLane:
        """Lane ready to be evaluated."""
        surface = decode(self.knots, self.step, self.values)
        return CollectiveLane(self.op, self.launch_us * 1e-6, self.efficiency, surface)


class CollectivePack(Record):
    """Collectives of one chip inside its switched domain of `bandwidth_gb_s` one way per chip."""

    schema_version: Literal[1]
    chip: str
    evidence: Literal["measured_operators", "pooled"]
    source: str
    bandwidth_gb_s: float
    host_call_us: float  # added when the host launches the call itself
    lanes: tuple[CollectiveRecord, ...]

    def for_engine(self, engine: str) -> dict[Collective, CollectiveLane]:
        """Lanes that an engine uses: its own kernels where measured, else the library's."""
        chosen: dict[Collective, CollectiveLane] = {}
        for library in ("nccl", "deepep", engine):
            chosen |= {lane.op: lane.lane() for lane in self.lanes if lane.library == library}
        return chosen


@lru_cache(maxsize=64)
def load_collectives(path: Path) -> CollectivePack:
    """Read one pack. Raises ValueError naming the file."""
    try:
        return CollectivePack.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError) as error:
        raise ValueError(f"{path}: cannot be read as a collective pack ({error})") from None


def collectives_of(folder: Path, chip: str) -> CollectivePack | None:
    """Pack of one chip, None when nothing was measured on it."""
    path = folder / "collectives" / f"{chip}.json"
    return load_collectives(path) if path.is_file() else None
