"""The daemon follows its settings file, and keeps the last good one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from servers import free_port

from healer.cli import run as module
from healer.cli.common import settings_of
from healer.cli.run import _Wishes
from healer.settings import Settings


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
        assert process.wait(60) == 0


def until(what: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        try:
            if what():
                return
        except requests.RequestException:
            pass
        time.sleep(0.05)
    raise AssertionError("it did not happen within 180 s")


def test_good_settings_are_taken_over_and_bad_ones_are_not(
    daemon: subprocess.Popen[bytes], file: Path, settings: dict[str, Any], tmp_path: Path
) -> None:
    url, log = f"http://127.0.0.1:{settings['server']['port']}", tmp_path / "log"

    def mode() -> str:
        return str(requests.get(f"{url}/readyz", timeout=60).json()["mode"])

    until(lambda: mode() == "observe")
    file.write_text("loop: {intervall: 1h}")
    until(lambda: "the last good ones stay" in log.read_text())
    assert mode() == "observe"
    assert "did you mean 'interval'" in log.read_text()
    settings["remediation"] = {"mode": "enforce"}
    file.write_text(yaml.safe_dump(settings))
    until(lambda: mode() == "enforce")
    until(lambda: log.read_text().count('"started"') == 2)  # said after the first answer
    daemon.send_signal(signal.SIGHUP)
    until(lambda: log.read_text().count('"started"') == 3)
    assert mode() == "enforce"


def test_half_a_file_is_not_taken_for_the_settings(tmp_path: Path) -> None:
    file = tmp_path / "healer.yaml"
    file.write_text("loop: {interval: 1h}\nremediation: {mode: observe}\n")
    wishes = _Wishes(file)
    wishes._seen = wishes._stamp()
    current = settings_of(file)
    assert wishes.changed(current) is None
    file.write_text("")  # as a program does that is about to write
    assert wishes.changed(current) is None
    file.write_text("loop: {interval: 2h}\n")
    assert wishes.changed(current) is None
    file.write_text("loop: {interval: 2h}\nremediation: {mode: observe}\n")
    assert wishes.changed(current) is None
    found = wishes.changed(current)
    assert found is not None
    assert found.loop.interval == timedelta(hours=2)
    assert wishes.changed(found) is None


def test_a_file_that_changes_while_it_is_read_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "healer.yaml"
    file.write_text("loop: {interval: 1h}\n")
    wishes = _Wishes(file)
    wishes._seen = wishes._looked = wishes._stamp()
    current = settings_of(file)

    def read(config: Path | None) -> Settings:
        found = settings_of(config)
        if found.loop.interval == timedelta(hours=2):
            file.write_text("loop: {interval: 33h}\n")
        return found

    monkeypatch.setattr(module, "settings_of", read)
    wishes._again.set()  # SIGHUP
    file.write_text("loop: {interval: 2h}\n")
    assert wishes.changed(current) is None
    found = wishes.changed(current)
    assert found is not None
    assert found.loop.interval == timedelta(hours=33)
