"""Work in forks of this process, also of forks in turn, and never more at a time than there are
slots for.

A slot is a lock that the kernel takes back from whoever dies, so nobody can run off with one.
"""

from __future__ import annotations

import fcntl
import os
import selectors
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

_POLL_S = 0.05
_PIECE = 1 << 16

Tell = Callable[[str], None]
"""Hands one line to the process that forked."""


@dataclass(frozen=True, slots=True)
class Slots:
    """folder: an empty one that all the processes see."""

    folder: Path
    count: int

    @contextmanager
    def one(self) -> Iterator[None]:
        """Waits for one that is free."""
        while True:
            for number in range(self.count):
                # Opened anew by each: a lock belongs to the opening, which forks would share.
                with (self.folder / str(number)).open("w") as file:
                    try:
                        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    except BlockingIOError:
                        continue
                    yield
                    return
            time.sleep(_POLL_S)


@dataclass(slots=True)
class _Fork:
    task: int
    pid: int
    text: bytearray = field(default_factory=bytearray)


def in_forks(tasks: Sequence[Callable[[Tell], None]], at_once: int) -> Iterator[tuple[int, str]]:
    """What the tasks tell, line by line as it comes, each with the number of its task.

    A task that crashes tells no more; its traceback is on stderr.
    """
    waiting = list(range(len(tasks)))
    with selectors.DefaultSelector() as running:
        while waiting or running.get_map():
            while waiting and len(running.get_map()) < at_once:
                task = waiting.pop(0)
                pid, reader = _forked(tasks[task])
                running.register(reader, selectors.EVENT_READ, _Fork(task, pid))
            for key, _ in running.select():
                fork: _Fork = key.data
                piece = os.read(key.fd, _PIECE)
                fork.text += piece
                *lines, rest = fork.text.split(b"\n")
                fork.text = bytearray(rest)
                for line in lines:
                    yield fork.task, line.decode()
                if not piece:
                    running.unregister(key.fd)
                    os.close(key.fd)
                    os.waitpid(fork.pid, 0)


def _forked(task: Callable[[Tell], None]) -> tuple[int, int]:
    """Its process, and where what it tells can be read."""
    reader, writer = os.pipe()
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _child(task, writer)
    os.close(writer)
    return pid, reader


def _child(task: Callable[[Tell], None], writer: int) -> NoReturn:
    """What the parent has open stays the parent's."""
    status = 1
    try:
        with os.fdopen(writer, "wb") as pipe:

            def tell(line: str) -> None:
                pipe.write(line.encode() + b"\n")
                pipe.flush()

            task(tell)
        status = 0
    except BaseException:  # noqa: BLE001  # there is nobody above to tell
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)
