"""The kubelet is asked in a thread of its own: it may be slow, restart, or refuse (it allows few
requests), and neither scrapes nor labels may suffer from it."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable

from exporters.pods import Allotted
from healer.errors import Temporary


class Kubelet:
    """What the kubelet said last. An answer is kept while the kubelet is away, but not for ever:
    pods move meanwhile, and a wrong name is worse than none."""

    def __init__(
        self, ask: Callable[[], Allotted], every_s: float = 15.0, keep_s: float = 300.0
    ) -> None:
        self._ask, self._every_s, self._keep_s = ask, every_s, keep_s
        self._lock = threading.Lock()
        self._last = Allotted()
        self._at = 0.0
        self._answers = False
        self._said = ""
        self._stop = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._refresh_for_ever, daemon=True, name="kubelet").start()

    def stop(self) -> None:
        self._stop.set()

    def refresh(self) -> None:
        try:
            answer = self._ask()
        except Exception as error:  # noqa: BLE001  # whatever it is, this thread must live on
            self._say(str(error) if isinstance(error, Temporary) else repr(error))
            with self._lock:
                self._answers = False
                if time.monotonic() - self._at > self._keep_s:
                    self._last = Allotted(allocatable=self._last.allocatable)
            return
        self._say("answers")
        with self._lock:
            self._last, self._at, self._answers = answer, time.monotonic(), True

    def allotted(self) -> tuple[Allotted, bool]:
        """What is known, and whether the kubelet answered the last time."""
        with self._lock:
            return self._last, self._answers

    def _say(self, what: str) -> None:
        """Once, until it is something else."""
        if what != self._said and not self._stop.is_set():
            self._said = what
            sys.stderr.write(f"exporter: kubelet: {what}\n")

    def _refresh_for_ever(self) -> None:
        while not self._stop.is_set():
            self.refresh()
            self._stop.wait(self._every_s)
