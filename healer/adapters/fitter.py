"""Fits baselines off the tick, in worker processes, on one machine or on a cluster.

The backend is joblib's: `loky` processes by default, `threading`, or `dask` and `ray` where
such a cluster is there. A fit that fails or does not end in time is a problem reported, and
tried again when it is due; the tick never waits for one.
"""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import joblib
from joblib.externals.loky import get_reusable_executor

from healer.errors import Permanent
from healer.model.frame import Frame
from healer.model.snapshot import Problem
from healer.model.topology import Topology
from healer.ports import Baseline, Detector, JointDetector
from healer.settings import DetectorSettings

Task = tuple[str, str, Detector | JointDetector, Mapping[str, Frame]]
"""Detector name, signal name or `joint`, the detector, and the history of what it wants."""
Answer = tuple[Baseline | None, str]
"""What was learned, or the words of the error."""


class Fitter:
    """Runs fits by the settings' workers and backend."""

    def __init__(
        self, settings: DetectorSettings, *, deadline: timedelta = timedelta(minutes=30)
    ) -> None:
        self._workers = max(1, settings.fit_workers)
        self._backend = settings.backend
        self._deadline_s = deadline.total_seconds()

    def fit(
        self, tasks: Sequence[Task], topology: Topology, now: datetime
    ) -> tuple[tuple[Baseline, ...], tuple[Problem, ...]]:
        """(what was learned, what went wrong). Too little history is neither."""
        if not tasks:
            return (), ()
        try:
            if self._backend == "loky":
                answers = self._in_processes(tasks, topology)
            else:
                calls = [joblib.delayed(_fit)(task, topology) for task in tasks]
                with _backend(self._backend, self._workers):
                    answers = list(joblib.Parallel(timeout=self._deadline_s)(calls))
        except Exception as error:  # noqa: BLE001  a lost worker must not end the daemon
            said = f"{self._backend}: {type(error).__name__}: {error}"
            return (), (Problem("detector.fits", said, now),)
        learned = tuple(found for found, _ in answers if found is not None)
        problems = tuple(
            Problem(f"detector.{task[0]}", f"fit of {task[1]}: {said}", now)
            for task, (_, said) in zip(tasks, answers, strict=True)
            if said
        )
        return learned, problems

    def _in_processes(self, tasks: Sequence[Task], topology: Topology) -> list[Answer]:
        """Also with one worker: in our own process a fit would hold up the tick."""
        pool = get_reusable_executor(
            max_workers=self._workers, timeout=120, initializer=os.nice, initargs=(10,)
        )
        ends = time.monotonic() + self._deadline_s
        futures = [pool.submit(_fit, task, topology) for task in tasks]
        try:
            return [each.result(timeout=max(0.0, ends - time.monotonic())) for each in futures]
        except BaseException:
            pool.shutdown(wait=False, kill_workers=True)
            raise


def _fit(task: Task, topology: Topology) -> Answer:
    """One fit, in the worker. Its error travels as words: not every exception can be sent."""
    _, signal, detector, frames = task
    try:
        if isinstance(detector, JointDetector):
            return detector.fit(frames, topology), ""
        frame = frames.get(signal)
        return (None if frame is None or not len(frame) else detector.fit(frame)), ""
    except Exception as error:  # noqa: BLE001  one series of nonsense must not cost the others
        return None, f"{type(error).__name__}: {error}"


@contextmanager
def _backend(name: str, workers: int) -> Iterator[None]:
    options: dict[str, Any] = {"backend": name}
    if name in ("dask", "ray"):
        _register(name)
    else:
        options["n_jobs"] = max(2, workers)  # joblib turns one into a plain loop without deadline
    with joblib.parallel_config(**options):
        yield


def _register(name: str) -> None:
    """Dask and Ray bring their own joblib backends, in packages that are optional."""
    try:
        if name == "dask":
            importlib.import_module("distributed")  # importing it registers the backend
        else:
            importlib.import_module("ray.util.joblib").register_ray()
    except ImportError as error:
        package = "distributed" if name == "dask" else "ray"
        raise Permanent(f"detectors.backend: {name!r} needs the package {package!r}") from error
