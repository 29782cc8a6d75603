"""How an intent moves from state to state."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import builders
import pytest

from healer.model.intent import Effect, Outcome, Receipt, State
from healer.model.verdict import Decision, Judgement, Verdict
from healer.stages import act

QUARTER = timedelta(minutes=15)


def says(decision: Decision) -> Judgement:
    return Judgement("p", (Verdict("fixed", decision, ("because",)),))


def test_a_person_who_does_not_answer_has_said_no() -> None:
    asked = act.new_intent(builders.plan(), says(Decision.APPROVE), builders.NOW, QUARTER)
    assert (asked.state, asked.expires_at) == (State.PLANNED, builders.NOW + QUARTER)
    early = act.rejudged(asked, says(Decision.APPROVE), builders.at(899), QUARTER)
    late = act.rejudged(asked, says(Decision.APPROVE), builders.at(900), QUARTER)
    assert (early.state, late.state) == (State.PLANNED, State.ABORTED)


@pytest.mark.parametrize(
    ("decision", "seconds", "state"),
    [
        (Decision.ALLOW, 60, State.APPROVED),
        (Decision.OBSERVE, 60, State.APPROVED),
        (Decision.DEFER, 599, State.PLANNED),
        (Decision.DEFER, 600, State.ABORTED),
        (Decision.DENY, 1, State.ABORTED),
    ],
)
def test_a_plan_that_was_put_off_goes_waits_or_is_dropped(
    decision: Decision, seconds: float, state: State
) -> None:
    waiting = builders.intent(State.PLANNED)
    after = act.rejudged(waiting, says(decision), builders.at(seconds), QUARTER)
    assert after.state is state


def test_a_yes_that_guards_never_let_through_does_not_wait_for_ever() -> None:
    asked = act.new_intent(builders.plan(), says(Decision.APPROVE), builders.NOW, QUARTER)
    agreed = dataclasses.replace(asked, approved_by="ann")
    held = act.rejudged(agreed, says(Decision.DEFER), builders.at(1499), QUARTER)
    assert held.state is State.PLANNED
    dropped = act.rejudged(agreed, says(Decision.DEFER), builders.at(1500), QUARTER)
    assert dropped.state is State.ABORTED


def test_an_approved_intent_that_is_denied_is_dropped() -> None:
    ready = builders.intent(State.APPROVED)
    assert act.held_up(ready, says(Decision.DENY), builders.NOW).state is State.ABORTED
    assert act.held_up(ready, says(Decision.DEFER), builders.NOW) is ready
    assert act.held_up(ready, says(Decision.DEFER), builders.at(600)).state is State.ABORTED


def test_a_step_that_was_sent_is_only_retried_after_an_answer_that_says_later() -> None:
    step = act.sending(builders.intent(State.APPROVED), 0, builders.NOW).steps[0]
    assert act.is_unanswered(step)
    assert not act.may_retry(step, builders.at(3600))
    later = Receipt(False, builders.NOW, retry_after_s=10)
    answered = dataclasses.replace(step, receipt=later)
    assert not act.may_retry(answered, builders.at(9))
    assert act.may_retry(answered, builders.at(10))


@pytest.mark.parametrize(
    ("effect", "state"),
    [
        (Effect.EFFECTIVE, State.SUCCEEDED),
        (Effect.INEFFECTIVE, State.FAILED),
        (Effect.INCONCLUSIVE, State.FAILED),
    ],
)
def test_only_a_proven_effect_is_a_success(effect: Effect, state: State) -> None:
    done = builders.intent(State.VERIFYING)
    assert act.verified(done, Outcome(effect, builders.NOW), builders.NOW).state is state
