"""Read the measured tables of aiconfigurator-core (Apache-2.0) into plain arrays with our own names and SI units.

The wheel is a development-time download outside the repository:
``pip install --no-deps --target DIR aiconfigurator-core==0.12.0``. Its folder layout is not a public interface, hence
the pinned version. ``silicon_sample.csv`` inside it is never read: those serving points are test data.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Columns = dict[str, NDArray[np.generic]]

ENGINES = ("vllm", "sglang", "trtllm")
DTYPES = {
    "bfloat16": "bf16",
    "fp8": "fp8",
    "fp8_e4m3": "fp8",
    "fp8_block": "fp8_block",
    "nvfp4": "nvfp4",
    "int8_wo": "w8a16",
    "int4_wo": "w4a16",
    "w4a16_mxfp4": "w4a16_mxfp4",
    "w4a8_mxfp4_mxfp8": "mxfp4",
    "w4afp8": "w4a8",
    "sq": "int8",
}


@dataclass(frozen=True)
class Kind:
    """One kind of table: folder and file in the wheel, its column names in ours, and how rows are named."""

    op: str
    folder: str
    file: str
    columns: dict[str, str]
    dtype: str  # column that selects the lane, empty for 16-bit tables
    second_dtype: str | None = None
    engines: tuple[str, ...] = ENGINES


KINDS = (
    Kind("matmul", "gemm", "gemm_perf", {"m": "m", "n": "n", "k": "k"}, "gemm_dtype"),
    Kind(
        "experts",
        "moe",
        "moe_perf",
        {
            "tokens": "num_tokens",
            "hidden": "hidden_size",
            "inner": "inter_size",
            "top_k": "topk",
            "experts": "num_experts",
            "tp": "moe_tp_size",
            "ep": "moe_ep_size",
            "distribution": "distribution",
        },
        "moe_dtype",
    ),
    Kind(
        "prefill",
        "attention",
        "context_attention_perf",
        {
            "batch": "batch_size",
            "queries": "isl",
            "context": "step",
            "query_heads": "num_heads",
            "kv_heads": "num_key_value_heads",
            "head_dim": "head_dim",
            "window": "window_size",
        },
        "attn_dtype",
        "kv_cache_dtype",
    ),
    Kind(
        "decode",
        "attention",
        "generation_attention_perf",
        {
            "batch": "batch_size",
            "context": "step",
            "query_heads": "num_heads",
            "kv_heads": "num_key_value_heads",
            "head_dim": "head_dim",
            "window": "window_size",
        },
        "kv_cache_dtype",
    ),
    Kind(
        "latent_prefill",
        "mla",
        "context_mla_perf",
        {"batch": "batch_size", "queries": "isl", "context": "step", "query_heads": "num_heads"},
        "kv_cache_dtype",
    ),
    Kind(
        "latent_decode",
        "mla",
        "generation_mla_perf",
        {"batch": "batch_size", "context": "step", "query_heads": "num_heads"},
        "kv_cache_dtype",
    ),
    *(
        Kind(
            op,
            "sparse_attention",
            file,
            {"batch": "batch_size", "queries": "isl", "context": "step"},
            "",
            engines=("sglang",),
        )
        for op, file in (
            ("indexer", "glm5_mqa_logits_module_perf"),
            ("select", "glm5_topk_module_perf"),
            ("sparse", "glm5_dsa_attn_module_perf"),
        )
    ),
    # the sglang table holds a group-wise quantisation at a tenth of memory bandwidth: not a streaming kernel
    Kind("stream", "quantize", "scale_matrix_perf", {"m": "m", "k": "k"}, "quant_dtype", engines=("vllm", "trtllm")),
    Kind(
        "state",
        "linear_attention",
        "gdn_perf",
        {
            "batch": "batch_size",
            "queries": "seq_len",
            "heads": "num_v_heads",
            "key_heads": "num_k_heads",
            "key_dim": "head_k_dim",
            "value_dim": "head_v_dim",
            "phase": "phase",
        },
        "",
    ),
)


@dataclass(frozen=True)
class Table:
    """Rows of one (chip, engine, version, kind, dtype): shape columns, kernel names and time [s]."""

    system: str
    engine: str
    version: str
    op: str
    dtype: str
    columns: Columns
    kernels: NDArray[np.str_]
    seconds: NDArray[np.float64]

    def pick(self, keep: NDArray[np.bool_] | NDArray[np.intp]) -> Table:
        """Same table with some of its rows."""
        columns = {name: values[keep] for name, values in self.columns.items()}
        return replace(self, columns=columns, kernels=self.kernels[keep], seconds=self.seconds[keep])


def data_folder(wheel: Path) -> Path:
    """Folder of the tables below the folder that the wheel was installed to. Raises FileNotFoundError."""
    folder = wheel / "aiconfigurator_core" / "systems" / "data"
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: not found; install aiconfigurator-core==0.12.0 with --target {wheel}")
    return folder


def version_key(version: str) -> tuple[tuple[int, str], ...]:
    """Order of version strings: numbers as numbers, a release candidate before its release."""
    parts = version.replace("rc", ".-1.").replace("post", ".1.").split(".")
    numbers = [(int(part), "") if part.lstrip("-").isdigit() else (0, part) for part in parts if part]
    return (*numbers, (0, ""))  # a release sorts between its candidates (-1) and its patches (1)


def read(wheel: Path, system: str, kind: Kind, engine: str) -> Iterator[Table]:
    """Tables of one kind on one system under one engine, newest version first, one per dtype."""
    import pyarrow.parquet as pq  # noqa: PLC0415 (only the importer needs it)

    folder = data_folder(wheel) / system / kind.folder / engine
    for version in sorted((path.name for path in folder.glob("*")), key=version_key, reverse=True):
        path = folder / version / f"{kind.file}.parquet"
        if not path.is_file():
            continue
        names = [name for name in (kind.dtype, kind.second_dtype) if name]
        present = set(pq.read_schema(path).names)
        wanted = [name for name in (*kind.columns.values(), *names) if name in present]
        table = pq.read_table(path, columns=[*wanted, "kernel_source", "latency"])
        raw = {name: np.asarray(table[name].to_numpy()) for name in table.schema.names}
        for name in set(kind.columns.values()) - present:
            raw[name] = np.zeros(table.num_rows)  # older tables have no window column: none was set
        labels = _labels(raw, names) if names else np.full(table.num_rows, "bf16")
        for label in sorted(set(labels)):
            keep = labels == label
            columns = {ours: raw[theirs][keep] for ours, theirs in kind.columns.items()}
            kernels = raw["kernel_source"][keep].astype(str)
            yield Table(system, engine, version, kind.op, label, columns, kernels, raw["latency"][keep] * 1e-3)


def _labels(raw: Columns, names: list[str]) -> NDArray[np.str_]:
    translated = [np.array([DTYPES[str(value)] for value in raw[name]]) for name in names]
    if len(translated) == 1:
        return translated[0]
    return np.array([f"{first}_kv_{second}" for first, second in zip(*translated, strict=True)])
