"""Looks at the world once a tick: signals, cluster and alerts become one Snapshot.

What fails is a Problem and the rest goes on. When Prometheus does not answer at all it is
not asked sixty times: the snapshot says so, and nothing is concluded from the silence.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from healer.adapters.rings import Ring
from healer.errors import HealerError, Temporary
from healer.model.event import Event
from healer.model.frame import Frame
from healer.model.signal import Signal
from healer.model.snapshot import Problem, Snapshot
from healer.ports import Cluster, ClusterView, Episode, Metrics, Store
from healer.settings import LoopSettings
from healer.stages import observe
from healer.stages.locate import Places

REFRESH_NAMES = timedelta(minutes=5)
"""How often it is asked which metrics exist, at the least. While that changes, as after a start,
it is asked again soon."""

EVENTS_FOR = timedelta(hours=2)
"""How long events stay in the snapshot."""

GIVE_UP_AFTER = 3
"""Queries in a row without an answer, after which the rest of the tick's are not sent."""


class Observer:
    """`snapshot` for the tick, `history` for the fits; both may be called at the same time."""

    def __init__(
        self,
        metrics: Metrics,
        cluster: Cluster,
        signals: Sequence[Signal],
        settings: LoopSettings,
        store: Store,
    ) -> None:
        self._metrics, self._cluster, self._store = metrics, cluster, store
        self._signals, self._settings = tuple(signals), settings
        self._rings: dict[tuple[str, str], Ring] = {}
        self._names: frozenset[str] | None = None
        self._names_at: datetime | None = None
        self._names_pause = settings.interval
        self._names_read = frozenset(name for signal in signals for name in signal.metrics)
        self._places: Places | None = None
        self._seen_events: dict[str, Event] = {}
        self._lock = threading.Lock()
        """Guards the names and places, which `history` reads from another thread."""

    def snapshot(self, now: datetime) -> Snapshot:
        problems: list[Problem] = []
        view = self._cluster.view()
        problems += view.problems
        places = self._places_of(view)
        frames, metrics_ok = self._frames(now, places, problems)
        topology = observe.with_gpus(view.topology, frames, places)
        topology = observe.with_models(topology, frames)
        by_name = _merged(frames)
        events = self._remembered(observe.fold(_events_by_signal(frames, by_name.values())), now)
        alerts = observe.alert_events(self._episodes(now, problems), places)
        return Snapshot(
            now,
            by_name,
            tuple(sorted((*events, *view.events, *alerts), key=lambda event: event.at)),
            topology,
            tuple(problems),
            metrics_ok,
            view.ok,
            view.denied,
        )

    def history(self, signal: Signal, now: datetime, span: timedelta, step: timedelta) -> Frame:
        """What every source of that signal's name said over `span`. Raises Temporary, Permanent."""
        with self._lock:
            names, places = self._names, self._places
        places = places or self._places_of(self._cluster.view())
        alike = [each for each in self._signals if each.name == signal.name] or [signal]
        wanted = observe.plan_queries(alike, names) or (signal,)
        frames = []
        for each in wanted:
            ring = Ring(span, step)
            start, end = ring.missing(now)
            ring.take(self._metrics.range(each.query, start, end, step), start, end)
            frames.append(observe.to_frame(each, ring.matrix(now), places))
        return observe.merge(frames)

    def _places_of(self, view: ClusterView) -> Places:
        """Where rows belong. While the API server is silent, they belong where they did."""
        with self._lock:
            known = self._places is not None and self._places.topology is view.topology
            if not known and (view.ok or view.topology.entities):
                self._places = Places.of(view.topology, alone=not view.topology.entities)
            return self._places or Places.of(view.topology)

    def _frames(
        self, now: datetime, places: Places, problems: list[Problem]
    ) -> tuple[list[Frame], bool]:
        """One frame a signal that has rows, and whether Prometheus answered."""
        trouble: list[Problem] = []
        silent = 0 if self._refresh_names(now, trouble) else 1
        planned = observe.plan_queries(self._signals, self._names)
        wanted = {_id(signal) for signal in planned}
        self._rings = {key: ring for key, ring in self._rings.items() if key in wanted}
        frames = []
        answers = silent == 0 and not planned
        for signal in planned:
            ring = self._rings.setdefault(
                _id(signal), Ring(self._settings.window, self._settings.step)
            )
            if silent < GIVE_UP_AFTER:
                try:
                    self._feed(signal, ring, now)
                    answers, silent = True, 0
                except HealerError as error:
                    trouble.append(Problem(f"signal.{signal.name}", str(error), now))
                    if isinstance(error, Temporary):
                        silent += 1
                    else:
                        answers, silent = True, 0
            frame = observe.to_frame(signal, ring.matrix(now), places)
            if len(frame):
                frames.append(frame)
        answers = answers and silent < GIVE_UP_AFTER
        if not answers and trouble:
            trouble = [Problem("prometheus", trouble[-1].what, now)]
        problems += trouble
        return frames, answers

    def _feed(self, signal: Signal, ring: Ring, now: datetime) -> None:
        start, end = ring.missing(now)
        ring.take(self._metrics.range(signal.query, start, end, self._settings.step), start, end)

    def _refresh_names(self, now: datetime, problems: list[Problem]) -> bool:
        """False when they were due and could not be had; then the last ones stay in use."""
        age = None if self._names_at is None else now - self._names_at
        if age is not None and timedelta(0) <= age < self._names_pause:
            return True
        try:
            names = self._metrics.names() & self._names_read
        except HealerError as error:
            problems.append(Problem("prometheus.names", str(error), now))
            return False
        steady = names == self._names
        self._names_pause = (
            min(2 * self._names_pause, REFRESH_NAMES) if steady else self._settings.interval
        )
        with self._lock:
            self._names, self._names_at = names, now
        return True

    def _episodes(self, now: datetime, problems: list[Problem]) -> tuple[Episode, ...]:
        try:
            return self._store.episodes(now - EVENTS_FOR)
        except HealerError as error:
            problems.append(Problem("store.episodes", str(error), now))
            return ()

    def _remembered(self, events: Iterable[Event], now: datetime) -> tuple[Event, ...]:
        """These, and those that have left the window since they were seen."""
        seen_anew = now - self._settings.window + 2 * self._settings.step
        kept = {
            key: event
            for key, event in self._seen_events.items()
            if now - EVENTS_FOR <= event.at < seen_anew
        }
        self._seen_events = kept | {event.key: event for event in events}
        return tuple(self._seen_events.values())


def _id(signal: Signal) -> tuple[str, str]:
    return signal.source, signal.name


def _merged(frames: Iterable[Frame]) -> dict[str, Frame]:
    groups: dict[str, list[Frame]] = defaultdict(list)
    for frame in frames:
        groups[frame.signal.name].append(frame)
    return {name: observe.merge(group) for name, group in groups.items()}


def _events_by_signal(frames: Iterable[Frame], seen_in: Iterable[Frame]) -> list[tuple[Event, ...]]:
    telling = [frame for frame in frames if frame.signal.event is not None]
    seen = observe.first_seen(f for f in seen_in if f.signal.event is None) if telling else {}
    return [observe.events_of(frame, seen) for frame in telling]
