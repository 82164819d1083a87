"""Correction surfaces: multilinear interpolation of a table over a few coordinates, constant outside its edges.

Used by calibrated operators (`suanli.chip`) and collectives (`suanli.fabric`). In files a table is stored as signed
bytes times a step, in base64.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Weights = list[tuple[NDArray[np.intp], Array]]


@dataclass(frozen=True)
class Surface:
    """`values` has one axis per coordinate; `knots` are the increasing places of its entries on each axis."""

    knots: tuple[Array, ...]
    values: Array

    def __call__(self, coordinates: Sequence[Array]) -> Array:
        """Value at each point; coordinates broadcast against each other.

        Axes on which all points share one coordinate are interpolated first, once for the whole table.
        """
        table: Array = self.values
        knots: list[Array] = []
        left: list[Array] = []
        for places, coordinate in zip(self.knots, coordinates, strict=True):
            axis = len(knots)
            if np.size(coordinate) > 1 and len(places) > 1:
                knots.append(places)
                left.append(coordinate)
                continue
            found = corners([places], [np.reshape(coordinate, -1)[0]])
            table = np.asarray(sum(weight * np.take(table, index, axis) for index, weight in found))
        flat = table.reshape(-1)
        total: Array = np.zeros(())
        for index, weight in corners(knots, left):
            total = total + weight * flat[index]
        return np.asarray(total)


def corners(knots: Sequence[Array], coordinates: Sequence[Array]) -> Weights:
    """Flat table index and weight of each of the 2^d table entries around every point."""
    found: Weights = [(np.zeros((), dtype=np.intp), np.ones(()))]
    for places, coordinate in zip(knots, coordinates, strict=True):
        if len(places) == 1:
            continue
        cell = np.clip(np.searchsorted(places, coordinate, side="right") - 1, 0, len(places) - 2)
        low, high = places[cell], places[cell + 1]
        upper = np.clip((coordinate - low) / (high - low), 0.0, 1.0)
        size = len(places)
        found = [
            (index * size + cell + step, weight * (upper if step else 1.0 - upper))
            for index, weight in found
            for step in (0, 1)
        ]
    return found


def encode(values: Array) -> tuple[float, str]:
    """Step and base64 bytes of a table; the rounding error is at most half a step."""
    step = max(float(np.abs(values).max()) / 127.0, 1e-3)
    return step, base64.b64encode(np.rint(values / step).astype(np.int8).tobytes()).decode("ascii")


def decode(knots: Sequence[Sequence[float]], step: float, values: str) -> Surface:
    """Surface from its stored form. Raises ValueError when the table does not fit the knots."""
    axes = tuple(np.asarray(axis, dtype=float) for axis in knots)
    table = np.frombuffer(base64.b64decode(values), dtype=np.int8).astype(float) * step
    return Surface(axes, table.reshape([len(axis) for axis in axes]))
