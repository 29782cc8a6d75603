"""Guard: every guard is asked, every verdict is kept, and a guard that raises is a denial."""

from __future__ import annotations

from collections.abc import Sequence

from healer.model.plan import Plan
from healer.model.verdict import Decision, Judgement, Verdict
from healer.ports import Case, Guard


def judge(plan: Plan, case: Case, guards: Sequence[Guard]) -> Judgement:
    """All verdicts on `plan`. A plan that changes nothing in the cluster needs no guard."""
    if plan.actions and all(action.verb == "escalate" for action in plan.actions):
        calm = Verdict("escalate", Decision.ALLOW, ("telling a person changes nothing",))
        return Judgement(plan.id, (calm,))
    if not guards:
        return Judgement(plan.id, (Verdict("none", Decision.DENY, ("there are no guards",)),))
    return Judgement(plan.id, tuple(_ask(guard, plan, case) for guard in guards))


def _ask(guard: Guard, plan: Plan, case: Case) -> Verdict:
    try:
        return guard.judge(plan, case)
    except Exception as error:  # noqa: BLE001  # whatever is wrong with a guard: fail closed
        name = type(guard).__name__
        return Verdict(name, Decision.DENY, (f"raised {type(error).__name__}: {error}",))
