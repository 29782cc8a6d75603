"""The whole daemon on a real Prometheus, Alertmanager and node exporter of this very host.

A CPU burn that the test starts becomes a finding and an incident; the alert of a real rule
arrives through the real Alertmanager, joins that incident and resolves; robots that check
signature, size and rate are told.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.server
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import servers

from healer.app import App, open_world
from healer.daemon import Daemon
from healer.model.incident import Incident, Phase
from healer.settings import (
    Channel,
    KubernetesSettings,
    LoopSettings,
    NotifySettings,
    PrometheusSettings,
    RuleSettings,
    ServerSettings,
    Settings,
    StoreSettings,
)

TOKEN = "intake-token"
SECRET = "SECtest"

BURNT = "sum by (instance, job) (rate(burner_cpu_seconds_total[10s]))"
"""What the burners themselves have used, through the node exporter: neither a busy machine nor
what other tests run beside this one looks like it."""

SIGNAL = f"""
- name: node_cpu_burnt
  query: >-
    {BURNT}
  unit: cpus
  scope: node
  worse: up
  matters: 0.1
  title: CPU time burnt
  detect: {{threshold: {{above: 0.1, hold: 3s, level: page}}}}
"""

RULES = {
    "groups": [
        {
            "name": "host",
            "interval": "1s",
            "rules": [
                {
                    "alert": "CpuBurns",
                    "expr": f"{BURNT} > 0.1",
                    "labels": {"severity": "warning"},
                    "annotations": {"summary": "Something burns CPU"},
                }
            ],
        }
    ]
}


@dataclass
class Robot:
    """A stand-in chat robot: HTTP 200 to everything, and its own `errcode` for what it thinks."""

    most_bytes: int
    secret: str = ""
    told: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    def judge(self, query: dict[str, list[str]], body: bytes) -> dict[str, Any]:
        self.times = [each for each in self.times if time.time() - each < 60] + [time.time()]
        if self.secret and not self._signed(query):
            return self._refuse(310000, "sign not match")
        if len(body) > self.most_bytes:
            return self._refuse(40058, "too large")
        if len(self.times) > 20:
            return self._refuse(130101, "send too fast")
        self.told.append(json.dumps(json.loads(body), ensure_ascii=False))
        return {"errcode": 0, "errmsg": "ok"}

    def _signed(self, query: dict[str, list[str]]) -> bool:
        (stamp,), (sign,) = query.get("timestamp", [""]), query.get("sign", [""])
        text = f"{stamp}\n{self.secret}".encode()
        wanted = base64.b64encode(hmac.new(self.secret.encode(), text, hashlib.sha256).digest())
        fresh = stamp.isdigit() and abs(time.time() * 1000 - int(stamp)) < 3_600_000
        return fresh and hmac.compare_digest(sign.encode(), wanted)

    def _refuse(self, code: int, why: str) -> dict[str, Any]:
        self.refused.append(why)
        return {"errcode": code, "errmsg": why}


@contextmanager
def standing(robot: Robot) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            answer = json.dumps(robot.judge(parse_qs(urlsplit(self.path).query), body)).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *arguments: object) -> None:
            """Quiet: the test's output is the test's."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/send?access_token=t"
    finally:
        server.shutdown()
        server.server_close()


BURNER = """
import os, sys, time
file = sys.argv[1]
while True:
    ends = time.monotonic() + 0.3
    while time.monotonic() < ends:
        pass
    with open(file + ".part", "w") as made:
        name, used = os.path.basename(file), sum(os.times()[:2])
        made.write(f'burner_cpu_seconds_total{{file="{name}"}} {used}\\n')
    os.replace(file + ".part", file)
"""


@contextmanager
def burning(folder: Path) -> Iterator[None]:
    """One process a CPU that does nothing but count, and tells in `folder` what it has used."""
    burners = [
        subprocess.Popen([sys.executable, "-c", BURNER, str(folder / f"{number}.prom")])
        for number in range(os.cpu_count() or 1)
    ]
    try:
        yield
    finally:
        for each in burners:
            each.kill()
            each.wait()


@dataclass(frozen=True)
class Place:
    """All of it, running."""

    app: App
    told: Path
    """A folder of which the node exporter shows the metrics."""
    dingtalk: Robot
    wecom: Robot

    def until(self, what: str, found: Callable[[], Any], within_s: float = 180) -> Any:
        deadline = time.monotonic() + within_s
        while not (value := found()):
            assert time.monotonic() < deadline, f"{what}: not within {within_s:g} s"
            time.sleep(0.1)
        return value

    def incident(self) -> Incident | None:
        """The one about the burn."""
        for each in self.app.store.incidents(limit=50).items:
            if any(finding.signal == "node_cpu_burnt" for finding in each.findings):
                return each
        return None


def _settings(folder: Path, prometheus: str, port: int, dingtalk: str, wecom: str) -> Settings:
    for name, text in (("token", TOKEN), ("secret", SECRET), ("signals/burn.yaml", SIGNAL)):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return Settings(
        prometheus=PrometheusSettings(url=prometheus),
        kubernetes=KubernetesSettings(enabled=False),
        loop=LoopSettings(
            interval=timedelta(seconds=1),
            step=timedelta(seconds=1),
            window=timedelta(minutes=2),
            quiet_for=timedelta(seconds=3),
        ),
        rules=RuleSettings(folders=(folder,)),
        store=StoreSettings(url=f"sqlite:///{folder}/healer.db"),
        server=ServerSettings(port=port, ingest_token_file=folder / "token"),
        notify=NotifySettings(
            channels={
                "ops-dingtalk": Channel(
                    "dingtalk", url=dingtalk, secret_file=folder / "secret", min_severity="info"
                ),
                "ops-wecom": Channel("wecom", url=wecom, language="zh", min_severity="info"),
            }
        ),
    )


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    servers.need("prometheus", "alertmanager", "node_exporter")
    dingtalk, wecom = Robot(20_000, SECRET), Robot(4096)
    port = servers.free_port()
    told = tmp_path / "told"
    told.mkdir()
    with ExitStack() as stack:
        exporter = stack.enter_context(
            servers.run_node_exporter(flags=[f"--collector.textfile.directory={told}"])
        )
        hook = {
            "url": f"http://127.0.0.1:{port}/webhook/alertmanager",
            "http_config": {"authorization": {"credentials": TOKEN}},
            "send_resolved": True,
        }
        route = {
            "receiver": "healer",
            "group_by": ["alertname"],
            "group_wait": "200ms",
            "group_interval": "1s",
        }
        receivers = [{"name": "healer", "webhook_configs": [hook]}]
        alertmanager = stack.enter_context(
            servers.run_alertmanager({"route": route, "receivers": receivers})
        )
        node = {
            "job_name": "node",
            "static_configs": [{"targets": [exporter.url.removeprefix("http://")]}],
        }
        address = alertmanager.url.removeprefix("http://")
        prometheus = stack.enter_context(
            servers.run_prometheus(
                {
                    "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                    "scrape_configs": [node],
                    "rule_files": ["rules.yaml"],
                    "alerting": {"alertmanagers": [{"static_configs": [{"targets": [address]}]}]},
                },
                rules=RULES,
            )
        )
        robots = [stack.enter_context(standing(each)) for each in (dingtalk, wecom)]
        settings = _settings(tmp_path, prometheus.url, port, *robots)
        app = App(settings, open_world(settings))
        stack.enter_context(Daemon(app))
        yield Place(app, told, dingtalk, wecom)


@pytest.mark.server
def test_a_cpu_burn_becomes_an_incident_that_its_real_alert_joins_and_resolves(
    place: Place,
) -> None:
    real = {"node_cpu_busy", "node_memory_available", "node_disk_io", "node_load"}

    def seen() -> set[str]:
        snapshot = place.app._snapshot
        return set(snapshot.frames) if snapshot else set()

    place.until("the host's real metrics", lambda: real <= seen())
    assert place.incident() is None

    with burning(place.told):
        opened = place.until("an incident", place.incident)
        assert [str(each) for each in opened.targets] == ["node:127.0.0.1"]
        place.until(
            "the alert in the incident",
            lambda: any(
                event.kind == "alert" and event.attributes["alertname"] == "CpuBurns"
                for event in place.incident().events
            ),
        )

    resolved = place.until(
        "the end", lambda: place.incident() if place.incident().phase is Phase.RESOLVED else None
    )
    assert resolved.id == opened.id
    (episode,) = place.app.store.episodes(opened.opened_at - timedelta(hours=1))
    assert episode.ends_at is not None, "an incident does not end while its alert fires"
    for robot in (place.dingtalk, place.wecom):
        place.until("a message", lambda robot=robot: robot.told, within_s=60)
        assert not robot.refused
