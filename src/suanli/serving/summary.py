"""Metrics of a finished simulation, computed from its records: latencies, goodput, utilisation, energy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from suanli.serving.outcome import DONE, ITL_BINS, STATUS_NAMES, Outcome, itl_edges

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from suanli.serving.setup import Pool, Setup

PERCENTILES = (50, 90, 95, 99)
# A trace is served at its own rate when what is left at the last arrival is a small part of it; the drain of a system
# that keeps up is a few steps long, that of one that does not grows with the trace.
SATURATED_SHARE = 0.05

Summary = dict[str, float | int | bool | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Slo:
    """What a single request must meet to count as good; None where nothing is asked.

    ttft_s : time to first token [s].   tpot_s : mean time per further output token [s].   e2e_s : whole request [s].
    """

    ttft_s: float | None = None
    tpot_s: float | None = None
    e2e_s: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """Records of a run together with what was run."""

    setup: Setup
    outcome: Outcome

    @property
    def records(self) -> NDArray[np.void]:
        """One record per request, in order of the workload; see outcome.RECORD."""
        return self.outcome.records

    @property
    def ttft_s(self) -> NDArray[np.float64]:
        """Time to first token of each request as its client sees it [s]; nan where there was none."""
        return np.asarray(self.records["first_token_s"] - self.records["arrival_s"] + self.setup.cluster.path_s)

    @property
    def queue_s(self) -> NDArray[np.float64]:
        """Time from arrival at the router to the first step of each request [s]; nan where there was none."""
        return np.asarray(self.records["admitted_s"] - self.records["arrival_s"])

    @property
    def e2e_s(self) -> NDArray[np.float64]:
        """Time to the last token of each request that is done, as its client sees it [s]; nan for the others."""
        times = self.records["done_s"] - self.records["arrival_s"] + self.setup.cluster.path_s
        return np.where(self.records["status"] == DONE, times, np.nan)

    @property
    def tpot_s(self) -> NDArray[np.float64]:
        """Mean time per output token after the first [s]; nan for requests with one token or not done."""
        records = self.records
        further = np.where(
            (records["status"] == DONE) & (records["output_tokens"] > 1), records["output_tokens"] - 1, 0
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(np.where(further > 0, (records["done_s"] - records["first_token_s"]) / further, np.nan))

    def good(self, slo: Slo) -> NDArray[np.bool_]:
        """Which requests are done and meet the SLO; a request of one token meets any TPOT."""
        good = self.records["status"] == DONE
        for times, limit in ((self.ttft_s, slo.ttft_s), (self.tpot_s, slo.tpot_s), (self.e2e_s, slo.e2e_s)):
            if limit is not None:
                good &= ~(times > limit)
        return np.asarray(good)

    def summary(self, slo: Slo | None = None) -> Summary:
        """All metrics as a flat dictionary; the unit is the end of each name."""
        out = self._counts()
        for name in ("ttft", "tpot", "e2e", "queue"):
            out |= _spread(name, getattr(self, f"{name}_s"))
        out |= self._itl() | self._load() | self._energy()
        if slo is not None:
            good = self.good(slo)
            out["good_share"] = float(np.mean(good)) if good.size else None
            out["goodput_request_per_s"] = _ratio(np.sum(good), self.outcome.end_s)
        return out

    def _counts(self) -> Summary:
        records, end = self.records, self.outcome.end_s
        status = np.bincount(records["status"], minlength=len(STATUS_NAMES))
        done = records["status"] == DONE
        inputs = records["input_tokens"][done].sum()
        out: Summary = {"requests": int(records.size), "end_s": end}
        out |= {name: int(count) for name, count in zip(STATUS_NAMES, status, strict=True)}
        out["preemptions"] = int(records["preemptions"].sum())
        out["request_per_s"] = _ratio(status[DONE], end)
        out["input_token_per_s"] = _ratio(inputs, end)
        out["output_token_per_s"] = _ratio(records["output_tokens"].sum(), end)
        out["cached_share"] = _ratio(records["cached_tokens"][done].sum(), inputs)
        out["saturated"] = self.saturated
        return out

    @property
    def saturated(self) -> bool | None:
        """True when requests came faster than they were served; None where they wait for one another."""
        closed = self.setup.cluster.concurrency is not None or bool(np.any(self.setup.requests.after >= 0))
        if closed or self.records.size == 0:
            return None
        last = np.nanmax(self.records["arrival_s"])
        left = np.sum(~(self.records["done_s"] <= last))
        slots = sum(pool.replicas * pool.ranks * pool.engine.max_num_seqs for pool in self.setup.pools)
        return bool(left > SATURATED_SHARE * self.records.size and left > slots)

    def _itl(self) -> Summary:
        counts, edges = self.outcome.itl_counts, itl_edges()
        total = counts.sum()
        if total == 0:
            return _spread("itl", np.zeros(0)) | {"itl_max_ms": None}
        behind = np.cumsum(counts)
        out: Summary = {"itl_mean_ms": None}
        if np.all(self.records["status"] == DONE):  # gaps add up to first token -> end
            out["itl_mean_ms"] = float((self.records["done_s"] - self.records["first_token_s"]).sum() / total * 1e3)
        for percentile in PERCENTILES:
            place = int(np.searchsorted(behind, total * percentile / 100))
            place = min(place, ITL_BINS - 1)
            out[f"itl_p{percentile}_ms"] = float(edges[place] + edges[place + 1]) / 2 * 1e3
        out["itl_max_ms"] = self.outcome.itl_max_s * 1e3
        return out

    def _pools(self) -> list[tuple[str, Pool, NDArray[np.void]]]:
        """Prefix of its metrics, description and totals of each pool."""
        names = ("",) if len(self.setup.pools) == 1 else ("prefill_pool_", "decode_pool_")
        totals = self.outcome.totals
        return [
            (name, pool, totals[pool.first_rank : pool.first_rank + pool.replicas * pool.ranks])
            for name, pool in zip(names, self.setup.pools, strict=True)
        ]

    def _load(self) -> Summary:
        out: Summary = {"steps": int(self.outcome.totals["steps"].sum())}
        for name, pool, totals in self._pools():
            up, busy = float(totals["up_s"].sum()), float(totals["busy_s"].sum())
            out |= {
                f"{name}replicas_mean": _ratio(up, self.outcome.end_s * pool.ranks),
                f"{name}busy_share": _ratio(busy, up),
                f"{name}batch_mean": _ratio(totals["batch_s"].sum(), busy),
                f"{name}kv_mean_share": _ratio(totals["kv_block_s"].sum(), busy * pool.engine.kv_blocks),
                f"{name}kv_peak_share": float(totals["kv_peak"].max() / pool.engine.kv_blocks),
                f"{name}kv_blocks": pool.engine.kv_blocks,
                f"{name}max_num_seqs": pool.engine.max_num_seqs,
            }
        return out

    def _energy(self) -> Summary:
        totals, records = self.outcome.totals, self.records
        prefill, decode = float(totals["prefill_j"].sum()), float(totals["decode_j"].sum())
        idle = sum(
            pool.table.idle_w * float(part["up_s"].sum() - part["busy_s"].sum()) for _, pool, part in self._pools()
        )
        return {
            "energy_j": prefill + decode + idle,
            "prefill_j": prefill,
            "decode_j": decode,
            "idle_j": idle,
            "power_w": _ratio(prefill + decode + idle, self.outcome.end_s),
            "energy_per_computed_input_token_j": _ratio(prefill, totals["prefill_tokens"].sum()),
            "energy_per_decoded_token_j": _ratio(decode, totals["decode_tokens"].sum()),
            "energy_per_output_token_j": _ratio(prefill + decode + idle, records["output_tokens"].sum()),
        }


def _ratio(above: float | np.generic, below: float | np.generic) -> float | None:
    return float(above) / float(below) if float(below) > 0.0 else None


def _spread(name: str, values_s: NDArray[np.float64]) -> Summary:
    """Mean and percentiles in milliseconds of times in seconds; nan is left out."""
    known = values_s if not np.isnan(values_s).any() else values_s[~np.isnan(values_s)]
    keys = [f"{name}_mean_ms", *(f"{name}_p{percentile}_ms" for percentile in PERCENTILES)]
    if known.size == 0:
        return dict.fromkeys(keys)
    values = [known.mean(), *np.percentile(known, PERCENTILES)]
    return dict(zip(keys, (float(value) * 1e3 for value in values), strict=True))
