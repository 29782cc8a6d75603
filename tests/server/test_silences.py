"""Silences at a real Alertmanager: set while something is repaired, gone with the repair."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import builders
import pytest
import requests
from servers import need, run_alertmanager

from healer.adapters.store import SqlStore
from healer.errors import Temporary
from healer.model.event import Event
from healer.model.intent import Intent, Receipt, State
from healer.ports import Episode
from healer.server.silences import SILENCES, Silencer
from healer.settings import ServerSettings

LABELS = {"alertname": "QueueSaturated", "pod": "llama-0", "said": 'a "b" = {c}'}
CONFIG = {"route": {"receiver": "none"}, "receivers": [{"name": "none"}]}


class WallClock:
    """Alertmanager lives on its own: silences that lie in its past are refused."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return 0.0

    def sleep(self, span: timedelta) -> None:
        raise AssertionError


@pytest.fixture
def alertmanager() -> Iterator[str]:
    need("alertmanager")
    with run_alertmanager(CONFIG) as server:
        yield server.url


def silences(url: str) -> list[dict[str, Any]]:
    found = requests.get(f"{url}/api/v2/silences", timeout=60).json()
    return [each for each in found if each["status"]["state"] == "active"]


def silencer(store: SqlStore, url: str, minutes: float = 30) -> Silencer:
    settings = ServerSettings(alertmanager_url=url, silence_for=timedelta(minutes=minutes))
    return Silencer(store, settings, WallClock())


def repairing(store: SqlStore, state: State = State.EXECUTING) -> Intent:
    """An incident with one alert of ours and one that somebody else's fingerprint names."""
    heard = Event("alert", builders.pod(), builders.NOW, "x", {"fingerprint": "f1"})
    store.put_incident(builders.incident(events=(heard,)))
    for fingerprint, labels in (("f1", LABELS), ("f2", LABELS | {"pod": "llama-1"})):
        now = datetime.now(UTC)
        store.accept([Episode("alertmanager", fingerprint, now, labels, first_seen=now)])
    made = builders.intent(state)
    steps = tuple(dataclasses.replace(s, sent_at=builders.NOW) for s in made.steps)
    made = dataclasses.replace(made, steps=steps)
    store.claim_intent(made)
    return made


def test_an_alert_of_a_repair_is_silenced_by_all_its_labels_and_heard_again_after_it(
    store: SqlStore, alertmanager: str
) -> None:
    intent = repairing(store)
    quiet = silencer(store, alertmanager)
    assert quiet.run() == (1, 0)
    (made,) = silences(alertmanager)
    assert {m["name"]: m["value"] for m in made["matchers"]} == LABELS
    assert not any(m["isRegex"] for m in made["matchers"])
    assert made["createdBy"] == "healer"
    ends = datetime.fromisoformat(made["endsAt"])
    assert timedelta(minutes=29) < ends - datetime.now(UTC) <= timedelta(minutes=30)
    assert quiet.run() == (0, 0), "once is enough"
    (entry,) = [e for _, e in store.audit() if e.kind == "alerts.silenced"]
    assert entry.intent_id == intent.id
    receipt = Receipt(True, builders.NOW)
    steps = tuple(dataclasses.replace(s, receipt=receipt) for s in intent.steps)
    verifying = dataclasses.replace(intent, state=State.VERIFYING, steps=steps)
    store.put_intent(verifying)
    assert quiet.run() == (0, 0), "still being verified"
    store.put_intent(dataclasses.replace(verifying, state=State.FAILED))
    assert silencer(store, alertmanager).run() == (0, 1), "after a restart, too"
    assert silences(alertmanager) == []
    assert json.loads(store.get(SILENCES) or "") == {}


def test_a_silence_that_somebody_ended_before_us_is_no_trouble(
    store: SqlStore, alertmanager: str
) -> None:
    intent = repairing(store)
    quiet = silencer(store, alertmanager)
    quiet.run()
    (made,) = silences(alertmanager)
    requests.delete(f"{alertmanager}/api/v2/silence/{made['id']}", timeout=60)
    store.put_intent(dataclasses.replace(intent, state=State.ABORTED))
    quiet.run()
    assert json.loads(store.get(SILENCES) or "") == {}


@pytest.mark.parametrize("state", [State.PLANNED, State.APPROVED, State.REHEARSED])
def test_nothing_is_silenced_before_anything_is_done(store: SqlStore, state: State) -> None:
    repairing(store, state)
    assert silencer(store, "http://127.0.0.1:9").run() == (0, 0)


def test_nothing_is_silenced_unless_asked_for(store: SqlStore) -> None:
    repairing(store)
    assert silencer(store, "http://127.0.0.1:9", minutes=0).run() == (0, 0)
    assert silencer(store, "").run() == (0, 0)


def test_an_alertmanager_that_does_not_answer_is_asked_again(store: SqlStore) -> None:
    repairing(store)
    quiet = silencer(store, "http://127.0.0.1:9")
    for _ in range(2):
        with pytest.raises(Temporary, match="alertmanager"):
            quiet.run()
