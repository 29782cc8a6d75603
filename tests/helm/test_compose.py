"""The compose file for one box: its parts refer to what exists, and genuine servers take them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import servers
import yaml
from typer.testing import CliRunner

import healer
from healer.adapters.settings_file import load_settings
from healer.app import remediations
from healer.cli.main import app
from healer.settings import Mode

pytestmark = pytest.mark.server
FOLDER = Path(__file__).resolve().parents[2] / "compose"
OURS = ("healer", "exporter")


@pytest.fixture
def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text())
    return found


def test_promtool_takes_the_configuration_and_the_rules() -> None:
    servers.need("promtool")
    done = subprocess.run(
        [str(servers.binary("promtool")), "check", "config", str(FOLDER / "prometheus.yaml")],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "rules found" in done.stdout


def test_amtool_takes_the_configuration(tmp_path: Path) -> None:
    servers.need("amtool")
    done = subprocess.run(
        [str(servers.binary("amtool")), "check-config", str(FOLDER / "alertmanager.yaml")],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_settings_load_and_observe() -> None:
    settings = load_settings(FOLDER / "healer.yaml", {})
    assert settings.remediation.mode is Mode.OBSERVE
    assert not settings.kubernetes.enabled
    assert not settings.server.anonymous_read


def test_both_programs_are_started_with_options_they_have(compose: dict[str, Any]) -> None:
    for name in OURS:
        command, *arguments = compose["services"][name]["command"]
        text = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"}).output
        options = [each for each in arguments if each.startswith("--")]
        assert options
        assert [each for each in options if each not in text] == []
        assert healer.__version__ in compose["services"][name]["image"]


def test_every_mounted_file_is_there_and_every_volume_declared(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            if source.startswith("./secrets"):
                continue  # made by the person, as the head of the file says
            assert source in compose["volumes"] or (FOLDER / source).is_file(), source


def test_who_speaks_to_whom_uses_names_and_ports_that_are_served(compose: dict[str, Any]) -> None:
    served = {"healer": "8088", "exporter": "9401", "prometheus": "9090", "alertmanager": "9093"}
    assert set(served) == set(compose["services"])
    asked = re.findall(
        r"\b(healer|exporter|prometheus|alertmanager):(\d+)",
        "".join(
            (FOLDER / f"{n}.yaml").read_text() for n in ("healer", "prometheus", "alertmanager")
        ),
    )
    assert len(asked) >= 5
    assert {(name, port) for name, port in asked if served[name] != port} == set()
    for service in compose["services"].values():
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:")


def test_tokens_are_mounted_where_the_settings_look(compose: dict[str, Any]) -> None:
    settings = load_settings(FOLDER / "healer.yaml", {}).server
    for file in (settings.read_token_file, settings.ingest_token_file, settings.approve_token_file):
        assert file is not None
        assert str(file.parent) == "/etc/healer/secrets"
    alertmanager = yaml.safe_load((FOLDER / "alertmanager.yaml").read_text())
    (webhook,) = alertmanager["receivers"][0]["webhook_configs"]
    token = webhook["http_config"]["authorization"]["credentials_file"]
    mounts = compose["services"]["alertmanager"]["volumes"]
    assert f"./secrets/ingest:{token}:ro" in mounts


def test_the_acting_overlay_names_containers_and_asks_a_person_first() -> None:
    overlay = yaml.safe_load((FOLDER / "acting.yaml").read_text())["services"]["healer"]
    settings = load_settings(FOLDER / "healer.yaml", overlay["environment"])
    assert settings.machine.containers == ("vllm",)
    assert settings.remediation.mode is Mode.ENFORCE
    assert set(settings.remediation.arm) == {"restart_pod"}
    assert settings.remediation.arm["restart_pod"].approval
    assert remediations(settings.remediation)["restart_pod"].single_replica  # type: ignore[attr-defined]
    assert overlay["volumes"] == [
        f"{settings.machine.docker_socket}:{settings.machine.docker_socket}"
    ]
    assert "DOCKER_GID" in overlay["group_add"][0]
