"""What a webhook left out is looked up, and what nobody hears of any more ends."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from builders import NOW, at
from servers import need, run_alertmanager

from healer.errors import Temporary
from healer.ports import Episode
from healer.server.reconcile import MISSING_FOR, RECEIVERS, Reconciler
from healer.settings import ServerSettings

MINUTE = timedelta(minutes=1)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def firing(name: str, **changes: Any) -> Episode:
    given = {"labels": {"pod": name}, "first_seen": NOW, "last_seen": NOW}
    return Episode("alertmanager", name, at(-60), **given | changes)


def listed(name: str, **changes: Any) -> dict[str, Any]:
    return {
        "fingerprint": name,
        "startsAt": at(-60).isoformat(),
        "labels": {"pod": name},
        "status": {"state": "active"},
        "receivers": [{"name": "healer"}],
    } | changes


class Answering:
    """A session that answers with a list, or with whatever else it was given."""

    def __init__(self, *alerts: dict[str, Any]) -> None:
        self.alerts: Any = list(alerts)
        self.asked: list[Any] = []

    def get(self, url: str, **given: Any) -> requests.Response:
        self.asked.append((url, given["headers"]))
        if isinstance(self.alerts, Exception):
            raise self.alerts
        answer = requests.Response()
        if isinstance(self.alerts, int):
            answer.status_code, answer._content = self.alerts, b""
            return answer
        answer.status_code = 200
        answer._content = (
            self.alerts if isinstance(self.alerts, bytes) else json.dumps(self.alerts).encode()
        )
        return answer


@pytest.fixture
def looker(site: Any) -> Any:
    settings = ServerSettings(alertmanager_url="http://alertmanager.example/am/")
    made = Reconciler(site.store, settings, site.clock)
    made._session = Answering()  # type: ignore[assignment]
    site.store.put(RECEIVERS, "healer")
    return made


def open_now(site: Any) -> set[str]:
    return {e.fingerprint for e in site.store.episodes(LONG_AGO) if e.ends_at is None}


def test_what_was_left_out_is_taken_in_once(site: Any, looker: Any) -> None:
    site.store.accept([firing("a")])
    looker._session.alerts = [listed("a"), listed("b"), listed("c")]
    assert looker.run() == (2, 0)
    assert looker.run() == (0, 0)
    assert open_now(site) == {"a", "b", "c"}
    assert looker._session.asked[0] == ("http://alertmanager.example/am/api/v2/alerts", {})


def test_what_is_not_meant_for_us_is_left_alone(site: Any, looker: Any) -> None:
    looker._session.alerts = [
        listed("a", receivers=[{"name": "pager"}]),
        listed("b", status={"state": "suppressed"}),
        listed("c", labels={"source": "healer"}),
    ]
    assert looker.run() == (0, 0)
    site.store.put(RECEIVERS, "")
    looker._session.alerts = [listed("d")]
    assert looker.run() == (0, 0), "nobody has called us by a name yet"


def test_what_has_been_missing_for_a_while_has_ended(site: Any, looker: Any) -> None:
    site.store.accept([firing("a"), firing("b")])
    looker._session.alerts = [listed("a")]
    assert looker.run() == (0, 0)
    site.clock.move(MISSING_FOR - MINUTE)
    assert looker.run() == (0, 0)
    site.clock.move(MINUTE)
    assert looker.run() == (0, 1)
    assert open_now(site) == {"a"}


def test_a_restart_of_alertmanager_ends_nothing(site: Any, looker: Any) -> None:
    """It forgets all alerts and hears of them again a minute later."""
    site.store.accept([firing("a")])
    looker._session.alerts = []
    assert looker.run() == (0, 0)
    site.clock.move(2 * MINUTE)
    looker._session.alerts = [listed("a")]
    looker.run()
    site.clock.move(MISSING_FOR)
    looker._session.alerts = []
    assert looker.run() == (0, 0), "it has been missing for a moment only"
    assert open_now(site) == {"a"}


@pytest.mark.parametrize(
    "trouble", [503, b"<html>", b'[{"labels": 3}]', requests.ConnectionError()]
)
def test_while_alertmanager_does_not_answer_nothing_ends(
    site: Any, looker: Any, trouble: Any
) -> None:
    site.store.accept([firing("a")])
    looker._session.alerts = trouble
    site.clock.move(timedelta(hours=1))
    with pytest.raises(Temporary, match="alertmanager"):
        looker.run()
    assert open_now(site) == {"a"}


def test_an_alert_not_repeated_for_too_long_is_over(site: Any) -> None:
    looker = Reconciler(site.store, ServerSettings(), site.clock)
    site.store.accept([firing("a"), firing("b"), replace(firing("c"), source="event")])
    site.clock.move(timedelta(hours=5))
    site.store.accept([firing("a", last_seen=site.clock.now())])
    assert looker.run() == (0, 0)
    site.clock.move(timedelta(hours=1))
    assert looker.run() == (0, 2)
    assert open_now(site) == {"a"}


def test_the_token_for_alertmanager_is_read_again_and_never_said(site: Any, tmp_path: Path) -> None:
    file = tmp_path / "am-token"
    settings = ServerSettings(
        alertmanager_url="http://alertmanager.example", alertmanager_token_file=file
    )
    looker = Reconciler(site.store, settings, site.clock)
    looker._session = session = Answering()  # type: ignore[assignment]
    with pytest.raises(Temporary, match="am-token"):
        looker.run()
    for token in ("one", "two"):
        file.write_text(f"{token}\n")
        looker.run()
        assert session.asked[-1][1] == {"Authorization": f"Bearer {token}"}


# the genuine sender


@pytest.fixture
def truncating(url: str) -> Iterator[str]:
    """Alertmanager that puts one alert at most into a webhook."""
    need("alertmanager")
    hook = {
        "url": f"{url}/webhook/alertmanager",
        "max_alerts": 1,
        "http_config": {"authorization": {"credentials": "ingest-token"}},
    }
    config = {
        "route": {"receiver": "to-healer", "group_by": ["alertname"], "group_wait": "100ms",
                  "group_interval": "1s"},
        "receivers": [{"name": "to-healer", "webhook_configs": [hook]}],
    }  # fmt: skip
    with run_alertmanager(config) as server:
        yield server.url


@pytest.mark.server
def test_a_truncated_group_of_the_genuine_alertmanager_is_completed_and_ends(
    truncating: str, site: Any
) -> None:
    def fire(ends: str) -> None:
        alerts = [
            {"labels": {"alertname": "Xid", "pod": f"p-{n}"}, "endsAt": ends,
             "startsAt": "2026-03-04T11:58:00Z"}
            for n in range(3)
        ]  # fmt: skip
        answer = requests.post(f"{truncating}/api/v2/alerts", json=alerts, timeout=60)
        answer.raise_for_status()

    fire("2099-01-01T00:00:00Z")
    deadline = time.monotonic() + 120
    while not open_now(site) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(open_now(site)) == 1
    assert ("alertmanager", "truncated", 2) in site.counts
    looker = Reconciler(site.store, ServerSettings(alertmanager_url=truncating), site.clock)
    assert looker.run() == (2, 0)
    assert len(open_now(site)) == 3
    fire("2026-03-04T11:59:00Z")
    looker.run()
    site.clock.move(MISSING_FOR)
    looker.run()
    assert open_now(site) == set()
