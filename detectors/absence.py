"""A target that fell silent while its siblings go on talking.

Absent is not zero, and silence is not health: an engine whose process is stuck no longer
answers the scrape, and a GPU that fell off its bus shows no value, it vanishes. But most
silence is innocent: a pod that was deleted or scaled away, a model that loads, a node that
was taken down, a whole exporter or Prometheus that is gone. So only a target speaks here that
the cluster still counts as running, and only while its siblings are still heard.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from detectors._common import fresh_s, moment, title
from detectors._kin import is_serving, workload_of
from healer.model.finding import Finding, Level
from healer.model.frame import Frame
from healer.model.snapshot import Snapshot
from healer.model.target import Kind, Target
from healer.model.topology import Topology
from healer.ports import Baseline, JointDetector
from healer.values import Span

_NORMAL_SHARE = 0.5
"""A row that was there less often than this comes and goes by nature."""


@dataclass(frozen=True, slots=True)
class _Memory:
    """When a target was last heard, seconds since the epoch, and whose sibling it was."""

    at: float
    parents: tuple[Target, ...]


@dataclass(frozen=True, slots=True)
class Absence(JointDetector):
    """Speaks of targets that had samples, should have them still, and have none.

    The finding's signal is `SIGNAL_absent`: the value of a silent signal is unknown, not low,
    and whoever reads it must not take the claim for a reading.
    """

    signals: tuple[str, ...] = ("requests_running", "gpu_temp", "node_memory_available")
    """Signals that are there as long as their target lives: gauges, never latencies, because
    a quantile has no value while nobody asks."""

    silent: Span = timedelta(minutes=2)
    """How long without a sample. Never less than four steps of the frame."""

    known: Span = timedelta(minutes=3)
    """How long a target must have been heard before its silence means anything."""

    min_siblings: int = 1
    """So many others must still be heard; when all fall silent, the telemetry is the fault."""

    grave: tuple[str, ...] = ("gpu_temp",)
    """Signals whose absence pages: a GPU that vanished beside its neighbours is lost, and no
    innocent reason is left. The others warn."""

    history: ClassVar[timedelta | None] = timedelta(hours=6)
    refit_every: ClassVar[timedelta] = timedelta(minutes=15)

    @property
    def wants(self) -> tuple[str, ...]:
        return self.signals

    def fit(self, frames: Mapping[str, Frame], topology: Topology) -> Baseline | None:
        """Who was heard and when last, so that silence outlives the window of a tick.

        arrays: per signal, seconds since the epoch; meta: per signal, (target, its family).
        """
        heard = {name: frame for name in self.signals if (frame := frames.get(name)) is not None}
        heard = {name: frame for name, frame in heard.items() if len(frame) and len(frame.times)}
        if not heard:
            return None
        seen = {
            name: _steadily(frame, np.arange(len(frame)), self.known)
            for name, frame in heard.items()
        }
        return Baseline(
            "absence",
            "joint",
            self.version,
            max(frame.end for frame in heard.values()),
            {name: np.array(list(at.values()), np.float64) for name, at in seen.items()},
            {
                name: [
                    [str(target), *(str(p) for p in _parents(topology, target)[:1])]
                    for target in at
                ]
                for name, at in seen.items()
            },
        )

    def detect(self, snapshot: Snapshot, baseline: Baseline | None) -> Iterator[Finding]:
        if not snapshot.metrics_ok or not snapshot.cluster_ok or not snapshot.topology.complete:
            return
        for name in self.signals:
            frame = snapshot.frames.get(name)
            if frame is not None and len(frame) and len(frame.times) > 1:
                yield from self._of(snapshot, frame, _remembered(baseline, name, frame))

    def _of(
        self, snapshot: Snapshot, frame: Frame, remembered: Mapping[Target, _Memory]
    ) -> Iterator[Finding]:
        now = float(frame.times[-1])
        silent_s = max(self.silent.total_seconds(), 4 * frame.step_s)
        seen = np.nan_to_num(frame.last_seen(), nan=-np.inf)
        fresh = now - seen <= fresh_s(frame)
        if not fresh.any():
            return
        heard = _steadily(frame, np.flatnonzero(now - seen >= silent_s), self.known)
        heard |= {target: memory.at for target, memory in remembered.items() if target not in heard}
        if not heard:
            return
        topology = snapshot.topology
        talking = {frame.targets[i] for i in np.flatnonzero(now - seen < silent_s)}
        alive: Counter[Target] = Counter()
        for target in {frame.targets[i] for i in np.flatnonzero(fresh)}:
            alive.update(_parents(topology, target))
        for target, at in heard.items():
            if target in talking or now - at < silent_s:
                continue
            parents = _parents(topology, target)
            if not parents and target in remembered:
                parents = remembered[target].parents
            if not _should_speak(topology, target, parents, alive):
                continue
            siblings = max((alive[p] for p in parents), default=0)
            if siblings >= self.min_siblings:
                yield self._finding(frame, target, at, siblings)

    def _finding(self, frame: Frame, target: Target, last: float, siblings: int) -> Finding:
        minutes = (float(frame.times[-1]) - last) / 60
        level = Level.PAGE if frame.signal.name in self.grave else Level.WARN
        return Finding(
            target=target,
            signal=f"{frame.signal.name}_absent",
            detector="absence",
            level=level,
            since=moment(last),
            at=frame.end,
            observed=0.0,
            expected_low=1.0,
            expected_high=1.0,
            score=3.0 if level is Level.PAGE else 2.0,
            unit="series",
            summary=f"{title(frame.signal)}: no sample for {minutes:.0f} min, "
            f"while {siblings} sibling{'s' if siblings > 1 else ''} still report",
            contributions=((frame.signal.name, 1.0),),
        )


def _steadily(frame: Frame, rows: NDArray[np.intp], known: timedelta) -> dict[Target, float]:
    """When those rows were last heard, of those that were heard steadily for long enough."""
    found: dict[Target, float] = {}
    present = np.isfinite(frame.values[rows])
    for row, there in zip(rows, present, strict=True):
        have = np.flatnonzero(there)
        if not len(have):
            continue
        first, last = int(have[0]), int(have[-1])
        long_enough = frame.times[last] - frame.times[first] >= known.total_seconds()
        if long_enough and there[first : last + 1].mean() >= _NORMAL_SHARE:
            target = frame.targets[row]
            found[target] = max(float(frame.times[last]), found.get(target, -np.inf))
    return found


def _remembered(baseline: Baseline | None, name: str, frame: Frame) -> dict[Target, _Memory]:
    """Of the last fit: those that have no row in the frame any more."""
    if baseline is None or name not in baseline.arrays:
        return {}
    here = {str(target) for target in frame.targets}
    told = zip(baseline.meta[name], baseline.arrays[name], strict=True)
    return {
        Target.parse(text): _Memory(float(at), tuple(Target.parse(each) for each in parents))
        for (text, *parents), at in told
        if text not in here
    }


def _parents(topology: Topology, target: Target) -> tuple[Target, ...]:
    """What makes siblings of targets; targets of other kinds are one family, each its kind."""
    match target.kind:
        case Kind.POD:
            workload = workload_of(topology, target)
            return () if workload is None else (workload,)
        case Kind.GPU:
            return tuple(each for each in topology.above(target) if each.kind is Kind.NODE)
        case _:
            return (Target(Kind.CLUSTER, target.kind.value),)


def _should_speak(
    topology: Topology,
    target: Target,
    parents: tuple[Target, ...],
    alive: Mapping[Target, int],
) -> bool:
    """Whether the cluster still counts on it: there, not leaving, and said to be well.

    A pod that is not ready is loading, crashing or leaving, which others tell better; a node
    that is not ready takes its GPUs and exporters with it, and a GPU that was swapped for
    another is not missed.
    """
    fact = topology.fact
    match target.kind:
        case Kind.GPU:
            return any(
                _should_speak(topology, node, (), alive)
                and alive.get(node, 0) < fact(node, "gpus_capacity", default=1_000)
                for node in parents
            )
        case Kind.POD:
            running = fact(target, "phase", default="Running") == "Running"
            return topology.get(target) is not None and running and is_serving(topology, target)
        case Kind.NODE:
            return topology.get(target) is not None and bool(fact(target, "ready", default=True))
        case _:
            return topology.get(target) is not None
