"""Taking and muting from a terminal, and the log of what was told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import builders
import pytest
from typer.testing import CliRunner

from healer.adapters.store import SqlStore, open_store
from healer.attention import attention
from healer.cli.main import app
from healer.errors import BadInput
from healer.model.incident import Phase
from healer.model.message import Delivery, DeliveryResult


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    url = f"sqlite:///{tmp_path / 'healer.db'}"
    monkeypatch.setenv("HEALER__STORE__URL", url)
    opened = open_store(url)
    opened.put_incident(builders.incident())
    yield opened
    opened.close()


def healer(*words: str) -> Any:
    return CliRunner().invoke(app, list(words))


def test_whoever_takes_an_incident_is_written_down(store: SqlStore) -> None:
    done = healer("take", "inc-1", "--as", "ada")
    assert (done.exit_code, done.stdout) == (0, "ada looks after inc-1\n")
    assert attention(store, "inc-1").taken_by == "ada"
    assert store.audit()[0][1].kind == "incident.taken"


def test_a_mute_holds_for_as_long_as_was_said_and_can_be_ended(store: SqlStore) -> None:
    assert "muted until" in healer("mute", "inc-1", "--for", "30m").stdout
    known = attention(store, "inc-1")
    entry = store.audit()[0][1]
    assert known.muted_until is not None
    assert 1799 <= (known.muted_until - entry.at).total_seconds() <= 1801
    assert "not muted any more" in healer("mute", "inc-1", "--for", "0").stdout
    assert not attention(store, "inc-1").muted(store.audit()[1][1].at)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("mute", "inc-1", "--for", "long"), "30s, 5m, 1h30m"),
        (("mute", "inc-1", "--for", "8d"), "at most 7 days"),
        (("mute", "nobody"), "stored incident"),
        (("take", "nobody"), "stored incident"),
    ],
)
def test_what_cannot_be_done_is_one_clear_line(
    store: SqlStore, words: tuple[str, ...], said: str
) -> None:
    done = healer(*words)
    assert isinstance(done.exception, BadInput)
    assert said in str(done.exception)


def test_what_is_over_cannot_be_taken(store: SqlStore) -> None:
    store.put_incident(builders.incident(phase=Phase.RESOLVED, resolved_at=builders.NOW))
    assert isinstance(healer("take", "inc-1").exception, BadInput)


@pytest.mark.parametrize("form", ["table", "json", "yaml"])
def test_the_delivery_log_shows_what_the_provider_said(store: SqlStore, form: str) -> None:
    store.enqueue("ops", "inc-1|opened|", "inc-1", '{"secret": 1}', builders.NOW)
    (parcel,) = store.due("ops", builders.NOW)
    result = DeliveryResult(Delivery.BROKEN, "310000", "sign not match")
    store.settle(parcel.id, result, builders.NOW, None)
    done = healer("notify", "log", "-o", form)
    assert done.exit_code == 0
    assert "310000" in done.stdout
    assert "sign not match" in done.stdout
    assert "secret" not in done.stdout
    if form == "json":
        assert json.loads(done.stdout)[0]["about"] == "opened"
