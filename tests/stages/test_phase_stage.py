"""How far the healing of an incident has come."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import builders
import healing_worlds as worlds
import pytest

from healer.model.hypothesis import Diagnosis, Side, Term
from healer.model.incident import Phase
from healer.model.intent import Effect, Outcome, State
from healer.stages.phase import is_actionable, is_lost, settle, with_diagnosis

HOLD = timedelta(minutes=2)


@pytest.mark.parametrize(
    ("state", "changes", "phase"),
    [
        (State.APPROVED, {}, Phase.ACTING),
        (State.EXECUTING, {}, Phase.ACTING),
        (State.VERIFYING, {}, Phase.VERIFYING),
        (State.PLANNED, {"expires_at": builders.at(900)}, Phase.AWAITING_APPROVAL),
        (State.PLANNED, {}, Phase.DIAGNOSED),
        (State.FAILED, {}, Phase.DIAGNOSED),
        (State.SUCCEEDED, {"plan": builders.plan(remediation="escalate")}, Phase.ESCALATED),
    ],
)
def test_the_phase_is_read_from_the_intents(
    state: State, changes: dict[str, Any], phase: Phase
) -> None:
    found = settle(worlds.incident(), (builders.intent(state, **changes),), builders.NOW, HOLD)
    assert found.phase is phase


def test_a_phase_that_stays_is_no_change() -> None:
    same = worlds.incident(phase=Phase.DIAGNOSED)
    assert settle(same, (), builders.NOW, HOLD) is same


def test_quiet_long_enough_resolves_with_its_reason() -> None:
    quiet = worlds.incident(quiet_since=builders.at(-120))
    outcome = Outcome(Effect.EFFECTIVE, builders.NOW)
    healed = builders.intent(State.SUCCEEDED, outcome=outcome)
    found = settle(quiet, (healed,), builders.NOW, HOLD)
    assert (found.phase, found.resolved_at) == (Phase.RESOLVED, builders.NOW)
    assert found.resolution == "restart_pod was effective"
    assert found.version == quiet.version + 1
    watched = settle(quiet, (builders.intent(State.REHEARSED),), builders.NOW, HOLD)
    assert "only observed" in watched.resolution


def test_a_moment_of_quiet_or_an_action_under_way_does_not_resolve() -> None:
    brief = worlds.incident(quiet_since=builders.at(-119))
    assert settle(brief, (), builders.NOW, HOLD).phase is Phase.DIAGNOSED
    quiet = worlds.incident(quiet_since=builders.at(-600))
    busy = builders.intent(State.EXECUTING)
    assert settle(quiet, (busy,), builders.NOW, HOLD).phase is Phase.ACTING


def test_the_same_leader_keeps_its_since_and_another_starts_anew() -> None:
    known = worlds.incident()
    assert known.diagnosis is not None
    same = with_diagnosis(known, builders.diagnosis(worlds.hypothesis()), builders.NOW)
    assert same.diagnosis is not None
    assert same.diagnosis.leading_since == builders.at(-60)
    other = with_diagnosis(known, builders.diagnosis(worlds.hypothesis("x")), builders.NOW)
    assert other.diagnosis is not None
    assert other.diagnosis.leading_since == builders.NOW


def test_a_known_cause_is_lost_when_nothing_known_fits_any_more() -> None:
    known = builders.diagnosis(builders.hypothesis("routing"))
    nothing = builders.diagnosis(builders.hypothesis("unknown"))
    assert is_lost(known, nothing)
    assert not is_lost(known, known)
    assert not is_lost(nothing, known)
    assert not is_lost(None, nothing)


def asked(**sides: Side) -> Diagnosis:
    """`routing` in the lead, too unsure to act on, with an answer to each of its questions."""
    terms = tuple(Term(name, side, 1.0, "seen") for name, side in sides.items())
    return builders.diagnosis(builders.hypothesis("routing", terms=terms, confidence=0.4))


def test_a_cause_that_can_only_be_seen_less_well_than_before_is_lost() -> None:
    known = asked(spread=Side.FOR, total=Side.AGAINST)
    assert is_lost(known, asked(spread=Side.FOR, total=Side.MISSING))
    assert is_lost(known, asked(spread=Side.MISSING, total=Side.AGAINST, news=Side.FOR))


def test_an_answer_that_is_another_now_or_something_left_unexplained_is_news() -> None:
    known = asked(spread=Side.FOR, total=Side.FOR)
    assert not is_lost(known, asked(spread=Side.FOR, total=Side.FOR))
    assert not is_lost(known, asked(spread=Side.AGAINST, total=Side.MISSING))
    assert not is_lost(known, asked(spread=Side.FOR, total=Side.MISSING, coverage=Side.AGAINST))
    assert not is_lost(known, builders.diagnosis(builders.hypothesis("kv_pressure")))


def test_doubt_is_not_actionable() -> None:
    sure = builders.diagnosis()
    assert is_actionable(sure)
    assert not is_actionable(dataclasses.replace(sure, abstained="a tie"))
    assert not is_actionable(builders.diagnosis(builders.hypothesis(confidence=0.5)))
    assert not is_actionable(builders.diagnosis(builders.hypothesis(proposes=())))
