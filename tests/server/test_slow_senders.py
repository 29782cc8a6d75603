"""A request that dribbles in is hung up on; an answer that takes its time is not."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import uvicorn

from healer.server.punctual import Punctual

WITHIN_S = Punctual.within_s
SOON_S = 60.0


class MovedLoop(asyncio.SelectorEventLoop):
    """A loop whose clock is moved by hand, on top of the wall's."""

    ahead_s = 0.0

    def time(self) -> float:
        return super().time() + self.ahead_s

    def move(self, seconds: float) -> None:
        self.ahead_s += seconds


@dataclass(frozen=True)
class Site:
    """A server in a thread of its own."""

    loop: MovedLoop
    server: uvicorn.Server
    port: int
    asked: threading.Semaphore
    """One for each request that has been read whole."""

    def connect(self) -> socket.socket:
        """A connection that the server has taken."""
        made = socket.create_connection(("127.0.0.1", self.port), timeout=SOON_S)
        ends = time.monotonic() + SOON_S
        while not self.open:
            assert time.monotonic() < ends
            time.sleep(0.01)
        return made

    @property
    def open(self) -> bool:
        return bool(self.server.server_state.connections)

    def wait(self, seconds: float) -> None:
        """Time passes, and what is due by then is done."""
        for step in (lambda: self.loop.move(seconds), *[lambda: None] * 5):
            done = threading.Event()
            self.loop.call_soon_threadsafe(step)
            self.loop.call_soon_threadsafe(done.set)
            assert done.wait(SOON_S)


@pytest.fixture
def site() -> Iterator[Site]:
    asked = threading.Semaphore(0)

    async def slow_answer(
        scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
    ) -> None:
        """Reads the whole body, takes longer than a sender may, and answers with its size."""
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            size += len(message.get("body", b""))
            if not message.get("more_body"):
                break
        sleeping = asyncio.ensure_future(asyncio.sleep(2 * WITHIN_S))
        await asyncio.sleep(0)
        asked.release()
        await sleeping
        body = str(size).encode()
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        slow_answer, http=Punctual, log_level="critical", lifespan="off", timeout_keep_alive=3600
    )
    loop, server = MovedLoop(), uvicorn.Server(config)
    thread = threading.Thread(
        target=lambda: loop.run_until_complete(server.serve([listener])), daemon=True
    )
    thread.start()
    ends = time.monotonic() + SOON_S
    while not server.started:
        assert time.monotonic() < ends
        time.sleep(0.01)
    yield Site(loop, server, listener.getsockname()[1], asked)
    server.should_exit = server.force_exit = True
    thread.join(SOON_S)
    listener.close()
    loop.close()


@pytest.mark.parametrize(
    "beginning",
    [
        b"",
        b"GET / HTTP/1.1\r\nHost: x\r\nX-A",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc",
    ],
    ids=["nothing", "half a header", "half a body"],
)
def test_a_request_that_does_not_come_whole_is_hung_up_on(site: Site, beginning: bytes) -> None:
    with site.connect() as connection:
        connection.sendall(beginning)
        site.wait(WITHIN_S - SOON_S / 4)
        assert site.open
        site.wait(SOON_S / 4)
        assert connection.recv(1000) == b""


def test_a_byte_now_and_then_does_not_buy_more_time(site: Site) -> None:
    with site.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-A: ")
        for _ in range(4):
            connection.sendall(b"a")
            site.wait(WITHIN_S / 4)
        site.wait(0)
        assert not site.open


def test_slow_answers_and_the_next_request_on_a_connection_are_served(site: Site) -> None:
    with site.connect() as connection:
        for size in (3, 5):
            body = b"x" * size
            head = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode()
            connection.sendall(head + body)
            assert site.asked.acquire(timeout=SOON_S)
            site.wait(2 * WITHIN_S)
            answer = b""
            while not answer.endswith(f"\r\n\r\n{size}".encode()):
                more = connection.recv(1000)
                assert more
                answer += more
            site.wait(1.5 * WITHIN_S)  # idle between two requests
