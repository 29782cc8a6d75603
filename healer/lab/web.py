"""The lab's HTTP edge: one kind of handler, served over a socket or mounted in process.

A handler is a function from `Request` to `Response`. `serve` puts it behind a real socket;
`healer.lab.mount` puts it behind an HTTP client without one. Both carry the same bytes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    """Decoded pairs in order; names may repeat, as `match[]` does."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Lower-case names."""
    body: bytes = b""

    def param(self, name: str, default: str = "") -> str:
        return next((value for key, value in self.query if key == name), default)


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    body: bytes | Iterable[bytes] = b""
    """An iterable is sent chunk by chunk as it comes: a watch."""
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})
    drop: bool = False
    """Close the connection without an answer: a response lost after the commit."""


Handler = Callable[[Request], Response]


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    """A Healer opens a connection for each kind that it watches, all at once. Those beyond the
    usual five would be tried again by the client's system a second later."""


class Server:
    """A handler behind a loopback socket, in a daemon thread."""

    def __init__(self, handler: Handler, port: int = 0) -> None:
        self._httpd = _Listener(("127.0.0.1", port), _bind(handler))
        self._thread = threading.Thread(
            target=self._httpd.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._httpd.server_address[1]}"

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._httpd.shutdown()
        self._httpd.server_close()


def split(target: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Path and decoded query pairs of a request target."""
    parts = urlsplit(target)
    return parts.path, tuple(parse_qsl(parts.query, keep_blank_values=True))


def _bind(handler: Handler) -> type[BaseHTTPRequestHandler]:
    class Bound(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # small answers would wait 40 ms for the client's ACK

        def _answer(self) -> None:
            path, query = split(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            response = handler(
                Request(
                    method=self.command,
                    path=path,
                    query=query,
                    headers={k.lower(): v for k, v in self.headers.items()},
                    body=self.rfile.read(length) if length else b"",
                )
            )
            if response.drop:
                self.close_connection = True
                return
            self.send_response(response.status)
            for name, value in response.headers.items():
                self.send_header(name, value)
            if isinstance(response.body, bytes):
                self.send_header("Content-Length", str(len(response.body)))
                self.end_headers()
                self.wfile.write(response.body)
            else:
                self._stream(response.body)

        def _stream(self, chunks: Iterable[bytes]) -> None:
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            try:
                for chunk in chunks:
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
                    self.wfile.flush()
                self.wfile.write(b"0\r\n\r\n")
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Silence: what matters is in the write log."""

    return Bound
