"""The page sent to a remote-write receiver: an outage, a restart, a full disk, a refusal."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cramjam
import pytest
import requests
from gpu_node import GpuNode, uuid_of
from hypothesis import given
from hypothesis import strategies as st
from servers import Server, need, run_prometheus

from exporters import protobuf
from exporters import push as pushing
from exporters.exposition import Family
from exporters.options import ExporterOptions, PushOptions
from exporters.push import Push
from exporters.queue import Queue
from exporters.serve import Exporter
from exporters.table import load_table
from healer.errors import BadInput

NOTHING: dict[str, Any] = {"scrape_configs": []}


def until(true: Callable[[], object], within_s: float = 120.0) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, "it never became true"
        time.sleep(0.05)


class Receiver:
    """Answers with `statuses` in turn (the last for good) and keeps what it accepted."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses) or [204]
        self.accepted: list[bytes] = []
        self.seen: list[dict[str, str]] = []

    @contextmanager
    def serving(self) -> Iterator[str]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                kept = receiver.statuses
                status = kept.pop(0) if len(kept) > 1 else kept[0]
                receiver.seen.append(dict(self.headers))
                if status < 300:
                    receiver.accepted.append(bytes(cramjam.snappy.decompress_raw(body)))
                self.send_response(status)
                if status == 429:
                    self.send_header("Retry-After", "0")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/api/v1/write"
        finally:
            server.shutdown()
            server.server_close()


def page(*values: float) -> Callable[[], list[Family]]:
    """Each call gives the next value, the last for good."""
    left = list(values)

    def pages() -> list[Family]:
        family = Family("m", "gauge", "")
        family.add(left.pop(0) if len(left) > 1 else left[0], {"UUID": "GPU-1", "empty": ""})
        return [family]

    return pages


def push(url: str, folder: Path, pages: Callable[[], list[Family]], **more: Any) -> Push:
    return Push(PushOptions(url, folder / "queue.db", **more), "node-1", pages)


def stamps(bodies: list[bytes]) -> list[int]:
    """The time of each page, as its only series says."""
    found = []
    for body in bodies:
        (series,) = protobuf.messages(body, 1)
        (sample,) = protobuf.messages(series, 2)
        at, shift = 0, 0
        for byte in sample[10:]:
            at |= (byte & 0x7F) << shift
            shift += 7
        found.append(at)
    return found


def test_pages_kept_during_an_outage_and_a_restart_arrive_once_each_and_in_order(
    tmp_path: Path,
) -> None:
    down = push("http://127.0.0.1:9/", tmp_path, page(1))
    for at in (1000, 2000):
        down.keep(at)
        down.send()
    receiver = Receiver()
    with receiver.serving() as url:
        after = push(url, tmp_path, page(1))
        after.keep(3000)
        after.send()
        after.send()
    assert stamps(receiver.accepted) == [1000, 2000, 3000]
    (waiting,) = [f for f in after.families("n") if f.name == "healer_gpu_push_waiting"]
    assert waiting.samples[0][1] == 0


def test_a_receiver_that_is_busy_is_asked_again_and_one_that_refuses_is_not(
    tmp_path: Path,
) -> None:
    receiver = Receiver(429, 204, 400, 204)
    with receiver.serving() as url:
        sender = push(url, tmp_path, page(1))
        for at in (1000, 2000, 3000):
            sender.keep(at)
        sender.send()
        sender.send()
    assert stamps(receiver.accepted) == [1000, 3000]
    counts = {family.name: family.samples[0][1] for family in sender.families("n")}
    assert counts["healer_gpu_push_sent_total"] == 2
    assert counts["healer_gpu_push_refused_total"] == 1


def test_a_server_error_waits_longer_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(pushing, "time", SimpleNamespace(monotonic=lambda: now[0]))
    receiver = Receiver(503)
    sent_at = []
    with receiver.serving() as url:
        sender = push(url, tmp_path, page(1))
        sender.keep(1000)
        for _ in range(20):
            sender.send()
            if len(receiver.seen) > len(sent_at):
                sent_at.append(now[0] - 1000)
            now[0] += 0.5
    assert sent_at == [0, 1, 3, 7]


def test_the_token_is_sent_and_read_anew(tmp_path: Path) -> None:
    token = tmp_path / "token"
    receiver = Receiver()
    with receiver.serving() as url:
        sender = push(url, tmp_path, page(1), token_file=token)
        for value in ("one", "two"):
            token.write_text(f"{value}\n")
            sender.keep(1000)
            sender.send()
    assert [each["Authorization"] for each in receiver.seen] == ["Bearer one", "Bearer two"]
    assert receiver.seen[0]["X-Prometheus-Remote-Write-Version"] == "0.1.0"


def test_the_oldest_go_when_too_many_wait(tmp_path: Path) -> None:
    sender = push("http://127.0.0.1:9/", tmp_path, page(1), most_bytes=400)
    for at in range(1000, 21000, 1000):
        sender.keep(at)
    queue = Queue(tmp_path / "queue.db", 400)
    assert queue.size() <= 400
    body = queue.oldest()
    assert body is not None
    (oldest,) = stamps([bytes(cramjam.snappy.decompress_raw(body[1]))])
    assert oldest == 21000 - 1000 * len(queue)


def test_a_queue_that_is_no_database_is_set_aside_and_one_that_cannot_be_written_is_refused(
    tmp_path: Path,
) -> None:
    file = tmp_path / "queue.db"
    file.write_bytes(b"garbage" * 1000)
    queue = Queue(file, 1000)
    queue.put(b"x")
    assert queue.oldest() == (1, b"x")
    assert (tmp_path / "queue.db.unreadable").exists()
    with pytest.raises(BadInput, match="can be written"):
        Queue(tmp_path / "absent" / "queue.db", 1000)


def test_an_address_without_a_scheme_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="begins with http"):
        push("prometheus:9090", tmp_path, page(1))


@given(st.integers(min_value=0, max_value=2**63 - 1))
def test_numbers_are_written_as_they_are_read(number: int) -> None:
    written = protobuf.field(7, protobuf.varint(number))
    assert list(protobuf.messages(written, 7)) == [protobuf.varint(number)]


def query(prometheus: Server, text: str) -> list[dict[str, Any]]:
    answer = requests.get(f"{prometheus}/api/v1/query", params={"query": text}, timeout=60)
    return list(answer.json()["data"]["result"])


@pytest.mark.server
def test_a_genuine_prometheus_gets_the_whole_page_and_forgets_what_is_gone(
    node: GpuNode, tmp_path: Path
) -> None:
    need("prometheus")
    node.with_gpus(1).set(0, process=["4321 1000000"])
    with run_prometheus(NOTHING) as prometheus:
        options = ExporterOptions(
            port=0,
            pod_resources=tmp_path / "absent.sock",
            kernel_log=None,
            every_s=0.1,
            push=PushOptions(
                f"{prometheus}/api/v1/write",
                tmp_path / "queue.db",
                every_s=0.5,
                labels={"site": "edge-7"},
            ),
        )
        exporter = Exporter(options, load_table())
        worker = threading.Thread(target=exporter.serve_forever, daemon=True)
        worker.start()
        try:
            until(lambda: query(prometheus, "DCGM_FI_DEV_GPU_TEMP"))
            (found,) = query(prometheus, "DCGM_FI_DEV_GPU_TEMP")
            assert found["metric"]["UUID"] == uuid_of(0)
            assert found["metric"]["site"] == "edge-7"
            assert found["metric"]["job"] == "healer-exporter"
            assert float(found["value"][1]) == 41
            until(lambda: query(prometheus, "healer_gpu_process_memory_bytes"))
            node.set(0, process=[])
            until(lambda: not query(prometheus, "healer_gpu_process_memory_bytes"))
            assert query(prometheus, "healer_gpu_push_refused_total")[0]["value"][1] == "0"
        finally:
            exporter.http.shutdown()
            worker.join(60)
            exporter.watch.stop(wait_s=60)
