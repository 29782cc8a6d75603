"""Alerts are taken in once each, durably, or refused with a reason that can be acted on."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from builders import NOW

from healer.adapters.store import SqlStore
from healer.errors import Temporary
from healer.ports import Episode
from healer.server.inlet import Inlet

DATA = Path(__file__).parents[1] / "data" / "alertmanager"
PAYLOADS = sorted(DATA.glob("*/webhook_v4_*.json"))
URL = "/api/v1/intake/alertmanager"


def alert(**changes: Any) -> dict[str, Any]:
    return {
        "status": "firing",
        "labels": {"alertname": "GpuLost", "node": "gpu-1"},
        "annotations": {"summary": "gone"},
        "startsAt": "2026-03-04T11:59:00.123456789Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus/graph",
        "fingerprint": "42a081f23b66130b",
        **changes,
    }


def webhook(*alerts: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"version": "4", "status": "firing", "alerts": list(alerts), **changes}


def test_there_are_recorded_payloads() -> None:
    assert len(PAYLOADS) == 8


@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda p: f"{p.parent.name}/{p.stem}")
@pytest.mark.parametrize("url", [URL, "/webhook/alertmanager"])
def test_a_recorded_payload_is_accepted_twice_and_counted_once(
    site: Any, payload: Path, url: str
) -> None:
    body = payload.read_bytes()
    alerts = json.loads(body)["alerts"]
    first, second = site.send(url, body), site.send(url, body)
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json() == {
        "accepted": len(alerts), "duplicates": 0, "dropped": 0, "truncated": 0,
    }  # fmt: skip
    assert second.json()["duplicates"] == len(alerts)
    assert site.nudges == [1], "only what is new wakes the loop"
    assert len(site.store.episodes(NOW - timedelta(days=9000))) == len(alerts)


def test_a_firing_alert_has_no_end_and_a_resolved_one_keeps_it(site: Any) -> None:
    site.send(URL, webhook(alert()))
    (episode,) = site.store.episodes(NOW - timedelta(days=1))
    assert episode.ends_at is None
    site.send(URL, webhook(alert(status="resolved", endsAt="2026-03-04T12:00:05+00:00")))
    (episode,) = site.store.episodes(NOW - timedelta(days=1))
    assert episode.ends_at is not None
    assert episode.ends_at.isoformat() == "2026-03-04T12:00:05+00:00"
    late = site.send(URL, webhook(alert()))
    assert late.json()["duplicates"] == 1
    (episode,) = site.store.episodes(NOW - timedelta(days=1))
    assert episode.ends_at is not None, "a late firing does not take the end back"


def test_a_resolved_alert_without_an_end_ended_now(site: Any) -> None:
    site.send(URL, webhook(alert(status="resolved")))
    (episode,) = site.store.episodes(NOW - timedelta(days=1))
    assert episode.ends_at == NOW


def test_the_same_alert_starting_again_is_another_episode(site: Any) -> None:
    site.send(URL, webhook(alert()))
    again = site.send(URL, webhook(alert(startsAt="2026-03-04T12:10:00Z")))
    assert again.json()["accepted"] == 1


def test_our_own_alerts_are_dropped(site: Any) -> None:
    own = alert(labels={"alertname": "HealerAnomaly", "source": "healer"})
    answer = site.send(URL, webhook(own, alert()))
    assert answer.json() == {"accepted": 1, "duplicates": 0, "dropped": 1, "truncated": 0}
    assert ("alertmanager", "dropped", 1) in site.counts


def test_truncated_alerts_are_counted(site: Any) -> None:
    site.send(URL, webhook(alert(), truncatedAlerts=3))
    assert ("alertmanager", "truncated", 3) in site.counts


def test_an_alert_without_a_fingerprint_is_known_by_its_labels(site: Any) -> None:
    for _ in range(2):
        answer = site.send(URL, webhook(alert(fingerprint="")))
    assert answer.json()["duplicates"] == 1


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": "Bearer "}, 401),
        ({"Authorization": "Basic !!!"}, 401),
        ({"Authorization": "Bearer read-token"}, 403),
        ({"Authorization": "Bearer approve-token"}, 403),
        ({"Authorization": "Basic aGVhbGVyOmluZ2VzdC10b2tlbg=="}, 202),
    ],
)
def test_the_intake_wants_a_token_of_its_own_scope(
    site: Any, headers: dict[str, str], status: int
) -> None:
    for path in (URL, "/webhook/alertmanager", "/api/v1/intake/grafana", "/api/v1/intake/event"):
        body = webhook(alert()) | {"version": "1"} if "grafana" in path else webhook(alert())
        if path.endswith("event"):
            body = {"title": "x", "starts_at": "2026-03-04T12:00:00Z"}
        answer = site.client.post(path, json=body, headers=headers)
        assert answer.status_code == status, path
        if status != 202:
            assert answer.headers["content-type"] == "application/problem+json"
            assert site.store.episodes(NOW - timedelta(days=1)) == ()
        if status == 401:
            assert answer.headers["www-authenticate"].startswith("Bearer")


def test_two_tokens_live_side_by_side_and_an_old_one_dies_with_the_file(site: Any) -> None:
    file = site.folder / "ingest"
    file.write_text("ingest-token\nthe-next-token\n")
    for token in ("ingest-token", "the-next-token"):
        assert site.send(URL, webhook(alert()), token=token).status_code == 202
    file.write_text("the-next-token\n")
    assert site.send(URL, webhook(alert()), token="ingest-token").status_code == 401
    assert site.send(URL, webhook(alert()), token="the-next-token").status_code == 202
    file.unlink()
    closed = site.send(URL, webhook(alert()), token="the-next-token")
    assert closed.status_code == 401
    assert "server.ingest_token_file" in closed.json()["detail"]


def test_an_empty_line_in_a_token_file_lets_nobody_in(site: Any) -> None:
    (site.folder / "ingest").write_text("\n\n  \n")
    for token in ("", " "):
        assert site.send(URL, webhook(alert()), token=token).status_code == 401


BAD = [
    (b"", "$", "JSON"),
    (b"{", "$", "JSON"),
    (b"\xff\xfe{}", "$", "UTF-8"),
    (b"[" * 100_000, "$", "nested less deeply"),
    (b'{"alerts": NaN}', "$", "no JSON"),
    (b"[]", "$", "object"),
    (b"{}", "alerts", "required"),
    (json.dumps(webhook(alert(), version="3")).encode(), "version", "'4'"),
    (json.dumps(webhook(alert(startsAt="yesterday"))).encode(), "alerts.0.startsAt", "RFC 3339"),
    (json.dumps(webhook(alert(startsAt=1700000000))).encode(), "alerts.0.startsAt", "RFC 3339"),
    (json.dumps(webhook(truncatedAlerts=False)).encode(), "truncatedAlerts", "integer"),
    (json.dumps(webhook(alert(startsAt="2026-03-04T11:59:00"))).encode(), "alerts.0.startsAt",
     "timezone"),
    (json.dumps(webhook(alert(), alert(status="maybe"))).encode(), "alerts.1.status", "firing"),
    (json.dumps(webhook(alert(labels=None))).encode(), "alerts.0.labels", "object"),
    (json.dumps(webhook(alert(labels={"a": ["b"]}))).encode(), "alerts.0.labels.a", "string"),
    (json.dumps(webhook(truncatedAlerts=-1)).encode(), "truncatedAlerts", "greater"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "path", "expected"), BAD, ids=[f"{p}-{e}" for _, p, e in BAD])
def test_a_body_that_cannot_be_used_names_what_is_wrong(
    site: Any, body: bytes, path: str, expected: str
) -> None:
    answer = site.send(URL, body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422, answer.text
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["errors"][0]["path"] == path
    assert expected in problem["errors"][0]["expected"]
    assert problem["instance"].startswith("urn:healer:request:")
    assert problem["instance"].endswith(answer.headers["x-request-id"])
    assert site.store.episodes(NOW - timedelta(days=9000)) == ()


def test_a_body_over_the_limit_is_refused_before_it_is_read(site: Any) -> None:
    big = webhook(*(alert(annotations={"x": "y" * 4000}) for _ in range(1100)))
    assert site.send(URL, big).status_code == 413
    chunked = (b"x" * 100_000 for _ in range(60))
    answer = site.client.post(
        URL,
        content=chunked,
        headers={"Authorization": "Bearer ingest-token", "Content-Type": "application/json"},
    )
    assert answer.status_code == 413
    assert answer.json()["status"] == 413


def test_other_kinds_of_body_are_refused(site: Any) -> None:
    for headers in ({"Content-Type": "text/xml"}, {"Content-Encoding": "gzip"}):
        assert site.send(URL, b"{}", headers=headers).status_code == 415


def test_hostile_label_values_are_taken_in_as_text(site: Any) -> None:
    raw = json.dumps(webhook(alert(labels={"alertname": "a\x00b", "x": "y" * 1_000_000})))
    raw = raw.replace('"annotations": {"summary": "gone"}', '"annotations": {"s": "\\ud800 @all"}')
    assert site.send(URL, raw).status_code == 202
    (episode,) = site.store.episodes(NOW - timedelta(days=1))
    assert episode.labels["alertname"] == "ab"
    assert len(episode.labels["x"]) == 4096
    assert episode.annotations["s"] == " @all"


def test_numbers_as_labels_are_taken_as_text(site: Any) -> None:
    assert site.send(URL, webhook(alert(labels={"gpu": 3, "on": None}))).status_code == 202
    (episode,) = site.store.episodes(NOW - timedelta(days=1))
    assert episode.labels == {"gpu": "3", "on": ""}


class AwayStore:
    """A store whose disk is gone."""

    def accept(self, episodes: object) -> tuple[int, int]:
        raise Temporary("store: OperationalError: disk I/O error")


def test_a_store_that_does_not_answer_is_503_so_that_the_sender_tries_again(
    site: Any, store: SqlStore
) -> None:
    deps = site.client.app.state.deps
    site.client.app.state.deps = replace(deps, store=AwayStore())
    site.client.app.state.inlet = Inlet(AwayStore())
    answer = site.send(URL, webhook(alert()))
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"
    assert answer.json()["type"] == "urn:healer:problem:503"
    assert site.nudges == []
    site.client.app.state.deps, site.client.app.state.inlet = deps, Inlet(store)
    assert site.send(URL, webhook(alert())).json()["accepted"] == 1


GRAFANA = {
    "version": "1",
    "orgId": 1,
    "state": "alerting",
    "title": "[FIRING:1]",
    "alerts": [alert(values=None, valueString="", dashboardURL="", ruleUID="u")],
}


def test_grafana_may_post_or_put(site: Any) -> None:
    url = "/api/v1/intake/grafana"
    assert site.send(url, GRAFANA).json()["accepted"] == 1
    again = site.client.put(url, json=GRAFANA, headers={"Authorization": "Bearer ingest-token"})
    assert (again.status_code, again.json()["duplicates"]) == (202, 1)
    assert site.store.episodes(NOW - timedelta(days=1))[0].source == "grafana"


@pytest.mark.parametrize("stamp", ["", str(int(NOW.timestamp()) - 200)])
def test_grafana_must_sign_where_a_secret_is_set(site: Any, stamp: str) -> None:
    (site.folder / "grafana").write_text("shared-secret\n")
    deps = site.client.app.state.deps
    settings = replace(deps.settings, grafana_secret_file=site.folder / "grafana")
    site.client.app.state.deps = replace(deps, settings=settings)
    body = json.dumps(GRAFANA).encode()
    text = f"{stamp}:".encode() + body if stamp else body
    signature = hmac.new(b"shared-secret", text, hashlib.sha256).hexdigest()
    headers = {"X-Grafana-Alerting-Signature": signature}
    if stamp:
        headers["X-Grafana-Alerting-Timestamp"] = stamp
    url = "/api/v1/intake/grafana"
    assert site.send(url, body).status_code == 401
    assert site.send(url, body + b" ", headers=headers).status_code == 401
    assert site.send(url, body, headers=headers).status_code == 202
    site.clock.move(timedelta(minutes=2))
    again = site.send(url, body, headers=headers).status_code
    assert again == (401 if stamp else 202), "what is stamped is not taken in again later"


def test_a_generic_event_becomes_an_episode(site: Any) -> None:
    event = {
        "title": "Cooling loop pressure low",
        "severity": "critical",
        "starts_at": "2026-03-04T20:00:00+08:00",
        "labels": {"rack": "r7"},
    }
    assert site.send("/api/v1/intake/event", event).json()["accepted"] == 1
    assert site.send("/api/v1/intake/event", event).json()["duplicates"] == 1
    (episode,) = site.store.episodes(NOW - timedelta(days=1))
    assert episode.labels["alertname"] == "Cooling loop pressure low"
    assert episode.starts_at.isoformat() == "2026-03-04T12:00:00+00:00"
    bad = site.send("/api/v1/intake/event", event | {"sevrity": "x"})
    assert bad.status_code == 422
    assert bad.json()["errors"][0]["path"] == "sevrity"


def test_secrets_in_annotations_are_blotted_out_before_they_are_stored(site: Any) -> None:
    said = "curl -H 'Authorization: Bearer abcdef0123456789' failed, call 13800138000"
    site.send(URL, webhook(alert(annotations={"summary": said})))
    (episode,) = site.store.episodes(NOW - timedelta(days=1))
    assert episode.annotations["summary"] == (
        "curl -H 'Authorization: Bearer ***' failed, call ***"
    )
    bad = site.send(URL, webhook(alert(status="token=abcdefgh12345678")))
    assert "abcdefgh12345678" not in bad.text


def test_too_many_webhooks_at_once_are_told_to_come_again(site: Any) -> None:
    """503, for Alertmanager gives a flush up on any 4xx, and what was accepted stays accepted."""
    state = site.client.app.state
    state.pending = site_limit = 64
    answer = site.send("/webhook/alertmanager", {"alerts": []})
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    assert answer.json()["type"] == "urn:healer:problem:503"
    state.pending = site_limit - 1
    assert site.send("/webhook/alertmanager", {"alerts": []}).status_code == 202
    assert state.pending == site_limit - 1, "what is done is counted off"
    assert site.send("/webhook/alertmanager", b"[").status_code == 422
    assert state.pending == site_limit - 1


def test_webhooks_that_come_together_are_written_together_and_counted_apart(store: Any) -> None:
    begun, held, batches = threading.Event(), threading.Event(), []

    class Slow:
        """The first commit takes as long as the test wants; the rest gather meanwhile."""

        def accept(self, episodes: Any) -> Any:
            begun.set()
            held.wait(10)
            return store.accept(episodes)

        def accept_all(self, found: Any) -> Any:
            batches.append(len(found))
            return store.accept_all(found)

    def alerts(*names: str) -> list[Episode]:
        return [Episode("alertmanager", n, NOW, {}, last_seen=NOW) for n in names]

    async def together() -> Any:
        inlet = Inlet(Slow())
        waiting = [asyncio.ensure_future(inlet.accept(alerts("a")))]
        await asyncio.to_thread(begun.wait, 10)
        others = (alerts("a", "b"), alerts("b", "c", "c"), alerts("d"))
        waiting += [asyncio.ensure_future(inlet.accept(each)) for each in others]
        await asyncio.sleep(0)
        held.set()
        return await asyncio.gather(*waiting)

    assert asyncio.run(together()) == [(1, 0), (1, 1), (1, 2), (1, 0)]
    assert batches == [3]


def test_one_webhook_that_cannot_be_written_refuses_no_other(store: Any) -> None:
    class Picky:
        def accept(self, episodes: Any) -> Any:
            if episodes[0].fingerprint == "bad":
                raise Temporary("store: no")
            return store.accept(episodes)

        def accept_all(self, found: Any) -> Any:
            raise Temporary("store: no")

    async def together() -> Any:
        inlet = Inlet(Picky())
        names = ("a", "bad", "c")
        return await asyncio.gather(
            *(inlet.accept([Episode("alertmanager", n, NOW, {}, last_seen=NOW)]) for n in names),
            return_exceptions=True,
        )

    first, bad, last = asyncio.run(together())
    assert (first, last) == ((1, 0), (1, 0))
    assert isinstance(bad, Temporary)
