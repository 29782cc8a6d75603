"""Detect: every detector looks at its frames, and one that raises stops nobody else.

Detectors are built once from the signals and the settings. What they learned is handed in
as values, so a tick is the same in the daemon, in a backtest and in a test. Learning itself
takes seconds to minutes and happens off the tick: `due` says what is to be fitted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from healer.model.finding import Finding
from healer.model.frame import Frame
from healer.model.signal import Signal
from healer.model.snapshot import Problem, Snapshot
from healer.model.topology import Topology
from healer.plugins import find, make
from healer.ports import Baseline, Detector, JointDetector
from healer.settings import DetectorSettings

JOINT = "joint"
"""Stands for the signal in the baselines of joint detectors."""

Baselines = Mapping[tuple[str, str], Baseline]
"""By (detector, signal name or `joint`)."""


@dataclass(frozen=True, slots=True)
class Detectors:
    """All detectors at work: those of each signal, and those that look at several."""

    by_signal: Mapping[str, tuple[tuple[str, Detector], ...]] = field(default_factory=dict)
    """Signal name → (detector name, instance)."""
    joint: tuple[tuple[str, JointDetector], ...] = ()

    @classmethod
    def from_settings(cls, signals: Iterable[Signal], settings: DetectorSettings) -> Detectors:
        """Build them. Raises BadInput for unknown detectors and options.

        Several engines may declare one signal; the first that names a detector decides its
        options. Options of the settings lie under the signal's own.
        """
        wanted: dict[str, dict[str, Mapping[str, Any]]] = {}
        for signal in signals:
            mine = wanted.setdefault(signal.name, {})
            for name, options in signal.detect.items():
                mine.setdefault(name, options)
        by_signal = {
            signal: tuple(
                (name, _single(settings, signal, name, options))
                for name, options in found.items()
                if name not in settings.disabled
            )
            for signal, found in wanted.items()
        }
        joint = tuple(
            (
                name,
                make(
                    settings.packages,
                    name,
                    {**settings.options.get(name, {}), **options},
                    JointDetector,
                    path=f"detectors.joint.{name}",
                ),
            )
            for name, options in settings.joint.items()
            if name not in settings.disabled
        )
        return cls({signal: made for signal, made in by_signal.items() if made}, joint)

    def each(self) -> Iterator[tuple[str, str, Detector | JointDetector]]:
        """(detector name, signal name or `joint`, instance)."""
        for signal, found in self.by_signal.items():
            for name, detector in found:
                yield name, signal, detector
        for name, joint in self.joint:
            yield name, JOINT, joint


def _single(
    settings: DetectorSettings, signal: str, name: str, options: Mapping[str, Any]
) -> Detector:
    laid = {**settings.options.get(name, {}), **options}
    path = f"signals.{signal}.detect.{name}"
    base: type[Detector] = Detector  # type: ignore[type-abstract]
    return make(settings.packages, name, laid, base, path=path)


def check_names(settings: DetectorSettings) -> None:
    """Raise BadInput where the settings give options to, or disable, a detector nobody has."""
    bases: tuple[type[Any], ...] = (Detector, JointDetector)
    for name in (*settings.options, *settings.disabled):
        find(settings.packages, name, bases)


def detect(
    snapshot: Snapshot, detectors: Detectors, baselines: Baselines
) -> tuple[tuple[Finding, ...], tuple[Problem, ...], tuple[str, ...]]:
    """(findings, problems, what still learns) of one tick.

    Findings come worst first. Signals without a frame cost nothing: absence is the business
    of detectors that look for it.
    """
    findings: list[Finding] = []
    problems: list[Problem] = []
    learning: list[str] = []

    def run(name: str, what: str, claims: Callable[[], Iterable[Finding]]) -> None:
        try:
            findings.extend(claims())
        except Exception as error:  # noqa: BLE001  a plugin that raises stops nobody else
            said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            problems.append(Problem(f"detector.{name}", f"{what}: {said}", snapshot.now))

    for signal, found in detectors.by_signal.items():
        frame = snapshot.frames.get(signal)
        if frame is None or not len(frame) or not len(frame.times):
            continue
        for name, detector in found:
            baseline = _usable(baselines, name, signal, detector)
            if baseline is None and detector.history is not None:
                learning.append(f"{name} of {signal}")
            run(name, signal, lambda d=detector, f=frame, b=baseline: tuple(d.detect(f, b)))  # type: ignore[misc]
    for name, joint in detectors.joint:
        baseline = _usable(baselines, name, JOINT, joint)
        if baseline is None and joint.history is not None and _seen(snapshot, joint):
            learning.append(name)
        run(name, JOINT, lambda d=joint, b=baseline: tuple(d.detect(snapshot, b)))  # type: ignore[misc]
    findings.sort(key=lambda f: (-f.level, -f.score, f.key))
    return tuple(findings), tuple(problems), tuple(learning)


def _usable(
    baselines: Baselines, name: str, signal: str, detector: Detector | JointDetector
) -> Baseline | None:
    """What an older version of a detector learned is relearned, never misread."""
    found = baselines.get((name, signal))
    return found if found is not None and found.version == detector.version else None


def _seen(snapshot: Snapshot, joint: JointDetector) -> bool:
    return any(name in snapshot.frames for name in joint.wants)


@dataclass(frozen=True, slots=True)
class FitJob:
    """One baseline to learn: which detector, from which history."""

    name: str
    signal: str
    """Signal name, or `joint`."""
    detector: Detector | JointDetector
    wants: tuple[str, ...]
    """Signals whose history it needs."""
    history: timedelta
    step: timedelta


def due(
    detectors: Detectors, baselines: Baselines, now: datetime, present: Sequence[str]
) -> tuple[FitJob, ...]:
    """What is to be fitted now, those without any baseline first, then the oldest.

    present: names of the signals that have data; others are not worth a history query.
    """
    have = frozenset(present)
    jobs: list[tuple[float, FitJob]] = []
    for name, signal, detector in detectors.each():
        if detector.history is None:
            continue
        wants = detector.wants if isinstance(detector, JointDetector) else (signal,)
        wants = tuple(w for w in wants if w in have)
        known = _usable(baselines, name, signal, detector)
        age = timedelta.max if known is None else now - known.fitted_at
        if not wants or age < detector.refit_every:
            continue
        job = FitJob(name, signal, detector, wants, detector.history, detector.history_step)
        jobs.append((-age.total_seconds(), job))
    return tuple(job for _, job in sorted(jobs, key=lambda each: each[0]))


def fit(job: FitJob, frames: Mapping[str, Frame], topology: Topology) -> Baseline | None:
    """Learn one baseline from its history; None while there is too little of it."""
    if isinstance(job.detector, JointDetector):
        return job.detector.fit(frames, topology)
    frame = frames.get(job.signal)
    return None if frame is None or not len(frame) else job.detector.fit(frame)
