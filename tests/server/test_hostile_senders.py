"""What a hostile or broken sender may send: nothing breaks, nothing is believed, little is kept."""

from __future__ import annotations

import json
import re
import tracemalloc
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import servers
from builders import NOW, at, incident, pod

from healer.adapters.store import open_store
from healer.model.event import Event
from healer.model.topology import Topology
from healer.stages.locate import Places
from healer.stages.observe import alert_events

URL = "/api/v1/intake/alertmanager"
ALWAYS = NOW - timedelta(days=20_000)
MEGABYTE = 1_000_000


def webhook(**changes: Any) -> dict[str, Any]:
    alert: dict[str, Any] = {
        "status": "firing",
        "labels": {"alertname": "HighErrorRate"},
        "startsAt": "2026-03-04T12:00:00Z",
        "fingerprint": "a1",
    }
    return {"version": "4", "alerts": [alert | changes]}


@pytest.mark.parametrize(
    "moment",
    [
        "0001-01-01T00:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "1900-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
        "9999-12-31T23:59:59-14:00",
    ],
)
def test_a_nonsense_date_is_taken_in_once_and_can_be_reckoned_with(site: Any, moment: str) -> None:
    for _ in range(2):
        assert site.send(URL, webhook(startsAt=moment)).status_code == 202
        site.clock.move(timedelta(minutes=1))
    (episode,) = site.store.episodes(ALWAYS)
    (event,) = alert_events([episode], Places(Topology()))
    assert event.at <= site.clock.now()
    assert event.at - timedelta(days=300) < event.at + timedelta(days=300)
    ended = webhook(status="resolved", fingerprint="b2", endsAt=moment)
    assert site.send(URL, ended).status_code == 202
    (over,) = [e for e in site.store.episodes(ALWAYS) if e.fingerprint == "b2"]
    assert over.ends_at == site.clock.now()
    query = f"since={moment}&until={moment}".replace("+", "%2B")
    assert site.get(f"/api/v1/incidents?{query}").status_code == 200


def test_millions_of_wrong_alerts_cost_neither_time_nor_memory(site: Any) -> None:
    body = b'{"alerts":[' + b"0," * 1_900_000 + b"0]}"
    tracemalloc.start()
    answer = site.send(URL, body)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert answer.status_code == 422
    assert "at most 20000 alerts" in answer.json()["detail"]
    assert peak < 150 * MEGABYTE


def test_of_very_many_labels_the_first_are_kept(site: Any) -> None:
    labels = {"alertname": "X"} | {f"l{i}": "" for i in range(50_000)}
    assert site.send(URL, webhook(labels=labels)).status_code == 202
    (episode,) = site.store.episodes(ALWAYS)
    assert len(episode.labels) == 200
    assert episode.labels["alertname"] == "X"


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ("é".encode("latin-1"), "UTF-8"),
        ('{"alerts":[]}'.encode("utf-16"), "UTF-8"),
        (b'\xef\xbb\xbf{"alerts":[]}', "JSON"),
        (b'{"alerts":' + b"[" * MEGABYTE, "nested less deeply"),
        (b'{"a":' * 600_000, "nested less deeply"),
        (b'{"alerts":[],"truncatedAlerts":1e400}', "a finite number"),
        (b'{"alerts":[],"truncatedAlerts":' + b"9" * 4000 + b"}", "less than or equal"),
        (b'{"alerts":[],"truncatedAlerts":' + b"9" * 5000 + b"}", "JSON"),
    ],
)
def test_what_is_no_sound_json_is_refused_with_the_reason(
    site: Any, body: bytes, wanted: str
) -> None:
    answer = site.send(URL, body)
    assert answer.status_code == 422
    assert wanted in answer.json()["detail"]


NUL = (
    "/api/v1/incidents?q=%00&cause=%00&namespace=%00&node=%00",
    "/api/v1/incidents/%00",
    "/api/v1/incidents/%00/report.md",
    "/api/v1/audit?incident_id=%00",
    "/api/v1/notifications?incident_id=%00",
    "/approvals/%00",
    "/incidents?q=%00",
)


def test_a_nul_is_found_nowhere_on_postgresql_too(
    postgres: str, tmp_path: Path, make_site: Any
) -> None:
    url = servers.new_database(postgres).replace("postgresql://", "postgresql+psycopg://")
    store = open_store(url)
    site = make_site(tmp_path, store)
    for path in NUL:
        assert site.get(path).status_code in (200, 404), path
    hostile = webhook(labels={"a\x00": "\x00", "\ud800": "\udfff"}, fingerprint="\x00")
    hostile |= {"receiver": "a\x00", "groupKey": "\x00", "groupLabels": {"a": "b"}}
    assert site.send(URL, json.dumps(hostile)).status_code == 202
    site.client.close()
    store.close()


def test_a_storm_in_one_incident_stays_a_page_that_can_be_read(site: Any) -> None:
    events = tuple(Event("alert", pod(f"p{n}"), at(-n), f"alert {n}") for n in range(3000))
    site.store.put_incident(incident(events=events))
    for path in ("/incidents/inc-1", "/api/v1/incidents/inc-1/report.html"):
        page = site.page(path).text
        assert len(page) < 400_000
        assert re.search(r"…280\d more", page)
        assert "Healer noticed" in page
    whole = site.get("/api/v1/incidents/inc-1/timeline").json()
    assert len(whole["items"]) == 200
    assert whole["count"] > 3000, "programs get all of it, slice by slice"


@pytest.mark.parametrize(
    "path",
    ["/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/style.css/..%2f..%2fapp.py"],
)
def test_no_path_leaves_the_pages(site: Any, path: str) -> None:
    assert site.get(path).status_code == 404


def test_a_language_cannot_smuggle_a_header(site: Any) -> None:
    answer = site.page("/?lang=zh%0d%0aSet-Cookie:%20x=y")
    assert "x" not in answer.cookies
    assert answer.headers["content-language"] == "en"


def test_links_of_senders_are_kept_and_never_become_links_of_ours(site: Any) -> None:
    labels = {"alertname": "X", "severity": "critical"}
    sent = webhook(labels=labels, generatorURL="javascript:alert(1)")
    assert site.send(URL, sent).status_code == 202
    assert "javascript:" not in site.page("/").text
