"""Trade-off curves: what a system gives a single user against what it gives per chip, and at what cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from suanli.search.candidates import Column
from suanli.search.cost import SystemCost
from suanli.search.estimate import significant
from suanli.search.rank import pareto

SECONDS_PER_HOUR = 3600.0
MTOK = 1e6
CURVE_LOAD = 0.8  # mean over provisioned power for the energy part of the curve's cost; moves it by a few percent
POINTS = 40


def front_of(columns: Sequence[Column], cost: SystemCost | None) -> list[dict[str, Any]]:
    """Pareto front of one system, prefill and decode on the same chips, memory as the only limit.

    Each point: output tokens/s of a user, all tokens/s per chip, cost per million tokens with every chip busy.
    """
    speed = np.concatenate([column.user_speed.ravel() for column in columns])
    rate = np.concatenate([column.chip_rate.ravel() for column in columns])
    rows = np.concatenate([np.repeat(np.arange(len(c.placements)), c.user_speed.shape[1]) for c in columns])
    table = np.concatenate([np.full(column.user_speed.size, index) for index, column in enumerate(columns)])
    kept = np.flatnonzero(rate > 0.0)
    chosen = kept[pareto(list(zip(speed[kept].tolist(), rate[kept].tolist(), strict=True)))]
    if len(chosen) > POINTS:
        chosen = chosen[np.linspace(0, len(chosen) - 1, POINTS).astype(int)]
    hourly = float(cost.per_chip_hour(CURVE_LOAD).total) if cost else None
    points = []
    for index in chosen:
        place, row = columns[int(table[index])].placements, int(rows[index])
        point = {
            "output_tok_s_per_user": significant(float(speed[index]), 4),
            "total_tok_s_per_chip": significant(float(rate[index]), 4),
            "tp": int(place.tp[row]),
            "dp": int(place.dp[row]),
            "pp": int(place.pp[row]),
            "ep": int(place.ep[row]),
        }
        if hourly is not None:
            point["usd_per_mtok"] = significant(hourly / SECONDS_PER_HOUR / float(rate[index]) * MTOK, 4)
        points.append(point)
    return points
