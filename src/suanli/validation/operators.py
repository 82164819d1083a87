"""Validate measurements of kernels and collectives: every row predicted or refused with a reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal

from suanli.catalog.files import CatalogError
from suanli.catalog.loader import DATA, Catalog, load
from suanli.chip import efficiency_of
from suanli.chip.efficiency import calibration_folder
from suanli.chip.kernels import Kernels, kernels_of
from suanli.chip.library import libraries
from suanli.chip.packs import packs_of
from suanli.chip.scoring import predict_kernel
from suanli.fabric.lane import collectives_of
from suanli.fabric.scoring import load_sweeps, predict_collective
from suanli.scoring import RefusedError
from suanli.search.records import load_profiles
from suanli.validation.measured import MeasuredError, Row, read_csv
from suanli.validation.report import Validation
from suanli.validation.score import Pair

FOLDER = calibration_folder(DATA)
OperatorKind = Literal["kernel", "collective"]

COLUMNS: Mapping[OperatorKind, tuple[str, ...]] = {
    "kernel": ("id", "source", "chip", "kernel", "precision", "m", "n", "k", "metric", "value", "unit"),
    "collective": (
        "id",
        "source",
        "system",
        "chip",
        "ranks",
        "fabric",
        "library",
        "collective",
        "payload_bytes",
        "metric",
        "value",
        "unit",
    ),
}

# What tables call chips whose catalog id they do not use (kernel and collective tables of ml-engineering, LLMCompass,
# FlashAttention, DeepGEMM).
TABLE_NAMES = {
    "a100": "nvidia-a100-sxm4-80gb",
    "nvidia a100 sxm": "nvidia-a100-sxm4-80gb",
    "h100": "nvidia-h100-sxm",
    "nvidia h100 sxm": "nvidia-h100-sxm",
    "h200": "nvidia-h200-sxm",
    "nvidia h200 sxm": "nvidia-h200-sxm",
    "h800": "nvidia-h800-sxm",
    "b200": "nvidia-b200-sxm",
    "nvidia b200 sxm": "nvidia-b200-sxm",
    "b300": "nvidia-b300-sxm",
    "nvidia b300 sxm": "nvidia-b300-sxm",
    "gb200": "nvidia-gb200",
    "nvidia gb200 sxm": "nvidia-gb200",
    "gb300": "nvidia-gb300",
    "nvidia gh200 sxm": "nvidia-gh200-144gb",
    "mi300x": "amd-mi300x",
    "mi325x": "amd-mi325x",
    "mi355x": "amd-mi355x",
}


def chip_id(catalog: Catalog, name: str) -> str | None:
    """Catalog id of a chip as tables name it, None when the catalog does not have it."""
    plain = name.lower().removesuffix("?").strip()
    dashed = plain.replace(" ", "-")
    for candidate in (TABLE_NAMES.get(plain, ""), plain, dashed):
        try:
            return catalog.chip(candidate).id
        except CatalogError:
            continue
    return None


@lru_cache(maxsize=64)
def _engines(chip: str) -> tuple[Kernels, ...]:
    """Operator times of a chip under every engine that was measured on it, or from its family."""
    record = load().chip(chip)
    matrix = [peak for peak in record.peaks if peak.sparsity == "dense" and peak.units == "matrix" and peak.rate.known]
    peaks: dict[str, float] = {peak.dtype: peak.rate.si for peak in matrix}
    packs, pooled = packs_of(FOLDER, chip), packs_of(FOLDER, f"pooled-{record.compute.architecture}")
    family = efficiency_of(record, dict(load_profiles().efficiencies))
    bandwidth, clock = record.memory.bandwidth.si, record.compute.clock
    hertz = clock.si if clock is not None and clock.known else None
    return tuple(
        kernels_of(peaks, bandwidth, engine, packs, pooled, family, array=record.compute.array, clock=hertz)
        for engine in (list(packs) or ["generic"])
    )


def _kernel_row(catalog: Catalog, row: Mapping[str, str]) -> tuple[float, float, float]:
    found = chip_id(catalog, row["chip"])
    engines = _engines(found) if found is not None else ()
    predicted = predict_kernel(row, engines, libraries(FOLDER).get(row["chip"].lower()))
    return predicted.value, predicted.low, predicted.high


def _collective_row(catalog: Catalog, row: Mapping[str, str]) -> tuple[float, float, float]:
    found = chip_id(catalog, row["chip"])
    pack = collectives_of(FOLDER, found) if found is not None else None
    predicted = predict_collective(row, pack, load_sweeps(FOLDER))
    return predicted.value, predicted.low, predicted.high


PREDICT: Mapping[OperatorKind, Callable[[Catalog, Mapping[str, str]], tuple[float, float, float]]] = {
    "kernel": _kernel_row,
    "collective": _collective_row,
}
MIB = 2.0**20


def _group_of(kind: OperatorKind, row: Mapping[str, str]) -> str:
    """What a row counts to: the kernel, or the collective with payloads below and above 1 MiB apart."""
    if kind == "kernel":
        return row["kernel"]
    text = row.get("payload_bytes") or ""
    size = "" if not text else (" >= 1 MiB" if float(text) >= MIB else " < 1 MiB")
    return row["collective"] + size


def read_operator_rows(path: Path, kind: OperatorKind) -> list[dict[str, str]]:
    """Rows of a CSV file. Raises MeasuredError naming every missing column and every value that is not a number."""
    rows, problems = read_csv(path, COLUMNS[kind])
    if not problems:
        problems = [
            f"{path}: {row['id']}: value '{row['value']}' is not a positive number"
            for row in rows
            if not _positive(row["value"])
        ]
    if not problems and not rows:
        problems = [f"{path}: no rows"]
    if problems:
        raise MeasuredError(problems)
    return rows


def _positive(text: str) -> bool:
    try:
        return float(text) > 0.0
    except ValueError:
        return False


def validate_operators(path: Path, kind: OperatorKind) -> Validation:
    """Predict and score every row of a table of kernels or collectives. Raises MeasuredError or CatalogError."""
    return score_operators(read_operator_rows(path, kind), kind)


def score_operators(rows: Sequence[Mapping[str, str]], kind: OperatorKind) -> Validation:
    """Predict and score rows; the metric of a pair is the kernel or collective. Raises CatalogError."""
    catalog = load()
    pairs: list[Pair] = []
    refused: dict[str, str] = {}
    for row in rows:
        name = _group_of(kind, row)
        sweep = "|".join(row.get(part, "") for part in ("source", "system", "chip", "kernel", "precision", "library"))
        value: tuple[float, float, float] | tuple[None, None, None] = (None, None, None)
        try:
            value = PREDICT[kind](catalog, row)
        except RefusedError as error:
            refused[row["id"]] = str(error)
        pairs.append(Pair(row["id"], sweep, name, float(row["value"]), *value))
    kept = tuple(Row({**row, "config_id": row["id"]}) for row in rows)
    return Validation(kept, tuple(pairs), refused, {})
