"""Pages: readable at night, in two languages, harmless whatever a label says."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from typing import Any

import pytest
from builders import NOW, at, diagnosis, hypothesis, incident, intent, plan, pod, workload

from healer.errors import BadInput
from healer.model.actions import EvictPod
from healer.model.event import Event
from healer.model.hypothesis import Side, Term
from healer.model.incident import Phase
from healer.model.intent import State
from healer.model.verdict import Decision, Verdict
from healer.server import Chart, create_app
from healer.settings import NotifySettings

EVIL = '"><script>alert(1)</script><img src=x onerror=alert(1)> {{7*191}}'
VOID = frozenset({"meta", "link", "input", "br", "img"})


class Shape(HTMLParser):
    """Fails on tags that do not match, and collects what a page holds."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        assert self.stack == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag


def waiting_plan(site: Any) -> Any:
    site.store.put_incident(incident(phase=Phase.AWAITING_APPROVAL, diagnosis=diagnosis()))
    wanted = plan()
    asked = intent(
        State.PLANNED,
        plan=wanted,
        expires_at=at(900),
        verdicts=(Verdict("approval", Decision.APPROVE, ("asks a person",)),),
    )
    site.store.claim_intent(asked)
    return asked


@pytest.fixture
def evil(site: Any) -> Any:
    term = Term(EVIL, Side.FOR, 1.0, EVIL, source=EVIL)
    leader = hypothesis(title=EVIL, title_zh=EVIL, terms=(term,), reference=f"javascript:{EVIL}")
    site.store.put_incident(
        incident(
            title=EVIL,
            diagnosis=diagnosis(leader, hypothesis("x", title=EVIL, why_not=EVIL)),
            events=(Event("alert", pod(EVIL), at(-9), EVIL, {}, EVIL),),
        )
    )
    wanted = plan(summary=EVIL)
    site.store.claim_intent(intent(State.PLANNED, plan=wanted, expires_at=at(900), note=EVIL))
    site.health.append(replace(site.health[0], switched_off=EVIL, problems=(EVIL,), sentence=EVIL))
    times = tuple(at(n).timestamp() for n in (-30, -15, 0))
    chart = Chart(EVIL, EVIL, EVIL, times, (1.0, 2.0, 3.0), title=EVIL, title_zh=EVIL,
                  markers=((times[1], EVIL),))  # fmt: skip
    site.charts.append(chart)
    return site


PAGES = ("/", "/incidents", "/incidents/inc-1", "/approvals", "/audit", "/sign-in")


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_well_formed_and_asks_nothing_of_any_other_origin(
    evil: Any, path: str, language: str
) -> None:
    answer = evil.page(path, language)
    assert answer.status_code == 200
    shape = Shape(answer.text)
    assert "<script" not in answer.text
    assert "1337" not in answer.text
    for tag, attributes in shape.tags:
        assert tag not in ("script", "img", "iframe", "object", "style"), tag
        assert not any(name.startswith("on") or name == "style" for name in attributes)
        for name in ("href", "src", "action"):
            link = attributes.get(name) or "/"
            assert link.startswith(("/", "#", "data:,")), link


@pytest.mark.parametrize("path", PAGES)
def test_both_languages_are_whole(evil: Any, path: str) -> None:
    english, chinese = evil.page(path, "en").text, evil.page(path, "zh").text
    assert 'lang="en"' in english
    assert 'lang="zh-CN"' in chinese
    assert english.count("中文") == 1
    assert not re.search("[\u4e00-\u9fff]", english.replace("中文", ""))
    assert re.search("[\u4e00-\u9fff]", chinese)


def test_the_language_is_chosen_by_link_then_cookie_then_browser(site: Any) -> None:
    def language(**given: Any) -> str:
        return str(site.page("/", **given).headers["content-language"])

    assert language(language="zh-TW,zh;q=0.9,en;q=0.8") == "zh"
    assert language(language="fr,de") == "en"
    assert language(language="en", headers={"Cookie": "healer_language=zh"}) == "zh"
    answer = site.page("/?lang=en", "zh", headers={"Cookie": "healer_language=zh"})
    assert answer.headers["content-language"] == "en"
    assert "healer_language=en" in answer.headers["set-cookie"]


def test_the_overview_says_what_is_broken_what_waits_and_the_mode(site: Any) -> None:
    calm = site.page("/").text
    assert "Nothing is broken." in calm
    assert "Observe mode" in calm
    asked = waiting_plan(site)
    site.store.put_incident(
        incident("inc-0", phase=Phase.RESOLVED, resolved_at=NOW, resolution="scale was effective")
    )
    site.health.append(
        replace(site.health[0], mode="enforce", breakers=("drain_node",), last_tick_at=at(-300))
    )
    busy = site.page("/").text
    for said in (
        "llama-8b-aaaa makes no tokens", "Waits for you", f"/approvals/{asked.id}", "Enforce mode",
        "Circuit breaker open: Drain node", "The last tick is 5 min old", "Scale out: effective",
        "The engine hangs (90 %)",
    ):  # fmt: skip
        assert said in busy, said


def test_the_incident_page_says_what_why_and_what_was_done(site: Any) -> None:
    terms = (
        Term("frozen", Side.FOR, 3.0, "0 tokens/s for 95 s"),
        Term("an Xid", Side.AGAINST, -0.5, "none in 30 min"),
    )
    rival = hypothesis("load_surge", title="A surge", confidence=0.04, why_not="arrivals normal")
    site.store.put_incident(incident(diagnosis=diagnosis(hypothesis(terms=terms), rival)))
    site.store.claim_intent(
        intent(State.REHEARSED, verdicts=(Verdict("mode", Decision.OBSERVE, ("observe",)),))
    )
    times = tuple(at(n).timestamp() for n in range(-120, 1, 15))
    site.charts.append(
        Chart("ttft_p95", "pod:x", "s", times, (0.4,) * 6 + (float("nan"), 3.0, 4.0), (0.2,) * 9,
              (0.6,) * 9, ((times[6], times[8]),), ((times[7], "evict_pod"),))
    )  # fmt: skip
    text = site.page("/incidents/inc-1").text
    for said in (
        "The engine hangs", "0 tokens/s for 95 s", "none in 30 min", "arrivals normal",
        "Restart pod", "rehearsed only", 'class="band"', 'class="span"', 'class="mark"',
        "evict pod", "report.html",
    ):  # fmt: skip
        assert said in text, said
    assert text.count('class="line" d="M') == 2, "a gap breaks the line"


def test_an_unknown_page_is_a_page_for_people_and_a_document_for_programs(site: Any) -> None:
    page = site.page("/incidents/none")
    assert page.status_code == 404
    assert "There is no such page." in page.text
    assert site.get("/incidents/none").headers["content-type"] == "application/problem+json"


def test_a_browser_signs_in_with_the_read_token_and_out_again(site: Any) -> None:
    browser = {"Accept": "text/html"}
    stranger = site.client.get("/", headers=browser)
    assert stranger.status_code == 401
    assert 'action="/sign-in"' in stranger.text
    assert "Broken now" not in stranger.text
    wrong = site.client.post("/sign-in", data={"token": "ingest-token"}, headers=browser)
    assert wrong.status_code == 401
    assert "not a live token" in wrong.text
    right = site.client.post("/sign-in", data={"token": "read-token"}, follow_redirects=False)
    assert right.status_code == 303
    cookie = right.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "read-token" not in cookie
    assert site.client.get("/", headers=browser).status_code == 200
    (site.folder / "read").write_text("another\n")
    assert site.client.get("/", headers=browser).status_code == 401, "it dies with its token"
    (site.folder / "read").write_text("read-token\n")
    site.clock.move(timedelta(hours=13))
    assert site.client.get("/", headers=browser).status_code == 401, "and with time"


def test_a_session_reads_and_cannot_approve_or_ingest(site: Any) -> None:
    asked = waiting_plan(site)
    site.client.post("/sign-in", data={"token": "approve-token"})
    assert site.client.get("/", headers={"Accept": "text/html"}).status_code == 200
    body = {"digest": asked.plan.digest, "decision": "approve", "by": "eve"}
    assert site.client.post(f"/api/v1/approvals/{asked.id}", json=body).status_code == 401
    form = {"digest": asked.plan.digest, "decision": "approve", "by": "eve"}
    assert site.client.post(f"/approvals/{asked.id}", data=form).status_code == 401
    assert site.store.intent(asked.id).approved_by == ""


def test_a_time_zone_nobody_knows_is_refused_at_the_start(site: Any) -> None:
    deps = site.client.app.state.deps
    with pytest.raises(BadInput, match=r"notify\.timezone: 'Mars/Olympus'"):
        create_app(replace(deps, notify=NotifySettings(timezone="Mars/Olympus")))


# approvals


def test_looking_at_a_plan_changes_nothing_however_often(site: Any) -> None:
    asked = waiting_plan(site)
    for _ in range(5):
        page = site.page(f"/approvals/{asked.id}")
        assert page.status_code == 200
        assert asked.plan.digest in page.text
        assert 'method="post"' in page.text
    assert site.store.intent(asked.id) == asked
    assert site.store.audit() == ()


def test_a_plan_is_approved_once_by_a_named_person(site: Any) -> None:
    asked = waiting_plan(site)
    form = {
        "digest": asked.plan.digest,
        "decision": "approve",
        "by": "李雷",
        "token": "approve-token",
    }
    url = f"/approvals/{asked.id}"
    assert site.client.post(url, data=form, follow_redirects=False).status_code == 303
    assert site.store.intent(asked.id).approved_by == "李雷"
    ((_, entry),) = site.store.audit()
    assert (entry.kind, entry.actor, entry.detail["digest"]) == (
        "intent.approved", "李雷", asked.plan.digest,
    )  # fmt: skip
    assert site.nudges == [1]
    assert "Approved." in site.page(url).text
    again = site.client.post(url, data=form, headers={"Accept": "text/html"})
    assert again.status_code == 409
    assert len(site.store.audit()) == 1


def test_a_changed_plan_voids_the_answer(site: Any) -> None:
    asked = waiting_plan(site)
    other = replace(
        asked.plan, actions=(EvictPod(pod("another", uid="uid-z"), workload(), "uid-z"),)
    )
    site.store.put_intent(replace(asked, plan=other, digest=other.digest))
    body = {"digest": asked.plan.digest, "decision": "approve", "by": "li"}
    answer = site.send(f"/api/v1/approvals/{asked.id}", body, token="approve-token")
    assert answer.status_code == 409
    assert site.store.intent(asked.id).approved_by == ""


def test_a_lapsed_plan_cannot_be_approved(site: Any) -> None:
    asked = waiting_plan(site)
    site.clock.move(timedelta(minutes=16))
    assert "<form class" not in site.page(f"/approvals/{asked.id}").text
    assert site.get("/api/v1/approvals").json()["items"] == []
    body = {"digest": asked.plan.digest, "decision": "approve", "by": "li"}
    answer = site.send(f"/api/v1/approvals/{asked.id}", body, token="approve-token")
    assert answer.status_code == 409


def test_a_plan_is_rejected_over_the_api(site: Any) -> None:
    asked = waiting_plan(site)
    (item,) = site.get("/api/v1/approvals").json()["items"]
    body = {"digest": item["digest"], "decision": "reject", "by": "han", "reason": "peak hours"}
    answer = site.send(f"/api/v1/approvals/{asked.id}", body, token="approve-token")
    assert answer.json() == {"intent_id": asked.id, "decision": "reject", "by": "han"}
    assert site.store.intent(asked.id).state is State.ABORTED
    assert site.store.audit()[0][1].message == "peak hours"


@pytest.mark.parametrize("token", ["", "read-token", "ingest-token", "wrong"])
def test_only_an_approval_token_approves(site: Any, token: str) -> None:
    asked = waiting_plan(site)
    body = {"digest": asked.plan.digest, "decision": "approve", "by": "eve"}
    answer = site.send(f"/api/v1/approvals/{asked.id}", body, token=token)
    assert answer.status_code in (401, 403)
    form = site.client.post(f"/approvals/{asked.id}", data=body | {"token": token})
    assert form.status_code == 401
    assert site.store.intent(asked.id).approved_by == ""


@pytest.mark.parametrize(
    ("change", "path"),
    [({"digest": "short"}, "digest"), ({"decision": "maybe"}, "decision"), ({"by": ""}, "by"),
     ({"force": True}, "force")],
)  # fmt: skip
def test_an_answer_that_makes_no_sense_is_refused(
    site: Any, change: dict[str, Any], path: str
) -> None:
    asked = waiting_plan(site)
    body = {"digest": asked.plan.digest, "decision": "approve", "by": "li"} | change
    answer = site.send(f"/api/v1/approvals/{asked.id}", body, token="approve-token")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["path"] == path


def test_an_answer_to_a_plan_that_is_not_there_is_404(site: Any) -> None:
    body = {"digest": "0" * 64, "decision": "approve", "by": "li"}
    assert site.send("/api/v1/approvals/none", body, token="approve-token").status_code == 404
