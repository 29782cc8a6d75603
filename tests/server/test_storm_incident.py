"""An incident with thousands of symptoms: every answer is bounded, and nothing is out of reach."""

from __future__ import annotations

from typing import Any

import pytest
from builders import NOW, at, diagnosis, finding, incident, pod

from healer.model.event import Event

MANY = 1500


@pytest.fixture
def storm(site: Any) -> Any:
    pods = [pod(f"llama-8b-{n}") for n in range(MANY)]
    site.store.put_incident(
        incident(
            targets=tuple(pods),
            findings=tuple(
                finding(target=p, since=at(-600 + n % 400), summary=f"TTFT p95 {n} s, limit 2 s")
                for n, p in enumerate(pods)
            ),
            events=tuple(
                Event(
                    "alert", p, at(-600 + n % 400), f"alert {n}", {"token": "secret=abcdef123456"}
                )
                for n, p in enumerate(pods[:700])
            ),
            diagnosis=diagnosis(),
        )
    )
    return site


def pages_of(site: Any, path: str, **params: Any) -> list[Any]:
    found, after = [], 0
    while after is not None:
        answer = site.get(path, params={**params, "after": after})
        assert answer.status_code == 200
        body = answer.json()
        after = body["next_after"]
        assert (after is not None) == ("link" in answer.headers)
        if after is not None:
            assert f"after={after}" in answer.headers["link"]
        found.append(body)
    return found


def test_an_answer_holds_the_first_and_says_how_many_there_are(storm: Any) -> None:
    answer = storm.get("/api/v1/incidents/inc-1")
    body = answer.json()
    assert (len(body["symptoms"]), body["symptom_count"]) == (200, MANY)
    assert (len(body["events"]), body["event_count"]) == (200, 700)
    assert (len(body["targets"]), body["target_count"]) == (100, MANY)
    assert len(answer.content) < 300_000
    (row,) = storm.get("/api/v1/incidents").json()["items"]
    assert (len(row["targets"]), row["target_count"]) == (100, MANY)


def test_all_evidence_can_be_read_slice_by_slice(storm: Any) -> None:
    slices = pages_of(storm, "/api/v1/incidents/inc-1/evidence")
    summaries = [s["summary"] for each in slices for s in each["symptoms"]]
    assert summaries == [f"TTFT p95 {n} s, limit 2 s" for n in range(MANY)]
    messages = [e["message"] for each in slices for e in each["events"]]
    assert messages == [f"alert {n}" for n in range(700)]
    assert all(len(each["symptoms"]) + len(each["events"]) <= 200 for each in slices)
    assert "abcdef123456" not in str(slices)


def test_a_slice_behind_the_end_is_empty_and_the_last(storm: Any) -> None:
    for path in ("evidence", "timeline"):
        body = storm.get(f"/api/v1/incidents/inc-1/{path}", params={"after": 10_000}).json()
        assert body["next_after"] is None
        assert not any(body.get(key) for key in ("symptoms", "events", "items"))


def test_the_whole_timeline_can_be_read_slice_by_slice(storm: Any) -> None:
    slices = pages_of(storm, "/api/v1/incidents/inc-1/timeline", limit=200)
    items = [item for each in slices for item in each["items"]]
    assert len(items) == slices[0]["count"] == MANY + 700 + 2
    assert [i["at"] for i in items] == sorted(i["at"] for i in items)


@pytest.mark.parametrize("form", ["html", "md", "json"])
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_reports_name_the_first_and_say_how_many_more(storm: Any, form: str, lang: str) -> None:
    answer = storm.get(f"/api/v1/incidents/inc-1/report.{form}?lang={lang}")
    assert answer.status_code == 200
    assert len(answer.content) < 400_000
    assert "abcdef123456" not in answer.text
    more = {"en": f"…{MANY - 12} more", "zh": f"还有 {MANY - 12} 项"}[lang]
    assert (more in answer.text) == (form != "json")


def test_the_page_is_bounded_and_leads_to_the_rest(storm: Any) -> None:
    page = storm.page("/incidents/inc-1")
    assert len(page.content) < 400_000
    assert f"{MANY - 200 + 500} more" in page.text
    assert '"/api/v1/incidents/inc-1/evidence"' in page.text
    assert page.text.count("TTFT p95") < 450
    assert f"{NOW:%Y}" in page.text
