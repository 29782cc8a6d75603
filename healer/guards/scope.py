"""Namespaces that are never touched, objects whose owner opted out, and verbs we have no right to.

A verb that the API server denies is told before anything begins, and not in the middle of a plan.
Where nothing is to be changed anyway, the dry run says so itself.
"""

from __future__ import annotations

from dataclasses import dataclass

from healer.guards.common import allow, deny, enforced, namespaces_of, owners_of
from healer.model.plan import Plan
from healer.model.verdict import Verdict
from healer.ports import Case, Guard
from healer.settings import RemediationSettings

OPT_OUT = "healer.dev/ignore"
"""Annotation or label; `true` anywhere in the owner chain wins."""


@dataclass(frozen=True, slots=True)
class Scope(Guard):
    settings: RemediationSettings

    def judge(self, plan: Plan, case: Case) -> Verdict:
        hard = namespaces_of(plan) & set(self.settings.deny_namespaces)
        if hard:
            return deny("scope", f"{', '.join(sorted(hard))} is never touched")
        topology = case.snapshot.topology
        chain = {plan.target, *plan.affected_pods, *owners_of(plan, topology)}
        for target in sorted(chain):
            entity = topology.get(target)
            marks = {**entity.labels, **entity.annotations} if entity else {}
            if marks.get(OPT_OUT, "").lower() == "true":
                return deny("scope", f"{target} opted out with {OPT_OUT}")
        if enforced(plan, self.settings):
            for verb in sorted({action.verb for action in plan.actions}):
                if lacks := case.snapshot.denied.get(verb):
                    return deny("scope", f"{verb} is switched off: we may not {lacks}")
        return allow("scope")
