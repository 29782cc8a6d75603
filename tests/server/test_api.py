"""The report API: complete, read-only, and exact about what was wrong with a question."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from builders import NOW, at, diagnosis, hypothesis, incident, intent, node, plan, pod
from prometheus_client import Gauge

from healer.errors import Temporary
from healer.model.audit import AuditEntry
from healer.model.event import Event
from healer.model.hypothesis import Side, Term
from healer.model.incident import Phase, Severity
from healer.model.intent import Effect, Outcome, Receipt, State, Step
from healer.model.message import Delivery, DeliveryResult
from healer.server import Chart
from healer.server.auth import Gate

READS = (
    "incidents",
    "incidents/inc-1",
    "incidents/inc-1/timeline",
    "incidents/inc-1/evidence",
    "incidents/inc-1/hypotheses",
    "incidents/inc-1/actions",
    "incidents/inc-1/series",
    "incidents/inc-1/report.md",
    "incidents/inc-1/report.html",
    "incidents/inc-1/report.json",
    "approvals",
    "notifications",
    "stats",
    "status",
    "audit",
)
EVIL = "<script>alert(1)</script> [x](javascript:1) **@all** \x00\u202e`|"


@pytest.fixture
def full(site: Any) -> Any:
    """One incident with everything that can be told of it."""
    terms = (
        Term("tokens frozen", Side.FOR, 3.0, "0 tokens/s for 95 s", source="generation_tokens"),
        Term("an Xid", Side.AGAINST, -0.5, "none in 30 min", source="xid"),
        Term("memory clock", Side.MISSING, 0.0, ""),
    )
    found = incident(
        diagnosis=diagnosis(hypothesis(terms=terms), hypothesis("no_fault", why_not="two signals")),
        events=(Event("alert", pod(), at(-70), EVIL, {"severity": "critical"}, "alertmanager"),),
    )
    site.store.put_incident(found)
    wanted = plan()
    step = Step(wanted.actions[0], at(-20), Receipt(True, at(-19), "evicted"))
    site.store.claim_intent(
        intent(
            State.SUCCEEDED,
            plan=wanted,
            steps=(step,),
            outcome=Outcome(Effect.EFFECTIVE, at(-5), ("ttft_p95 0.4 s",)),
        )
    )
    site.store.record(AuditEntry("incident.opened", at(-60), "healer", "inc-1", message=EVIL))
    site.store.enqueue("ops", "inc-1|opened|", "inc-1", "{}", at(-59))
    (parcel,) = site.store.due("ops", NOW)
    site.store.settle(parcel.id, DeliveryResult(Delivery.DELIVERED, "0"), at(-58), None)
    site.charts.append(
        Chart(
            "ttft_p95",
            EVIL,
            "s",
            tuple(at(n).timestamp() for n in range(-60, 0, 15)),
            (0.4, float("nan"), 3.0, 4.0),
            (0.2,) * 4,
            (0.6,) * 4,
            ((at(-30).timestamp(), NOW.timestamp()),),
            ((at(-20).timestamp(), "evict_pod"),),
        )
    )
    return site


@pytest.mark.parametrize("path", READS)
def test_everything_is_read_with_a_read_token_only(full: Any, path: str) -> None:
    url = f"/api/v1/{path}"
    assert full.get(url).status_code == 200
    for token, status in (("", 401), ("wrong", 401), ("ingest-token", 403), ("approve-token", 200)):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        answer = full.client.get(url, headers=headers)
        assert answer.status_code == status, (path, token)
        if status != 200:
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["type"] == f"urn:healer:problem:{status}"


@pytest.mark.parametrize("path", READS)
@pytest.mark.parametrize("verb", ["POST", "PUT", "PATCH", "DELETE"])
def test_every_verb_that_writes_is_refused(full: Any, path: str, verb: str) -> None:
    before = len(full.store.audit())
    for token in ("read-token", "approve-token", "ingest-token"):
        answer = full.client.request(
            verb, f"/api/v1/{path}", json={}, headers={"Authorization": f"Bearer {token}"}
        )
        assert answer.status_code == 405
        assert "GET" in answer.headers["allow"]
        assert answer.json()["status"] == 405
    assert len(full.store.audit()) == before


def test_an_incident_is_told_whole(full: Any) -> None:
    found = full.get("/api/v1/incidents/inc-1").json()
    assert found["opened_at"] == "2026-03-04T11:59:00.000Z"
    assert found["cause"] == "engine_hang"
    assert found["targets"] == ["pod:serving/llama-8b-aaaa"]
    assert found["symptoms"][0]["level"] == "page"
    assert found["actions"][0]["steps"][0]["receipt"]["detail"] == "evicted"
    assert found["actions"][0]["outcome"]["effect"] == "effective"
    assert [h["cause"] for h in found["hypotheses"]["items"]] == ["engine_hang", "no_fault"]
    evidence = full.get("/api/v1/incidents/inc-1/evidence").json()
    assert evidence["evidence_for"][0]["seen"] == "0 tokens/s for 95 s"
    assert evidence["evidence_against"][0]["weight"] == -0.5
    assert evidence["missing"][0]["asked"] == "memory clock"


def test_the_timeline_is_in_order_and_tells_nothing_twice(full: Any) -> None:
    items = full.get("/api/v1/incidents/inc-1/timeline").json()["items"]
    assert [i["kind"] for i in items] == [
        "started", "symptom", "event", "incident.opened", "told", "step.sent", "intent.verified",
    ]  # fmt: skip
    assert sum("opened" in i["kind"] for i in items) == 1


def test_a_gap_in_a_series_is_null_and_never_zero(full: Any) -> None:
    (series,) = full.get("/api/v1/incidents/inc-1/series").json()["items"]
    assert series["values"] == [0.4, None, 3.0, 4.0]


def test_an_etag_answers_304_until_something_changes(full: Any) -> None:
    for path in ("", "/evidence", "/hypotheses", "/actions"):
        url = f"/api/v1/incidents/inc-1{path}"
        tag = full.get(url).headers["etag"]
        again = full.get(url, headers={"If-None-Match": f'"other", W/{tag}'})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == tag
    url = "/api/v1/incidents/inc-1"
    tag = full.get(url).headers["etag"]
    (done,) = full.store.intents(incident_id="inc-1")
    full.store.put_intent(replace(done, note="looked at"))
    changed = full.get(url, headers={"If-None-Match": tag})
    assert changed.status_code == 200
    assert changed.headers["etag"] != tag


def test_lists_are_never_cached(full: Any) -> None:
    for path in ("incidents", "approvals", "notifications", "stats", "audit"):
        assert full.get(f"/api/v1/{path}").headers["cache-control"] == "no-store"


def many(site: Any, count: int) -> None:
    for n in range(count):
        phase = Phase.RESOLVED if n % 2 else Phase.OPEN
        site.store.put_incident(
            incident(
                f"inc-{n:03}",
                opened_at=at(n),
                phase=phase,
                severity=Severity.WARNING if n % 3 else Severity.CRITICAL,
                targets=(node(f"gpu-node-{n % 4}"), pod(namespace=f"team-{n % 2}")),
            )
        )


def test_a_cursor_walks_through_all_of_them_once(site: Any) -> None:
    many(site, 25)
    seen, url = [], "/api/v1/incidents?limit=7&severity=warning&severity=critical"
    while url:
        answer = site.get(url)
        seen += [i["id"] for i in answer.json()["items"]]
        following = answer.headers.get("link", "")
        assert bool(following) == (answer.json()["next_cursor"] is not None)
        url = following.partition(">")[0].removeprefix("<") if following else ""
        if url:
            assert url.startswith("/api/v1/incidents?")
            assert 'rel="next"' in following
    assert seen == [f"inc-{n:03}" for n in reversed(range(25))]


def test_a_cursor_is_not_disturbed_by_what_is_new(site: Any) -> None:
    many(site, 6)
    first = site.get("/api/v1/incidents", params={"limit": 3}).json()
    site.store.put_incident(incident("inc-new", opened_at=at(900)))
    cursor = first["next_cursor"]
    second = site.get("/api/v1/incidents", params={"limit": 3, "cursor": cursor}).json()
    ids = [i["id"] for i in first["items"] + second["items"]]
    assert ids == [f"inc-{n:03}" for n in reversed(range(6))]


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ({"phase": "resolved"}, 5),
        ({"phase": ["resolved", "open"]}, 10),
        ({"severity": "critical"}, 4),
        ({"namespace": "team-1"}, 5),
        ({"node": "gpu-node-3"}, 2),
        ({"cause": "engine_hang"}, 0),
        ({"since": "2026-03-04T12:00:08Z"}, 2),
        ({"since": "2026-03-04T20:00:08+08:00"}, 2),
        ({"until": "2026-03-04T12:00:02Z"}, 2),
        ({"q": "gpu-NODE-0"}, 3),
    ],
)
def test_filters_narrow_the_list_and_are_echoed(
    site: Any, query: dict[str, Any], count: int
) -> None:
    many(site, 10)
    answer = site.get("/api/v1/incidents", params=query).json()
    assert len(answer["items"]) == count
    assert answer["query"]["limit"] == 50
    for key, value in query.items():
        if key not in ("since", "until"):
            assert answer["query"][key] in (value, [value])


@pytest.mark.parametrize(
    ("query", "path", "expected"),
    [
        ("limit=0", "query.limit", "greater than or equal to 1"),
        ("limit=201", "query.limit", "less than or equal to 200"),
        ("limit=many", "query.limit", "integer"),
        ("severity=grave", "query.severity.0", "'critical'"),
        ("phase=done", "query.phase.0", "'resolved'"),
        ("since=yesterday", "query.since", "RFC 3339"),
        ("since=1700000000", "query.since", "RFC 3339"),
        ("since=2026-03-04T12:00:00", "query.since", "timezone"),
        ("severty=critical", "query.severty", "did you mean 'severity'?"),
    ],
)
def test_a_question_that_makes_no_sense_names_its_parameter(
    site: Any, query: str, path: str, expected: str
) -> None:
    answer = site.get(f"/api/v1/incidents?{query}")
    assert answer.status_code == 422, answer.text
    problem = answer.json()
    assert problem["errors"][0]["path"] == path
    assert expected in problem["errors"][0]["expected"]
    assert path in problem["detail"]


@pytest.mark.parametrize("cursor", ["nonsense", "W10", "0", "%00"])
def test_a_cursor_of_nobody_names_no_page(site: Any, cursor: str) -> None:
    answer = site.get(f"/api/v1/incidents?cursor={cursor}")
    assert answer.status_code == 404, answer.text
    (fault,) = answer.json()["errors"]
    assert fault["path"] == "query.cursor"
    assert "next_cursor" in fault["expected"]


@pytest.mark.parametrize(
    "path",
    ["/api/v1/incidents/none", "/api/v1/incidents/none/timeline", "/api/v1/nothing", "/api/v2/x",
     "/api/v1/incidents/", "/api/v1/incidents/none/report.md", "/nothing", "/approvals/none"],
)  # fmt: skip
def test_what_is_not_there_is_a_problem_document(site: Any, path: str) -> None:
    answer = site.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert set(answer.json()) == {"type", "title", "status", "detail", "instance"}


def test_a_report_of_an_unknown_form_is_refused(full: Any) -> None:
    assert full.get("/api/v1/incidents/inc-1/report.exe").status_code == 422


class BrokenStore:
    def __init__(self, error: Exception) -> None:
        self.error = error

    def incident(self, incident_id: str) -> None:
        raise self.error


@pytest.mark.parametrize(
    ("error", "status"), [(Temporary("store: gone"), 503), (ZeroDivisionError("secret"), 500)]
)
def test_our_own_failures_have_an_id_and_hide_their_reasons(
    site: Any, logged: list[Any], error: Exception, status: int
) -> None:
    app = site.client.app
    app.state.deps = replace(app.state.deps, store=BrokenStore(error))
    answer = site.get("/api/v1/incidents/x")
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    assert answer.json()["instance"].startswith("urn:healer:request:")
    (entry,) = logged
    assert str(error) in entry["error"], "the reason is in the log"


def test_notifications_are_the_delivery_log(full: Any) -> None:
    (message,) = full.get("/api/v1/notifications").json()["items"]
    assert (message["channel"], message["about"], message["result"]) == (
        "ops", "opened", "delivered",
    )  # fmt: skip
    assert "body" not in message


def test_the_audit_is_read_in_slices(site: Any) -> None:
    site.store.record(*(AuditEntry("daemon.started", at(n), "healer") for n in range(5)))
    first = site.get("/api/v1/audit?limit=3").json()
    second = site.get(f"/api/v1/audit?limit=3&after={first['next_after']}").json()
    assert [i["sequence"] for i in first["items"] + second["items"]] == [1, 2, 3, 4, 5]
    assert second["next_after"] is None


def test_stats_come_from_the_record(site: Any) -> None:
    def done(n: int, effect: Effect | None, resolved: bool, sent: bool = True) -> None:
        name = f"inc-{n}"
        site.store.put_incident(
            incident(
                name,
                phase=Phase.RESOLVED if resolved else Phase.ESCALATED,
                started_at=at(-600),
                opened_at=at(-600 + 10 * n),
                resolved_at=at(-600 + 100 * n) if resolved else None,
                diagnosis=diagnosis(incident_id=name),
            )
        )
        wanted = plan(incident_id=name)
        step = Step(wanted.actions[0], at(-500) if sent else None)
        outcome = Outcome(effect, NOW) if effect else None
        state = State.SUCCEEDED if effect is Effect.EFFECTIVE else State.FAILED
        site.store.claim_intent(
            intent(state if sent else State.REHEARSED, plan=wanted, steps=(step,), outcome=outcome)
        )

    done(1, Effect.EFFECTIVE, resolved=True)
    done(2, Effect.EFFECTIVE, resolved=True)
    done(3, Effect.INEFFECTIVE, resolved=False)
    done(4, Effect.INCONCLUSIVE, resolved=True)
    done(5, None, resolved=True, sent=False)
    found = site.get("/api/v1/stats").json()
    assert found["incidents"] == 5
    assert (found["acted_on"], found["recovered"], found["recovery_rate"]) == (4, 2, 0.5)
    assert (found["wrong_actions"], found["missed"], found["rehearsed"]) == (1, 1, 1)
    assert found["time_to_detect"]["median_s"] == 30.0
    assert found["time_to_recover"]["median_s"] == 150.0
    assert found["since"] == "2026-02-02T12:00:00.000Z"
    later = site.get("/api/v1/stats", params={"since": "2026-03-04T12:00:00Z"}).json()
    assert (later["incidents"], later["recovery_rate"]) == (0, None)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_reports_escape_what_others_wrote(full: Any, lang: str) -> None:
    page = full.get(f"/api/v1/incidents/inc-1/report.html?lang={lang}")
    assert "<script" not in page.text
    assert "&lt;script&gt;" in page.text
    assert "<svg" in page.text
    assert "style-src 'sha256-" in page.headers["content-security-policy"]
    text = full.get(f"/api/v1/incidents/inc-1/report.md?lang={lang}").text
    assert "<script" not in text
    assert "[x](" not in text
    assert "**@all**" not in text


def test_a_report_stands_alone(full: Any) -> None:
    page = full.get("/api/v1/incidents/inc-1/report.html").text
    for outside in ("stylesheet", "src=", "@import", "url(", 'href="/'):
        assert outside not in page


def test_a_report_in_json_can_be_read_back(full: Any) -> None:
    report = full.get("/api/v1/incidents/inc-1/report.json").json()
    assert set(report) == {"incident", "timeline", "timeline_count", "series"}
    assert json.dumps(report, allow_nan=False)


def test_the_openapi_document_tells_of_every_path_and_is_3_1(site: Any) -> None:
    document = site.client.get("/api/v1/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    paths = document["paths"]
    for path in READS:
        template = path.replace("inc-1", "{incident_id}")
        template = template.split(".")[0] + ".{form}" if "report." in path else template
        assert list(paths[f"/api/v1/{template}"]) == ["get"], path
    assert set(paths["/api/v1/intake/grafana"]) == {"post", "put"}
    assert "post" in paths["/api/v1/approvals/{intent_id}"]
    text = json.dumps(document)
    for reference in {part.split('"')[0] for part in text.split('"$ref": "#/components/schemas/')}:
        if not reference.startswith("{"):
            assert reference in document["components"]["schemas"], reference


def test_no_documentation_page_loads_anything_from_elsewhere(site: Any) -> None:
    for path in ("/docs", "/redoc", "/openapi.json"):
        assert site.get(path).status_code == 404


def test_anonymous_reading_is_a_setting_and_opens_nothing_else(full: Any) -> None:
    app = full.client.app
    app.state.gate = Gate(replace(app.state.deps.settings, anonymous_read=True))
    assert full.client.get("/api/v1/incidents").status_code == 200
    assert full.client.post("/api/v1/intake/event", json={}).status_code == 401
    assert full.client.post("/api/v1/approvals/x", json={}).status_code == 401


def test_probes_say_what_they_depend_on(site: Any) -> None:
    def status(path: str) -> int:
        code: int = site.client.get(path).status_code
        return code

    assert [status(p) for p in ("/livez", "/readyz", "/healthz")] == [200, 200, 200]
    site.health.append(replace(site.health[0], database_ok=False))
    assert [status(p) for p in ("/livez", "/readyz", "/healthz")] == [200, 503, 503]
    site.health.append(replace(site.health[0], scheduler_alive=False))
    assert [status(p) for p in ("/livez", "/readyz", "/healthz")] == [503, 200, 200]
    site.clock.move(timedelta(seconds=42))
    assert site.client.get("/livez").json()["last_tick_age_s"] == 42.0


def test_metrics_are_prometheus_text(site: Any) -> None:
    Gauge("healer_test", "x", registry=site.client.app.state.deps.registry).set(3)
    answer = site.client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert "healer_test 3.0" in answer.text


def test_every_answer_carries_the_security_headers(full: Any) -> None:
    for path in ("/", "/api/v1/incidents", "/metrics", "/nothing", "/static/healer.css"):
        headers = full.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "script-src" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert len(headers["x-request-id"]) == 16
