"""Links in chat messages: looking changes nothing, an answer counts once and for one plan only."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from builders import NOW, at, incident, intent, plan, pod, workload

from healer.adapters.routing import Routing
from healer.attention import attention
from healer.links import KEY, Question, read_link, write_link
from healer.model.actions import EvictPod
from healer.model.incident import Phase
from healer.model.intent import State
from healer.model.message import Notice, Occasion
from healer.settings import Channel, NotifySettings

BASE = "https://healer.example"


@pytest.fixture
def links(site: Any) -> dict[str, str]:
    """Paths of the links of a message about a plan that waits."""
    found = incident(phase=Phase.AWAITING_APPROVAL)
    asked = intent(State.PLANNED, expires_at=at(1200))
    site.store.put_incident(found)
    site.store.claim_intent(asked)
    settings = NotifySettings(channels={"ops": Channel("dingtalk", answer_links=True)})
    notice = Notice(Occasion.PROPOSED, found, NOW, (asked,), f"{BASE}/approvals/{asked.id}")
    linked = Routing(site.store, settings).linked("ops", notice, NOW)
    return {purpose: url.removeprefix(BASE) for purpose, url in linked.links.items()}


def confirm(site: Any, path: str, **form: str) -> Any:
    return site.client.post(path, data={"by": "Ada", **form}, headers={"Accept": "text/html"})


def asked_of(site: Any) -> Any:
    (found,) = site.store.intents(incident_id="inc-1")
    return found


def test_a_preview_of_the_link_changes_nothing(site: Any, links: dict[str, str]) -> None:
    before = len(site.store.audit())
    for _ in range(3):
        for path in links.values():
            answer = site.client.get(path, headers={"Accept": "text/html"})
            assert answer.status_code == 200
            assert "<form" in answer.text
            assert answer.headers["cache-control"] == "no-store"
            assert answer.headers["referrer-policy"] == "no-referrer"
    assert site.client.head(links["answer"]).status_code == 405
    assert asked_of(site).approved_by == ""
    assert len(site.store.audit()) == before
    assert attention(site.store, "inc-1").taken_by == ""


@pytest.mark.parametrize("decision", ["approve", "reject"])
def test_confirming_counts_once(site: Any, links: dict[str, str], decision: str) -> None:
    assert confirm(site, links["answer"], decision=decision).status_code == 200
    kinds = [entry.kind for _, entry in site.store.audit()]
    assert kinds == ["intent.approved" if decision == "approve" else "intent.rejected"]
    assert site.store.audit()[0][1].actor == "link:Ada"
    for again in ("approve", "reject"):
        answer = confirm(site, links["answer"], decision=again)
        assert answer.status_code == 409
    assert len(site.store.audit()) == 1
    assert "<form" not in site.client.get(links["answer"], headers={"Accept": "text/html"}).text


def test_a_changed_plan_is_not_what_was_asked(site: Any, links: dict[str, str]) -> None:
    old = asked_of(site)
    other = plan(actions=(EvictPod(pod("another"), workload(), "uid-b"),))
    site.store.put_intent(replace(old, plan=other, digest=other.digest))
    page = site.client.get(links["answer"], headers={"Accept": "text/html"})
    assert "<form" not in page.text
    assert confirm(site, links["answer"], decision="approve").status_code == 409
    assert asked_of(site).approved_by == ""


def test_a_link_lapses_after_a_quarter_of_an_hour(site: Any, links: dict[str, str]) -> None:
    site.clock.move(timedelta(minutes=14, seconds=59))
    assert site.client.get(links["answer"]).status_code == 200
    site.clock.move(timedelta(seconds=1))
    assert site.client.get(links["answer"]).status_code == 404
    assert confirm(site, links["answer"], decision="approve").status_code == 404
    assert asked_of(site).approved_by == ""


def test_a_link_lapses_with_its_plan(site: Any) -> None:
    found, asked = incident(), intent(State.PLANNED, expires_at=at(60))
    settings = NotifySettings(channels={"ops": Channel("dingtalk", answer_links=True)})
    notice = Notice(Occasion.PROPOSED, found, NOW, (asked,), f"{BASE}/approvals/{asked.id}")
    url = Routing(site.store, settings).linked("ops", notice, NOW).links["answer"]
    key = (site.store.get(KEY) or "").encode()
    question = read_link(url.rpartition("/")[2], key, NOW)
    assert question is not None
    assert question.until == at(60)


def test_only_channels_that_ask_for_it_get_links_that_answer(site: Any) -> None:
    notice = Notice(
        Occasion.PROPOSED,
        incident(),
        NOW,
        (intent(State.PLANNED, expires_at=at(60)),),
        f"{BASE}/approvals/x",
    )
    settings = NotifySettings(channels={"ops": Channel("dingtalk")})
    assert set(Routing(site.store, settings).linked("ops", notice, NOW).links) == {"take", "mute"}


def test_a_link_that_was_tampered_with_opens_nothing(site: Any, links: dict[str, str]) -> None:
    token = links["answer"].rpartition("/")[2]
    body, _, seal = token.partition(".")
    forged = [
        f"{body}.{seal[:-1]}{'A' if seal[-1] != 'A' else 'B'}",
        f"{body[:-4]}AAAA.{seal}",
        body,
        f".{seal}",
        "x" * 500,
        write_link(Question("answer", "inc-1", at(600), asked_of(site).id), b"another key"),
    ]
    for each in forged:
        assert site.client.get(f"/l/{each}").status_code == 404, each
        assert confirm(site, f"/l/{each}", decision="approve").status_code == 404
    assert asked_of(site).approved_by == ""


def test_without_a_key_no_link_is_ours(site: Any) -> None:
    token = write_link(Question("take", "inc-1", at(600)), b"")
    assert read_link(token, b"", NOW) is None
    assert site.client.get(f"/l/{token}").status_code == 404


def test_taking_and_muting_are_kept_and_shown(site: Any, links: dict[str, str]) -> None:
    assert confirm(site, links["take"]).status_code == 200
    assert confirm(site, links["mute"]).status_code == 200
    known = attention(site.store, "inc-1")
    assert known.taken_by == "link:Ada"
    assert known.muted_until == at(3600)
    assert known.muted(at(3599))
    assert not known.muted(at(3600))
    page = site.page("/incidents/inc-1").text
    assert "link:Ada looks after it" in page
    assert "Muted until" in page
    assert [e.kind for _, e in site.store.audit()] == ["incident.taken", "incident.muted"]


def test_an_incident_that_is_over_cannot_be_taken(site: Any, links: dict[str, str]) -> None:
    site.store.put_incident(incident(phase=Phase.RESOLVED, resolved_at=NOW))
    assert confirm(site, links["take"]).status_code == 409
    assert attention(site.store, "inc-1").taken_by == ""
