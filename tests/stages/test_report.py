"""What is worth telling: once for each change of phase, whatever the daemon lives through."""

from __future__ import annotations

from dataclasses import replace

import pytest
from builders import NOW, at, diagnosis, hypothesis, incident, intent, plan

from healer.model.hypothesis import Diagnosis
from healer.model.incident import Incident, Phase
from healer.model.intent import Intent, State
from healer.model.message import Notice, Occasion
from healer.stages.report import notices

URL = "https://healer.example/"


def told(
    after: Incident, *intents: Intent, before: Incident | None = None, url: str = ""
) -> tuple[Notice, ...]:
    return notices((before,) if before else (), (after,), intents, NOW, url)


def occasions(*found: Notice) -> list[Occasion]:
    return [n.occasion for n in found]


def test_a_quiet_cluster_has_nothing_to_tell() -> None:
    assert notices((), (), (), NOW) == ()


def test_a_new_incident_is_told_with_a_link_where_there_is_an_address() -> None:
    (found,) = told(incident(), url=URL)
    assert found.occasion is Occasion.OPENED
    assert found.url == "https://healer.example/incidents/inc-1"
    assert told(incident())[0].url == ""


def test_a_diagnosis_is_told_only_once_it_has_settled() -> None:
    fresh = incident(diagnosis=diagnosis(leading_since=at(-10)), phase=Phase.DIAGNOSED)
    assert occasions(*told(fresh)) == [Occasion.OPENED]
    settled = incident(diagnosis=diagnosis(leading_since=at(-31)), phase=Phase.DIAGNOSED)
    assert occasions(*told(settled)) == [Occasion.DIAGNOSED]


@pytest.mark.parametrize(
    "unsure",
    [
        diagnosis(hypothesis("no_fault"), leading_since=at(-90)),
        diagnosis(hypothesis("unknown"), leading_since=at(-90)),
        diagnosis(abstained="two causes tie", leading_since=at(-90)),
    ],
    ids=["no_fault", "unknown", "abstained"],
)
def test_not_knowing_is_not_told_as_a_diagnosis(unsure: Diagnosis) -> None:
    assert occasions(*told(incident(diagnosis=unsure))) == [Occasion.OPENED]


def test_a_plan_that_waits_is_told_with_the_link_to_answer_it() -> None:
    waiting = incident(diagnosis=diagnosis(leading_since=at(-60)), phase=Phase.AWAITING_APPROVAL)
    asked = intent(State.PLANNED, expires_at=at(900))
    (found,) = told(waiting, asked, url=URL)
    assert found.occasion is Occasion.PROPOSED
    assert found.url == f"https://healer.example/approvals/{asked.id}"


def test_a_plan_deferred_by_a_guard_is_not_told() -> None:
    deferred = intent(State.PLANNED)
    assert occasions(*told(incident(), deferred)) == [Occasion.OPENED]


def test_what_would_have_been_done_in_observe_mode_is_told() -> None:
    assert occasions(*told(incident(), intent(State.REHEARSED))) == [Occasion.PROPOSED]


def test_an_action_is_told_when_it_was_sent_and_when_it_did_not_help() -> None:
    acting = incident(phase=Phase.VERIFYING, diagnosis=diagnosis(leading_since=at(-60)))
    first = told(acting, intent(State.VERIFYING))
    second = told(acting, intent(State.FAILED))
    assert occasions(*first, *second) == [Occasion.ACTED, Occasion.ACTED]
    assert first[0].key != second[0].key


def test_the_same_truth_has_the_same_key_every_tick() -> None:
    acting = incident(phase=Phase.VERIFYING)
    (one,) = told(acting, intent(State.VERIFYING))
    (two,) = told(replace(acting, version=7), intent(State.VERIFYING, updated_at=at(30)))
    assert one.key == two.key


def test_an_end_is_told_once_and_again_after_a_restart() -> None:
    ended = incident(phase=Phase.RESOLVED, resolved_at=NOW)
    assert occasions(*told(ended, before=incident())) == [Occasion.RESOLVED]
    assert told(ended, before=ended) == ()
    (after_restart,) = told(ended)
    assert after_restart.key == told(ended, before=incident())[0].key


def test_an_end_has_one_key_whether_or_not_its_actions_are_at_hand() -> None:
    ended = incident(phase=Phase.RESOLVED, resolved_at=NOW)
    assert told(ended, intent(State.SUCCEEDED))[0].key == told(ended)[0].key


def test_an_escalation_calls_for_somebody() -> None:
    escalated = incident(phase=Phase.ESCALATED, diagnosis=diagnosis())
    page = intent(State.SUCCEEDED, plan=plan(remediation="escalate"))
    assert occasions(*told(escalated, page)) == [Occasion.ESCALATED]


def test_the_actions_of_another_incident_are_not_told_here() -> None:
    other = intent(State.VERIFYING, plan=plan(incident_id="inc-2"))
    assert occasions(*told(incident(), other)) == [Occasion.OPENED]
