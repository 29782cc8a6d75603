"""What can be seen of one snapshot, indexed so that a look costs the same on any cluster.

A `Sight` is shared by all incidents of a tick; a `Scene` is one incident seen through it.
Both only remember what they worked out; what they say follows from the snapshot alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from healer.model.event import Event
from healer.model.finding import Finding
from healer.model.frame import Frame
from healer.model.incident import Incident
from healer.model.signal import Worse
from healer.model.snapshot import Snapshot
from healer.model.target import Kind, Target
from healer.stages.evidence.symptoms import Symptom, lasts, symptoms

Series = NDArray[np.float64]


class Sight:
    """Finds rows of frames and events by target."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.topology = snapshot.topology
        self.readings: dict[tuple[str, Target, int], object] = {}
        """Filled by `reading.read`: what several incidents look at is judged once."""
        self.relations: dict[tuple[str, Target], tuple[Target, ...]] = {}
        """Filled by `relations.related`."""
        self._rows: dict[str, Mapping[str, list[int]]] = {}

    @cached_property
    def events(self) -> Mapping[Target, tuple[Event, ...]]:
        found: dict[Target, list[Event]] = defaultdict(list)
        for event in self.snapshot.events:
            found[event.target].append(event)
        return {target: tuple(each) for target, each in found.items()}

    def frame(self, signal: str) -> Frame | None:
        frame = self.snapshot.frames.get(signal)
        return frame if frame is not None and len(frame) and len(frame.times) else None

    def row(self, signal: str, target: Target) -> Series | None:
        """`target`'s samples of `signal`, shape (T,); its worst row where it has several."""
        frame = self.frame(signal)
        if frame is None:
            return None
        at = [
            i for i in self._index(signal, frame).get(target.name, ()) if frame.targets[i] == target
        ]
        if not at:
            return None
        rows = frame.values[at].astype(np.float64)
        if len(at) == 1:
            one: Series = rows[0]
            return one
        down = frame.signal.worse is Worse.DOWN
        fill, pick = (np.inf, np.min) if down else (-np.inf, np.max)
        worst = pick(np.where(np.isfinite(rows), rows, fill), axis=0)
        return np.where(np.isfinite(worst), worst, np.nan)

    def named(self, signal: str, prefix: str, namespace: str) -> Series:
        """All rows of pods in `namespace` whose name begins with `prefix`, shape (N, T).

        For pods that no longer exist: the topology has forgotten them, the frames have not.
        """
        frame = self.frame(signal)
        if frame is None:
            return np.empty((0, 0))
        at = [
            i
            for name, rows in self._index(signal, frame).items()
            if name.startswith(prefix)
            for i in rows
            if frame.targets[i].namespace == namespace and frame.targets[i].kind is Kind.POD
        ]
        return frame.values[at].astype(np.float64)

    def _index(self, signal: str, frame: Frame) -> Mapping[str, list[int]]:
        """By bare name: hashing a string is far cheaper than hashing a target."""
        if signal not in self._rows:
            found: dict[str, list[int]] = defaultdict(list)
            for i, target in enumerate(frame.targets):
                found[target.name].append(i)
            self._rows[signal] = dict(found)
        return self._rows[signal]


@dataclass(eq=False)
class Scene:
    """One incident, and what can be seen around it."""

    sight: Sight
    incident: Incident
    step: timedelta = timedelta(seconds=15)
    readings: dict[tuple[str, Target], object] = field(default_factory=dict)
    """Filled by `reading.read`, where the incident has a finding of its own."""

    @property
    def now(self) -> datetime:
        return self.sight.snapshot.now

    @property
    def onset(self) -> datetime:
        return self.incident.started_at

    @cached_property
    def symptoms(self) -> tuple[Symptom, ...]:
        return symptoms(self.incident, self.now, self.step)

    @cached_property
    def findings(self) -> Mapping[tuple[Target, str], tuple[Finding, ...]]:
        """All that ever joined the incident; an old one still tells what was expected."""
        found: dict[tuple[Target, str], list[Finding]] = defaultdict(list)
        for finding in self.incident.findings:
            found[finding.target, finding.signal].append(finding)
        return {key: tuple(each) for key, each in found.items()}

    def is_current(self, finding: Finding) -> bool:
        return self.now - finding.at <= lasts(self.step)

    @cached_property
    def _own_events(self) -> Mapping[Target, tuple[Event, ...]]:
        found: dict[Target, list[Event]] = defaultdict(list)
        for event in self.incident.events:
            found[event.target].append(event)
        return {target: tuple(each) for target, each in found.items()}

    def events(self, target: Target) -> Iterator[Event]:
        """Of the snapshot, and those of the incident that the snapshot has forgotten."""
        seen = self.sight.events.get(target, ())
        yield from seen
        known = {event.key for event in seen}
        yield from (e for e in self._own_events.get(target, ()) if e.key not in known)
