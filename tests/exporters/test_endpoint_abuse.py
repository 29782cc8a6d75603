"""Scrapers as they should not be, and an end in the middle of a scrape."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import requests
from gpu_exporter import process, scrape, serving, until
from gpu_node import GpuNode

from exporters import endpoint as module
from exporters.endpoint import MOST_CONNECTIONS, SLOW_CLIENT_S, Endpoint

BIG = "# a page of a node with many GPUs\n" * 200_000


@contextmanager
def endpoint(page: Callable[[], str], host: str = "127.0.0.1") -> Iterator[Endpoint]:
    made = Endpoint(host, 0, page)
    worker = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02})
    worker.start()
    try:
        yield made
    finally:
        made.shutdown()
        worker.join(60)
        made.server_close()


def get(made: Endpoint, path: str = "/metrics", **headers: str) -> requests.Response:
    """On a connection of its own."""
    return requests.get(f"{made.url}{path}", headers={"Connection": "close", **headers}, timeout=60)


def connect(made: Endpoint) -> socket.socket:
    return socket.create_connection(("127.0.0.1", made.server_address[1]), timeout=60)


def test_head_has_the_headers_of_get_and_no_body() -> None:
    with endpoint(lambda: "page\n" * 10) as made, requests.Session() as session:
        answer = session.head(f"{made.url}/metrics", timeout=60)
        assert (answer.status_code, answer.headers["Content-Length"]) == (200, "50")
        assert answer.content == b""
        assert session.get(f"{made.url}/metrics", timeout=60).text == "page\n" * 10


@pytest.mark.parametrize(
    ("asked", "packed"),
    [
        ("gzip", True),
        ("deflate, gzip;q=0.5", True),
        ("*", True),
        ("gzip;q=0", False),
        ("gzip;q=much", False),
        ("identity", False),
        ("", False),
    ],
)
def test_the_page_is_packed_for_those_who_can_unpack_it(asked: str, packed: bool) -> None:
    page = "metric 1\n" * 500
    with endpoint(lambda: page) as made:
        answer = get(made, **{"Accept-Encoding": asked})
    assert ("Content-Encoding" in answer.headers) is packed
    assert answer.text == page
    assert (int(answer.headers["Content-Length"]) < len(page)) is packed
    assert answer.headers["Vary"] == "Accept-Encoding"


def test_a_page_that_cannot_be_made_is_an_error_and_not_half_a_page() -> None:
    def page() -> str:
        raise ZeroDivisionError("no page")

    with endpoint(page) as made:
        answer = get(made)
        assert (answer.status_code, answer.text) == (500, "ZeroDivisionError: no page\n")
        assert get(made, "/livez").status_code == 200


def test_scrapers_that_do_not_read_cost_the_others_nothing() -> None:
    with endpoint(lambda: BIG) as made, ExitStack() as stack:
        for _ in range(10):
            idle = stack.enter_context(connect(made))
            idle.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
        began = time.monotonic()
        assert len(get(made).content) == len(BIG)
        assert time.monotonic() - began < SLOW_CLIENT_S / 2


def test_connections_beyond_the_limit_are_closed_and_room_comes_back() -> None:
    with endpoint(lambda: "m 1\n") as made:
        threads = threading.active_count()
        with requests.Session() as early, ExitStack() as stack:
            assert early.get(f"{made.url}/metrics", timeout=60).text == "m 1\n"
            crowd = [stack.enter_context(connect(made)) for _ in range(MOST_CONNECTIONS + 20)]
            # The last ones are told at once that there is no room.
            assert crowd[-1].recv(1) == b""
            assert threading.active_count() - threads <= MOST_CONNECTIONS
            assert early.get(f"{made.url}/metrics", timeout=60).text == "m 1\n"
        until(lambda: threading.active_count() <= threads + 1)
        assert get(made).text == "m 1\n"


def test_an_address_of_version_6_can_be_listened_on() -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")
    with endpoint(lambda: "m 1\n", host="::1") as made:
        assert made.url.startswith("http://[::1]:")
        assert requests.get(f"{made.url}/metrics", timeout=60).text == "m 1\n"


def test_a_scrape_under_way_is_answered_before_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LAST_ANSWERS_S", 60.0)
    asked, go = threading.Event(), threading.Event()

    def page() -> str:
        asked.set()
        go.wait(60)
        return "whole 1\n"

    answers: list[str] = []
    made = Endpoint("127.0.0.1", 0, page)
    worker = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02})
    scraper = threading.Thread(target=lambda: answers.append(get(made).text))
    worker.start()
    scraper.start()
    assert asked.wait(60)
    made.shutdown()
    threading.Timer(0.1, go.set).start()
    made.server_close()
    assert go.is_set()
    scraper.join(60)
    worker.join(60)
    assert answers == ["whole 1\n"]


def test_the_end_does_not_wait_for_ever_for_a_scraper_that_does_not_read() -> None:
    with endpoint(lambda: BIG) as made, connect(made) as idle:
        idle.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
        until(lambda: made._answering == 1)
        began = time.monotonic()
        made.shutdown()
        made.server_close()
        assert time.monotonic() - began < SLOW_CLIENT_S / 2


def test_the_kubelets_signal_ends_the_process_soon_and_well_though_the_driver_is_blocked(
    node: GpuNode, tmp_path: Path
) -> None:
    node.with_gpus(1).say("block nvmlDeviceGetPowerUsage")
    with process(tmp_path, node.environment, "--deadline", "0.2") as (url, exporter):
        until(lambda: "healer_gpu_driver_blocked{" in requests.get(url, timeout=60).text)
        exporter.send_signal(signal.SIGTERM)
        assert exporter.wait(25) == 0  # of the 30 s that the kubelet gives


def test_a_second_exporter_on_the_port_says_so_and_the_first_goes_on(
    node: GpuNode, tmp_path: Path
) -> None:
    node.with_gpus(1)
    with serving(tmp_path) as first:
        port = int(first.http.server_address[1])
        second = subprocess.run(
            [sys.executable, "-m", "exporters", json.dumps({"port": port})],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert second.returncode == 2
        assert second.stderr.startswith("healer: ")
        assert f"127.0.0.1:{port}" in second.stderr
        assert second.stderr.count("\n") == 1
        assert scrape(first).value("healer_gpu_present") == 1
