"""Trade-off curves: what a system gives a single user against what it gives per chip, and at what cost."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from suanli.search.candidates import Column
from suanli.search.cost import SystemCost
from suanli.search.estimate import significant
from suanli.search.rank import pareto

SECONDS_PER_HOUR = 3600.0
MTOK = 1e6
CURVE_LOAD = 0.8  # mean over provisioned power for the energy part of the curve's cost; moves it by a few percent
POINTS = 40


def _front(column: Column) -> NDArray[np.intp]:
    """Flat indices into the (n, g) arrays of a table of the points that nothing beats."""
    speed, rate = column.user_speed.ravel(), column.chip_rate.ravel()
    kept = np.flatnonzero(rate > 0.0)
    chosen = kept[pareto(list(zip(speed[kept].tolist(), rate[kept].tolist(), strict=True)))]
    return chosen if len(chosen) <= POINTS else chosen[np.linspace(0, len(chosen) - 1, POINTS).astype(int)]


def front_rows(column: Column) -> NDArray[np.intp]:
    """Rows of a table that appear on its trade-off curve."""
    return np.unique(_front(column) // column.user_speed.shape[1])


def front_of(column: Column, cost: SystemCost | None) -> list[dict[str, Any]]:
    """Pareto front of one system, prefill and decode on the same chips, memory as the only limit.

    Each point: output tokens/s of a user, all tokens/s per chip, cost per million tokens with every chip busy.
    """
    hourly = float(cost.per_chip_hour(CURVE_LOAD).total) if cost else None
    place, points = column.placements, []
    for index in _front(column):
        row, rate = int(index) // column.user_speed.shape[1], float(column.chip_rate.ravel()[index])
        point = {
            "output_tok_s_per_user": significant(float(column.user_speed.ravel()[index]), 4),
            "total_tok_s_per_chip": significant(rate, 4),
            "tp": int(place.tp[row]),
            "dp": int(place.dp[row]),
            "pp": int(place.pp[row]),
            "ep": int(place.ep[row]),
        }
        if hourly is not None:
            point["usd_per_mtok"] = significant(hourly / SECONDS_PER_HOUR / rate * MTOK, 4)
        points.append(point)
    return points
