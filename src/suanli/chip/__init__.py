"""Time of one operator on one chip: pure functions of numbers, floats or NumPy arrays that broadcast."""

from suanli.chip.efficiency import Efficiency, efficiency_of
from suanli.chip.operators import (
    attention_decode_time,
    attention_prefill_time,
    grouped_matmul_time,
    matmul_time,
    smooth_max,
    stream_time,
)
from suanli.chip.routing import busiest_touched, experts_touched, largest_of

__all__ = [
    "Efficiency",
    "attention_decode_time",
    "attention_prefill_time",
    "busiest_touched",
    "efficiency_of",
    "experts_touched",
    "grouped_matmul_time",
    "largest_of",
    "matmul_time",
    "smooth_max",
    "stream_time",
]
