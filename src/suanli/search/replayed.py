"""What the serving simulator saw of one deployment: plain numbers for tables and files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from suanli.search.estimate import significant

LATENCIES = ("ttft", "tpot", "itl", "e2e", "queue")
COLUMNS = ("mean", "p50", "p90", "p95", "p99")
# Prefix of the figures of a pool in a summary of the simulator, by role
POOLS = {"aggregated": "", "prefill": "prefill_pool_", "decode": "decode_pool_"}
SHARES = ("busy_share", "batch_mean", "kv_mean_share", "kv_peak_share")
FIGURES = (
    "good_share",
    "goodput_request_per_s",
    "request_per_s",
    "output_token_per_s",
    "cached_share",
    "power_w",
    "energy_per_output_token_j",
)
COUNTS = ("requests", "done", "preemptions")
DIGITS = 4

Value = float | int | bool | None


@dataclass(frozen=True)
class Missed:
    """A limit that the replay does not keep. `metric` is ttft or tpot; seconds; value None: never reached."""

    metric: str
    percentile: str
    value_s: float | None
    limit_s: float

    def __str__(self) -> str:
        value = "never" if self.value_s is None else _milliseconds(self.value_s)
        return f"{self.metric.upper()} {self.percentile} {value} > {_milliseconds(self.limit_s)}"


def _milliseconds(seconds: float) -> str:
    """Whole milliseconds from 100 on, three digits below."""
    value = seconds * 1e3
    return f"{value:,.0f} ms" if value >= 100.0 else f"{value:.3g} ms"


@dataclass(frozen=True)
class Replayed:
    """One deployment under the requests of the study.

    summary : figures of the simulator by name.   roles : of its pools.
    missed, behind : limits that it does not keep; whether requests come faster than it serves them.
    planned : instances of each pool by the closed form; less than the deployment has where the replay asked for more.
    max_request_s : highest rate of these requests within the SLO [1/s]; None in a closed loop or without limits.
    utilisation : offered rate over that rate [-].
    """

    summary: Mapping[str, Value]
    roles: tuple[str, ...]
    missed: tuple[Missed, ...]
    behind: bool
    planned: tuple[int, ...]
    max_request_s: float | None = None
    utilisation: float | None = None

    @property
    def keeps_slo(self) -> bool:
        """Whether every limit holds and the requests are served as fast as they come."""
        return not self.missed and not self.behind

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it does not keep the SLO, one phrase each."""
        behind = ("requests come faster than they are served",) if self.behind else ()
        return (*(str(one) for one in self.missed), *behind)

    def value(self, name: str) -> float | None:
        """A figure of the simulator; None where there is none."""
        found = self.summary.get(name)
        return None if found is None else float(found)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "keeps_slo": self.keeps_slo,
            "missed": list(self.reasons),
            "planned_instances": list(self.planned),
            "max_request_s": self._rounded(self.max_request_s),
            "utilisation": self._rounded(self.utilisation),
            "seconds": self._rounded(self.value("end_s")),
            **{name: int(self.summary[name] or 0) for name in COUNTS},
            **{name: self._rounded(self.value(name)) for name in FIGURES},
            "latencies_ms": {
                name: {column: self._rounded(self.value(f"{name}_{column}_ms")) for column in COLUMNS}
                for name in LATENCIES
            },
            "pools": [self._pool(role) for role in self.roles],
        }

    def _pool(self, role: str) -> dict[str, Any]:
        prefix = POOLS[role]
        counts = {name: int(self.summary[f"{prefix}{name}"] or 0) for name in ("kv_blocks", "max_num_seqs")}
        shares = {name: self._rounded(self.value(f"{prefix}{name}")) for name in SHARES}
        return {"role": role} | counts | shares

    @staticmethod
    def _rounded(value: float | None) -> float | None:
        return None if value is None else significant(value, DIGITS)
