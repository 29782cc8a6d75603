"""Jobs run on their own, fail aloud, and can be asked to come early."""

from __future__ import annotations

import threading
import time
from datetime import timedelta

from healer.adapters.scheduler import Jobs

SOON_S = 60.0


def test_a_job_that_raises_is_told_and_the_others_go_on() -> None:
    told: list[tuple[str, str]] = []
    heard, ran = threading.Event(), threading.Event()

    def failed(job: str, reason: str, _error: BaseException | None) -> None:
        told.append((job, reason))
        heard.set()

    def broken() -> None:
        raise RuntimeError("no")

    jobs = Jobs(failed)
    jobs.every("broken", timedelta(hours=1), broken)
    jobs.every("good", timedelta(hours=1), ran.set)
    jobs.start()
    try:
        assert heard.wait(SOON_S)
        assert ran.wait(SOON_S)
    finally:
        jobs.stop()
    assert told == [("broken", "error")]


def test_a_nudged_job_does_not_wait_for_its_turn() -> None:
    runs = threading.Semaphore(0)
    jobs = Jobs(lambda *_: None)
    jobs.every("tick", timedelta(hours=1), runs.release)
    jobs.start()
    try:
        assert runs.acquire(timeout=SOON_S)
        jobs.nudge("tick")
        assert runs.acquire(timeout=SOON_S)
        assert jobs.alive
    finally:
        jobs.stop()
    assert not jobs.alive


def test_a_job_nudged_while_it_runs_runs_once_more_and_is_no_overrun() -> None:
    told: list[tuple[str, str]] = []
    begun, runs, may_end = threading.Semaphore(0), threading.Semaphore(0), threading.Event()

    def job() -> None:
        begun.release()
        may_end.wait(SOON_S)
        runs.release()

    jobs = Jobs(lambda name, reason, _error: told.append((name, reason)))
    jobs.every("tick", timedelta(hours=1), job)
    jobs.start()
    try:
        assert begun.acquire(timeout=SOON_S)
        for _ in range(3):
            jobs.nudge("tick")
            time.sleep(0.05)  # in which a run that may not be is refused
        may_end.set()
        for _ in range(2):
            assert runs.acquire(timeout=SOON_S)
    finally:
        jobs.stop()
    assert told == []
    assert not runs.acquire(blocking=False), "three nudges are one further run"


def test_a_job_that_nudges_while_all_is_stopped_ends_and_is_waited_for() -> None:
    begun = threading.Event()
    jobs = Jobs(lambda *_: None)

    def job() -> None:
        begun.set()
        while jobs.alive:
            time.sleep(0.001)
        jobs.nudge("tick")

    jobs.every("tick", timedelta(hours=1), job)
    jobs.start()
    assert begun.wait(SOON_S)
    stopper = threading.Thread(target=jobs.stop, daemon=True)
    stopper.start()
    stopper.join(SOON_S)
    assert not stopper.is_alive()


def test_a_nudged_job_that_raises_is_told_by_its_name() -> None:
    told: list[str] = []
    heard = threading.Semaphore(0)

    def failed(job: str, _reason: str, _error: BaseException | None) -> None:
        told.append(job)
        heard.release()

    def broken() -> None:
        raise RuntimeError("no")

    jobs = Jobs(failed)
    jobs.every("broken", timedelta(hours=1), broken)
    jobs.start()
    try:
        for _ in range(2):
            assert heard.acquire(timeout=SOON_S)
            jobs.nudge("broken")
    finally:
        jobs.stop()
    assert set(told) == {"broken"}


def test_stopping_waits_for_the_job_that_runs() -> None:
    begun, may_end, ended = threading.Event(), threading.Event(), threading.Event()

    def slow() -> None:
        begun.set()
        may_end.wait(SOON_S)
        ended.set()

    jobs = Jobs(lambda *_: None)
    jobs.every("slow", timedelta(hours=1), slow)
    jobs.start()
    assert begun.wait(SOON_S)
    stopper = threading.Thread(target=jobs.stop)
    stopper.start()
    assert not ended.is_set()
    may_end.set()
    stopper.join(SOON_S)
    assert ended.is_set()
