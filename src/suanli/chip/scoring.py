"""Rows of kernel measurements: what a row's kernel does, and the prediction of the number that it reports.

Columns are those of a kernel table: chip, kernel, precision, m, n, k, groups, batch, heads, seq_len, head_dim, causal,
metric (tflops, mem_bw, throughput), value, unit. A row whose shape is not given is refused with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from suanli.chip.formats import FORMATS, peak_of
from suanli.chip.kernels import Kernels
from suanli.chip.library import Library
from suanli.chip.packs import LaneRecord
from suanli.chip.work import Work, matmul_work, prefill_work, stream_work
from suanli.scoring import Predicted, RefusedError, within

# Tokens x hidden width of the FlashAttention papers' sweeps where a row gives only length and head width
# (arXiv 2407.08608 section 4.1: 16k tokens, hidden 2048).
SWEEP_TOKENS, SWEEP_WIDTH = 16384.0, 2048.0

PRECISIONS = {"fp16": "bf16", "bf16": "bf16", "bf16/fp16": "bf16", "fp8": "fp8", "int8": "int8", "nvfp4": "nvfp4"}
STREAM_KERNELS = ("softmax", "layernorm", "gelu")  # 16 bit in, 16 bit out
GROUPED_KERNELS = ("grouped_gemm_contiguous", "grouped_gemm_masked")
MATMUL_KERNELS = ("gemm", "gemm_best_shape", *GROUPED_KERNELS)


@dataclass(frozen=True)
class KernelCase:
    """One row: the op and lane names to look for, the work, and what its metric counts per second."""

    op: str
    lane: str
    library_op: str
    work: Work
    counted: float  # FLOP, B or elements of one call
    unit: float  # SI size of the unit that the row reports

    def value(self, seconds: float) -> float:
        """The reported number for a call of this length."""
        return self.counted / seconds / self.unit


def _number(row: Mapping[str, str], name: str) -> float:
    text = row.get(name) or ""
    if not text:
        raise RefusedError(f"no {name} in the row: the shape is not known")
    try:
        return float(text)
    except ValueError:
        raise RefusedError(f"{name} '{text}' is not a number") from None


def case_of(row: Mapping[str, str]) -> KernelCase:
    """Read one row. Raises RefusedError."""
    kernel, precision = row["kernel"], row["precision"]
    if precision not in PRECISIONS:
        raise RefusedError(f"precision '{precision}'; known: {', '.join(PRECISIONS)}")
    lane = PRECISIONS[precision]
    if kernel in MATMUL_KERNELS:
        return _matmul_case(row, kernel, lane)
    if kernel.startswith("attn_fwd_"):
        return _attention_case(row, kernel, lane)
    if kernel in STREAM_KERNELS:
        elements = _number(row, "m") * (float(row["n"]) if row.get("n") else 1.0)
        return KernelCase("stream", "bf16", kernel, stream_work(4.0 * elements), elements, 1e9)
    raise RefusedError(f"no model of kernel '{kernel}'")


def _matmul_case(row: Mapping[str, str], kernel: str, lane: str) -> KernelCase:
    m, n, k = (_number(row, name) for name in ("m", "n", "k"))
    form = FORMATS[lane]
    groups = _number(row, "groups") if kernel in GROUPED_KERNELS else 1.0
    work = matmul_work(m, n, k, weight_bytes=form.weight_bytes, activation_bytes=form.activation_bytes)
    if groups > 1.0:  # groups of m rows each, every one with its own weights, in one call
        whole = matmul_work(m * groups, n, k, weight_bytes=0.0, activation_bytes=form.activation_bytes)
        weights = groups * form.weight_bytes * n * k
        work = Work(whole.flops, whole.steps, np.asarray(whole.bytes + weights), whole.coordinates)
    if lane == "fp8" and "DeepGEMM" in row.get("source", ""):
        lane = "fp8_block"
    counted, unit = (float(work.bytes), 1e9) if row["metric"] == "mem_bw" else (float(work.flops), 1e12)
    return KernelCase("matmul", lane, kernel, work, counted, unit)


def _attention_case(row: Mapping[str, str], kernel: str, lane: str) -> KernelCase:
    length, width = _number(row, "seq_len"), _number(row, "head_dim")
    heads = float(row["heads"]) if row.get("heads") else SWEEP_WIDTH / width
    batch = float(row["batch"]) if row.get("batch") else SWEEP_TOKENS / length
    causal = row.get("causal") == "1"
    work = prefill_work(batch, length, 0.0, heads, heads, qk_dim=width, v_dim=width, kv_bytes=2.0)
    # papers count length^2 pairs, half of them under a causal mask
    pairs = length * length * (0.5 if causal else 1.0)
    flops = np.asarray(4.0 * batch * heads * pairs * width)
    keys = np.asarray(np.log2(pairs / length))
    work = replace(work, flops=flops, steps=flops, coordinates=(keys, *work.coordinates[1:]))
    name = f"{kernel}.{'causal' if causal else 'full'}"
    return KernelCase("prefill", f"{lane}_kv_{lane}", name, work, float(flops), 1e12)


def predict_kernel(row: Mapping[str, str], engines: Sequence[Kernels], library: Library | None) -> Predicted:
    """Predict one row. Raises RefusedError.

    A lane of the measured library kernel itself comes first. Otherwise the fastest of the chip's lanes over `engines`:
    such tables report the best kernel that somebody found.
    """
    case = case_of(row)
    if library is not None:
        record = library.by_name().get((case.library_op, row["precision"]))
        if record is not None:
            return _from_library(case, record, library, PRECISIONS[row["precision"]])
    if not engines:
        raise RefusedError(f"chip '{row['chip']}' is not in the catalog and no kernel like this was measured on it")
    return max((_from_lane(case, kernels) for kernels in engines), key=lambda predicted: predicted.value)


def _from_lane(case: KernelCase, kernels: Kernels) -> Predicted:
    math = case.lane.split("_kv_", maxsplit=1)[0]
    try:
        rate = peak_of(kernels.peaks, math)
    except KeyError as error:
        raise RefusedError(str(error.args[0])) from None
    chosen = kernels.chosen(case.op, case.lane)
    seconds = float(chosen.lane.time(case.work, rate, kernels.bandwidth))
    return within(case.value(seconds), chosen.spread, chosen.evidence)


def _from_library(case: KernelCase, record: LaneRecord, library: Library, math: str) -> Predicted:
    seconds = float(record.lane().time(case.work, peak_of(library.peaks, math), library.bandwidth))
    return within(case.value(seconds), record.spread, "measured_operators")
