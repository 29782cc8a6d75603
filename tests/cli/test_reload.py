"""The daemon follows its settings file, and keeps the last good one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from servers import free_port


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    return {
        "store": {"url": f"sqlite:///{tmp_path / 'healer.db'}"},
        "kubernetes": {"enabled": False},
        "prometheus": {"url": "http://127.0.0.1:9"},
        "loop": {"interval": "1h"},
        "server": {"port": free_port(), "anonymous_read": True},
    }


@pytest.fixture
def file(tmp_path: Path, settings: dict[str, Any]) -> Path:
    made = tmp_path / "healer.yaml"
    made.write_text(yaml.safe_dump(settings))
    return made


@pytest.fixture
def daemon(file: Path, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", "from healer.cli import main; main()", "run", "-c", str(file)]
    with (tmp_path / "log").open("wb") as sink:
        process = subprocess.Popen(command, stdout=sink, stderr=sink, env={**os.environ})
        yield process
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def until(what: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline:
        try:
            if what():
                return
        except requests.ConnectionError:
            pass
        time.sleep(0.05)
    raise AssertionError("it did not happen within 40 s")


def test_good_settings_are_taken_over_and_bad_ones_are_not(
    daemon: subprocess.Popen[bytes], file: Path, settings: dict[str, Any], tmp_path: Path
) -> None:
    url, log = f"http://127.0.0.1:{settings['server']['port']}", tmp_path / "log"

    def mode() -> str:
        return str(requests.get(f"{url}/readyz", timeout=5).json()["mode"])

    until(lambda: mode() == "observe")
    file.write_text("loop: {intervall: 1h}")
    until(lambda: "the last good ones stay" in log.read_text())
    assert mode() == "observe"
    assert "did you mean 'interval'" in log.read_text()
    settings["remediation"] = {"mode": "enforce"}
    file.write_text(yaml.safe_dump(settings))
    until(lambda: mode() == "enforce")
    began = log.read_text().count('"started"')
    daemon.send_signal(signal.SIGHUP)
    until(lambda: log.read_text().count('"started"') == began + 1)
    assert mode() == "enforce"
