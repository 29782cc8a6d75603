"""The only replica there is: it needs nobody's consent."""

from __future__ import annotations


class Alone:
    """Fulfils `healer.ports.Leadership`: always in office."""

    def epoch(self) -> str:
        return "alone"
