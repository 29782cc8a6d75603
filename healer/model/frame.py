"""One signal over a window: a matrix, rows × time. The unit of detection."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from healer.model.signal import Signal
from healer.model.target import Target


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """`values[i, j]` is what `signal` was for `targets[i]` at `times[j]`.

    times: shape (T,), seconds since the epoch, evenly spaced and rising.
    values: shape (N, T), float32 in the signal's unit; NaN where no sample was. Absent is
    never zero.
    labels: the row's labels beyond its target, one mapping a row.
    """

    signal: Signal
    times: NDArray[np.float64]
    values: NDArray[np.float32]
    targets: tuple[Target, ...]
    labels: tuple[Mapping[str, str], ...] = ()

    def __post_init__(self) -> None:
        shape = (len(self.targets), len(self.times))
        if self.values.shape != shape:
            raise ValueError(f"{self.signal.name}: values are {self.values.shape}, not {shape}")

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def step_s(self) -> float:
        return float(self.times[1] - self.times[0]) if len(self.times) > 1 else 0.0

    @property
    def end(self) -> datetime:
        return datetime.fromtimestamp(float(self.times[-1]), UTC)

    def latest(self) -> NDArray[np.float32]:
        """The newest sample of each row, shape (N,); NaN where the newest is missing."""
        return self.values[:, -1]

    def last_seen(self) -> NDArray[np.float64]:
        """When each row last had a sample, seconds since the epoch, shape (N,); NaN for never."""
        present = np.isfinite(self.values)
        index = present.shape[1] - 1 - np.argmax(present[:, ::-1], axis=1)
        return np.where(present.any(axis=1), self.times[index], np.nan)

    def rows(self) -> Iterator[tuple[Target, NDArray[np.float32]]]:
        return zip(self.targets, self.values, strict=True)

    def row(self, target: Target) -> NDArray[np.float32] | None:
        """The first row of `target`, shape (T,), or None."""
        for at, found in enumerate(self.targets):
            if found == target:
                row: NDArray[np.float32] = self.values[at]
                return row
        return None

    def pick(self, rows: Sequence[int]) -> Frame:
        """The same frame with these rows only."""
        chosen = list(rows)
        return Frame(
            self.signal,
            self.times,
            self.values[chosen],
            tuple(self.targets[i] for i in chosen),
            tuple(self.labels[i] for i in chosen) if self.labels else (),
        )

    def until(self, end_s: float) -> Frame:
        """The frame as it was at `end_s`, seconds since the epoch."""
        keep = int(np.searchsorted(self.times, end_s, side="right"))
        return Frame(
            self.signal, self.times[:keep], self.values[:, :keep], self.targets, self.labels
        )
