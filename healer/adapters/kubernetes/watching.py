"""List and watch: one kind kept in step by a stream of its changes.

The client's own watch asks for no bookmarks, loses the version on an ERROR event, and its informer
asks again at once where it is refused. Here a lost stream is taken up at the version of the last
line or bookmark; only 410 lists anew, after a pause that differs from replica to replica.
"""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Generic, TypeVar

import structlog
from kubernetes.client import ApiClient
from urllib3.exceptions import HTTPError

from healer.adapters.kubernetes import errors
from healer.adapters.kubernetes.errors import Obj
from healer.adapters.kubernetes.listing import Source, listed, slim
from healer.adapters.kubernetes.sender import denial
from healer.errors import HealerError, Permanent, Temporary
from healer.ports import Clock

log = structlog.get_logger("healer.watch")

T = TypeVar("T")

STREAM_S = (240.0, 480.0)
"""How long one stream is asked to last. Different lengths keep replicas and kinds apart."""

READ_SLACK_S = 15.0
"""The server ends a stream itself; only a dead connection is cut by us."""

QUIET_FOR_S = 150.0
"""Bookmarks come about once a minute. A stream that brought nothing for so long is not trusted."""

RELIST_AFTER_S = (0.5, 5.0)
LONGEST_PAUSE_S = 60.0
LOOK_AGAIN_AFTER_S = 300.0
"""For kinds of an add-on that is not installed."""

SHORTEST_STREAM_S = 1.0
"""A stream that ends sooner counts as a failure: no hot loop, whatever the reason."""


class Mirror(Generic[T]):
    """`objects()` of one kind as of now, while it is known to be in step."""

    def __init__(
        self,
        api: ApiClient,
        source: Source,
        clock: Clock,
        timeout_s: tuple[float, float],
        keep: Callable[[Obj], T],
    ) -> None:
        self._api, self._source, self._clock = api, source, clock
        self._timeout_s, self._keep = timeout_s, keep
        self._lock = threading.Lock()
        self._objects: dict[tuple[str, str], T] = {}
        self._version = ""
        self._heard_at = float("-inf")
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._stream: Any = None
        self._failures = 0
        self.lists = 0
        """How often everything was listed."""

    @property
    def in_step(self) -> bool:
        return self._clock.monotonic() - self._heard_at <= QUIET_FOR_S

    def objects(self) -> tuple[T, ...] | None:
        """None while it is not known whether they are right."""
        with self._lock:
            return tuple(self._objects.values()) if self.in_step else None

    def start(self) -> None:
        self._stop.clear()
        self._thread = threading.Thread(
            target=self._run, name=f"watch-{self._source.kind}", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        stream = self._stream
        if stream is not None:
            with suppress(OSError, AttributeError):  # wakes a read that waits for the next line
                stream.connection.sock.shutdown(2)
        if self._thread is not None:
            self._thread.join(2.0)

    def _run(self) -> None:
        while not self._stop.is_set():
            began = self._clock.monotonic()
            try:
                self.round()
                short = self._clock.monotonic() - began < SHORTEST_STREAM_S
                self._failures = self._failures + 1 if short else 0
            except _Gone:
                self._version = ""
                self._stop.wait(random.uniform(*RELIST_AFTER_S))
                continue
            except HealerError as error:
                self._failures += 1
                if self._source.optional and str(error).startswith(("403", "404")):
                    self._stop.wait(LOOK_AGAIN_AFTER_S)
                elif not self._stop.is_set():
                    log.warning("watch", kind=self._source.kind, problem=str(error))
            except Exception:
                self._failures += 1
                log.exception("watch", kind=self._source.kind)
            if self._failures:
                pause = min(2.0 ** min(self._failures - 1, 6), LONGEST_PAUSE_S)
                self._stop.wait(pause * random.uniform(0.5, 1.0))

    def round(self) -> None:
        """List if that is due, then follow one stream to its end. Raises Temporary, Permanent."""
        if not self._version:
            self._list()
        for event in self._events():
            self._take(event)
            if self._stop.is_set():
                return

    def _list(self) -> None:
        self.lists += 1
        objects, version = listed(self._api, self._source, self._timeout_s)
        found = {_key(obj): self._keep(obj) for obj in objects}
        with self._lock:
            self._objects, self._version = found, version
            self._heard_at = self._clock.monotonic()

    def _take(self, event: Obj) -> None:
        kind, obj = event.get("type"), event.get("object") or {}
        if kind == "ERROR":
            if obj.get("code") == 410:
                raise _Gone
            raise Temporary(f"{self._source.kind}: {obj.get('message') or obj}")
        meta = obj.get("metadata") or {}
        with self._lock:
            if kind in ("ADDED", "MODIFIED") and meta.get("name"):
                self._objects[_key(obj)] = self._keep(slim(obj))
            elif kind == "DELETED":
                self._objects.pop(_key(obj), None)
            self._version = str(meta.get("resourceVersion") or self._version)
            self._heard_at = self._clock.monotonic()

    def _events(self) -> Iterator[Obj]:
        lasts = random.uniform(*STREAM_S)
        query = (
            *self._source.query,
            ("watch", "1"),
            ("allowWatchBookmarks", "true"),
            ("resourceVersion", self._version),
            ("timeoutSeconds", str(int(lasts))),
        )
        read_s = min(QUIET_FOR_S, lasts) + READ_SLACK_S
        response = errors.opened(self._api, self._source.path, query, (self._timeout_s[0], read_s))
        if response.status == 410:
            response.close()
            raise _Gone
        if response.status >= 300:
            raise denial(
                errors.Answer(response.status, errors.decode(response.data, response.status))
            )
        self._stream = response
        try:
            if self._stop.is_set():  # while it was opened, when there was nothing to wake yet
                return
            yield from _lines(response)
        except (HTTPError, OSError) as error:
            raise Temporary(f"{self._source.kind}: the stream broke: {error}") from error
        except ValueError as error:
            raise Permanent(f"{self._source.kind}: the stream is no JSON: {error}") from error
        finally:
            self._stream = None
            response.close()


class _Gone(Exception):
    """The version is too old: everything has to be listed anew."""


def _lines(response: Any) -> Iterator[Obj]:
    """Whole lines out of chunks that end anywhere."""
    rest = b""
    for chunk in response.stream(65536):
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            if line.strip():
                yield json.loads(line)


def _key(obj: Obj) -> tuple[str, str]:
    meta = obj["metadata"]
    return str(meta.get("namespace", "")), str(meta["name"])
