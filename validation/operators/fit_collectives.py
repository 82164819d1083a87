"""Make the collective packs: ``python -m validation.operators.fit_collectives --wheel DIR``.

One file per chip in ``calibration/collectives/``. Every library and collective is fitted over size and ranks; to
judge it, every third size is left out.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from suanli.catalog.loader import DATA
from suanli.chip.efficiency import calibration_folder
from suanli.fabric.lane import MOVED, Collective, CollectiveLane, CollectivePack, CollectiveRecord
from suanli.surface import Surface, decode, encode
from validation.operators import solve
from validation.operators.fit import SOURCE
from validation.operators.rows import chip_facts
from validation.operators.tables import data_folder, version_key

Array = NDArray[np.float64]
HERE = Path(__file__).parent
NAMES: dict[str, Collective] = {
    "all_reduce": "all_reduce",
    "all_gather": "all_gather",
    "reduce_scatter": "reduce_scatter",
    "alltoall": "all_to_all",
}
EXCHANGES: dict[str, Collective] = {
    "ep_dispatch": "ep_dispatch",
    "ep_combine": "ep_combine",
    "ep_dispatch_ll": "ep_dispatch_ll",
    "ep_combine_ll": "ep_combine_ll",
}
EXCHANGE_SMS = 20  # of those measured, what engines give to the exchange by default
FP8_WIDTH = 1.0 + 4.0 / 128.0  # bytes per element with one 4-byte scale per 128
KNOTS = (np.arange(8.0, 31.0), np.array([1.0, 2.0, 3.0]))  # log2 of bytes and of ranks
EXCHANGE_KNOTS = (np.arange(11.0, 32.0, 2.0), np.arange(2.0, 7.0))
TOLERANCE = 1.5  # a size slower than a larger one by this factor is a spike


@dataclass(frozen=True)
class Sweep:
    """Times of one collective of one library on one system."""

    op: Collective
    library: str
    version: str
    ranks: Array
    size: Array  # B
    seconds: Array
    dropped: int

    def pick(self, keep: NDArray[np.bool_]) -> Sweep:
        """Some of the rows."""
        return Sweep(
            self.op, self.library, self.version, self.ranks[keep], self.size[keep], self.seconds[keep], self.dropped
        )


def sweeps(wheel: Path, system: str) -> Iterator[Sweep]:
    """Newest sweep of every library and collective, graph launched, without spikes."""
    import pyarrow.parquet as pq  # noqa: PLC0415 (only the importer needs it)

    folder = data_folder(wheel) / system / "comm"
    for library, file, dtype_column in (
        ("nccl", "nccl_perf", "nccl_dtype"),
        ("vllm", "custom_allreduce_perf", "allreduce_dtype"),
        ("sglang", "custom_allreduce_perf", "allreduce_dtype"),
        ("trtllm", "custom_allreduce_perf", "allreduce_dtype"),
    ):
        paths = sorted(folder.glob(f"{library}/*/{file}.parquet"), key=lambda path: version_key(path.parent.name))
        if not paths:
            continue
        table = pq.read_table(paths[-1])
        raw = {name: np.asarray(table[name].to_numpy()) for name in table.schema.names}
        kernel = raw["kernel_source"].astype(str)
        # message sizes are elements; 16-bit rows only, so two bytes each
        keep = (raw[dtype_column].astype(str) != "int8") & (np.char.find(kernel, "eager") < 0)
        for theirs, op in NAMES.items():
            rows = keep & (raw["op_name"].astype(str) == theirs)
            if rows.sum() >= 20:
                yield clean(
                    op,
                    library,
                    paths[-1].parent.name,
                    raw["num_gpus"][rows].astype(float),
                    raw["message_size"][rows] * 2.0,
                    seconds=raw["latency"][rows] * 1e-3,
                )


def exchange_sweeps(wheel: Path, system: str) -> Iterator[Sweep]:
    """Expert exchange: DeepEP low latency (fp8 out, 16 bit back) and normal (20 SMs), TRT-LLM one-sided over NVLink.

    Newer tables hold one node; an older one of H100 adds 2, 4 and 8 nodes. The newest table wins where both have a
    number of ranks.
    """
    import pyarrow.parquet as pq  # noqa: PLC0415 (only the importer needs it)

    folder = data_folder(wheel) / system / "comm"
    per_node = 4 if system.startswith("gb") else 8
    for kind, file in (("_ll", "wideep_deepep_ll_perf"), ("", "wideep_deepep_normal_perf")):
        paths = sorted(folder.glob(f"sglang/*/{file}.parquet"), key=lambda path: version_key(path.parent.name))
        seen: set[float] = set()
        parts: dict[str, list[tuple[Array, Array, Array]]] = {"ep_dispatch": [], "ep_combine": []}
        for path in reversed(paths):
            table = pq.read_table(path)
            raw = {name: np.asarray(table[name].to_numpy()) for name in table.schema.names}
            ranks = raw["node_num"].astype(float) * per_node
            keep = ~np.isin(ranks, list(seen))
            if not kind:
                keep &= raw["dispatch_sms"] == EXCHANGE_SMS
            seen |= set(ranks.tolist())
            elements = (raw["num_token"] * raw["num_topk"] * raw["hidden_size"]).astype(float)
            for op, width in (("ep_dispatch", FP8_WIDTH), ("ep_combine", 2.0)):
                name = op.removeprefix("ep_")
                micro = raw[f"{name}_avg_t_us"] if kind else raw[f"{name}_transmit_us"] + raw[f"{name}_notify_us"]
                parts[op].append((ranks[keep], elements[keep] * width, micro[keep] * 1e-6))
        for op, some in parts.items():
            if some:
                columns = [np.concatenate(column) for column in zip(*some, strict=True)]
                name = EXCHANGES[f"{op}{kind}"]
                yield clean(name, "deepep", paths[-1].parent.name, columns[0], columns[1], seconds=columns[2])


def clean(op: Collective, library: str, version: str, ranks: Array, size: Array, *, seconds: Array) -> Sweep:
    """Median of repeated sizes, without spikes (slower than a larger payload) and without non-positive times."""
    keys, inverse = np.unique(np.stack([ranks, size]), axis=1, return_inverse=True)
    median = np.array([np.median(seconds[inverse == index]) for index in range(keys.shape[1])])
    sweep = Sweep(op, library, version, keys[0], keys[1], median, len(seconds) - len(median))
    keep = median > 0
    for count in np.unique(sweep.ranks):
        here = np.flatnonzero(sweep.ranks == count)
        order = here[np.argsort(sweep.size[here])]
        later = np.minimum.accumulate(sweep.seconds[order][::-1])[::-1]
        keep[order[sweep.seconds[order] > TOLERANCE * later]] = False
    kept = sweep.pick(keep)
    return Sweep(op, library, version, kept.ranks, kept.size, kept.seconds, sweep.dropped + int((~keep).sum()))


def fit_sweep(sweep: Sweep, bandwidth: float) -> CollectiveLane:
    """Launch from the shortest times, efficiency from the largest payloads, then the surface."""
    launch = 0.95 * float(np.quantile(sweep.seconds, 0.02))
    moved = MOVED[sweep.op](sweep.ranks) * sweep.size
    large = sweep.size >= 0.25 * sweep.size.max()
    efficiency = float(np.quantile((moved / sweep.seconds)[large], 0.9) / bandwidth)
    lane = CollectiveLane(sweep.op, launch, efficiency)

    def log_base_at(sizes: Sequence[Array]) -> Array:
        size, ranks = sizes
        return np.asarray(np.log(lane.base(ranks, size, bandwidth)))

    target = np.log(sweep.seconds / lane.base(sweep.ranks, sweep.size, bandwidth))
    coordinates = (np.log2(sweep.size), np.log2(sweep.ranks))
    knots = EXCHANGE_KNOTS if sweep.op.startswith("ep_") else KNOTS
    surface = solve.surface_of(knots, coordinates, target, log_base_at, (0,))
    return CollectiveLane(sweep.op, launch, efficiency, stored(surface))


def stored(surface: Surface) -> Surface:
    """The surface as it will be read back."""
    return decode([axis.tolist() for axis in surface.knots], *encode(surface.values))


def record_of(sweep: Sweep, bandwidth: float) -> CollectiveRecord:
    """Fit without every third size for the error, then with all."""
    levels = np.unique(sweep.size, return_inverse=True)[1]
    held_out = (levels % 3 == 1) & (levels > 0) & (levels < levels.max())
    judged = fit_sweep(sweep.pick(~held_out), bandwidth)
    predicted = judged.time(sweep.ranks, sweep.size, bandwidth)
    errors = solve.factor_errors(predicted, sweep.seconds)[held_out]
    lane = fit_sweep(sweep, bandwidth)
    if lane.surface is None:
        raise ValueError(f"{sweep.op}: a fitted lane has a surface")
    step, values = encode(lane.surface.values)
    return CollectiveRecord(
        op=sweep.op,
        library=sweep.library,
        version=sweep.version,
        rows=len(sweep.seconds),
        dropped=sweep.dropped,
        launch_us=float(f"{lane.launch * 1e6:.4g}"),
        efficiency=float(f"{lane.efficiency:.4g}"),
        knots=tuple(tuple(float(place) for place in axis) for axis in lane.surface.knots),
        step=step,
        values=values,
        median_error=float(f"{np.median(errors):.3g}"),
        p90_error=float(f"{np.quantile(errors, 0.9):.3g}"),
        spread=float(f"{1.0 + np.quantile(errors, 0.8):.3g}"),
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wheel", type=Path, required=True, help="folder of pip install --target")
    given = parser.parse_args()
    links = yaml.safe_load((HERE / "links.yaml").read_text(encoding="utf-8"))
    host_call_us = links["host_call_us"]["value"]
    for system, facts in chip_facts(HERE).items():
        if system not in links["one_way_gb_s"]:
            continue
        bandwidth = links["one_way_gb_s"][system]
        found = [*sweeps(given.wheel, system), *exchange_sweeps(given.wheel, system)]
        records = [record_of(sweep, bandwidth * 1e9) for sweep in found]
        for record in records:
            line = f"{record.launch_us} us, efficiency {record.efficiency}, error {record.median_error}"
            print(f"{system} {record.library} {record.op}: {line} median {record.p90_error} p90", flush=True)
        pack = CollectivePack(
            schema_version=1,
            chip=facts.id,
            evidence="measured_operators",
            source=SOURCE,
            bandwidth_gb_s=bandwidth,
            host_call_us=host_call_us,
            lanes=tuple(records),
        )
        if system == "l40s":  # not in the catalog
            continue
        path = calibration_folder(DATA) / "collectives" / f"{facts.id}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(pack.model_dump(), separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
