"""Doubt does not act: after an unknown outcome a person is called."""

from __future__ import annotations

import builders
import healing_worlds

from healer.model.intent import State
from healer.plugins import make
from healer.ports import Remediation
from healer.settings import RemediationSettings
from healer.stages.plan import LOOK_FIRST, plan

SETTINGS = RemediationSettings()


def test_after_an_unknown_outcome_a_person_is_called_and_no_other_rung_is_climbed() -> None:
    ladder = builders.hypothesis(proposes=("restart_pod", "scale"))
    ranked = builders.diagnosis(ladder, leading_since=builders.at(-600))
    incident = builders.incident(diagnosis=ranked, opened_at=builders.at(-900))
    lost = builders.intent(State.UNKNOWN)
    known = {
        name: make(("remediations",), name, {}, Remediation)  # type: ignore[type-abstract]
        for name in ("restart_pod", "scale", "escalate")
    }
    found = plan(incident, healing_worlds.snapshot(), known, (lost,), SETTINGS)
    assert found is not None
    assert found.remediation == "escalate"
    assert LOOK_FIRST in found.summary
