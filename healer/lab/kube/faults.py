"""Faults of the API server itself: rules that strike a given number of matching requests."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Literal

from healer.lab.web import Request

Kind = Literal["lose_answer", "lose_request", "hang", "throttle", "error", "conflict"]


@dataclass(frozen=True, slots=True)
class Fault:
    """lose_answer: done, but the connection closes instead of an answer. lose_request: closes
    before anything is done. hang: no answer for `hang_s` of wall clock, then closed, nothing
    done. throttle: 429. error: 500. conflict: 409."""

    kind: Kind
    method: str = ""
    """Empty matches every method, `!GET` every other."""
    path: str = ""
    """A part of the path; empty matches all."""
    times: int = 1
    retry_after_s: int | None = None
    hang_s: float = 30.0


class Faults:
    def __init__(self) -> None:
        self._rules: list[tuple[Fault, int]] = []
        self._lock = threading.Lock()
        self.released = threading.Event()
        """Set it to let hanging requests go."""

    def add(self, fault: Fault) -> None:
        with self._lock:
            self._rules.append((fault, fault.times))

    def clear(self) -> None:
        with self._lock:
            self._rules.clear()

    def strike(self, request: Request) -> Fault | None:
        """The first rule that matches, spent once."""
        with self._lock:
            for at, (fault, left) in enumerate(self._rules):
                if not _matches(fault, request):
                    continue
                if left > 1:
                    self._rules[at] = (fault, left - 1)
                else:
                    del self._rules[at]
                return fault
        return None


def _matches(fault: Fault, request: Request) -> bool:
    if fault.path not in request.path:
        return False
    if fault.method.startswith("!"):
        return request.method != fault.method[1:]
    return fault.method in ("", request.method)
