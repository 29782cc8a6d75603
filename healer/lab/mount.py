"""A lab handler behind an HTTP client, without a socket.

`MountedAdapter` goes into a `requests` session, `MountedPool` takes the place of the pool of a
Kubernetes client. Both build genuine urllib3 responses, so that what the clients do with them
(streams, early closes, dropped connections) is what they do anywhere.
"""

from __future__ import annotations

import io
from collections.abc import Generator, Iterable, Mapping
from typing import Any
from urllib.parse import urlencode

import requests
import urllib3
from requests.adapters import HTTPAdapter

from healer.lab.web import Handler, Request, Response, split


class MountedPool:
    """As much of `urllib3.PoolManager` as clients call."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler

    def request(
        self,
        method: str,
        url: str,
        body: Any = None,
        fields: Any = None,
        headers: Mapping[str, str] | None = None,
        preload_content: bool = True,  # noqa: FBT001, FBT002 - urllib3's signature
        **_: Any,
    ) -> urllib3.HTTPResponse:
        """Raises urllib3's ProtocolError where the handler drops the connection."""
        after = url.partition("://")[2]
        target = url if url.startswith("/") else "/" + after.partition("/")[2]
        if fields and method in ("GET", "HEAD", "DELETE"):
            target += ("&" if "?" in target else "?") + urlencode(fields)
        elif fields:
            body = urlencode(fields)
        return ask(self._handler, method, target, body, headers or {}, preload=preload_content)

    def clear(self) -> None:
        """There are no connections to close."""


class MountedAdapter(HTTPAdapter):
    """For `session.mount(URL, MountedAdapter(handler))`."""

    def __init__(self, handler: Handler) -> None:
        super().__init__(max_retries=0)
        self._handler = handler

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,  # noqa: FBT001, FBT002 - requests' signature
        timeout: Any = None,
        verify: Any = True,  # noqa: FBT002
        cert: Any = None,
        proxies: Any = None,
    ) -> requests.Response:
        headers = {name: str(value) for name, value in request.headers.items()}
        try:
            answer = ask(
                self._handler, request.method or "GET", request.path_url, request.body, headers,
                preload=False,
            )  # fmt: skip
        except urllib3.exceptions.ProtocolError as error:
            raise requests.ConnectionError(error, request=request) from error
        return self.build_response(request, answer)


class MountedSession(requests.Session):
    """A session all of whose requests go to the handler: the same bytes, without what a session
    does for proxies, cookies, redirects and connections, which costs as much as the answer."""

    def __init__(self, handler: Handler) -> None:
        super().__init__()
        self.trust_env = False
        self._handler = handler

    def request(  # type: ignore[override]
        self,
        method: str | bytes,
        url: str | bytes,
        params: Any = None,
        data: Any = None,
        headers: Any = None,
        **_: Any,
    ) -> requests.Response:
        after = str(url).partition("://")[2]
        target = "/" + after.partition("/")[2]
        path, query = split(target)
        # Encoded and decoded again, the pairs would be the same.
        query = (*query, *((name, str(value)) for name, value in (params or {}).items()))
        given = {name.lower(): str(value) for name, value in (headers or {}).items()}
        body = data if data is None or isinstance(data, str | bytes) else urlencode(data)
        answer = self._handler(Request(str(method), path, query, given, _bytes(body)))
        if answer.drop:
            raise requests.ConnectionError("the connection was dropped")
        made = requests.Response()
        made.status_code, made.url, made.encoding = answer.status, str(url), "utf-8"
        made.headers.update(answer.headers)
        content = answer.body
        made._content = content if isinstance(content, bytes) else b"".join(content)
        return made


def ask(
    handler: Handler,
    method: str,
    target: str,
    body: Any,
    headers: Mapping[str, str],
    *,
    preload: bool,
) -> urllib3.HTTPResponse:
    """One request to the handler, its answer as urllib3 would hand it out."""
    path, query = split(target)
    given = Request(
        method=method,
        path=path,
        query=query,
        headers={name.lower(): value for name, value in headers.items()},
        body=_bytes(body),
    )
    answer = handler(given)
    if answer.drop:
        raise urllib3.exceptions.ProtocolError(
            "Connection aborted.", ConnectionResetError("the connection was dropped")
        )
    return _Answer.of(answer, method, target, preload=preload)


class _Answer(urllib3.HTTPResponse):
    """Streams a chunked body chunk by chunk, as a socket does, and not when it is complete."""

    @classmethod
    def of(cls, answer: Response, method: str, target: str, *, preload: bool) -> _Answer:
        whole = isinstance(answer.body, bytes)
        length = {"Content-Length": str(len(answer.body))} if isinstance(answer.body, bytes) else {}
        made = cls(
            body=io.BytesIO(answer.body)
            if isinstance(answer.body, bytes)
            else _Chunks(answer.body),
            headers={**answer.headers, **length},
            status=answer.status,
            preload_content=preload,
            request_method=method,
            request_url=target,
            enforce_content_length=whole,
        )
        made._chunked = None if whole else answer.body
        return made

    _chunked: Any = None

    def stream(
        self,
        amt: int | None = 2**16,
        decode_content: bool | None = None,  # noqa: FBT001 - urllib3's signature
    ) -> Generator[bytes, None, None]:
        if self._chunked is None:
            yield from super().stream(amt, decode_content)
            return
        body = self._fp
        assert isinstance(body, _Chunks)
        while not body.closed and (chunk := body.next_chunk()):
            yield chunk


class _Chunks(io.RawIOBase):
    """The iterable of a streamed body as a file."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._left = b""

    def readable(self) -> bool:
        return True

    def next_chunk(self) -> bytes:
        """What came since; empty at the end."""
        if self._left:
            chunk, self._left = self._left, b""
            return chunk
        return next((chunk for chunk in self._chunks if chunk), b"")

    def readinto(self, buffer: Any) -> int:
        chunk = self.next_chunk()
        taken, self._left = chunk[: len(buffer)], chunk[len(buffer) :]
        buffer[: len(taken)] = taken
        return len(taken)

    def close(self) -> None:
        stop = getattr(self._chunks, "close", None)
        if stop is not None and not self.closed:
            stop()  # the end of a watch: its generator cleans up
        super().close()


def _bytes(body: Any) -> bytes:
    if body is None:
        return b""
    return body.encode() if isinstance(body, str) else bytes(body)
