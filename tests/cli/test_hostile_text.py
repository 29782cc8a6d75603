"""Titles come from whoever writes alerts: a terminal shows them and obeys none."""

from __future__ import annotations

import json
from pathlib import Path

import builders
import pytest
from typer.testing import CliRunner

from healer.adapters.store import open_store
from healer.cli.main import app
from healer.model.intent import State

EVIL = "[/nothing] [red]x[/red] \x1b]0;pwned\x07\x1b[2J \u202egnp.exe 显存　不足 token=abcdefghijkl"


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    url = f"sqlite:///{tmp_path / 'healer.db'}"
    monkeypatch.setenv("HEALER__STORE__URL", url)
    store = open_store(url)
    store.put_incident(builders.incident(title=EVIL, diagnosis=builders.diagnosis()))
    store.claim_intent(builders.intent(expires_at=builders.at(10**9)))
    store.claim_intent(
        builders.intent(State.SUCCEEDED, plan=builders.plan(attempt=1), updated_at=builders.at(9))
    )
    store.close()
    return url


def healer(*words: str) -> str:
    result = CliRunner().invoke(app, list(words), env={"NO_COLOR": "1"})
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_table_shows_markup_as_it_is_and_no_control_characters(database: str) -> None:
    shown = healer("incidents", "list")
    assert "[/nothing] [red]x[/red]" in shown
    assert "显存\u3000不足" in shown
    for obeyed in ("\x1b", "\x07", "\u202e"):
        assert obeyed not in shown


@pytest.mark.parametrize("words", [("list",), ("show", "inc-1")])
def test_secrets_that_got_into_a_title_are_blotted_out(
    database: str, words: tuple[str, ...]
) -> None:
    for form in ("json", "yaml", "table"):
        assert "abcdefghijkl" not in healer("incidents", *words, "-o", form)


def test_plans_that_wait_are_listed_with_the_id_to_answer(database: str) -> None:
    (row,) = json.loads(healer("approvals", "-o", "json"))
    assert row["id"] == builders.intent().id
    assert row["remediation"] == "restart_pod"
    assert row["id"] in healer("approvals")


def test_the_figures_of_the_record_are_data_in_each_form(database: str) -> None:
    (row,) = json.loads(healer("stats", "--days", "3650", "-o", "json"))
    assert row["incidents"] == 1
    assert "recovery_rate" in healer("stats", "--days", "3650")
    assert "incidents: 1" in healer("stats", "--days", "3650", "-o", "yaml")


def test_shipped_scenarios_are_data_too() -> None:
    rows = json.loads(healer("lab", "list", "-o", "json"))
    assert {"name", "description"} == set(rows[0])
    assert len(rows) > 10
