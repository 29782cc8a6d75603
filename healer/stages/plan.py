"""Plan: the next rung of the ladder for one incident, or nothing, or a person.

Restart, roll back where a change is implicated, scale out, cordon and drain, page: the rule names
the rungs, one is climbed per verified failure. What nobody can act on goes to a person once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from healer.model.actions import Escalate
from healer.model.hypothesis import Hypothesis
from healer.model.incident import Incident, Severity
from healer.model.intent import OPEN_STATES, Intent, State
from healer.model.plan import Plan
from healer.model.snapshot import Snapshot
from healer.ports import Remediation
from healer.settings import RemediationSettings
from healer.stages.act import is_unanswered
from healer.stages.apart import concerning

INNOCENT = ("no_fault", "telemetry_fault")
"""Causes that call for nothing."""

CONTAINS = ("cordon_node", "drain_node")
"""Remediations that take broken hardware out of service, and cannot mend it."""
REPAIR = "the hardware is out of service; it has to be repaired or replaced"

LOOK_FIRST = "what became of an action is not known; look before anything else is done"

HINDSIGHT = "another cause fits what was there before a repair that worked"

MOST_HELD = 3
"""Plans of one kind that the guards may hold back before no other is made."""

MOST_REPAIRS = 3
"""Of independent things in one incident; what goes on failing after that is no coincidence."""

REST_AFTER_SUCCESS = timedelta(minutes=30)
"""A repair that worked is given that long before its incident climbs another rung."""


def plan(
    incident: Incident,
    snapshot: Snapshot,
    remediations: Mapping[str, Remediation],
    history: Sequence[Intent],
    settings: RemediationSettings,
) -> Plan | None:
    """What to do about `incident` now, if anything. `history` may hold other incidents' intents."""
    mine = [i for i in history if i.plan.incident_id == incident.id and not i.compensates]
    diagnosis = incident.diagnosis
    if not incident.is_open or incident.quiet_since is not None or diagnosis is None:
        return None
    if any(i.state in OPEN_STATES for i in mine):
        return None
    leader = diagnosis.leader
    if leader is None or leader.cause in INNOCENT:
        return None
    if snapshot.now - (diagnosis.leading_since or diagnosis.at) < settings.settle_for:
        return None
    done = len([i for i in mine if i.executed_at and i.plan.remediation != "escalate"])
    if done < MOST_REPAIRS:
        mine = list(concerning(leader, mine, snapshot.topology))
    asker = _Asker(incident, leader, snapshot, remediations, settings, tuple(mine))
    healed = [i for i in mine if i.state is State.SUCCEEDED and i.plan.remediation != "escalate"]
    if healed and snapshot.now - healed[-1].updated_at < REST_AFTER_SUCCESS:
        contained = healed[-1].plan.remediation in CONTAINS
        if contained and leader.proposes[-1:] != (healed[-1].plan.remediation,):
            return _next_rung(asker)  # contained, and the rule knows what heals
        rested = snapshot.now - healed[-1].updated_at >= settings.ask_after
        return asker.ask(REPAIR) if contained and rested else None
    hindsight = bool(healed) and _is_hindsight(leader, healed[-1])
    unsure = diagnosis.abstained or leader.confidence < leader.min_confidence
    if hindsight or unsure or not leader.proposes:
        return asker.ask(HINDSIGHT if hindsight else "")
    return _next_rung(asker)


@dataclass(frozen=True, slots=True)
class _Asker:
    """What both the next rung and the call for a person look at."""

    incident: Incident
    leader: Hypothesis
    snapshot: Snapshot
    remediations: Mapping[str, Remediation]
    settings: RemediationSettings
    mine: tuple[Intent, ...]

    def ask(self, why: str) -> Plan | None:
        """A person, once a cause; not while the doubt is young: what comes next may settle it."""
        if self.incident.severity is Severity.INFO or "escalate" not in self.remediations:
            return None
        if self._asked() or (not why and self._is_young()):
            return None
        found = self.remediations["escalate"].plan(
            self.incident, self.leader, self.snapshot.topology, self.snapshot.now
        )
        found = dataclasses.replace(found, attempt=1 + len(self.mine))
        if not why:
            return found
        actions = tuple(
            dataclasses.replace(a, reason=why) if isinstance(a, Escalate) else a
            for a in found.actions
        )
        return dataclasses.replace(found, actions=actions, summary=f"A person is needed: {why}")

    def _asked(self) -> bool:
        return any(
            i.plan.remediation == "escalate" and i.plan.cause == self.leader.cause
            for i in self.mine
        )

    def _is_young(self) -> bool:
        """The same cause leads only since a moment; a leader that changes all the time is old
        doubt."""
        diagnosis, now = self.incident.diagnosis, self.snapshot.now
        leading = diagnosis.leading_since if diagnosis else None
        patience = self.settings.ask_after
        return now - (leading or now) < patience and now - self.incident.opened_at < 3 * patience


def _next_rung(asker: _Asker) -> Plan | None:
    mine, snapshot = asker.mine, asker.snapshot
    if any(i.state is State.UNKNOWN for i in mine):
        return asker.ask(LOOK_FIRST)
    rehearsed = [i for i in mine if i.state is State.REHEARSED]
    if any(i.plan.cause == asker.leader.cause for i in rehearsed):
        return None  # observe mode has said its word on this cause
    held = [i for i in mine if _was_held(i)]
    tried = {
        i.plan.remediation
        for i in mine
        if i.plan.remediation != "escalate" and i not in rehearsed and i not in held
    }
    refusals = [i.note for i in mine if i.state is State.ABORTED and i.note]
    if len(tried) < asker.settings.max_rungs:
        for name in asker.leader.proposes:
            if name == "escalate":
                return asker.ask("")
            if name in tried or name not in asker.remediations:
                continue
            before = [i for i in held if i.plan.remediation == name]
            if before and not _may_try_anew(before, snapshot.now, asker.settings):
                # What the guards held back is no failure: nothing stronger follows from it.
                return asker.ask("; ".join(refusals))
            found = asker.remediations[name].plan(
                asker.incident, asker.leader, snapshot.topology, snapshot.now
            )
            if found.refused:
                refusals.append(f"{name}: {found.refused}")
                continue
            return dataclasses.replace(found, rung=len(tried), attempt=1 + len(before))
    return asker.ask("; ".join(refusals) or "every remediation was tried")


def _is_hindsight(leader: Hypothesis, healed: Intent) -> bool:
    """Whether `leader` tells what came before a repair that worked in another way: events are
    remembered longer than it takes to heal what caused them."""
    return leader.cause != healed.plan.cause and leader.onset <= healed.created_at


def _was_held(intent: Intent) -> bool:
    """Given up before anything was done: by the guards, or since its target was another by then.

    A person's no is an answer, not this.
    """
    return (
        intent.state is State.ABORTED
        and intent.plan.remediation != "escalate"
        and intent.expires_at is None
        and not any(step.done or is_unanswered(step) for step in intent.steps)
    )


def _may_try_anew(held: Sequence[Intent], now: datetime, settings: RemediationSettings) -> bool:
    return len(held) < MOST_HELD and now - held[-1].updated_at >= settings.cooldown
