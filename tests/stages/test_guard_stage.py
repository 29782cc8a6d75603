"""Every guard is asked, every answer is kept, and the gravest counts."""

from __future__ import annotations

import builders
import healing_worlds as worlds

from healer.model.actions import Escalate
from healer.model.plan import Plan
from healer.model.verdict import Decision, Verdict
from healer.ports import Case, Guard
from healer.stages.guard import judge


class Broken(Guard):
    def judge(self, plan: Plan, case: Case) -> Verdict:
        raise KeyError("surprise")


class Fixed(Guard):
    def __init__(self, decision: Decision) -> None:
        self.decision = decision

    def judge(self, plan: Plan, case: Case) -> Verdict:
        return Verdict("fixed", self.decision, ("because",))


def test_a_guard_that_raises_is_a_denial_and_the_others_are_still_asked() -> None:
    found = judge(builders.plan(), worlds.case(), (Broken(), Fixed(Decision.ALLOW)))
    assert found.decision is Decision.DENY
    assert [v.guard for v in found.verdicts] == ["Broken", "fixed"]
    assert "surprise" in found.reasons[0]


def test_without_guards_nothing_is_allowed() -> None:
    assert judge(builders.plan(), worlds.case(), ()).decision is Decision.DENY


def test_the_gravest_answer_counts() -> None:
    guards = [Fixed(d) for d in (Decision.DEFER, Decision.ALLOW, Decision.OBSERVE)]
    assert judge(builders.plan(), worlds.case(), guards).decision is Decision.DEFER


def test_a_call_for_a_person_needs_no_guard() -> None:
    call = builders.plan(actions=(Escalate(worlds.PODS[0], "two causes tie"),))
    assert judge(call, worlds.case(), (Broken(),)).decision is Decision.ALLOW
