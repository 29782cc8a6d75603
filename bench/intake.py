"""How many alerts a second one replica takes in, how fast it acknowledges, and whether any is lost.

    python bench/intake.py [--rate 2000] [--per-webhook 20] [--seconds 60] [--senders 8] [--quick]

A server in a process of its own, on SQLite in a temporary folder, is sent Alertmanager webhooks
over loopback at an even rate; a tenth of the alerts are repeats and a tenth are resolved. At the
end the process is killed with SIGKILL in the middle of the stream, the database is opened again,
and every alert that was acknowledged with 202 has to be in it. Exit status 1 when p99 is 100 ms or
more, when the rate was not reached, or when an alert was lost.
"""

from __future__ import annotations

import argparse
import http.client
import json
import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import uvicorn

from healer.adapters.clocks import SystemClock
from healer.adapters.store import open_store
from healer.server import Health, ServerDeps, create_app
from healer.settings import ServerSettings

LIMIT_MS = 100.0
START = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
TOKEN = "bench-token"


def serve(folder: str, port: int) -> None:
    """The server alone: what a tick costs beside it is `bench/tick.py`'s."""
    place = Path(folder)
    settings = ServerSettings(ingest_token_file=place / "token")
    store = open_store(f"sqlite:///{place / 'healer.db'}")
    deps = ServerDeps(store, settings, SystemClock(), Health)
    uvicorn.run(create_app(deps), host="127.0.0.1", port=port, log_level="error")


def webhook(number: int, count: int) -> tuple[bytes, list[tuple[str, str]]]:
    """(body, its alerts as fingerprint and start) of the `number`th webhook."""
    alerts, keys = [], []
    for each in range(count):
        serial = number * count + each
        repeated = serial - 7 * count if serial % 10 == 9 and number >= 7 else serial
        start = START + timedelta(milliseconds=repeated)
        over = serial % 10 == 8
        fingerprint = f"{repeated:016x}"
        labels = {
            "alertname": "GpuXid",
            "severity": "critical",
            "namespace": f"team-{repeated % 40}",
            "pod": f"llama-70b-{repeated % 5000:05d}",
            "instance": f"10.0.{repeated % 250}.{repeated % 199}:9400",
        }
        alerts.append(
            {
                "status": "resolved" if over else "firing",
                "labels": labels,
                "annotations": {"summary": "An Xid on a GPU", "runbook": "https://example.com/r"},
                "startsAt": start.isoformat(),
                "endsAt": (start + timedelta(minutes=5)).isoformat() if over
                else "0001-01-01T00:00:00Z",
                "generatorURL": "http://prometheus/graph",
                "fingerprint": fingerprint,
            }
        )  # fmt: skip
        keys.append((fingerprint, start.isoformat()))
    body = {
        "version": "4",
        "groupKey": f'{{}}:{{alertname="GpuXid",n="{number % 50}"}}',
        "groupLabels": {"alertname": "GpuXid"},
        "status": "firing",
        "receiver": "healer",
        "alerts": alerts,
    }
    return json.dumps(body).encode(), keys


class Senders:
    """Threads that post at an even rate, late ones at once: latency counts from when it was due."""

    def __init__(self, port: int, rate: float, per_webhook: int, threads: int) -> None:
        self._port, self._per = port, per_webhook
        self._gap_s = per_webhook / rate
        self._next, self._lock = 0, threading.Lock()
        self._stop = threading.Event()
        self.latencies_ms: list[float] = []
        self.acknowledged: list[tuple[str, str]] = []
        self.refused: dict[int, int] = {}
        self.began = time.monotonic() + 0.5
        self._threads = [threading.Thread(target=self._send) for _ in range(threads)]
        for each in self._threads:
            each.start()

    def stop(self) -> None:
        self._stop.set()
        for each in self._threads:
            each.join()

    def _send(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        while not self._stop.is_set():
            with self._lock:
                number, self._next = self._next, self._next + 1
            body, keys = webhook(number, self._per)
            due = self.began + number * self._gap_s
            if (wait := due - time.monotonic()) > 0 and self._stop.wait(wait):
                return
            try:
                connection.request("POST", "/webhook/alertmanager", body, headers)
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException):
                return  # killed in the middle: what was not acknowledged may be lost
            took_ms = (time.monotonic() - due) * 1000
            with self._lock:
                if answer.status == http.client.ACCEPTED:
                    self.latencies_ms.append(took_ms)
                    self.acknowledged += keys
                else:
                    self.refused[answer.status] = self.refused.get(answer.status, 0) + 1


def stored(folder: Path) -> set[tuple[str, str]]:
    """All episodes, as a daemon that starts again finds them."""
    store = open_store(f"sqlite:///{folder / 'healer.db'}")
    found = store.episodes(START - timedelta(days=1))
    store.close()
    return {(each.fingerprint, each.starts_at.isoformat()) for each in found}


def cpu_seconds(pid: int) -> float:
    """That the process has used so far; nan where there is no /proc."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return float("nan")
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def wait_until_ready(port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit("the server did not start within 30 s")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rate", type=float, default=2000, help="alerts a second")
    parser.add_argument("--per-webhook", type=int, default=20, help="alerts in one webhook")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--senders", type=int, default=8)
    parser.add_argument("--quick", action="store_true", help="ten seconds")
    given = parser.parse_args()
    seconds = 10.0 if given.quick else given.seconds
    port = free_port()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "token").write_text(TOKEN)
        # Spawned, for a fork would share this process's threads and its sockets.
        child = multiprocessing.get_context("spawn").Process(target=serve, args=(made, port))
        child.start()
        wait_until_ready(port)
        senders = Senders(port, given.rate, given.per_webhook, given.senders)
        time.sleep(seconds + 0.5)
        elapsed = time.monotonic() - senders.began
        count, cpu_s = len(senders.acknowledged), cpu_seconds(child.pid or 0)
        os.kill(child.pid or 0, signal.SIGKILL)
        senders.stop()
        child.join()
        lost = set(senders.acknowledged) - stored(folder)
    quantiles = np.percentile(senders.latencies_ms or [float("inf")], [50, 95, 99, 100])
    reached = count / elapsed
    print(f"acknowledged    {count} alerts in {elapsed:.1f} s: {reached:.0f} a second")
    print(f"webhooks        {len(senders.latencies_ms)}, {given.per_webhook} alerts each")
    shown = ", ".join(f"{q:.1f}" for q in quantiles)
    print(f"latency ms      p50, p95, p99, most: {shown}")
    print(f"server CPU      {cpu_s:.1f} s, {cpu_s / max(count, 1) * 1e3:.2f} ms an alert")
    print(f"refused         {senders.refused or 'none'}")
    print(f"lost            {len(lost)} of {len(senders.acknowledged)} after SIGKILL")
    good = quantiles[2] < LIMIT_MS and reached >= 0.98 * given.rate and not lost
    print("ok" if good else "a limit was missed")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
