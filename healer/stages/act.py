"""Act: how an intent moves from state to state. Pure; the executor does what these say.

planned → approved → executing → verifying → succeeded | failed
                ↘ rehearsed      ↘ aborted, unknown
"""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta

from healer.model.intent import Effect, Intent, Outcome, Receipt, State, Step
from healer.model.plan import Plan
from healer.model.verdict import Decision, Judgement

PATIENCE = timedelta(minutes=10)
"""A plan put off that long is stale: it is dropped, and made anew if its reason still stands."""

MOST_TRIES = 3
"""Sendings of one step whose earlier sending provably changed nothing."""

LATE_ARRIVAL_S = 30.0
"""Longer than any request of ours may take: by then one whose answer was lost has come or not."""

FIRST = {
    Decision.ALLOW: State.APPROVED,
    Decision.OBSERVE: State.APPROVED,
    Decision.APPROVE: State.PLANNED,
    Decision.DEFER: State.PLANNED,
    Decision.DENY: State.ABORTED,
}


def new_intent(
    plan: Plan, judgement: Judgement, now: datetime, approval_timeout: timedelta
) -> Intent:
    decision = judgement.decision
    return Intent(
        id=plan.id,
        plan=plan,
        state=FIRST[decision],
        steps=tuple(Step(action) for action in plan.actions),
        created_at=now,
        updated_at=now,
        verdicts=judgement.verdicts,
        digest=plan.digest,
        expires_at=now + approval_timeout if decision is Decision.APPROVE else None,
        compensates=plan.compensates,
        note="; ".join(judgement.reasons) if decision is Decision.DENY else "",
    )


def rejudged(
    intent: Intent, judgement: Judgement, now: datetime, approval_timeout: timedelta
) -> Intent:
    """A planned intent after its guards were asked again."""
    decision = judgement.decision
    state, note, expires = intent.state, intent.note, intent.expires_at
    if expires is not None and now >= expires and not intent.approved_by:
        state, note = State.ABORTED, "no answer in time: that is a no"
    elif decision is Decision.DENY:
        state, note = State.ABORTED, "; ".join(judgement.reasons)
    elif decision in (Decision.ALLOW, Decision.OBSERVE):
        state = State.APPROVED
    elif decision is Decision.APPROVE and expires is None:
        expires = now + approval_timeout
    elif decision is Decision.DEFER and _waited(intent, now):
        state, note = State.ABORTED, f"put off too long: {'; '.join(judgement.reasons)}"
    if (state, expires) == (intent.state, intent.expires_at) and _same(intent, judgement):
        return intent
    return dataclasses.replace(
        intent,
        state=state,
        note=note,
        expires_at=expires,
        verdicts=judgement.verdicts,
        updated_at=now,
    )


def held_up(intent: Intent, judgement: Judgement, now: datetime) -> Intent:
    """An approved or half done intent whose guards no longer allow it: it waits, not for ever."""
    why = "; ".join(judgement.reasons)
    if any(step.sent_at is not None for step in intent.steps):
        begun = intent.executed_at or intent.updated_at
        if now - begun < intent.plan.success.deadline:
            return intent
        return ended(intent, State.FAILED, f"not carried on in time: {why}", now)
    if judgement.decision is Decision.DENY or now - intent.updated_at >= PATIENCE:
        return ended(intent, State.ABORTED, why, now)
    return intent


def next_step(intent: Intent) -> int | None:
    """Index of the first step that is not done; None when all are."""
    return next((at for at, step in enumerate(intent.steps) if not step.done), None)


def sending(intent: Intent, at: int, now: datetime) -> Intent:
    """Written down before the call."""
    step = dataclasses.replace(
        intent.steps[at], sent_at=now, tries=intent.steps[at].tries + 1, receipt=None
    )
    return dataclasses.replace(
        _with_step(intent, at, step),
        state=State.EXECUTING,
        executed_at=intent.executed_at or now,
        updated_at=now,
    )


def answered(intent: Intent, at: int, receipt: Receipt, now: datetime) -> Intent:
    """After the API server's answer."""
    after = _with_step(intent, at, dataclasses.replace(intent.steps[at], receipt=receipt))
    if receipt.ok:
        state = State.EXECUTING if next_step(after) is not None else State.VERIFYING
        return dataclasses.replace(after, state=state, updated_at=now)
    if receipt.gone:
        if len(after.steps) > 1 and after.steps[at].action.verb == "evict_pod":
            # one pod of a drain went by itself: that is what was wanted
            done = dataclasses.replace(receipt, ok=True)
            return answered(intent, at, done, now)
        return ended(after, State.ABORTED, f"no longer what was decided on: {receipt.detail}", now)
    if receipt.retry_after_s is not None:
        if now - (after.executed_at or now) < after.plan.success.deadline:
            return dataclasses.replace(after, updated_at=now)
        return ended(after, State.FAILED, f"not done in time: {receipt.detail}", now)
    return ended(after, State.FAILED, receipt.detail, now)


def is_unanswered(step: Step) -> bool:
    """Whether it may have been carried out without our knowing: after a crash, or a lost write."""
    return step.sent_at is not None and step.receipt is None


def may_retry(step: Step, now: datetime) -> bool:
    """Whether a step that was answered `later` may be sent again: it changed nothing."""
    receipt = step.receipt
    if receipt is None or receipt.ok or receipt.retry_after_s is None:
        return step.sent_at is None
    return now >= receipt.at + timedelta(seconds=receipt.retry_after_s)


def read_back(intent: Intent, at: int, holds: bool | None, now: datetime) -> Intent:  # noqa: FBT001
    """After an answer was lost, or a crash: what the world says; None where it cannot be read.

    What cannot be read now is read again, until the plan's time is over. A step that changed
    nothing may go again, but not at once: what was sent may yet arrive.
    """
    if holds:
        found = Receipt(ok=True, at=now, detail="read back: it holds")
        return answered(intent, at, found, now)
    step = intent.steps[at]
    if holds is None and now - (step.sent_at or now) < intent.plan.success.deadline:
        return intent
    if holds is False and step.tries < MOST_TRIES:
        note = "the answer was lost and nothing had changed"
        later = Receipt(ok=False, at=now, detail=note, retry_after_s=LATE_ARRIVAL_S)
        after = _with_step(intent, at, dataclasses.replace(step, receipt=later))
        return dataclasses.replace(after, updated_at=now, note=note)
    return ended(intent, State.UNKNOWN, "the answer was lost and the world does not tell", now)


def verified(intent: Intent, outcome: Outcome, now: datetime) -> Intent:
    good = outcome.effect is Effect.EFFECTIVE
    return dataclasses.replace(
        intent,
        state=State.SUCCEEDED if good else State.FAILED,
        outcome=outcome,
        updated_at=now,
        note="" if good else "; ".join(outcome.reasons),
    )


def ended(intent: Intent, state: State, note: str, now: datetime) -> Intent:
    return dataclasses.replace(intent, state=state, note=note, updated_at=now)


def _with_step(intent: Intent, at: int, step: Step) -> Intent:
    return dataclasses.replace(intent, steps=(*intent.steps[:at], step, *intent.steps[at + 1 :]))


def _waited(intent: Intent, now: datetime) -> bool:
    """Whether it was put off too long; a person's yes is as patient as a plan, counted anew."""
    if intent.expires_at is not None:
        return bool(intent.approved_by) and now - intent.expires_at >= PATIENCE
    return now - intent.created_at >= PATIENCE


def _same(intent: Intent, judgement: Judgement) -> bool:
    """Verdicts alike but for the numbers in their words: not worth another entry."""
    mine = [(v.guard, v.decision) for v in intent.verdicts]
    return mine == [(v.guard, v.decision) for v in judgement.verdicts]
