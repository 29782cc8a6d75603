"""The endpoint: `/metrics` from what the worker last saw, `/livez` as long as it can answer."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from exporters import pods
from exporters.collector import Exposition
from exporters.device import Driver
from exporters.exposition import CONTENT_TYPE, render
from exporters.nvml import Nvml
from exporters.pods import Holder
from exporters.table import SHIPPED, load_table
from exporters.watch import Watch
from healer.errors import Temporary


@dataclass(frozen=True, slots=True)
class ExporterOptions:
    host: str = "127.0.0.1"
    port: int = 9401
    extras_only: bool = False
    table: Path = SHIPPED
    pod_resources: Path = pods.SOCKET
    every_s: float = 5.0
    """How often the driver is asked."""
    deadline_s: float = 10.0
    """After how long without an answer the driver counts as blocked."""


class Exporter:
    """Everything wired; `serve_forever` blocks."""

    def __init__(self, options: ExporterOptions, driver: Driver | None = None) -> None:
        rows = load_table(options.table)
        readers = tuple(dict.fromkeys([*(row.read for row in rows), "process_memory_bytes"]))
        self.watch = Watch(driver or Nvml(readers), options.every_s, options.deadline_s)
        self.exposition = Exposition(
            rows=rows,
            seen=self.watch.seen,
            holders=_cached(lambda: pods.holders(options.pod_resources)),
            hostname=os.environ.get("NODE_NAME") or socket.gethostname(),
            extras_only=options.extras_only,
        )
        self.http = ThreadingHTTPServer((options.host, options.port), _handler(self.page))
        self.http.daemon_threads = True

    @property
    def url(self) -> str:
        host, port = self.http.server_address[:2]
        return f"http://{host!s}:{port}"

    def page(self) -> str:
        return render(self.exposition.collect())

    def serve_forever(self) -> None:
        self.watch.start()
        try:
            self.http.serve_forever()
        finally:
            self.watch.stop()
            self.http.server_close()


def _cached(
    ask: Callable[[], Mapping[str, Holder]], keep_s: float = 15.0
) -> Callable[[], Mapping[str, Holder]]:
    """The kubelet allows few requests, and its restart must not cost us the labels."""
    state: tuple[float, Mapping[str, Holder]] = (-keep_s, {})

    def holders() -> Mapping[str, Holder]:
        nonlocal state
        if time.monotonic() - state[0] >= keep_s:
            try:
                state = (time.monotonic(), ask())
            except Temporary:
                state = (time.monotonic(), state[1])
        return state[1]

    return holders


def _handler(page: Callable[[], str]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            match self.path.split("?")[0]:
                case "/metrics":
                    self._send(200, page(), CONTENT_TYPE)
                case "/livez" | "/readyz":
                    self._send(200, "ok\n", "text/plain")
                case _:
                    self._send(404, "try /metrics\n", "text/plain")

        def _send(self, status: int, text: str, kind: str) -> None:
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Scrapes are not news."""

    return Handler
