"""What people say of a diagnosis: with the scope of approvals, once for the cause that was seen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from builders import diagnosis, hypothesis, incident

from healer.model.rule import Rule, RuleBook
from healer.server import ServerDeps, create_app

HTML = {"Accept": "text/html"}


@pytest.fixture
def hung(site: Any) -> Any:
    site.store.put_incident(incident(diagnosis=diagnosis(hypothesis("engine_hang"))))
    return site


def say(site: Any, token: str = "approve-token", **changes: Any) -> Any:
    body = {"cause": "engine_hang", "verdict": "right", "by": "Li Lei", **changes}
    return site.send("/api/v1/verdicts/inc-1", body, token=token)


def fill_in(site: Any, **fields: str) -> Any:
    form = {"cause": "engine_hang", "verdict": "wrong", "by": "Ada", "token": "approve-token"}
    return site.client.post(
        "/incidents/inc-1/verdict", data=form | fields, headers=HTML, follow_redirects=False
    )


def test_a_verdict_is_kept_counted_and_audited(hung: Any) -> None:
    answer = say(hung, note="seen on the dashboard")
    assert answer.status_code == 200
    assert answer.json()["standing"] == {"right": 1, "wrong": 0}
    (kept,) = hung.store.opinions()
    assert (kept.cause, kept.right, kept.who, kept.note) == (
        "engine_hang", True, "Li Lei", "seen on the dashboard",
    )  # fmt: skip
    ((_, entry),) = hung.store.audit()
    assert (entry.kind, entry.actor) == ("diagnosis.judged", "Li Lei")


def test_of_several_verdicts_on_one_incident_the_last_counts(hung: Any) -> None:
    say(hung)
    assert say(hung, verdict="wrong", by="Ada").json()["standing"] == {"right": 0, "wrong": 1}
    found = hung.get("/api/v1/verdicts", params={"incident_id": "inc-1"}).json()
    assert [(i["verdict"], i["by"]) for i in found["items"]] == [("wrong", "Ada")]
    assert found["standings"] == {"engine_hang": {"right": 0, "wrong": 1}}


@pytest.mark.parametrize(
    ("token", "status"), [("read-token", 403), ("ingest-token", 403), ("no", 401)]
)
def test_only_the_scope_of_approvals_may_judge(hung: Any, token: str, status: int) -> None:
    assert say(hung, token=token).status_code == status
    assert hung.store.opinions() == ()


def test_a_verdict_on_a_cause_that_no_longer_leads_does_not_count(hung: Any) -> None:
    answer = say(hung, cause="load_surge")
    assert answer.status_code == 409
    assert "engine_hang" in answer.json()["detail"]
    hung.store.put_incident(replace(incident("inc-1"), diagnosis=None))
    assert say(hung).status_code == 409
    assert hung.send("/api/v1/verdicts/nobody", {}, token="approve-token").status_code == 422
    assert hung.store.opinions() == ()


@pytest.mark.parametrize(
    "changes",
    [{"verdict": "maybe"}, {"by": ""}, {"note": "n" * 1001}, {"cause": ""}, {"more": 1}],
)
def test_a_verdict_that_cannot_be_read_is_refused_with_its_path(hung: Any, changes: Any) -> None:
    answer = say(hung, **changes)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["path"] == next(iter(changes))


def test_an_incident_is_judged_on_its_page(hung: Any) -> None:
    assert "Was the diagnosis right?" in hung.page("/incidents/inc-1").text
    assert fill_in(hung).headers["location"] == "/incidents/inc-1#judged"
    (kept,) = hung.store.opinions()
    assert (kept.right, kept.who) == (False, "Ada")
    assert "诊断是否正确？" in hung.page("/incidents/inc-1", "zh").text


def test_the_form_wants_the_approval_token_and_the_cause_that_leads(hung: Any) -> None:
    assert fill_in(hung, token="read-token").status_code == 401
    late = fill_in(hung, cause="load_surge")
    assert late.status_code == 409
    assert "Another cause leads by now" in late.text
    assert hung.store.opinions() == ()


def test_the_rules_page_tells_a_rules_standing_and_what_it_lacks(hung: Any) -> None:
    rule = Rule("engine_hang", (), 0.1, "The engine hangs", earns=2, file="mine.yaml")
    deps: ServerDeps = hung.client.app.state.deps
    shown = replace(deps, rules=RuleBook((rule,)))
    hung.client.app = create_app(shown)
    hung.client._transport.app = hung.client.app
    say(hung)
    page = hung.page("/rules").text
    assert "1 right, 0 wrong" in page
    assert "Leaves the shadow after 2 right verdicts of people; it has 1." in page
    hung.store.put_incident(incident("inc-2", diagnosis=diagnosis(hypothesis("engine_hang"))))
    hung.send(
        "/api/v1/verdicts/inc-2",
        {"cause": "engine_hang", "verdict": "right", "by": "Ada"},
        token="approve-token",
    )
    assert "shadow" not in hung.page("/rules").text
