"""A request that dribbles in is hung up on; an answer that takes its time is not."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
import uvicorn

from healer.server.punctual import Punctual


class Hasty(Punctual):
    within_s = 0.3


async def slow_answer(
    scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
) -> None:
    """Reads the whole body, takes longer than a sender may, and answers with the body's size."""
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size += len(message.get("body", b""))
        if not message.get("more_body"):
            break
    await asyncio.sleep(2 * Hasty.within_s)
    body = str(size).encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
def port() -> Iterator[int]:
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        slow_answer, http=Hasty, log_level="critical", lifespan="off", timeout_keep_alive=5
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield listener.getsockname()[1]
    server.should_exit = True
    thread.join(10)
    listener.close()


def hung_up(connection: socket.socket) -> bool:
    connection.settimeout(5)
    return connection.recv(1000) == b""


@pytest.mark.parametrize(
    "beginning",
    [
        b"",
        b"GET / HTTP/1.1\r\nHost: x\r\nX-A",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc",
    ],
    ids=["nothing", "half a header", "half a body"],
)
def test_a_request_that_does_not_come_whole_is_hung_up_on(port: int, beginning: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(beginning)
        assert hung_up(connection)


def test_a_byte_now_and_then_does_not_buy_more_time(port: int) -> None:
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-A: ")
        connection.settimeout(0.1)
        for _ in range(40):
            try:
                connection.sendall(b"a")
                if connection.recv(10) == b"":
                    break
            except TimeoutError:
                continue
            except OSError:
                break
    assert time.monotonic() - began < 3


def test_slow_answers_and_the_next_request_on_a_connection_are_served(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.settimeout(10)
        for size in (3, 5):
            body = b"x" * size
            head = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode()
            connection.sendall(head + body)
            answer = b""
            while not answer.endswith(f"\r\n\r\n{size}".encode()):
                more = connection.recv(1000)
                assert more
                answer += more
            time.sleep(1.5 * Hasty.within_s)  # idle between two requests
