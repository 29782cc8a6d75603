"""The commands around the record: data on standard output, one clear line on standard error."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import builders
import pytest

from healer import __version__
from healer.adapters.store import open_store
from healer.cli.common import operator
from healer.healing import SWITCH
from healer.model.audit import AuditEntry
from healer.model.intent import State


@pytest.fixture
def database(tmp_path: Path) -> Path:
    file = tmp_path / "healer.db"
    store = open_store(f"sqlite:///{file}")
    store.put_incident(builders.incident(diagnosis=builders.diagnosis()))
    store.claim_intent(builders.intent(expires_at=builders.at(10**9)))
    for number in range(3):
        store.record(AuditEntry("plan.proposed", builders.NOW, "healer", message=f"entry {number}"))
    store.close()
    return file


def healer(*words: str, database: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "NO_COLOR": "1"}
    if database is not None:
        environment["HEALER__STORE__URL"] = f"sqlite:///{database}"
    return subprocess.run(
        [sys.executable, "-c", "from healer.cli import main; main()", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=environment,
    )


def test_the_version_is_data() -> None:
    answer = healer("version")
    assert answer.stdout.startswith(f"healer {__version__} ")
    assert (answer.returncode, answer.stderr) == (0, "")


def test_incidents_are_listed_as_json(database: Path) -> None:
    answer = healer("incidents", "list", "-o", "json", database=database)
    (row,) = json.loads(answer.stdout)
    assert (row["id"], row["cause"]) == ("inc-1", "engine_hang")


def test_an_incident_is_shown_whole_and_a_wrong_id_is_refused(database: Path) -> None:
    shown = healer("incidents", "show", "inc-1", "-o", "json", database=database)
    (whole,) = json.loads(shown.stdout)
    assert whole["intents"][0]["plan"]["remediation"] == "restart_pod"
    wrong = healer("incidents", "show", "inc-9", database=database)
    assert wrong.returncode == 2
    assert wrong.stderr == ("healer: incident: 'inc-9': expected the id of a stored incident\n")


def test_a_chain_that_holds_is_said_to_hold(database: Path) -> None:
    answer = healer("audit", "verify", database=database)
    assert (answer.returncode, answer.stdout) == (0, "3 entries, the chain holds\n")


def test_a_chain_that_was_edited_fails_with_the_entry(database: Path) -> None:
    with sqlite3.connect(database) as raw:
        raw.execute("UPDATE audit SET body = replace(body, 'entry 1', 'entry 7')")
    raw.close()
    answer = healer("audit", "verify", database=database)
    assert answer.returncode == 1
    assert "entry 2 does not match its hash" in answer.stderr
    assert answer.stderr.count("\n") == 1


def test_a_plan_is_approved_once_and_the_answer_is_recorded(database: Path) -> None:
    store = open_store(f"sqlite:///{database}")
    (intent,) = store.intents()
    store.close()
    first = healer("approve", intent.id, "--reason", "looks right", database=database)
    assert first.returncode == 0, first.stderr
    again = healer("approve", intent.id, database=database)
    assert again.returncode == 1
    assert "waits for no answer" in again.stderr
    store = open_store(f"sqlite:///{database}")
    (approved,) = store.intents()
    assert approved.approved_by.startswith("cli:")
    assert approved.state is State.PLANNED
    kinds = [entry.kind for _, entry in store.audit()]
    assert kinds.count("intent.approved") == 1
    store.close()


def test_a_rejected_plan_is_over(database: Path) -> None:
    store = open_store(f"sqlite:///{database}")
    (intent,) = store.intents()
    store.close()
    assert healer("reject", intent.id, database=database).returncode == 0
    store = open_store(f"sqlite:///{database}")
    (rejected,) = store.intents()
    assert rejected.state is State.ABORTED
    store.close()


@pytest.mark.parametrize("command", ["run", "check"])
def test_broken_settings_end_with_one_line(tmp_path: Path, command: str) -> None:
    file = tmp_path / "healer.yaml"
    file.write_text("loop: {intervall: 15s}\n", encoding="utf-8")
    answer = healer(command, "--config", str(file))
    assert answer.returncode == 2
    assert answer.stderr == (
        f"healer: {file}: loop.intervall: unknown key; did you mean 'interval'?\n"
    )


def test_a_broken_rule_ends_with_one_line(tmp_path: Path) -> None:
    causes = tmp_path / "mine" / "causes"
    causes.mkdir(parents=True)
    (causes / "mine.yaml").write_text(
        "rules: [{id: x, prior: 0.1, title: t, scope: planet}]\n", encoding="utf-8"
    )
    file = tmp_path / "healer.yaml"
    file.write_text(
        f"rules: {{folders: [{causes.parent}]}}\nkubernetes: {{enabled: false}}\n"
        f"store: {{url: 'sqlite:///{tmp_path / 'h.db'}'}}\n",
        encoding="utf-8",
    )
    answer = healer("check", "--config", str(file))
    assert answer.returncode == 2
    assert str(causes / "mine.yaml") in answer.stderr
    assert "planet" in answer.stderr
    assert answer.stderr.count("\n") == 1


def test_a_broken_scenario_ends_with_one_line(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("faults: [{kind: meteor, at: 1m}]\n", encoding="utf-8")
    answer = healer("lab", "run", str(file))
    assert answer.returncode == 2
    assert answer.stderr.startswith(f"healer: {file}: faults.0.kind: 'meteor': expected one of ")
    assert answer.stderr.count("\n") == 1


def test_the_openapi_document_is_printed() -> None:
    document = json.loads(healer("openapi").stdout)
    assert document["openapi"].startswith("3.1")
    assert "/api/v1/incidents" in document["paths"]


def test_the_switch_is_pulled_and_released_and_both_are_recorded(database: Path) -> None:
    assert "stopped" in healer("stop", "firmware upgrade", database=database).stdout
    store = open_store(f"sqlite:///{database}")
    assert (store.get(SWITCH) or "").startswith("firmware upgrade (cli:")
    assert "released" in healer("go", database=database).stdout
    assert store.get(SWITCH) == ""
    kinds = [entry.kind for _, entry in store.audit()]
    store.close()
    assert kinds[-2:] == ["switch.pulled", "switch.released"]


@pytest.mark.parametrize("name", ["", "ann"])
def test_who_gives_a_command_is_said_though_the_user_has_no_name(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """As in the shipped image, whose user is a number only."""
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(variable, raising=False)
    if name:
        monkeypatch.setenv("LOGNAME", name)
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000_123)
    assert operator() == f"cli:{name or 'uid-4000000123'}"


def test_a_yes_can_be_taken_back_while_nothing_has_been_done(database: Path) -> None:
    store = open_store(f"sqlite:///{database}")
    (intent,) = store.intents()
    store.close()
    assert healer("approve", intent.id, database=database).returncode == 0
    assert healer("reject", intent.id, database=database).returncode == 0
    assert healer("approve", intent.id, database=database).returncode == 1
