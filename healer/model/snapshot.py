"""All that one tick sees."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from healer.model.event import Event
from healer.model.frame import Frame
from healer.model.topology import Topology


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that could not be done, reported while the tick goes on."""

    where: str
    """The part that failed: `signal.ttft_p95`, `detector.seasonal`, `rule.engine_hang`, …"""
    what: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Snapshot:
    now: datetime
    frames: Mapping[str, Frame] = field(default_factory=dict)
    """By signal name. A signal without any series has no frame."""

    events: tuple[Event, ...] = ()
    """Recent events, oldest first, of the last hour or two."""

    topology: Topology = field(default_factory=Topology)
    problems: tuple[Problem, ...] = ()
    metrics_ok: bool = True
    """False when Prometheus did not answer: nothing is concluded from silence."""

    cluster_ok: bool = True
    denied: Mapping[str, str] = field(default_factory=dict)
    """Verb → the permission that we lack for it, as the API server says."""

    def age(self, signal: str) -> timedelta | None:
        """How old the newest sample of `signal` is; None when there is none."""
        frame = self.frames.get(signal)
        if frame is None or not len(frame):
            return None
        newest = max((t for t in frame.last_seen() if math.isfinite(t)), default=None)
        return None if newest is None else timedelta(seconds=self.now.timestamp() - float(newest))
