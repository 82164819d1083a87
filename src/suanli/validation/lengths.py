"""Lengths of requests: fixed, uniform, or a benchmark's data set by its published statistics."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from suanli.catalog.files import read_yaml
from suanli.catalog.loader import DATA
from suanli.catalog.schema import Record
from suanli.quantity import Number, Quantity
from suanli.validation.measured import Row

# Lower end of a uniform distribution over its upper end: `--random-range-ratio 0.8` of the InferenceX client.
UNIFORM_RATIO = 0.8


class DatasetLengths(Record):
    """Published or estimated lengths of one data set."""

    input_tokens: Quantity
    input_cv: Number
    output_cv: Number


class LengthFile(Record):
    """Data sets by name."""

    schema_version: Literal[1]
    datasets: dict[str, DatasetLengths]


@lru_cache(maxsize=1)
def dataset_lengths() -> dict[str, DatasetLengths]:
    """Data sets of the package. Raises CatalogError."""
    return read_yaml(DATA / "benchmarks" / "lengths.yaml", LengthFile).datasets


@dataclass(frozen=True)
class Lengths:
    """Means [token] and shape of the input and output lengths of a workload."""

    input_tokens: float
    output_tokens: float
    shape: Literal["fixed", "uniform", "lognormal"]
    input_cv: float
    output_cv: float

    def draw(self, count: int, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """`count` input and output lengths, the same for the same seed; at least one token each."""
        return _drawn(self, count, seed)


@lru_cache(maxsize=4096)
def _drawn(lengths: Lengths, count: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    random = np.random.default_rng(seed)
    pairs = ((lengths.input_tokens, lengths.input_cv), (lengths.output_tokens, lengths.output_cv))
    inputs, outputs = (_draw(random, mean, cv, lengths.shape, count) for mean, cv in pairs)
    return inputs, outputs


def _draw(random: np.random.Generator, mean: float, cv: float, shape: str, count: int) -> NDArray[np.float64]:
    if shape == "fixed" or cv == 0.0:
        found = np.full(count, mean)
    elif shape == "uniform":
        found = mean * random.uniform(1.0 - cv * np.sqrt(3.0), 1.0 + cv * np.sqrt(3.0), count)
    else:
        width = np.sqrt(np.log1p(cv * cv))
        found = random.lognormal(np.log(mean) - width * width / 2.0, width, count)
        found *= mean / found.mean()
    return np.asarray(np.maximum(np.round(found), 1.0))


def lengths_of(row: Row) -> tuple[Lengths | None, list[str], str]:
    """Lengths of a row, what was assumed, and why there are none."""
    given_in, given_out = row.number("input_tokens"), row.number("output_tokens")
    kind = row.text("length_distribution")
    notes: list[str] = []
    shape: Literal["fixed", "uniform", "lognormal"] = "fixed"
    spread = (0.0, 0.0)
    if kind == "uniform":
        width = (1.0 - UNIFORM_RATIO) / (1.0 + UNIFORM_RATIO) / np.sqrt(3.0)
        shape, spread = "uniform", (float(width), float(width))
    elif kind.startswith("dataset:"):
        found = dataset_lengths().get(kind.removeprefix("dataset:"))
        if found is not None:
            shape, spread = "lognormal", (found.input_cv.si, found.output_cv.si)
            notes.append(f"spread of lengths of {kind.removeprefix('dataset:')} from its statistics")
            if given_in is None:
                given_in = found.input_tokens.si
                notes.append(f"mean input of {given_in:.0f} tokens from the data set")
        else:
            notes.append(f"data set '{kind.removeprefix('dataset:')}' unknown: equal lengths assumed")
    if given_in is None:
        return None, notes, "input length not known"
    if given_out is None and row.text("mode") not in ("prefill_only", "decode_only") and not _isolated(row):
        return None, notes, "output length not known"
    return Lengths(given_in, given_out or 0.0, shape, *spread), notes, ""


def _isolated(row: Row) -> bool:
    """Whether prefill and decode were measured apart, so that no output length is needed."""
    return bool(row.text("prefill_tok_s_per_chip") or row.text("decode_tok_s_per_chip"))
