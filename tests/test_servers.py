"""The genuine servers start on loopback, hold backfilled history, and their lack is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests
import servers

TOOL = Path(servers.tool.__file__)


@pytest.fixture
def no_servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEALER_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))


def test_prometheus_answers_from_backfilled_history(tmp_path: Path) -> None:
    servers.need("prometheus", "promtool")
    text = "\n".join(
        f'vllm:num_requests_running{{pod="a"}} {i} {1_700_000_000 + 15 * i}' for i in range(20)
    )
    data = servers.backfill(text, tmp_path / "tsdb")
    with servers.run_prometheus({"scrape_configs": []}, data=data) as prometheus:
        answer = requests.get(
            f"{prometheus}/api/v1/query",
            {"query": "vllm:num_requests_running", "time": "1700000150"},
            timeout=60,
        ).json()
    (series,) = answer["data"]["result"]
    assert series["metric"]["pod"] == "a"
    assert series["value"][1] == "10"


def test_alertmanager_takes_an_alert() -> None:
    servers.need("alertmanager")
    config = {"route": {"receiver": "nobody"}, "receivers": [{"name": "nobody"}]}
    with servers.run_alertmanager(config) as alertmanager:
        url = f"{alertmanager}/api/v2/alerts"
        requests.post(url, json=[{"labels": {"alertname": "Hot"}}], timeout=60).raise_for_status()
        deadline = time.monotonic() + 120
        while not (alerts := requests.get(url, timeout=60).json()):
            assert time.monotonic() < deadline
        assert alerts[0]["labels"]["alertname"] == "Hot"


def test_node_exporter_shows_this_host() -> None:
    servers.need("node_exporter")
    with servers.run_node_exporter() as exporter:
        assert "node_cpu_seconds_total{" in requests.get(f"{exporter}/metrics", timeout=60).text


def test_kubectl_and_helm_run() -> None:
    servers.need("kubectl", "helm")
    command = [str(servers.binary("kubectl")), "version", "--client", "-o", "json"]
    done = subprocess.run(command, capture_output=True, check=True, timeout=300)
    assert json.loads(done.stdout)["clientVersion"]["major"] == "1"
    subprocess.run(
        [str(servers.binary("helm")), "version"], check=True, timeout=300, stdout=subprocess.DEVNULL
    )


def test_a_server_that_refuses_its_configuration_shows_its_log() -> None:
    servers.need("prometheus")
    with (
        pytest.raises(AssertionError, match="scrape_confgs not found"),
        servers.run_prometheus({"scrape_confgs": []}),
    ):
        pass


@pytest.mark.usefixtures("no_servers")
def test_a_missing_server_skips_on_a_laptop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match=r"prometheus is neither in .* nor on PATH"):
        servers.need("prometheus")


@pytest.mark.usefixtures("no_servers")
def test_a_missing_server_fails_under_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match=r"prometheus is neither in .* nor on PATH"):
        servers.need("prometheus")


@pytest.mark.usefixtures("no_servers")
def test_a_server_on_path_is_found_under_its_other_name(tmp_path: Path) -> None:
    file = tmp_path / "prometheus-node-exporter"
    file.write_text("")
    file.chmod(0o755)
    assert servers.binary("node_exporter") == file


def test_a_download_that_fails_is_one_line_and_fails_only_under_ci(tmp_path: Path) -> None:
    """apt and pip are stand-ins that fail, so nothing leaves the machine."""
    for name, complaint in (("apt-get", "E: no such package"), ("dpkg", "")):
        file = tmp_path / name
        file.write_text(f"#!/bin/sh\necho '{complaint}' >&2\nexit 100\n")
        file.chmod(0o755)
    for ci, status in (("", 0), ("true", 1)):
        done = subprocess.run(
            [sys.executable, str(TOOL)],
            env={
                **os.environ,
                "CI": ci,
                "HEALER_CACHE": str(tmp_path / "cache"),
                "PATH": f"{tmp_path}:/bin",
                "PIP_NO_INDEX": "1",
                "PIP_FIND_LINKS": str(tmp_path),
            },
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == status
        assert "prometheus could not be fetched: apt-get: E: no such package" in (
            done.stderr.splitlines()
        )


def test_two_fetches_at_once_download_once(tmp_path: Path) -> None:
    """A stand-in for the download proves the lock: the second run finds the first one's files."""
    script = (
        "import sys, time, pathlib, importlib.util\n"
        f"spec = importlib.util.spec_from_file_location('fetch', {str(TOOL)!r})\n"
        "tool = importlib.util.module_from_spec(spec)\n"
        "sys.modules['fetch'] = tool\n"
        "spec.loader.exec_module(tool)\n"
        "def fetch(scratch):\n"
        "    time.sleep(0.3)\n"
        "    (scratch / 'x').write_text('')\n"
        "    return {'prometheus': scratch / 'x'}\n"
        "tool.packages = lambda: (tool.Package('it', ('prometheus',), fetch),)\n"
        "sys.exit(bool(tool.fetch_all(print)))\n"
    )
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", script],
            env={**os.environ, "HEALER_CACHE": str(tmp_path)},
            stdout=subprocess.PIPE,
        )
        for _ in range(2)
    ]
    said = b"".join(run.communicate(timeout=300)[0] for run in runs)
    assert [run.returncode for run in runs] == [0, 0]
    assert said.count(b"fetching") == 1
