"""The compiled core: flat state in, machine code over it, outcome out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from suanli.serving import fast_cluster
from suanli.serving.fast_state import world
from suanli.serving.kernel import compiled
from suanli.serving.outcome import RECORD, TOTALS, Outcome

if TYPE_CHECKING:
    from suanli.serving.setup import Setup

_ENTRY = fast_cluster.simulate  # before compilation replaces the names in that module


def run_fast(setup: Setup) -> Outcome:
    """Run the compiled core; the first call on a machine compiles it."""
    state = world(setup)
    compiled(_ENTRY)(state)
    logged = state.ranks["logged"]
    return Outcome(
        records=state.jobs[list(RECORD.names or ())],
        totals=state.ranks[list(TOTALS.names or ())],
        series=state.series,
        sample_s=float(state.ranks["sample_s"].max()),
        itl_counts=state.itl_counts,
        itl_max_s=float(state.ranks["itl_max_s"].max()),
        steps=np.concatenate([steps[:count] for steps, count in zip(state.steps, logged, strict=True)]),
        end_s=float(state.main["now_s"][0]),
    )
