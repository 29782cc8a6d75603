"""Hand the incident to a person, with everything known. Changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from healer.model.actions import Escalate
from healer.model.hypothesis import Hypothesis
from healer.model.incident import Incident
from healer.model.plan import Plan, Risk
from healer.model.topology import Topology
from healer.ports import Remediation
from remediations._find import NOTHING


@dataclass(frozen=True, slots=True)
class EscalateRemediation(Remediation):
    def plan(
        self, incident: Incident, hypothesis: Hypothesis, topology: Topology, now: datetime
    ) -> Plan:
        diagnosis = incident.diagnosis
        reason = (diagnosis.abstained if diagnosis else "") or (
            f"{hypothesis.cause} on {hypothesis.target}, confidence {hypothesis.confidence:.0%}"
        )
        return Plan(
            incident_id=incident.id,
            cause=hypothesis.cause,
            remediation="escalate",
            target=hypothesis.target,
            actions=(Escalate(hypothesis.target, reason),),
            success=NOTHING,
            risk=Risk.NONE,
            summary=f"A person is needed: {reason}",
            confidence=hypothesis.confidence,
        )
