"""What can be seen of one snapshot, indexed so that a look costs the same on any cluster.

A `Sight` is shared by all incidents of a tick; a `Scene` is one incident seen through it.
Both only remember what they worked out; what they say follows from the snapshot alone.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
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
        self.columns: dict[tuple[str, int, int], tuple[tuple[Target, ...], object]] = {}
        """Filled by `many.columns`."""
        self.relations: dict[tuple[str, Target], tuple[Target, ...]] = {}
        """Filled by `relations.related`."""
        self._rows: dict[str, Rows] = {}
        self._by_targets: dict[int, Rows] = {}
        self._places: dict[tuple[int, int], tuple[tuple[Target, ...], Places]] = {}
        self._names: dict[str, tuple[str, ...]] = {}

    @cached_property
    def events(self) -> Mapping[Target, tuple[Event, ...]]:
        found: dict[Target, list[Event]] = defaultdict(list)
        for event in self.snapshot.events:
            found[event.target].append(event)
        return {target: tuple(each) for target, each in found.items()}

    def frame(self, signal: str) -> Frame | None:
        frame = self.snapshot.frames.get(signal)
        return frame if frame is not None and len(frame) and len(frame.times) else None

    @cached_property
    def _standing(self) -> Mapping[Kind, tuple[tuple[str, str], ...]]:
        """Kind of target → (signal, event kind) of those that always show their last event."""
        found: dict[Kind, list[tuple[str, str]]] = defaultdict(list)
        for name, frame in self.snapshot.frames.items():
            rule = frame.signal.event
            if rule is not None and rule.when == "change" and self.frame(name) is not None:
                found[frame.signal.scope].append((name, rule.kind))
        return {kind: tuple(each) for kind, each in found.items()}

    def untold(self, target: Target) -> frozenset[str]:
        """Kinds of events that `target` may have had unseen: what shows those of its like does
        not show its own. Of such a target silence says nothing."""
        return frozenset(
            kind
            for signal, kind in self._standing.get(target.kind, ())
            if not self.rows_of(signal, target)
        )

    def row(self, signal: str, target: Target) -> Series | None:
        """`target`'s samples of `signal`, shape (T,); its worst row where it has several."""
        frame = self.frame(signal)
        if frame is None:
            return None
        at = self.rows_of(signal, target)
        if not at:
            return None
        if len(at) == 1:
            one: Series = frame.values[at[0]].astype(np.float64)
            return one
        rows = frame.values[at].astype(np.float64)
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
        rows = self._index(signal, frame)
        if signal not in self._names:
            self._names[signal] = tuple(sorted(rows))
        names = self._names[signal]
        first, last = bisect_left(names, prefix), bisect_left(names, prefix + _LAST)
        at = [
            i
            for name in names[first:last]
            for i in _listed(rows[name])
            if frame.targets[i].namespace == namespace and frame.targets[i].kind is Kind.POD
        ]
        return frame.values[at].astype(np.float64)

    def rows_of(self, signal: str, target: Target) -> list[int]:
        """Which rows of `signal`'s frame are `target`'s."""
        frame = self.frame(signal)
        found = None if frame is None else self._index(signal, frame).get(target.name)
        if frame is None or found is None:
            return []
        return [i for i in _listed(found) if frame.targets[i] == target]

    def places(self, signal: str, targets: tuple[Target, ...]) -> Places:
        """Where in `signal`'s frame the rows of `targets` are; the frame must be there."""
        frame = self.snapshot.frames[signal]
        # By identity, of what the snapshot and the values of this mapping keep alive.
        key = (id(frame.targets), id(targets))
        if key not in self._places:
            self._places[key] = targets, _places(self._index(signal, frame), frame, targets)
        return self._places[key][1]

    def _index(self, signal: str, frame: Frame) -> Rows:
        """By bare name: hashing a string is far cheaper than hashing a target."""
        if signal not in self._rows:
            # Signals of one source tell of the same targets: one index serves them all.
            known = self._by_targets.get(id(frame.targets))
            found = _rows_by_name(frame.targets) if known is None else known
            self._rows[signal] = self._by_targets[id(frame.targets)] = found
        return self._rows[signal]


Rows = dict[str, int | list[int]]
"""Bare name → its row, or its rows where several targets share it."""


@dataclass(frozen=True, slots=True)
class Places:
    """Rows of several targets: `at[i]` is which target `rows[i]` belongs to.

    several: targets with more than one row, which are read one by one.
    """

    at: NDArray[np.intp]
    rows: NDArray[np.intp]
    several: tuple[int, ...]


def _places(index: Rows, frame: Frame, targets: tuple[Target, ...]) -> Places:
    at, rows, several = [], [], []
    for i, target in enumerate(targets):
        found = index.get(target.name)
        if found is None:
            continue
        mine = [row for row in _listed(found) if frame.targets[row] == target]
        if len(mine) == 1:
            at.append(i)
            rows.append(mine[0])
        elif mine:
            several.append(i)
    return Places(np.array(at, np.intp), np.array(rows, np.intp), tuple(several))


_LAST = "\U0010ffff"
"""Sorts after every name."""


def _rows_by_name(targets: Sequence[Target]) -> Rows:
    names = [target.name for target in targets]
    found: Rows = dict(zip(names, range(len(names)), strict=True))
    if len(found) == len(names):
        return found
    several: dict[str, list[int]] = defaultdict(list)
    for i, name in enumerate(names):
        several[name].append(i)
    return dict(several)


def _listed(rows: int | list[int]) -> list[int]:
    return [rows] if isinstance(rows, int) else rows


@dataclass(eq=False)
class Scene:
    """One incident, and what can be seen around it."""

    sight: Sight
    incident: Incident
    step: timedelta = timedelta(seconds=15)
    readings: dict[tuple[str, Target], object] = field(default_factory=dict)
    """Filled by `reading.read`, where the incident has a finding of its own."""
    minute: int | None = None
    """Filled by `reading.shared_onset`."""
    windows: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Filled by `reading.window`."""
    near: dict[Kind, tuple[Target, ...]] = field(default_factory=dict)
    """Filled by `diagnose`: targets of a kind near the symptoms."""
    busy: dict[int, tuple[tuple[Target, ...], tuple[int, ...]]] = field(default_factory=dict)
    """Filled by `many`: which of several targets are not quiet."""

    @property
    def now(self) -> datetime:
        return self.sight.snapshot.now

    @property
    def onset(self) -> datetime:
        return self.incident.started_at

    @cached_property
    def lasting_since(self) -> datetime:
        """When the first of what is still to be explained began; a blip that opened the incident
        and went away is not a part of that. Once we acted, the onset: our own doing is no cause."""
        if self.incident.acted_on is not None:
            return self.onset
        return min((s.since for s in self.symptoms if s.grave), default=self.onset)

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

    @cached_property
    def signals(self) -> frozenset[str]:
        """Those it has findings on."""
        return frozenset(finding.signal for finding in self.incident.findings)

    def has_events(self, target: Target) -> bool:
        return target in self.sight.events or target in self._own_events

    def is_quiet(self, target: Target) -> bool:
        """Whether nothing happened to it, as far as it would be told."""
        return not self.has_events(target) and not self.sight.untold(target)

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
        own = self._own_events.get(target, ())
        known = {event.key for event in seen} if own else set()
        yield from (e for e in own if e.key not in known)
