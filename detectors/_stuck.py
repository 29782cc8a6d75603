"""A value that repeats itself far longer than this series ever repeats: a sensor that froze.

Every channel calls a frozen value ordinary, for it is one. What gives it away is the number of
equal samples in a row.
"""

from __future__ import annotations

import numpy as np

from detectors._profile import Floats

LEAST_ROWS = 100
"""Samples before a run that must be known."""
LONGER = 3.0
"""A run is strange from so many times the longest one before it."""
SHORTEST_ROWS, SHORTEST_S = 6, 600.0
COARSE = 0.5
"""A series that repeats every other sample anyway is too coarse to freeze visibly."""


def stuck(values: Floats, step_s: float) -> Floats:
    """Length of the run of equal samples that each row is in, over the length that would be
    strange, (T,) → (T,); 0 where nothing can be said.

    At rest is not stuck: a value at or beyond the edge of what was seen before the run (zero,
    full, idle) may stay as long as it likes. Missing rows neither break a run nor lengthen it.
    """
    out = np.zeros(len(values))
    known = np.flatnonzero(np.isfinite(values))
    if len(known) <= LEAST_ROWS:
        return out
    seen = values[known]
    repeats = np.r_[False, seen[1:] == seen[:-1]]
    begins = np.flatnonzero(~repeats)
    run = np.cumsum(~repeats) - 1
    length = np.diff(np.r_[begins, len(seen)])
    longest = np.r_[0, np.maximum.accumulate(length)[:-1]]
    # Of the samples before the run; the first run has none.
    before = np.maximum(begins - 1, 0)
    low, high = np.minimum.accumulate(seen)[before], np.maximum.accumulate(seen)[before]
    repeated = np.cumsum(repeats)[before] / np.maximum(begins, 1)
    value = seen[begins]
    tells = (begins >= LEAST_ROWS) & (value > low) & (value < high) & (value != 0.0)
    tells &= repeated <= COARSE
    strange = np.maximum(LONGER * longest, max(SHORTEST_ROWS, SHORTEST_S / step_s))
    so_far = np.arange(len(seen)) - begins[run] + 1
    out[known] = np.where(tells[run], so_far / strange[run], 0.0)
    return out
