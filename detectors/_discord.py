"""How far the newest stretch of a series is from every stretch of its past: a causal discord.

The left matrix profile of recent benchmarks (distance to the nearest earlier neighbour, without
z-normalising, because a change of level is an anomaly here), in blocks: one matrix product a
block. A shape that came before, at any hour, is known; one that never did stands out, whatever
it looks like.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

RECORD_ROWS = 10_080
"""Stretches that are compared with: a week of minutes. Bounds the cost of long tables."""
BLOCK = 256
FINEST = 60
"""Samples of a stretch that are compared: of longer ones every second, third, … sample, so that
a table of seconds costs no more than one of minutes."""
LEAST = 24
"""Earlier stretches before a distance is told."""


def nearest_before(values: Floats, length: int) -> Floats:
    """Root mean square distance of the `length` rows that end at each row to the nearest such
    stretch that ended before they began, (T,) → (T,); NaN where the past is too short.

    Missing samples are taken as the one before.
    """
    # Whole blocks always: the rounding of a product depends on its shape, and a row may not
    # change when rows are added after it.
    filled = np.concatenate([_filled(values), np.zeros(BLOCK)])
    out = np.full(len(filled), np.nan)
    ages = np.arange(BLOCK)[:, None] + length - np.arange(BLOCK + length)[None, :]
    for start in range(2 * length + LEAST, len(values), BLOCK):
        first = max(0, start - RECORD_ROWS - 2 * length)
        record = filled[first:start]
        middle = float(np.median(record))
        scale = float(np.quantile(np.abs(record - middle), 0.9)) or 1.0
        # Centred and scaled before it becomes float32: counters of 10^12 keep their digits.
        near = _stretches((filled[first : start + BLOCK] - middle) / scale, length)
        energy = np.einsum("ij,ij->i", near, near)
        square = near[-BLOCK:] @ near.T
        square *= -2.0
        square += energy
        # Nothing is compared with itself, nor with a stretch that shares samples with it.
        square[:, -(BLOCK + length) :][ages < length] = np.inf
        nearest = square.min(axis=1).astype(np.float64) + energy[-BLOCK:]
        out[start : start + BLOCK] = scale * np.sqrt(np.maximum(nearest, 0.0) / near.shape[1])
    return out[: len(values)]


def _stretches(values: Floats, length: int) -> NDArray[np.float32]:
    """(stretches, samples of each), the newest sample always among them."""
    apart = max(1, length // FINEST)
    view = np.lib.stride_tricks.sliding_window_view(
        np.clip(values, -1e6, 1e6).astype(np.float32), length
    )
    return np.ascontiguousarray(view[:, (length - 1) % apart :: apart])


def _filled(values: Floats) -> Floats:
    """The last sample there was; 0 before the first, never a later one."""
    known = np.isfinite(values)
    last = np.maximum.accumulate(np.where(known, np.arange(len(values)), -1))
    return np.where(last >= 0, values[np.maximum(last, 0)], 0.0)
