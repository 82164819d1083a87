"""One calibrated lane: the time of one kind of operator in one number format on one chip under one engine.

time = max(bounds, exp(surface(shape)) * (launch + p-norm(arithmetic / (e_c peak), traffic / (e_m bandwidth))))

Three physical numbers carry the dependence on the chip, so faster memory or arithmetic is never slower; the surface
is a small table over log2 of the shape, fitted to measurements (docs/theory/matmul.md).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from suanli.chip.operators import smooth_max
from suanli.chip.work import Work
from suanli.surface import Surface

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Lane:
    """launch [s], fraction of peak arithmetic and of peak bandwidth that large operators reach, correction [log]."""

    launch: float
    compute: float
    memory: float
    surface: Surface | None = None

    def base(self, work: Work, rate: float, bandwidth: float) -> Array:
        """Physical part [s]: launch and the roofline at achieved efficiencies."""
        return np.asarray(
            self.launch + smooth_max(work.steps / (self.compute * rate), work.bytes / (self.memory * bandwidth))
        )

    def time(self, work: Work, rate: float, bandwidth: float) -> Array:
        """Time [s] at a peak `rate` [FLOP/s] and `bandwidth` [B/s]; never below either bound of the datasheet."""
        time = self.base(work, rate, bandwidth)
        if self.surface is not None:
            time = time * np.exp(self.surface(work.coordinates))
        return np.asarray(np.maximum(time, np.maximum(work.flops / rate, work.bytes / bandwidth)))
