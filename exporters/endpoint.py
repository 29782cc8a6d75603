"""The endpoint: `/metrics` from what the workers last saw, `/livez` as long as it can answer.

It stands open to a whole network. A scraper that is slow, hangs up, asks for what there is not or
comes a thousand times at once costs a bounded share of a small process, and no other scraper.
"""

from __future__ import annotations

import contextlib
import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from exporters.exposition import CONTENT_TYPE

SLOW_CLIENT_S = 30.0
"""How long a scraper may take to ask, or to read the answer."""
MOST_CONNECTIONS = 64
"""Each holds a thread. Scrapers keep theirs open, and there are a handful."""
_LAST_ANSWERS_S = 2.0
_WORTH_PACKING = 1024
_PACKING = 1
"""Level of gzip: a page shrinks to a twentieth already, and the time is the node's."""


class Endpoint(ThreadingHTTPServer):
    """Raises OSError or OverflowError for an address that cannot be listened on."""

    daemon_threads = True
    request_queue_size = MOST_CONNECTIONS

    def __init__(self, host: str, port: int, page: Callable[[], str]) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.page = page
        self._room = threading.BoundedSemaphore(MOST_CONNECTIONS)
        self._idle = threading.Condition()
        self._answering = 0
        super().__init__((host, port), _Handler)

    @property
    def url(self) -> str:
        host, port = self.server_address[:2]
        return f"http://[{host!s}]:{port}" if ":" in str(host) else f"http://{host!s}:{port}"

    @contextlib.contextmanager
    def answering(self) -> Iterator[None]:
        """Around an answer: closing waits for it."""
        with self._idle:
            self._answering += 1
        try:
            yield
        finally:
            with self._idle:
                self._answering -= 1
                self._idle.notify_all()

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no further thread to be had
            self._room.release()
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def server_close(self) -> None:
        super().server_close()
        until = time.monotonic() + _LAST_ANSWERS_S
        with self._idle:
            while self._answering and (left_s := until - time.monotonic()) > 0:
                self._idle.wait(left_s)

    def handle_error(self, request: object, client_address: object) -> None:
        """A scraper that hangs up is not news; everything else is answered with 500."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = SLOW_CLIENT_S
    # Headers and body are two writes; else the second waits 40 ms for the first one's receipt.
    disable_nagle_algorithm = True
    server: Endpoint

    def do_GET(self) -> None:
        with self.server.answering():
            match self.path.split("?")[0]:
                case "/metrics":
                    self._send(*_answer(self.server.page), CONTENT_TYPE)
                case "/livez" | "/readyz":
                    self._send(200, "ok\n", "text/plain")
                case _:
                    self._send(404, "try /metrics\n", "text/plain")

    def do_HEAD(self) -> None:
        self.do_GET()

    def _send(self, status: int, text: str, kind: str) -> None:
        body = text.encode()
        packed = len(body) > _WORTH_PACKING and _accepts_gzip(self.headers["Accept-Encoding"])
        if packed:
            body = gzip.compress(body, _PACKING, mtime=0)
        try:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Vary", "Accept-Encoding")
            if packed:
                self.send_header("Content-Encoding", "gzip")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)
        except (ConnectionError, TimeoutError):
            # Half an answer is on the way: nothing more can be said on this connection.
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Scrapes are not news."""


def _accepts_gzip(header: str | None) -> bool:
    """`gzip, deflate;q=0.5` does, `gzip;q=0` does not."""
    for part in (header or "").split(","):
        name, _, quality = part.partition(";")
        if name.strip().lower() in {"gzip", "*"}:
            with contextlib.suppress(ValueError):
                return float(quality.partition("=")[2] or 1) > 0
    return False


def _answer(page: Callable[[], str]) -> tuple[int, str]:
    """A broken page says so: half a page would pass for a whole one."""
    try:
        return 200, page()
    except Exception as error:  # noqa: BLE001  # the next scrape may do better
        return 500, f"{type(error).__name__}: {error}\n"
