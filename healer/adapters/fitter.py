"""Fits baselines off the tick, in worker processes, on one machine or on a cluster.

A task is one signal's share of the work, or one joint detector's. The backend is joblib's:
`loky` processes by default, `threading`, or `dask` and `ray` where such a cluster is there. The
same tasks give the same baselines on each. A fit that fails, kills its worker or does not end
in time is a problem reported, costs only itself, and is tried again when it is due; the tick
never waits for one.
"""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor
from concurrent.futures import TimeoutError as NotInTime
from contextlib import contextmanager
from datetime import datetime
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

    def __init__(self, settings: DetectorSettings) -> None:
        self.workers = max(1, settings.fit_workers)
        self._backend = settings.backend
        self._address = settings.backend_address
        self._deadline_s = settings.fit_deadline.total_seconds()
        self.budget_s = settings.fit_budget.total_seconds()

    def fit(
        self, tasks: Sequence[Task], topology: Topology, now: datetime
    ) -> tuple[tuple[Baseline, ...], tuple[Problem, ...]]:
        """(what was learned, what went wrong). Too little history is neither."""
        if not tasks:
            return (), ()
        ends = time.monotonic() + self._deadline_s
        try:
            run = self._in_processes if self._backend == "loky" else self._by_joblib
            answers = run(tasks, topology, ends)
        except Exception as error:  # noqa: BLE001  no backend must end the daemon
            said = f"{self._backend}: {type(error).__name__}: {error}"
            return (), (Problem("detector.fits", said, now),)
        learned = tuple(found for found, _ in answers if found is not None)
        problems = tuple(
            Problem(f"detector.{task[0]}", f"fit of {task[1]}: {said}", now)
            for task, (_, said) in zip(tasks, answers, strict=True)
            if said
        )
        return learned, problems

    def _in_processes(self, tasks: Sequence[Task], topology: Topology, ends: float) -> list[Answer]:
        """Also with one worker: in our own process a fit would hold up the tick.

        A worker that dies takes every task down that was not done. They are tried again one by
        one, so that only the one that kills its worker is lost.
        """
        found = self._round(tasks, range(len(tasks)), topology, ends)
        for at in [at for at in range(len(tasks)) if at not in found]:
            found |= self._round(tasks, [at], topology, ends) or {at: (None, "its worker died")}
        return [found[at] for at in range(len(tasks))]

    def _round(
        self, tasks: Sequence[Task], which: Sequence[int], topology: Topology, ends: float
    ) -> dict[int, Answer]:
        """Answers by index; those that a dead worker took along are missing."""
        pool = get_reusable_executor(
            max_workers=self.workers, timeout=120, initializer=os.nice, initargs=(10,)
        )
        found: dict[int, Answer] = {}
        try:
            futures = {at: pool.submit(_fit, tasks[at], topology) for at in which}
            for at, future in futures.items():
                try:
                    found[at] = future.result(timeout=max(0.0, ends - time.monotonic()))
                except NotInTime:
                    found[at] = None, self._late
                except BrokenExecutor:
                    continue
                except Exception as error:  # noqa: BLE001  what cannot be sent to a worker
                    found[at] = None, f"{type(error).__name__}: {error}"
        except BrokenExecutor:
            return found
        finally:
            if any(said == self._late for _, said in found.values()) or len(found) < len(which):
                pool.shutdown(wait=False, kill_workers=True)
        return found

    @property
    def _late(self) -> str:
        return f"not done within {self._deadline_s / 60:g} min"

    def _by_joblib(self, tasks: Sequence[Task], topology: Topology, ends: float) -> list[Answer]:
        """All in one call; where that fails as a whole, one by one."""
        with _backend(self._backend, self.workers, self._address):
            try:
                return self._called(tasks, topology, ends)
            except Exception:  # noqa: BLE001  of which task, it does not say
                return [self._alone(task, topology, ends) for task in tasks]

    def _alone(self, task: Task, topology: Topology, ends: float) -> Answer:
        if time.monotonic() >= ends:
            return None, self._late
        try:
            [answer] = self._called([task], topology, ends)
        except Exception as error:  # noqa: BLE001  told, and the others go on
            return None, f"{self._backend}: {type(error).__name__}: {error}"
        return answer

    def _called(self, tasks: Sequence[Task], topology: Topology, ends: float) -> list[Answer]:
        calls = [joblib.delayed(_fit)(task, topology) for task in tasks]
        # Dask waits by itself and refuses to be told how long.
        timeout = None if self._backend == "dask" else max(1.0, ends - time.monotonic())
        answers: list[Answer] = joblib.Parallel(timeout=timeout)(calls)
        return answers


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
def _backend(name: str, workers: int, address: str) -> Iterator[None]:
    options: dict[str, Any] = {"backend": name}
    match name:
        case "dask":
            _dask(address)
        case "ray":
            _ray(address)
        case _:
            options["n_jobs"] = max(2, workers)  # joblib turns one into a loop without deadline
    with joblib.parallel_config(**options):
        yield


def _dask(address: str) -> None:
    """A client of the cluster, made once a process; importing the package adds the backend."""
    distributed = _package("distributed", "dask")
    try:
        distributed.get_client()
    except ValueError:
        # Without an address it reads Dask's own settings, and starts workers here as a last resort.
        distributed.Client(address or None, set_as_default=True)


def _ray(address: str) -> None:
    joblib_of_ray = _package("ray.util.joblib", "ray")
    ray = importlib.import_module("ray")
    if not ray.is_initialized():
        ray.init(address=address or None, log_to_driver=False)
    joblib_of_ray.register_ray()


def _package(module: str, backend: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise Permanent(f"detectors.backend: {backend!r} needs the package {package!r}") from error
