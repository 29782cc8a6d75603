"""`healer run` as its own process beside a real Prometheus that scrapes a real node exporter."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
import servers
import yaml
from prometheus_client.parser import text_string_to_metric_families

pytestmark = pytest.mark.server

RECORDED = Path(__file__).resolve().parents[1] / "data" / "alertmanager"
INTAKE = "/api/v1/intake/alertmanager"


@dataclass(frozen=True)
class Running:
    """The daemon's process, its address and its log."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path

    def get(self, path: str, token: str = "look") -> requests.Response:
        return requests.get(
            self.url + path, headers={"Authorization": f"Bearer {token}"}, timeout=60
        )

    def post(self, body: Any, token: str = "give") -> requests.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return requests.post(self.url + INTAKE, json=body, headers=headers, timeout=60)

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the samples with these labels."""
        return sum(
            sample.value
            for family in text_string_to_metric_families(self.get("/metrics").text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def incidents(self) -> list[dict[str, Any]]:
        return list(self.get("/api/v1/incidents").json()["items"])


def until(what: str, found: Callable[[], Any], within_s: float = 120) -> Any:
    deadline = time.monotonic() + within_s
    while not (value := found()):
        assert time.monotonic() < deadline, f"{what}: not within {within_s:g} s"
        time.sleep(0.1)
    return value


@contextmanager
def prometheus_of(target: str) -> Iterator[servers.Server]:
    node = {"job_name": "node", "static_configs": [{"targets": [target]}]}
    config = {"global": {"scrape_interval": "1s"}, "scrape_configs": [node]}
    with servers.run_prometheus(config) as server:
        yield server


@contextmanager
def started_again(server: servers.Server) -> Iterator[None]:
    """A killed server at its old address, with its old data."""
    with server.log.open("ab") as sink:
        process = subprocess.Popen(server.process.args, stdout=sink, stderr=subprocess.STDOUT)
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)


@contextmanager
def running(folder: Path, prometheus: str) -> Iterator[Running]:
    port = servers.free_port()
    for name, token in (("read", "look"), ("ingest", "give")):
        (folder / name).write_text(f"{token}\n")
    config = folder / "healer.yaml"
    config.write_text(
        yaml.safe_dump(
            {
                "prometheus": {"url": prometheus, "connect_timeout": "30s", "read_timeout": "60s"},
                "kubernetes": {"enabled": False},
                "loop": {"interval": "1s", "step": "1s", "window": "1m", "quiet_for": "1m"},
                "store": {"url": f"sqlite:///{folder}/healer.db"},
                "server": {
                    "port": port,
                    "read_token_file": str(folder / "read"),
                    "ingest_token_file": str(folder / "ingest"),
                },
            }
        )
    )
    log = folder / "healer.log"
    program = Path(sys.executable).parent / "healer"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HEALER__")}
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [str(program), "run", "--config", str(config)],
            cwd=folder,
            env=environment,
            stdout=sink,
            stderr=subprocess.STDOUT,
        )
    daemon = Running(process, f"http://127.0.0.1:{port}", log)
    try:
        until("the daemon's answer", lambda: _answers(daemon))
        yield daemon
    except BaseException:
        sys.stderr.write(f"--- healer logged\n{log.read_text()[-6000:]}\n")
        raise
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def _answers(daemon: Running) -> bool:
    assert daemon.process.poll() is None, "the daemon ended"
    try:
        return daemon.get("/livez").ok
    except requests.ConnectionError:
        return False


@pytest.fixture(scope="module")
def exporter() -> Iterator[str]:
    servers.need("prometheus", "node_exporter")
    with servers.run_node_exporter() as node:
        yield node.url.removeprefix("http://")


@pytest.fixture(scope="module")
def daemon(exporter: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One that sees a healthy host; its tests only add to it."""
    folder = tmp_path_factory.mktemp("daemon")
    with prometheus_of(exporter) as prometheus, running(folder, prometheus.url) as started:
        until("a tick with series", lambda: started.metric("healer_observed_series") >= 4)
        yield started


def recorded(version: str, name: str, age: timedelta) -> dict[str, Any]:
    """A recorded webhook moved in time: its alerts start `age` ago, ended ones end now."""
    (folder,) = RECORDED.glob(f"am-{version}*")
    body: dict[str, Any] = json.loads((folder / f"webhook_v4_{name}.json").read_text())
    now = datetime.now(UTC)
    for alert in body["alerts"]:
        alert["startsAt"] = (now - age).isoformat().replace("+00:00", "Z")
        if alert["status"] == "resolved":
            alert["endsAt"] = now.isoformat().replace("+00:00", "Z")
    return body


def test_probes_and_metrics_answer_without_a_token(daemon: Running) -> None:
    for path in ("/livez", "/readyz", "/healthz", "/metrics"):
        assert requests.get(daemon.url + path, timeout=60).status_code == 200
    probe = daemon.get("/readyz").json()
    assert (probe["mode"], probe["database"], probe["scheduler"]) == ("observe", True, True)
    assert daemon.metric("healer_ticks_total") >= 1


@pytest.mark.parametrize("token", ["", "wrong", "look"])
def test_an_alert_without_the_intake_token_is_refused(daemon: Running, token: str) -> None:
    body = recorded("0.25", "firing_grouped", timedelta(seconds=30))
    answer = daemon.post(body, token)
    assert answer.status_code == (403 if token == "look" else 401)


@pytest.mark.parametrize("version", ["0.25", "0.33"])
@pytest.mark.parametrize(
    "name",
    [
        "firing_grouped",
        "firing_two_pods_no_node_label",
        "firing_and_resolved_mixed",
        "resolved",
    ],
)
def test_a_webhook_sent_twice_is_taken_in_once(daemon: Running, version: str, name: str) -> None:
    body = recorded(version, name, timedelta(seconds=20))
    first, second = daemon.post(body), daemon.post(body)
    assert first.status_code == second.status_code == 202
    assert first.json()["accepted"] == len(body["alerts"])
    assert second.json()["accepted"] == 0
    assert second.json()["duplicates"] == len(body["alerts"])


@pytest.mark.parametrize("version", ["0.25", "0.33"])
def test_each_recorded_webhook_makes_one_incident_however_often_it_is_sent(
    exporter: str, tmp_path: Path, version: str
) -> None:
    names = (
        "firing_grouped",
        "firing_two_pods_no_node_label",
        "firing_and_resolved_mixed",
        "resolved",
    )
    with prometheus_of(exporter) as prometheus, running(tmp_path, prometheus.url) as daemon:

        def ids() -> set[str]:
            return {each["id"] for each in daemon.incidents()}

        for sent, name in enumerate(names):
            # Another group on another node each time, as the recordings are one story.
            text = json.dumps(recorded(version, name, timedelta(seconds=5)))
            body = json.loads(
                text.replace("gpu-node-a", f"gpu-node-{sent}").replace("GPU-0", f"GPU-{sent}")
            )
            for alert in body["alerts"]:
                alert["fingerprint"] = f"{sent}{alert['fingerprint'][1:]}"
            daemon.post(body).raise_for_status()
            until(f"an incident of {name}", lambda: len(ids()) == sent + 1)  # noqa: B023
            daemon.post(body).raise_for_status()
        opened = ids()
        ticks = daemon.metric("healer_ticks_total")
        until("two more ticks", lambda: daemon.metric("healer_ticks_total") >= ticks + 2)
        assert ids() == opened
        assert len(opened) == len(names)

        path = f"/api/v1/incidents/{min(opened)}"
        for part in ("", "/timeline", "/evidence", "/hypotheses", "/actions", "/report.html"):
            assert daemon.get(path + part).status_code == 200
        assert daemon.get(path, token="give").status_code == 403

        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.process.wait(60) == 0
        logged = daemon.log.read_text()
        assert "stopping" in logged
        assert "Traceback" not in logged


@pytest.mark.parametrize("verb", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", ["/api/v1/incidents", "/api/v1/stats", "/api/v1/audit"])
def test_the_report_api_can_only_be_read(daemon: Running, verb: str, path: str) -> None:
    assert daemon.get(path).status_code == 200
    headers = {"Authorization": "Bearer look"}
    answer = requests.request(verb, daemon.url + path, headers=headers, timeout=60)
    assert answer.status_code == 405
    assert "GET" in answer.headers["Allow"]


def test_prometheus_gone_is_reported_leaves_us_ready_and_is_forgotten_when_it_is_back(
    exporter: str, tmp_path: Path
) -> None:
    with prometheus_of(exporter) as prometheus, running(tmp_path, prometheus.url) as daemon:

        def ticks_more(count: int) -> None:
            wanted = daemon.metric("healer_ticks_total") + count
            until("ticks", lambda: daemon.metric("healer_ticks_total") >= wanted)

        def series() -> float:
            return daemon.metric("healer_observed_series")

        until("series", lambda: series() >= 4)
        before = daemon.metric("healer_problems_total")
        prometheus.process.kill()
        prometheus.process.wait()
        until("the problem", lambda: daemon.metric("healer_problems_total") > before)
        ticks_more(2)
        assert daemon.get("/readyz").status_code == 200
        assert daemon.get("/livez").status_code == 200
        assert not daemon.incidents()

        def untroubled() -> bool:
            """Two whole ticks without a problem; the first that sees series may still have one."""
            settled = daemon.metric("healer_problems_total")
            ticks_more(3)
            return daemon.metric("healer_problems_total") == settled

        with started_again(prometheus):
            until("series again", lambda: series() >= 4)
            until("ticks without a problem", untroubled)
            until("series still", lambda: series() >= 4)
