"""When Python looks for cycles in everything it holds: between two ticks, not in the middle of one.

On a cluster of thousands of pods such a search takes a quarter of a second, and it comes just
when much is being made, which is when an alert has come in.
"""

from __future__ import annotations

import gc

from healer.ports import Clock

YOUNG = 10_000
"""New objects after which the youngest are looked through, which takes about a millisecond."""
NEVER = 1_000_000
AT_LEAST_EVERY_S = 60.0


class Garbage:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._was = gc.get_threshold()
        self._swept_at = 0.0

    def start(self) -> None:
        """From now on all is looked through by `sweep` alone. What is there by now stays."""
        self._was = gc.get_threshold()
        gc.collect()
        gc.freeze()
        gc.set_threshold(YOUNG, 20, NEVER)
        self._swept_at = self._clock.monotonic()

    def sweep(self, *, pressed: bool) -> None:
        """pressed: the next tick has been asked for already. Then it waits, up to a minute."""
        now = self._clock.monotonic()
        if not pressed or now - self._swept_at >= AT_LEAST_EVERY_S:
            gc.collect()
            self._swept_at = now

    def stop(self) -> None:
        gc.set_threshold(*self._was)
        gc.unfreeze()
