"""Errors → evidence: −log10 of how rarely a series errs that much, on its own record.

One scale for every channel and every series. The bulk is the empirical distribution at a few
knots; beyond the last knot a generalised Pareto tail goes on where no data was (peaks over
threshold, Pickands 1975). All of it is vectorised over rows: no loop, no optimiser.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

KNOTS = (0.5, 0.75, 0.9, 0.95, 0.98)
_KNOT_SCORES = tuple(float(-np.log10(1.0 - q)) for q in KNOTS)
CEILING = 12.0
"""No record is long enough to speak of less than one in 10^12."""


@dataclass(frozen=True, slots=True)
class Tail:
    """knots: (N, 5) rising quantiles of the errors; sigma, xi: (N,) of the Pareto tail."""

    knots: Floats
    sigma: Floats
    xi: Floats

    def take(self, rows: NDArray[np.intp]) -> Tail:
        return Tail(self.knots[rows], self.sigma[rows], self.xi[rows])

    def packed(self) -> NDArray[np.float32]:
        """(N, 7), for a baseline."""
        return np.column_stack([self.knots, self.sigma, self.xi]).astype(np.float32)

    @classmethod
    def unpacked(cls, rows: NDArray[np.float32]) -> Tail:
        wide = rows.astype(np.float64)
        return cls(wide[:, :5], wide[:, 5], wide[:, 6])


def fit_tail(errors: Floats, floor: Floats, *, heaviest: float = 0.3) -> Tail:
    """Tail of each row of `errors`, shape (N, T), NaN where none was.

    floor: (N,) smallest scale that an error of the row can mean anything at, > 0.
    heaviest: bound of the tail index. Fitted freely it swallows a fault in the record; the
    bound and the median in place of the mean keep a few per cent of faulty rows harmless.
    """
    ordered = np.sort(np.where(np.isfinite(errors), errors, np.inf), axis=1)
    count = np.isfinite(ordered).sum(axis=1)
    ordered[count == 0] = 0.0
    rows = np.arange(len(errors))
    last = np.maximum(count - 1, 0)

    def quantile(q: float) -> Floats:
        at = q * last
        low = np.floor(at).astype(np.intp)
        high = np.minimum(low + 1, last)
        below, above = ordered[rows, low], ordered[rows, high]
        picked: Floats = below + (at - low) * (above - below)
        return picked

    knots = np.column_stack([quantile(q) for q in KNOTS])
    middle = quantile(0.99) - knots[:, -1]
    far = quantile(0.995) - knots[:, -1]
    # Half and a quarter of the tail lie beyond: their ratio gives the index, the half the scale.
    ratio = np.divide(far, middle, out=np.full(len(errors), 2.0), where=middle > 0)
    xi = np.clip(np.log2(np.maximum(ratio - 1.0, 0.5)), 0.0, heaviest)
    unit = np.where(xi > 1e-6, (2.0**xi - 1.0) / np.maximum(xi, 1e-6), np.log(2.0))
    sigma = np.maximum(middle / unit, np.maximum(floor, 0.2 * (knots[:, -1] - knots[:, 0])))
    spread = floor[:, None] * np.asarray(_KNOT_SCORES) * np.log(10.0)
    knots = np.maximum(knots, spread)
    return Tail(knots, sigma, xi)


def evidence(tail: Tail, errors: Floats) -> Floats:
    """−log10 tail probability of `errors`, shape (N,) or (N, T); 0 for NaN."""
    flat = errors.ndim == 1
    wide = errors[:, None] if flat else errors
    score = np.zeros(wide.shape)
    lows = np.column_stack([np.zeros(len(tail.knots)), tail.knots[:, :-1]])
    score_low = 0.0
    for k, score_high in enumerate(_KNOT_SCORES):
        low, high = lows[:, k, None], tail.knots[:, k, None]
        share = (wide - low) / np.maximum(high - low, 1e-200)
        inside = score_low + np.clip(share, 0.0, 1.0) * (score_high - score_low)
        np.maximum(score, np.where(wide > low, inside, 0.0), out=score)
        score_low = score_high
    beyond = np.maximum(wide - tail.knots[:, -1, None], 0.0) / tail.sigma[:, None]
    xi = tail.xi[:, None]
    heavy = np.log1p(np.maximum(xi, 1e-6) * beyond) / np.maximum(xi, 1e-6)
    score += np.where(beyond > 0, np.where(xi > 1e-6, heavy, beyond) / np.log(10.0), 0.0)
    score = np.where(np.isfinite(wide), np.minimum(score, CEILING), 0.0)
    return score[:, 0] if flat else score
