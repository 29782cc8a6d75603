"""Fits in processes and on a Dask cluster: the same answers, deadlines, and workers that die."""

from __future__ import annotations

import os
import signal as signals
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import cloudpickle
import numpy as np
import pytest
from builders import NOW, frame, signal
from fitter_detectors import Deadly, Patient, Slow
from joblib.externals.loky import get_reusable_executor

from detectors.changepoint import Changepoint
from detectors.forecast import Forecast
from detectors.isolation_forest import IsolationForest
from detectors.seasonal import Seasonal
from healer.adapters import fitter as module
from healer.adapters.fitter import Fitter, Task
from healer.model.frame import Frame
from healer.model.topology import Topology
from healer.ports import Detector
from healer.settings import DetectorSettings


def history(seed: int = 0, step_s: float = 300.0) -> dict[str, Frame]:
    rng = np.random.default_rng(seed)
    values = np.linspace(0.3, 0.6, 600) + rng.normal(0, 0.01, (3, 600))
    return {"kv_usage": frame(values, name="kv_usage", step_s=step_s)}


def task(detector: Detector, name: str = "own", seed: int = 0) -> Task:
    return name, "kv_usage", detector, history(seed)


def real_tasks() -> list[Task]:
    return [task(Forecast(limit=1.0), "forecast", 1), task(Changepoint(), "changepoint", 2)]


def learned_tasks() -> list[Task]:
    """Of the detectors with a model behind them: a profile, and a forest of several signals."""
    rng = np.random.default_rng(5)
    names = ("ttft_p95", "itl_p95", "arrival_rate")
    frames = {
        name: frame(rng.gamma(9, 1, (3, 400)), name=name, step_s=300.0, matters=0.1)
        for name in names
    }
    return [
        ("seasonal", "ttft_p95", Seasonal(), frames),
        ("isolation_forest", "joint", IsolationForest(), frames),
    ]


def bits(fitter: Fitter, tasks: list[Task]) -> list[tuple[str, dict[str, bytes]]]:
    learned, problems = fitter.fit(tasks, Topology(), NOW)
    assert not problems
    assert len(learned) == len(tasks)
    return [(b.detector, {name: a.tobytes() for name, a in b.arrays.items()}) for b in learned]


@pytest.fixture(scope="module", autouse=True)
def _sent_by_value() -> Iterator[None]:
    """Workers cannot import what lies beside the tests."""
    module = sys.modules["fitter_detectors"]
    cloudpickle.register_pickle_by_value(module)
    yield
    cloudpickle.unregister_pickle_by_value(module)
    get_reusable_executor().shutdown(wait=True, kill_workers=True)


@pytest.fixture(scope="module")
def dask() -> Iterator[Fitter]:
    """Two worker processes of Dask, each watched by its nanny."""
    distributed = pytest.importorskip("distributed")
    dask_settings = pytest.importorskip("dask").config
    patient = {"connect": "300s", "tcp": "300s"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with (
            dask_settings.set({f"distributed.comm.timeouts.{k}": v for k, v in patient.items()}),
            distributed.LocalCluster(
                n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
            ) as cluster,
            distributed.Client(cluster),
        ):
            yield Fitter(DetectorSettings(backend="dask"))


def kill_when_begun(marker: Path) -> threading.Thread:
    """Kill the worker that wrote its number into `marker`, as soon as it has."""

    def wait_and_kill() -> None:
        ends = time.monotonic() + 300
        while time.monotonic() < ends:
            if marker.exists() and (text := marker.read_text()):
                os.kill(int(text), signals.SIGKILL)
                return
            time.sleep(0.02)

    thread = threading.Thread(target=wait_and_kill)
    thread.start()
    return thread


def test_dask_learns_the_same_as_processes_to_the_bit(dask: Fitter) -> None:
    tasks = [*real_tasks(), *learned_tasks()]
    assert bits(dask, tasks) == bits(Fitter(DetectorSettings()), tasks)


def test_threads_learn_the_same_as_processes_to_the_bit() -> None:
    threads = Fitter(DetectorSettings(backend="threading"))
    assert bits(threads, real_tasks()) == bits(Fitter(DetectorSettings()), real_tasks())


def test_a_dask_worker_killed_in_the_middle_costs_nothing(dask: Fitter, tmp_path: Path) -> None:
    marker = tmp_path / "begun"
    killer = kill_when_begun(marker)
    tasks = [task(Patient(str(marker))), *real_tasks()]
    learned, problems = dask.fit(tasks, Topology(), NOW)
    killer.join()
    assert not problems
    assert len(learned) == 3


def test_a_process_killed_in_the_middle_costs_nothing(tmp_path: Path) -> None:
    marker = tmp_path / "begun"
    killer = kill_when_begun(marker)
    tasks = [task(Patient(str(marker))), *real_tasks()]
    learned, problems = Fitter(DetectorSettings()).fit(tasks, Topology(), NOW)
    killer.join()
    assert not problems
    assert len(learned) == 3


def test_a_fit_that_always_kills_its_worker_costs_only_itself() -> None:
    fitter = Fitter(DetectorSettings())
    tasks = [task(Deadly(), "deadly"), *real_tasks()[:1]]
    learned, [problem] = fitter.fit(tasks, Topology(), NOW)
    assert len(learned) == 1
    assert problem.where == "detector.deadly"
    assert problem.what == "fit of kv_usage: its worker died"
    learned, problems = fitter.fit(real_tasks()[:1], Topology(), NOW)
    assert len(learned) == 1, "after a broken pool the next turn works"
    assert not problems


def test_a_fit_that_is_late_is_given_up_and_the_others_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The hour is nearly over when the first has answered and the second is waited for."""
    looks = iter((0.0, 0.0, 3599.8))
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: next(looks)))
    settings = DetectorSettings(fit_workers=2, fit_deadline=timedelta(hours=1))
    tasks = [*real_tasks()[:1], task(Slow(), "slow")]
    begun = time.monotonic()
    learned, [problem] = Fitter(settings).fit(tasks, Topology(), NOW)
    assert len(learned) == 1
    assert "slow" in problem.where
    assert problem.what.endswith("not done within 60 min")
    assert time.monotonic() - begun < 300, "nobody waits for a fit that was given up"


def test_too_little_history_is_neither_learned_nor_a_problem() -> None:
    few = {"kv_usage": frame(np.ones((1, 5)), name="kv_usage")}
    tasks: list[Task] = [("forecast", "kv_usage", Forecast(limit=1.0), few)]
    assert Fitter(DetectorSettings(backend="threading")).fit(tasks, Topology(), NOW) == ((), ())
    assert Fitter(DetectorSettings()).fit([], Topology(), NOW) == ((), ())


def test_the_signals_unit_travels_with_its_frame() -> None:
    """A frame that was sent and came back is the same in all its parts."""
    given = history()["kv_usage"]
    back = cloudpickle.loads(cloudpickle.dumps(given))
    assert back.signal == given.signal == signal("kv_usage")
    assert back.targets == given.targets
