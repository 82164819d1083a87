"""What a simulation leaves behind, before anything is averaged: records, counters, histogram, time series, step log.

Both cores fill the same arrays, so "the cores agree" means that these are equal.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from suanli.serving.kernel import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Status of a request at the end.
UNFINISHED, DONE, TOO_LONG, QUEUE_FULL, TIMED_OUT = range(5)
STATUS_NAMES = ("unfinished", "done", "too_long", "queue_full", "timed_out")

RECORD = np.dtype(
    [
        ("arrival_s", "f8"),  # when it reached the router
        ("admitted_s", "f8"),  # start of its first step; nan when it never ran
        ("first_token_s", "f8"),  # end of the step that gave its first token; nan when there was none
        ("done_s", "f8"),  # when it ended, whatever way; nan when it did not
        ("energy_j", "f8"),  # its share of the steps it took part in
        ("input_tokens", "i4"),
        ("cached_tokens", "i4"),  # prompt tokens found in the prefix cache at first admission
        ("output_tokens", "i4"),  # tokens generated
        ("preemptions", "i4"),  # times that its KV was given up and recomputed
        ("retries", "i4"),  # times that it was sent again because its replica failed
        ("rank", "i4"),  # last rank that computed its prompt, -1 for none
        ("decode_rank", "i4"),  # last rank of a decode pool that it was sent to, -1 for none
        ("status", "i4"),
    ],
    align=True,
)

TOTALS = np.dtype(
    [
        ("steps", "i8"),
        ("preemptions", "i8"),
        ("prefill_tokens", "i8"),  # prompt tokens computed, recomputation included
        ("decode_tokens", "i8"),  # tokens that decode steps gave
        ("loaded_tokens", "i8"),  # prompt tokens whose KV came back from the second memory
        ("busy_s", "f8"),  # sum of the steps that had work on this rank
        ("idle_step_s", "f8"),  # waiting for slower ranks inside steps of the group
        ("prefill_j", "f8"),
        ("decode_j", "f8"),
        ("batch_s", "f8"),  # integral of the sequences in the step over time
        ("kv_block_s", "f8"),  # integral of the KV blocks in use over time
        ("kv_peak", "i8"),  # most KV blocks in use
        ("up_s", "f8"),  # switched on and not failed
    ],
    align=True,
)

STEP = np.dtype(
    [
        ("start_s", "f8"),
        ("end_s", "f8"),
        ("rank", "i4"),
        ("prefill_tokens", "i4"),
        ("prefill_requests", "i4"),
        ("decode_requests", "i4"),
        ("waiting", "i4"),
        ("kv_blocks", "i4"),
    ],
    align=True,
)

SERIES = ("busy_s", "energy_j", "prefill_tokens", "decode_tokens", "batch_s", "kv_block_s")
BINS = 1024

# The histogram of inter-token latencies divides every factor of two into 128 equal bins, so a bin is at most 0.8 % wide
# and its number costs no logarithm.
ITL_PARTS = 128
ITL_FIRST = -30  # binary exponent of the first bin: 2**-31 s, about 0.5 ns
ITL_LEAST = 2.0 ** (ITL_FIRST - 1)
ITL_BINS = 48 * ITL_PARTS  # up to 2**17 s


@kernel
def itl_bin(gap: float) -> int:
    """Histogram bin of a gap [s]; gaps outside the range go to the end bins."""
    mantissa, exponent = math.frexp(max(gap, ITL_LEAST))
    place = (exponent - ITL_FIRST) * ITL_PARTS + int((mantissa - 0.5) * (2 * ITL_PARTS))
    return min(max(place, 0), ITL_BINS - 1)


def itl_edges() -> NDArray[np.float64]:
    """Lower edges of the histogram bins [s], and the upper edge of the last one; length ITL_BINS + 1."""
    octave, part = np.divmod(np.arange(ITL_BINS + 1), ITL_PARTS)
    return np.asarray(np.ldexp(0.5 + part / (2 * ITL_PARTS), octave + ITL_FIRST))


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """Arrays of one run; see RECORD, TOTALS, STEP and SERIES for their columns.

    records : one per request.   totals : one per rank.   series : time-series, rank totals per bin of `sample_s` [s].
    itl_counts : gaps between tokens of a request per histogram bin.   itl_max_s : the longest gap [s].
    steps : the logged steps.   end_s : when the last thing happened [s].
    """

    records: NDArray[np.void]
    totals: NDArray[np.void]
    series: NDArray[np.float64]
    sample_s: float
    itl_counts: NDArray[np.int64]
    itl_max_s: float
    steps: NDArray[np.void]
    end_s: float
