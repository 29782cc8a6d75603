"""The endpoint: `/metrics` from what the workers last saw, `/livez` as long as it can answer."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from exporters import dcgm, host, pods
from exporters.collector import Exposition
from exporters.device import Driver
from exporters.exposition import CONTENT_TYPE, Family, render
from exporters.kernel_log import KernelLog
from exporters.kubelet import Kubelet
from exporters.nvml import Nvml
from exporters.options import ExporterOptions
from exporters.readers import READERS
from exporters.table import load_table
from exporters.watch import Watch
from healer.errors import BadInput

if TYPE_CHECKING:
    from exporters.push import Push

_SLOW_CLIENT_S = 30.0


class Exporter:
    """Everything wired; `serve_forever` blocks. Raises BadInput for what cannot be used."""

    def __init__(self, options: ExporterOptions, driver: Driver | None = None) -> None:
        rows = load_table(options.table)
        readers = tuple(dict.fromkeys(row.read for row in rows if row.read in READERS))
        log = options.kernel_log
        nvidia = driver or Nvml(readers)
        if options.dcgm:
            folder = dcgm.bindings(options.dcgm_bindings)
            names = [row.name for row in rows]
            nvidia = dcgm.Dcgm(nvidia, names, folder, options.dcgm, options.every_s)
        self.watch = Watch(
            nvidia,
            options.every_s,
            options.deadline_s,
            None if log is None else lambda: KernelLog(log),
        )
        self.kubelet = Kubelet(lambda: pods.ask_kubelet(options.pod_resources))
        hostname = os.environ.get("NODE_NAME") or socket.gethostname()
        self.exposition = Exposition(
            rows=rows,
            seen=self.watch.seen,
            allotted=self.kubelet.allotted,
            hostname=hostname,
            extras_only=options.extras_only,
        )
        self._hostname = hostname
        self._with_host = options.host_signals
        self._push = self._pushing(options)
        try:
            self.http = _Server((options.host, options.port), _handler(self.page))
        except (OSError, OverflowError) as error:
            raise BadInput(
                f"a free address to listen on ({error})", value=f"{options.host}:{options.port}"
            ) from error

    @property
    def url(self) -> str:
        address, port = self.http.server_address[:2]
        return f"http://{address!s}:{port}"

    def _pushing(self, options: ExporterOptions) -> Push | None:
        if options.push is None:
            return None
        # A node that is scraped does not carry an HTTP client in memory.
        from exporters.push import Push  # noqa: PLC0415

        return Push(options.push, self._hostname, self.families)

    def families(self) -> list[Family]:
        found = list(self.exposition.collect())
        if self._with_host:
            found += host.collect(self._hostname)
        if self._push is not None:
            found += self._push.families(self._hostname)
        return found

    def page(self) -> str:
        return render(self.families())

    def serve_forever(self) -> None:
        self.watch.start()
        self.kubelet.start()
        if self._push is not None:
            self._push.start()
        try:
            self.http.serve_forever()
        finally:
            self.watch.stop(wait_s=1.5)
            self.kubelet.stop()
            if self._push is not None:
                self._push.stop(wait_s=1.5)
            self.http.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A scraper that hangs up is not news; everything else is answered with 500."""


def _handler(page: Callable[[], str]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = _SLOW_CLIENT_S

        def do_GET(self) -> None:
            match self.path.split("?")[0]:
                case "/metrics":
                    self._send(*_answer(page), CONTENT_TYPE)
                case "/livez" | "/readyz":
                    self._send(200, "ok\n", "text/plain")
                case _:
                    self._send(404, "try /metrics\n", "text/plain")

        def _send(self, status: int, text: str, kind: str) -> None:
            body = text.encode()
            with contextlib.suppress(ConnectionError):
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Scrapes are not news."""

    return Handler


def _answer(page: Callable[[], str]) -> tuple[int, str]:
    """A broken page says so: half a page would pass for a whole one."""
    try:
        return 200, page()
    except Exception as error:  # noqa: BLE001  # the next scrape may do better
        return 500, f"{type(error).__name__}: {error}\n"
