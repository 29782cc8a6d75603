"""A Healer that is killed: a process of its own that ticks against the lab when it is told to."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from healer.adapters import logs
from healer.adapters.clocks import SteppedClock
from healer.app import App, open_world
from healer.cli.simulation import lab_settings
from healer.lab.apiserver import Write
from healer.lab.scoring import changes
from healer.model.intent import Intent
from healer.settings import Settings

_CALLS = {"cordon_node": "cordon", "evict_pod": "evict"}
"""What the API server's log calls the verbs of a drain."""

LONGEST_TICK_S = 600.0

_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["killable"])


def called_once_each(intent: Intent, log: Sequence[Write]) -> bool:
    """Whether the calls of its steps, in their order and once each, are all that changed the
    cluster, by the API server's own log."""
    done = [(verb, target) for _, verb, target in changes(log)]
    return done == [(_CALLS[s.action.verb], str(s.action.target)) for s in intent.steps]


@dataclass
class Daemon:
    """`tick` answers whether it lived to say so."""

    _process: BaseProcess
    _line: Connection

    def tick(self, moment: datetime) -> bool:
        self._line.send(moment)
        assert self._line.poll(LONGEST_TICK_S), "it neither ticks nor dies"
        try:
            return bool(self._line.recv())
        except (EOFError, ConnectionError):  # killed meanwhile
            return False

    def kill(self) -> None:
        """SIGKILL: nothing is finished, nothing is tidied up."""
        self._process.kill()
        self._process.join()

    @property
    def alive(self) -> bool:
        return self._process.is_alive()

    @property
    def killed(self) -> bool:
        return self._process.exitcode == -signal.SIGKILL


@contextmanager
def daemon(
    prometheus: str, kubernetes: str, store: str, *, asking: bool = False
) -> Iterator[Daemon]:
    """asking: every repair waits for somebody's yes."""
    settings = lab_settings(store, prometheus, kubernetes)
    if asking:
        arm = {name: replace(arm, approval=True) for name, arm in settings.remediation.arm.items()}
        settings = replace(settings, remediation=replace(settings.remediation, arm=arm))
    ours, its = _PROCESSES.Pipe()
    process = _PROCESSES.Process(target=live, args=(settings, its))
    process.start()
    its.close()
    try:
        yield Daemon(process, ours)
    finally:
        process.kill()
        process.join()
        ours.close()


def live(settings: Settings, line: Connection) -> None:
    """Ticks at each moment that comes over the line, and learns once after the first."""
    logs.configure("error", "text")
    clock = SteppedClock(line.recv())
    app = App(settings, open_world(settings, clock))
    app.begin()
    app.tick()
    app.learn()
    line.send(True)
    while True:
        clock.move_to(line.recv())
        app.tick()
        line.send(True)
