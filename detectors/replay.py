"""A recorded table scored row by row, as if it came in live: the engine of `healer detect`.

One setting for every table: univariate and several columns, a sample a minute or an hour, an
hour of history or a year. No labels. Levels are what they cost on series without faults.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors._stream import score_table
from healer.ports import TableDetector


@dataclass(frozen=True, slots=True)
class Replay(TableDetector):
    """Scores are mean evidence, −log10 of a tail probability, over channels and a forest."""

    warn: float = 1.98
    """Score of level warn: about one false alarm in three weeks of a series."""

    page: float = 2.14
    """Score of level page: about one in ten weeks."""

    act: float = 2.5
    """Score of level act: less than one in a year."""

    told: Callable[[float], None] | None = None
    """Called with the share that is done, for tables that take minutes."""

    def score(self, times: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
        table = np.where(np.isfinite(values), values, np.nan)
        return score_table(times, table.reshape(len(times), -1), self.told or _silent)

    def flags(self, scores: NDArray[np.float64], level: str) -> NDArray[np.bool_]:
        cut = {"warn": self.warn, "page": self.page, "act": self.act}[level]
        reached: NDArray[np.bool_] = scores >= cut
        return reached


def _silent(_: float) -> None:
    """Nobody waits for it."""
