"""Windows of samples as functions of range vectors see them: one number per series and window.

Windows of neighbouring steps overlap; numpy's `reduceat` runs over all of them in one call, and
what it cannot do is gathered into blocks of windows with equally many samples.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from healer.lab.promql.values import Floats, Ints, Window, Windows

BLOCK_CELLS = 2_000_000
"""Of gathered windows held at a time: 16 MB."""


@dataclass(frozen=True, slots=True)
class Part:
    """One window part with what a function needs around it; indices are safe to use."""

    window: Window
    head: Ints
    """[S]: the first sample of each window."""
    tail: Ints
    """[S]: the last one."""
    starts_ms: Ints
    ends_ms: Ints
    range_s: float
    steps_ms: Ints
    """[S]: when the expression is evaluated."""
    extra: Floats
    """[S]: the scalar argument of those that have one."""

    @property
    def values(self) -> Floats:
        return self.window.values

    @property
    def times_ms(self) -> Ints:
        return self.window.times_ms

    def at(self, index: Ints) -> Floats:
        return self.window.values[:, index]

    def reduce(self, ufunc: np.ufunc, rows: Floats, after: Ints | None = None) -> Floats:
        """`ufunc` over rows[:, first:after] for every window → [n, S]."""
        return reduced(
            ufunc, rows, self.window.first, self.window.after if after is None else after
        )

    def blocks(self) -> Iterator[tuple[Ints, Floats, Ints]]:
        """Steps [s], their samples [n, s, w] and times in ms [s, w], by window size."""
        sizes = self.window.sizes
        for size in np.unique(sizes[sizes > 0]):
            steps = np.flatnonzero(sizes == size)
            at_once = max(1, BLOCK_CELLS // max(1, len(self.values) * int(size)))
            for begin in range(0, len(steps), at_once):
                some = steps[begin : begin + at_once]
                index = self.window.first[some][:, None] + np.arange(size)
                yield some, self.values[:, index], self.times_ms[index]


def reduced(ufunc: np.ufunc, rows: Floats, first: Ints, after: Ints) -> Floats:
    padded = np.concatenate([rows, rows[:, -1:]], axis=1)  # an index may be one past the end
    edges = np.stack([first, after], axis=1).reshape(-1)
    done: Floats = ufunc.reduceat(padded, edges, axis=1)[:, ::2]
    return done


def parts(windows: Windows, extra: Floats, steps_ms: Ints) -> Iterator[Part]:
    """extra: the function's scalar argument, per step."""
    for window in windows.parts:
        yield Part(
            window,
            np.minimum(window.first, len(window.times_ms) - 1),
            np.maximum(window.after - 1, 0),
            windows.starts_ms,
            windows.ends_ms,
            windows.range_ms / 1000,
            steps_ms,
            extra,
        )
