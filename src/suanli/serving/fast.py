"""The compiled core: flat state in, machine code over it, outcome out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from suanli.serving import fast_cluster
from suanli.serving.fast_state import fresh_state
from suanli.serving.kernel import compiled
from suanli.serving.outcome import RECORD, SERIES, TOTALS, Outcome

if TYPE_CHECKING:
    from suanli.serving.setup import Setup

_ENTRY = fast_cluster.simulate  # before compilation replaces the names in that module


def run_fast(setup: Setup) -> Outcome:
    """Run the compiled core; the first call on a machine compiles it."""
    state = fresh_state(setup)
    compiled(_ENTRY)(state.world)
    arrays = state.arrays
    ranks, bins = arrays["ranks"], arrays["bins"]
    return Outcome(
        records=arrays["jobs"][list(RECORD.names or ())],
        totals=ranks[list(TOTALS.names or ())],
        series=bins.view(np.float64).reshape(*bins.shape, len(SERIES)),
        sample_s=float(ranks["sample_s"].max()),
        itl_counts=arrays["itl"],
        itl_max_s=float(ranks["itl_max_s"].max()),
        steps=np.concatenate([steps[:count] for steps, count in zip(arrays["steps"], ranks["logged"], strict=True)]),
        end_s=float(state.world["now_s"][0]),
    )
