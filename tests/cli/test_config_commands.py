"""Settings as they are in force, what is wrong with them, and reports from the record."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import builders
import pytest
import yaml
from servers import binary, need
from typer.testing import CliRunner

from healer.adapters.store import open_store
from healer.cli.main import app
from healer.errors import BadInput
from healer.model.incident import Phase


def healer(*words: str) -> Any:
    return CliRunner().invoke(app, list(words))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    settings = {
        "store": {"url": f"postgresql+psycopg://healer:hunter2222@db:5432/{tmp_path.name}"},
        "kubernetes": {"enabled": False},
        "prometheus": {"headers": {"X-Scope-OrgID": "tenant-secret"}},
        "server": {"read_token_file": str(tmp_path / "nowhere")},
        "notify": {
            "channels": {
                "ops": {
                    "notifier": "webhook",
                    "url": "https://chat.example/hook/verysecretpath",
                    "options": {"token": "tok-secret"},
                }
            }
        },
    }
    made = tmp_path / "healer.yaml"
    made.write_text(yaml.safe_dump(settings))
    return made


@pytest.mark.parametrize("form", ["table", "json", "yaml"])
def test_settings_are_shown_without_their_secrets(file: Path, form: str) -> None:
    done = healer("config", "show", "-c", str(file), "-o", form)
    assert done.exit_code == 0, done.output
    for secret in ("hunter2222", "tenant-secret", "verysecretpath", "tok-secret"):
        assert secret not in done.stdout
    assert "healer:***@db" in done.stdout
    assert str(file.parent / "nowhere") in done.stdout, "a file's name is no secret"
    if form == "json":
        assert json.loads(done.stdout)["loop"]["interval"]


def test_settings_are_shown_whole_when_asked_for(file: Path) -> None:
    done = healer("config", "show", "-c", str(file), "--no-redact")
    assert "hunter2222" in done.stdout


def test_settings_that_can_be_used_say_what_there_is(file: Path) -> None:
    done = healer("config", "validate", "-c", str(file))
    assert done.exit_code == 0
    assert "1 channels: the settings can be used" in done.stdout


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"notify": {"channels": {"ops": {"notifier": "dingtork", "url": "https://x"}}}},
         "did you mean 'dingtalk'"),
        ({"notify": {"escalation": ["ops"]}}, "notify.escalation.0"),
        ({"remediation": {"options": {"restart_pod": {"gracee": 1}}}}, "restart_pod"),
        ({"rules": {"folders": ["/nowhere"]}}, "/nowhere"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_used_name_the_place(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    file = tmp_path / "healer.yaml"
    file.write_text(yaml.safe_dump(change))
    done = healer("config", "validate", "-c", str(file))
    assert isinstance(done.exception, BadInput)
    assert said in str(done.exception)


def test_the_doctor_names_the_fix(file: Path, tmp_path: Path) -> None:
    settings = yaml.safe_load(file.read_text())
    settings["store"]["url"] = f"sqlite:///{tmp_path / 'healer.db'}"
    settings["prometheus"]["url"] = "http://127.0.0.1:9"
    file.write_text(yaml.safe_dump(settings))
    done = healer("check", "-c", str(file), "-o", "json")
    assert done.exit_code == 1
    lines = {line["what"]: line for line in json.loads(done.stdout)}
    assert lines["prometheus"]["state"] == "failed"
    assert "prometheus.url" in lines["prometheus"]["fix"]
    assert lines["token read"]["state"] == "failed"
    assert "server.read_token_file" in lines["token read"]["fix"]
    assert "healer notify test ops" in lines["channel ops"]["fix"]
    assert "server.public_url" in lines["links"]["fix"]
    assert all(line["fix"] for line in lines.values() if line["state"] == "failed")


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path / 'healer.db'}"
    monkeypatch.setenv("HEALER__STORE__URL", url)
    store = open_store(url)
    ended = {"phase": Phase.RESOLVED, "resolved_at": builders.at(300)}
    store.put_incident(builders.incident(diagnosis=builders.diagnosis(), **ended))
    store.close()


@pytest.mark.usefixtures("record")
def test_a_report_is_written_in_the_form_that_was_asked_for(tmp_path: Path) -> None:
    text = healer("incidents", "report", "inc-1").stdout
    assert text.startswith("# ")
    assert "The engine hangs" in text
    file = tmp_path / "made" / "report.html"
    assert healer(
        "incidents", "report", "inc-1", "--form", "html", "--lang", "zh", "--out", str(file)
    ).exit_code == 0  # fmt: skip
    assert "事件报告" in file.read_text()
    for words, said in (
        (("inc-2",), "stored incident"),
        (("inc-1", "--lang", "fr"), "en or zh"),
        (("inc-1", "--form", "pdf"), "--out"),
    ):
        done = healer("incidents", "report", *words)
        assert said in str(done.exception)


@pytest.mark.usefixtures("record")
def test_a_report_is_printed_by_the_browser_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need("chromium")
    monkeypatch.setenv("PATH", f"{binary('chromium').parent}:{os.environ['PATH']}")
    file = tmp_path / "report.pdf"
    done = healer("incidents", "report", "inc-1", "--form", "pdf", "--out", str(file))
    assert done.exit_code == 0, done.exception
    assert file.read_bytes().startswith(b"%PDF-")
    assert file.stat().st_size > 10_000


@pytest.mark.usefixtures("record")
def test_without_a_browser_a_pdf_is_refused_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    done = healer("incidents", "report", "inc-1", "--form", "pdf", "--out", str(tmp_path / "r.pdf"))
    assert isinstance(done.exception, BadInput)
    assert "chromium" in str(done.exception)
    assert not (tmp_path / "r.pdf").exists()


def test_the_shell_can_complete_the_commands() -> None:
    done = CliRunner().invoke(
        app, [], prog_name="healer",
        env={"_HEALER_COMPLETE": "complete_bash", "COMP_WORDS": "healer inc", "COMP_CWORD": "1"},
    )  # fmt: skip
    assert "incidents" in done.stdout
