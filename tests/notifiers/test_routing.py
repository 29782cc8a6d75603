"""Who is told what, and when: quiet hours, escalation, mutes, namespaces."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from builders import NOW, at, incident, intent, pod

from healer.adapters.clocks import SteppedClock
from healer.adapters.outbox import Outbox
from healer.adapters.routing import parse_quiet_hours
from healer.adapters.store import SqlStore, open_store
from healer.attention import mute, take
from healer.errors import BadInput
from healer.model.incident import Incident, Phase, Severity
from healer.model.intent import State
from healer.model.message import Notice, Occasion
from healer.notifiers.wecom import WeCom
from healer.ports import PostRequest
from healer.settings import Channel, NotifySettings

MINUTE = timedelta(minutes=1)


class Sent:
    """Takes every message; remembers (channel, first line)."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def send(self, request: PostRequest) -> tuple[int, str]:
        text = json.loads(request.body)["text"]["content"]
        self.told.append((request.url.rpartition("/")[2], text.partition("\n")[0]))
        return 200, '{"errcode": 0}'


class Town:
    """An outbox whose channels are named in the settings, and its clock."""

    def __init__(self, store: SqlStore, **notify: Any) -> None:
        self.store, self.clock, self.sent = store, SteppedClock(NOW), Sent()
        self.settings = NotifySettings(**notify)
        self.outbox = self.started()

    def started(self) -> Outbox:
        notifiers = {
            name: WeCom(url=f"https://chat/{name}", format="text")
            for name in self.settings.channels
        }
        return Outbox(self.store, notifiers, self.sent, self.clock, notify=self.settings)

    def tell(self, occasion: Occasion, found: Incident, *intents: Any) -> None:
        self.store.put_incident(found)
        url = f"https://healer.example/incidents/{found.id}"
        notice = Notice(occasion, found, self.clock.now(), intents, url)
        assert self.outbox.enqueue([notice]) == ()
        self.outbox.flush()

    def later(self, span: timedelta) -> None:
        self.clock.move(span)
        self.outbox.flush()

    @property
    def told(self) -> list[str]:
        return [channel for channel, _ in self.sent.told]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    opened = open_store(f"sqlite:///{tmp_path / 'healer.db'}")
    yield opened
    opened.close()


@pytest.fixture
def ladder(store: SqlStore) -> Town:
    """Three channels, each called ten minutes after the one before it."""
    channels = {name: Channel("wecom") for name in ("duty", "lead", "boss")}
    return Town(store, channels=channels, escalation=("duty", "lead", "boss"))


def test_nobody_took_it_so_the_next_channel_is_called(ladder: Town) -> None:
    ladder.tell(Occasion.ESCALATED, incident(phase=Phase.ESCALATED))
    assert ladder.told == ["duty"]
    ladder.later(9 * MINUTE)
    assert ladder.told == ["duty"]
    ladder.later(MINUTE)
    assert ladder.told == ["duty", "lead"]
    ladder.later(10 * MINUTE)
    assert ladder.told == ["duty", "lead", "boss"]
    ladder.later(600 * MINUTE)
    assert len(ladder.told) == 3


def test_whoever_takes_it_stops_the_escalation(ladder: Town, store: SqlStore) -> None:
    found = incident(phase=Phase.ESCALATED)
    ladder.tell(Occasion.ESCALATED, found)
    take(store, found, "ada", ladder.clock.now())
    ladder.later(30 * MINUTE)
    assert ladder.told == ["duty"]
    rows = {row["channel"]: row for row in store.deliveries(incident_id=found.id)}
    assert rows["lead"]["result"] == "called_off"
    assert rows["lead"]["detail"] == "taken by ada"


def test_an_escalation_outlives_a_restart(ladder: Town) -> None:
    ladder.tell(Occasion.ESCALATED, incident(phase=Phase.ESCALATED))
    ladder.clock.move(10 * MINUTE)
    ladder.outbox = ladder.started()
    ladder.outbox.flush()
    assert ladder.told == ["duty", "lead"]


@pytest.mark.parametrize("phase", [Phase.RESOLVED, Phase.ACTING, Phase.VERIFYING])
def test_what_heals_calls_nobody_else(ladder: Town, store: SqlStore, phase: Phase) -> None:
    found = incident(phase=Phase.OPEN)
    ladder.tell(Occasion.OPENED, found)
    store.put_incident(replace(found, phase=phase))
    ladder.later(30 * MINUTE)
    assert ladder.told == ["duty"]


def test_a_plan_that_was_answered_calls_nobody_else(ladder: Town, store: SqlStore) -> None:
    asked = intent(State.PLANNED, expires_at=at(3600))
    store.claim_intent(asked)
    ladder.tell(Occasion.PROPOSED, incident(phase=Phase.AWAITING_APPROVAL), asked)
    assert ladder.told == ["duty"]
    assert store.decide(asked.id, asked.plan.digest, "ada", yes=True, at=ladder.clock.now())
    ladder.later(30 * MINUTE)
    assert ladder.told == ["duty"]


def test_later_channels_hear_of_nothing_but_what_needs_a_person(ladder: Town) -> None:
    ladder.tell(Occasion.OPENED, incident("inc-1", severity=Severity.WARNING))
    ladder.tell(Occasion.RESOLVED, incident("inc-2", phase=Phase.RESOLVED, resolved_at=NOW))
    ladder.later(60 * MINUTE)
    assert ladder.told == ["duty", "duty"]


def test_one_incident_calls_a_later_channel_once_and_again_when_it_is_escalated(
    ladder: Town,
) -> None:
    ladder.tell(Occasion.OPENED, incident())
    ladder.tell(Occasion.DIAGNOSED, incident(phase=Phase.DIAGNOSED))
    ladder.later(10 * MINUTE)
    assert ladder.told == ["duty", "duty", "lead"]
    ladder.tell(Occasion.ESCALATED, incident(phase=Phase.ESCALATED))
    ladder.later(10 * MINUTE)
    assert ladder.told.count("lead") == 2


def test_an_unknown_channel_in_the_escalation_is_said_at_the_start(store: SqlStore) -> None:
    with pytest.raises(BadInput, match=r"notify\.escalation\.1: 'bos'"):
        Town(store, channels={"duty": Channel("wecom")}, escalation=("duty", "bos"))


QUIET = {"ops": Channel("wecom", quiet_hours="22:00-08:00 Asia/Shanghai")}


def test_in_quiet_hours_only_what_is_grave_comes_through(store: SqlStore) -> None:
    town = Town(store, channels=QUIET)
    town.clock.move(timedelta(hours=3))  # 23:00 in Shanghai
    for number in range(8):
        found = incident(f"inc-{number}", severity=Severity.WARNING)
        town.tell(Occasion.OPENED, found)
    assert town.told == []
    town.tell(Occasion.OPENED, incident("inc-grave"))
    assert town.told == ["ops"]
    town.later(timedelta(hours=8, minutes=59))
    assert town.told == ["ops"]
    town.later(MINUTE)
    assert town.told == ["ops", "ops"], "what waited comes as one digest"
    assert "8 incidents" in town.sent.told[-1][1]


def test_quiet_hours_may_lie_within_a_day() -> None:
    quiet = parse_quiet_hours("12:00-13:30", "x")
    assert quiet is not None
    assert quiet.ends(datetime(2026, 3, 4, 12, 0, tzinfo=UTC)) == at(5400)
    assert quiet.ends(datetime(2026, 3, 4, 13, 30, tzinfo=UTC)) is None
    assert quiet.ends(datetime(2026, 3, 4, 11, 59, tzinfo=UTC)) is None


def test_quiet_hours_end_by_the_wall_clock_when_it_is_put_forward() -> None:
    quiet = parse_quiet_hours("22:00-08:00 Europe/Berlin", "x")
    assert quiet is not None
    before = datetime(2026, 3, 28, 22, 0, tzinfo=UTC)  # 23:00; at 02:00 clocks go to 03:00
    assert quiet.ends(before) == datetime(2026, 3, 29, 6, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "said"),
    [("all night", "22:00-08:00"), ("22:00-25:00", "22:00-08:00"), ("22:00-08:00 Mars", "zone"),
     ("08:00-08:00", "end at another time")],
)  # fmt: skip
def test_quiet_hours_that_make_no_sense_are_said_with_their_place(text: str, said: str) -> None:
    with pytest.raises(BadInput, match=said) as raised:
        parse_quiet_hours(text, "notify.channels.ops.quiet_hours")
    assert "notify.channels.ops.quiet_hours" in str(raised.value)


def test_a_muted_incident_is_told_of_only_to_call_a_person_or_to_end(store: SqlStore) -> None:
    town = Town(store, channels={"ops": Channel("wecom")})
    found = incident()
    store.put_incident(found)
    mute(store, found, "ada", NOW, timedelta(hours=1))
    town.tell(Occasion.OPENED, found)
    assert town.told == []
    town.tell(Occasion.ESCALATED, replace(found, phase=Phase.ESCALATED))
    town.tell(Occasion.RESOLVED, replace(found, phase=Phase.RESOLVED, resolved_at=NOW))
    assert len(town.told) == 2
    assert {row["result"] for row in store.deliveries()} == {"called_off", "delivered"}


def test_a_channel_of_one_team_hears_of_its_namespaces_only(store: SqlStore) -> None:
    town = Town(store, channels={"ops": Channel("wecom", namespaces=("search",))})
    town.tell(Occasion.OPENED, incident("inc-1"))
    assert town.told == []
    town.tell(Occasion.OPENED, incident("inc-2", targets=(pod(namespace="search"),)))
    assert town.told == ["ops"]


def test_a_hundred_calls_for_a_person_are_one_list(store: SqlStore) -> None:
    town = Town(store, channels={"ops": Channel("wecom")})
    for number in range(100):
        found = incident(f"inc-{number}", phase=Phase.ESCALATED)
        town.store.put_incident(found)
        url = f"https://healer.example/incidents/{found.id}"
        town.outbox.enqueue([Notice(Occasion.ESCALATED, found, NOW, (), url)])
    for _ in range(3):
        town.later(MINUTE)
    assert len(town.told) == 1
    assert "100 incidents" in town.sent.told[0][1]
