"""Forks of forks, and the slots they share."""

from __future__ import annotations

import os
import signal
import time
from functools import partial
from pathlib import Path

import pytest

from healer.cli.forks import Slots, Tell, in_forks


def test_all_that_tasks_tell_arrives_whole_whatever_its_length() -> None:
    def task(size: int, tell: Tell) -> None:
        tell("a" * size)
        tell("")
        tell("ende")

    sizes = (0, 1, 300_000)
    told = list(in_forks([partial(task, size) for size in sizes], 2))
    for number, size in enumerate(sizes):
        assert [line for task, line in told if task == number] == ["a" * size, "", "ende"]


def test_a_task_that_crashes_costs_the_others_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    def raises(tell: Tell) -> None:
        tell("begun")
        raise ValueError("no more")

    def killed(tell: Tell) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    told = list(in_forks([raises, killed, lambda tell: tell("well")], 1))
    assert told == [(0, "begun"), (2, "well")]
    assert "ValueError: no more" in capfd.readouterr().err


def test_slots_are_shared_over_the_whole_tree_and_given_back_by_the_dead(tmp_path: Path) -> None:
    slots, diary = Slots(tmp_path, 2), tmp_path / "diary"

    def work(dies: bool, _tell: Tell) -> None:
        with slots.one(), diary.open("a") as file:
            file.write("+")
            file.flush()
            time.sleep(0.02)
            if dies:
                file.write("-")
                file.flush()
                os.kill(os.getpid(), signal.SIGKILL)
            file.write("-")

    def world(_tell: Tell) -> None:
        list(in_forks([partial(work, number % 2 == 0) for number in range(6)], 6))

    list(in_forks([world, world], 2))
    written = diary.read_text()
    running = [written[:at].count("+") - written[:at].count("-") for at in range(25)]
    assert written.count("+") == 12
    assert max(running) <= 2
    with slots.one(), slots.one():
        pass
