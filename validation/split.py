"""Splits of measured rows: a fifth of the sweeps, a chip family, a fifth of the models at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable

from suanli.validation.deployment import Case
from suanli.validation.predict import Prepared

FOLDS = 5


def fold_of(name: str) -> int:
    """Fold of a sweep or model, the same on every machine."""
    return hashlib.sha256(name.encode()).digest()[0] % FOLDS


KEYS: dict[str, Callable[[Case], str]] = {
    "sweep": lambda case: str(fold_of(case.row.text("sweep_id"))),
    "family": lambda case: case.chip.family,
    "model": lambda case: str(fold_of(case.graph.id)),
}


def groups(rows: Iterable[Prepared], kind: str) -> dict[str, tuple[list[Prepared], list[Prepared]]]:
    """(rows to fit on, rows to score) for every group that is left out once."""
    rows = list(rows)
    names = sorted({KEYS[kind](one.case) for one in rows})
    return {
        name: (
            [one for one in rows if KEYS[kind](one.case) != name],
            [one for one in rows if KEYS[kind](one.case) == name],
        )
        for name in names
    }
