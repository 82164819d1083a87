"""Data files above the catalog proper: engines, efficiencies by family, interval widths by evidence."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from suanli.catalog import cache
from suanli.catalog.files import read_yaml
from suanli.catalog.loader import DATA
from suanli.catalog.schema import Record, System
from suanli.chip import Efficiency
from suanli.mapping.engine import Engine, read_engines
from suanli.quantity import Number

FOLDERS = ("calibration", "engines", "intervals")


class Widths(Record):
    """80 % interval of one evidence class: factors by which a measured value lies above or below the prediction."""

    throughput: Number
    tpot: Number
    ttft: Number
    ttft_loaded: Number | None = None  # more than 64 users or attention data parallelism
    ttft_split: Number | None = None  # separate prefill and decode pools
    ttft_p99: Number | None = None

    def of(self, kind: str) -> float:
        """Factor of a kind; of the ordinary first token where the kind has none of its own."""
        found: Number = getattr(self, kind) or self.ttft
        return found.si

    def first_token(self, kind: str, *, tail: bool) -> float:
        """Factor of a percentile of TTFT; a tail is not known better than the median."""
        return max(self.of(kind), self.of("ttft_p99")) if tail else self.of(kind)


MANY_USERS = 64.0  # of one instance; above, time to first token depends on flags that benchmarks do not state


def ttft_kind(users: float, attention_dp: int, pools: int) -> str:
    """Kind of interval of TTFT p50.

    users : requests at once of the (decode) instance. attention_dp : ranks with attention of their own. pools : 2 with
    separate prefill and decode.
    """
    if pools > 1:
        return "ttft_split"
    return "ttft_loaded" if attention_dp > 1 or users > MANY_USERS else "ttft"


class WidthFile(Record):
    """Interval factors by evidence class, and how much slower than predicted an engine without a fit has been."""

    schema_version: Literal[1]
    classes: dict[str, Widths]
    unfitted: dict[str, Number]


@dataclass(frozen=True)
class Profiles:
    """Everything that turns datasheets into predictions."""

    engines: Mapping[str, Engine]
    efficiencies: Mapping[str, Efficiency]
    widths: Mapping[str, Widths]
    unfitted: Mapping[str, float]  # factor on device times of engines not fitted on a chip family, by evidence class

    def engine_of(self, system: System) -> Engine:
        """First engine of the system that has a profile, else the generic one."""
        return next((self.engines[name] for name in system.engines if name in self.engines), self.engines["generic"])


class _Kept(Record):
    """What the cache file of the profiles holds."""

    engines: dict[str, Engine]
    efficiencies: dict[str, Efficiency]
    widths: dict[str, Widths]
    unfitted: dict[str, float]


@lru_cache(maxsize=1)
def load_profiles() -> Profiles:
    """Read all profiles from the package data, or from the cache file of the same data. Raises CatalogError."""
    files = [path for folder in FOLDERS for path in sorted((DATA / folder).rglob("*.yaml"))]
    code = [Path(sys.modules[kind.__module__].__file__ or "") for kind in (Engine, Efficiency, Widths)]
    key = cache.fingerprint([*files, *code])
    kept = cache.read_as(_Kept, "profiles", key)
    if kept is None:
        kept = _read()
        cache.write_as("profiles", key, kept)
    return Profiles(kept.engines, kept.efficiencies, kept.widths, kept.unfitted)


def _read() -> _Kept:
    families = [read_yaml(path, Efficiency) for path in sorted((DATA / "calibration").glob("*.yaml"))]
    widths = read_yaml(DATA / "intervals" / "intervals.yaml", WidthFile)
    return _Kept(
        engines=read_engines(DATA / "engines"),
        efficiencies={f.family: f for f in families},
        widths=widths.classes,
        unfitted={name: one.si for name, one in widths.unfitted.items()},
    )
