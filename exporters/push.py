"""Pushes the page to a remote-write receiver, for nodes that nobody can scrape.

Each page is on disk before it is sent, and leaves the disk when the receiver has it. What cannot
be delivered now waits; what the receiver refuses for good is dropped and counted, for sending it
again would block everything behind it.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import cramjam
import requests

from exporters.exposition import Family
from exporters.options import PushOptions
from exporters.queue import Queue
from exporters.remote_write import HEADERS, Labels, request, series
from healer.errors import BadInput

_TIMEOUT_S = 30.0
_LONGEST_WAIT_S = 120.0
_RETRIED = (429, 500, 502, 503, 504)


@dataclass(slots=True)
class Counts:
    sent: int = 0
    refused: int = 0
    overflowed: int = 0
    waiting: int = 0
    delivering: bool = False
    failing: str = ""
    """Why pages cannot be made or kept now; empty while they can."""


class Push:
    """Its thread makes, keeps and sends pages. `pages()` gives what the endpoint would serve."""

    def __init__(
        self, options: PushOptions, hostname: str, pages: Callable[[], Iterable[Family]]
    ) -> None:
        """Raises BadInput for an address or a file that cannot be used."""
        if not options.url.startswith(("http://", "https://")):
            raise BadInput("expected an address that begins with http", value=options.url)
        self._options, self._pages = options, pages
        self._labels = {"job": "healer-exporter", "instance": hostname, **options.labels}
        self._queue = Queue(options.queue, options.most_bytes)
        self._session = requests.Session()
        self._before: frozenset[Labels] = frozenset()
        self._not_before, self._wait_s = 0.0, 0.0
        self._lock = threading.Lock()
        self._counts = Counts(waiting=len(self._queue))
        self._stop = threading.Event()
        self._worker = threading.Thread(target=self._run, daemon=True, name="push")

    def start(self) -> None:
        self._worker.start()

    def stop(self, wait_s: float) -> None:
        self._stop.set()
        self._worker.join(wait_s)
        if not self._worker.is_alive():
            self._queue.close()

    def keep(self, at_ms: int) -> None:
        """The page of now, made durable."""
        now = series(self._pages(), self._labels)
        body = request(now, self._before - now.keys(), at_ms)
        self._before = frozenset(now)
        dropped = self._queue.put(bytes(cramjam.snappy.compress_raw(body)))
        with self._lock:
            self._counts.overflowed += dropped
            self._counts.waiting = len(self._queue)

    def send(self) -> None:
        """What waits, oldest first, until all is sent or the receiver is not ready."""
        while time.monotonic() >= self._not_before and not self._stop.is_set():
            head = self._queue.oldest()
            if head is None:
                return
            number, body = head
            try:
                answer = self._session.post(
                    self._options.url,
                    data=body,
                    headers=HEADERS | self._credentials(),
                    timeout=_TIMEOUT_S,
                    verify=str(self._options.ca_file) if self._options.ca_file else True,
                    allow_redirects=False,
                )
            except (requests.RequestException, OSError):
                self._later(None)
                return
            if answer.status_code in _RETRIED:
                self._later(answer.headers.get("Retry-After"))
                return
            self._queue.remove(number)
            self._wait_s = 0.0
            with self._lock:
                if answer.ok:
                    self._counts.sent += 1
                else:
                    self._counts.refused += 1
                self._counts.delivering = answer.ok
                self._counts.waiting = len(self._queue)

    def families(self, hostname: str) -> Iterable[Family]:
        """How the sending goes, for the page itself."""
        with self._lock:
            counts = self._counts
            rows = (
                ("healer_gpu_push_sent_total", "counter", "Pages delivered.", counts.sent),
                ("healer_gpu_push_refused_total", "counter", "Pages refused.", counts.refused),
                (
                    "healer_gpu_push_overflowed_total",
                    "counter",
                    "Pages dropped because too many waited.",
                    counts.overflowed,
                ),
                ("healer_gpu_push_waiting", "gauge", "Pages waiting.", counts.waiting),
                (
                    "healer_gpu_push_delivering",
                    "gauge",
                    "Whether the last delivery went well.",
                    counts.delivering,
                ),
            )
        for name, kind, text, value in rows:
            family = Family(name, kind, text)
            family.add(float(value), {"Hostname": hostname})
            yield family

    def _credentials(self) -> dict[str, str]:
        file = self._options.token_file
        return {} if file is None else {"Authorization": f"Bearer {file.read_text().strip()}"}

    def _later(self, told: str | None) -> None:
        self._wait_s = min(_LONGEST_WAIT_S, max(1.0, self._wait_s * 2))
        wait_s = float(told) if told and told.isdigit() else self._wait_s
        self._not_before = time.monotonic() + min(wait_s, _LONGEST_WAIT_S)
        with self._lock:
            self._counts.delivering = False

    def _guarded(self, step: Callable[[], None]) -> None:
        try:
            step()
            failing = ""
        except Exception as error:  # noqa: BLE001  # a full disk, a broken page: the next may do
            failing = f"{type(error).__name__}: {error}"
        with self._lock:
            said, self._counts.failing = self._counts.failing, failing
        if failing and failing != said:
            sys.stderr.write(f"exporter: pushing: {failing}\n")

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stop.is_set():
            if time.monotonic() >= due:
                due += self._options.every_s
                self._guarded(lambda: self.keep(int(time.time() * 1000)))
            self._guarded(self.send)
            until = min(due, max(self._not_before, time.monotonic() + 0.5))
            self._stop.wait(max(0.05, until - time.monotonic()))
