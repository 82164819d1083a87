"""Splits of measured rows: whole sweeps, whole chip families, whole models."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable

from suanli.validation.predict import Prepared

FOLDS = 5


def fold_of(sweep: str) -> int:
    """Fold of a sweep, the same on every machine."""
    return hashlib.sha256(sweep.encode()).digest()[0] % FOLDS


KEYS: dict[str, Callable[[Prepared], str]] = {
    "sweep": lambda one: str(fold_of(one.case.row.text("sweep_id"))),
    "family": lambda one: one.case.chip.family,
    "model": lambda one: one.case.graph.id,
}


def groups(rows: Iterable[Prepared], kind: str) -> dict[str, tuple[list[Prepared], list[Prepared]]]:
    """(rows to fit on, rows to score) for every group that is left out once."""
    rows = list(rows)
    names = sorted({KEYS[kind](one) for one in rows})
    return {
        name: ([one for one in rows if KEYS[kind](one) != name], [one for one in rows if KEYS[kind](one) == name])
        for name in names
    }
