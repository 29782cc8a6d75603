"""Webhooks that come in together become durable together.

A commit waits for the disk, and that wait is most of what a small webhook costs. So whatever has
arrived while one commit was under way goes into the next one, and each sender is answered when
its own alerts are safe. Nothing waits for company: a webhook that comes alone is written at once.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from healer.ports import Episode, Store

MOST_EPISODES = 2000
"""In one transaction: the senders of the first wait for the last."""

Counts = tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Waiting:
    episodes: Sequence[Episode]
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[Counts]


class Inlet:
    """One writer for all webhooks. Its thread starts with the first and ends with the process."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: deque[_Waiting] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    async def accept(self, episodes: Sequence[Episode]) -> Counts:
        """(new or changed, duplicates), once they are durable. Raises Temporary."""
        loop = asyncio.get_running_loop()
        entry = _Waiting(episodes, loop, loop.create_future())
        with self._changed:
            self._waiting.append(entry)
            if self._thread is None:
                self._thread = threading.Thread(target=self._write, name="inlet", daemon=True)
                self._thread.start()
            self._changed.notify()
        return await entry.done

    def _write(self) -> None:
        while True:
            with self._changed:
                while not self._waiting:
                    self._changed.wait()
                together = [self._waiting.popleft()]
                count = len(together[0].episodes)
                while self._waiting and count + len(self._waiting[0].episodes) <= MOST_EPISODES:
                    together.append(self._waiting.popleft())
                    count += len(together[-1].episodes)
            self._settle(together)

    def _settle(self, together: list[_Waiting]) -> None:
        try:
            if len(together) == 1:
                counts: Sequence[Counts] = (self._store.accept(together[0].episodes),)
            else:
                counts = self._store.accept_all([each.episodes for each in together])
        except Exception as error:  # noqa: BLE001  whoever waits is told, whatever it is
            if len(together) > 1:
                for each in together:  # one that cannot be written must not refuse the others
                    self._settle([each])
                return
            _tell(together[0], error)
            return
        for each, found in zip(together, counts, strict=True):
            _tell(each, found)


def _tell(waiting: _Waiting, outcome: Counts | Exception) -> None:
    def answer() -> None:
        if waiting.done.done():
            return  # its sender has gone; the alerts are safe all the same
        if isinstance(outcome, Exception):
            waiting.done.set_exception(outcome)
        else:
            waiting.done.set_result(outcome)

    try:
        waiting.loop.call_soon_threadsafe(answer)
    except RuntimeError:
        return  # the server has stopped; the sender sends it again
