"""Carries intents out: written down, then sent, then the answer written down.

The only caller of Hands. The audit entry and the intent are durable before each call; where they
cannot be written, nothing is sent. No mutation is ever sent twice on a guess: after a lost answer
the world is read.
"""

from __future__ import annotations

import dataclasses
from datetime import timedelta

from healer.adapters.alone import Alone
from healer.errors import HealerError, Permanent, Temporary, UnknownOutcome
from healer.model.audit import AuditEntry
from healer.model.intent import Intent, Outcome, Receipt, State
from healer.model.plan import Plan
from healer.model.verdict import Decision, Judgement
from healer.ports import Clock, Hands, Leadership, Store
from healer.stages import act

ALONE = Alone()


class Executor:
    def __init__(
        self,
        hands: Hands,
        store: Store,
        clock: Clock,
        actor: str = "healer",
        leading: Leadership = ALONE,
    ) -> None:
        self._hands, self._store, self._clock, self._actor = hands, store, clock, actor
        self._leading = leading

    def start(
        self,
        plan: Plan,
        judgement: Judgement,
        approval_timeout: timedelta,
        pods_before: tuple[str, ...] = (),
    ) -> Intent | None:
        """Claim the plan's intent and do what its judgement allows at once; None if claimed."""
        now = self._clock.now()
        intent = act.new_intent(plan, judgement, now, approval_timeout)
        intent = dataclasses.replace(intent, pods_before=pods_before)
        if not self._store.claim_intent(intent):
            return None
        kind = "plan.refused" if judgement.decision >= Decision.DEFER else "plan.proposed"
        self._record(kind, intent, plan.summary, verdicts=[str(v) for v in judgement.verdicts])
        return self.advance(intent, judgement)

    def rejudge(self, intent: Intent, judgement: Judgement, approval_timeout: timedelta) -> Intent:
        """A planned intent, asked again."""
        after = act.rejudged(intent, judgement, self._clock.now(), approval_timeout)
        if after is not intent:
            self._keep(after, intent)
            kind = "intent.approved" if after.state is State.APPROVED else "plan.refused"
            self._record(kind, after, after.note, verdicts=[str(v) for v in judgement.verdicts])
        return self.advance(after, judgement)

    def advance(self, intent: Intent, judgement: Judgement) -> Intent:
        """The next step, where it may go now; every further one is judged anew."""
        if intent.state not in (State.APPROVED, State.EXECUTING):
            return intent
        if judgement.decision is Decision.OBSERVE and intent.state is State.APPROVED:
            return self._rehearse(intent)
        at = act.next_step(intent)
        if at is not None and act.is_unanswered(intent.steps[at]):
            return self._read_back(intent, at)
        if judgement.decision is not Decision.ALLOW:
            after = act.held_up(intent, judgement, self._clock.now())
            if after is not intent:
                self._keep(after, intent)
                self._record(f"intent.{after.state}", after, after.note)
            return after
        if at is None or not act.may_retry(intent.steps[at], self._clock.now()):
            return intent
        return self._send(intent, at)

    def conclude(self, intent: Intent, outcome: Outcome) -> Intent:
        after = act.verified(intent, outcome, self._clock.now())
        self._keep(after, intent)
        self._record("intent.verified", after, f"{outcome.effect}: {'; '.join(outcome.reasons)}")
        return after

    def resume(self, intent: Intent) -> Intent:
        """After a crash: a step that was sent and never answered is read back, not sent again."""
        at = act.next_step(intent)
        if intent.state is not State.EXECUTING or at is None:
            return intent
        if not act.is_unanswered(intent.steps[at]):
            return intent
        return self._read_back(intent, at)

    def drop(self, intent: Intent, why: str) -> Intent:
        """Give up an intent of which nothing has been sent, or nothing more may be."""
        after = act.ended(intent, State.ABORTED, why, self._clock.now())
        self._keep(after, intent)
        self._record("intent.aborted", after, why)
        return after

    def _send(self, intent: Intent, at: int) -> Intent:
        epoch = self._leading.epoch()
        if not epoch:
            return intent  # another replica leads, and goes on from what is written down
        sent = dataclasses.replace(act.sending(intent, at, self._clock.now()), epoch=epoch)
        action = sent.steps[at].action
        self._keep(sent, intent)
        self._record("step.sent", sent, f"{action.verb} {action.target}", step=at)
        try:
            receipt = self._hands.carry_out(action, sent.id)
        except UnknownOutcome:
            return self._read_back(sent, at)
        except Temporary as error:  # provably unsent, or refused before it counted
            receipt = Receipt(False, self._clock.now(), str(error), retry_after_s=15.0)
        except Permanent as error:
            receipt = Receipt(False, self._clock.now(), str(error))
        return self._answered(sent, at, receipt)

    def _answered(self, intent: Intent, at: int, receipt: Receipt) -> Intent:
        after = act.answered(intent, at, receipt, self._clock.now())
        self._keep(after, intent)
        self._record(
            "step.answered",
            after,
            f"{intent.steps[at].action.verb}: {receipt.detail or ('done' if receipt.ok else 'no')}",
            step=at,
            ok=receipt.ok,
            before=receipt.before,
            after=receipt.after,
        )
        if after.state in (State.ABORTED, State.FAILED):
            self._record(f"intent.{after.state}", after, after.note)
        elif (
            after.state is State.VERIFYING
            and not after.plan.success.signals
            and all(step.action.verb == "escalate" for step in after.steps)
        ):
            done = dataclasses.replace(after, state=State.SUCCEEDED)
            self._keep(done, after)
            return done
        return after

    def _read_back(self, intent: Intent, at: int) -> Intent:
        action = intent.steps[at].action
        try:
            holds = self._hands.holds(action, intent.id)
        except HealerError:
            holds = None
        after = act.read_back(intent, at, holds, self._clock.now())
        if after is intent:
            return intent
        self._keep(after, intent)
        self._record("step.answered", after, f"{action.verb}: read back, {holds=}", step=at)
        return after

    def _rehearse(self, intent: Intent) -> Intent:
        """The API server's dry run of every action: what would have happened."""
        steps = []
        for step in intent.steps:
            now = self._clock.now()
            try:
                receipt = self._hands.rehearse(step.action, intent.id)
            except HealerError as error:
                receipt = Receipt(False, now, f"would be refused: {error}")
            # Whatever the hands call their answer, nothing was sent.
            receipt = dataclasses.replace(receipt, dry_run=True)
            steps.append(dataclasses.replace(step, receipt=receipt))
        now = self._clock.now()
        after = dataclasses.replace(
            intent, steps=tuple(steps), state=State.REHEARSED, updated_at=now
        )
        self._keep(after, intent)
        answers = [f"{s.action.verb}: {s.receipt.detail}" for s in steps if s.receipt]
        self._record(
            "intent.rehearsed",
            after,
            f"would have been done: {intent.plan.summary}",
            answers=answers,
        )
        return after

    def _keep(self, intent: Intent, was: Intent) -> None:
        """Raises Temporary where somebody answered or acted meanwhile: the next tick looks anew."""
        if not self._store.replace_intent(intent, was):
            raise Temporary(f"{intent.id}: it has changed meanwhile, nothing was done")

    def _record(self, kind: str, intent: Intent, message: str, **detail: object) -> None:
        self._store.record(
            AuditEntry(
                kind=kind,
                at=self._clock.now(),
                actor=self._actor,
                incident_id=intent.plan.incident_id,
                intent_id=intent.id,
                target=str(intent.plan.target),
                message=message,
                detail={"remediation": intent.plan.remediation, "cause": intent.plan.cause}
                | detail,
            )
        )
