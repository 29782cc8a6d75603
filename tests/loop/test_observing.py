"""In observe mode every fault is worked out to the end, and nothing is touched."""

from __future__ import annotations

from datetime import timedelta

import pytest

from healer.cli.simulation import Simulation, lab_settings
from healer.lab.lab import Lab
from healer.lab.scenario import FaultSpec, HistorySpec, Scenario
from healer.lab.scoring import changes
from healer.model.intent import State
from healer.settings import Mode

AT = timedelta(minutes=2)


@pytest.mark.parametrize(
    ("fault", "remediation", "minutes"),
    [
        (
            FaultSpec("traffic_surge", at=AT, target="service:llama-8b", options={"factor": 3.2}),
            "scale",
            10,
        ),
        (FaultSpec("bad_revision", at=AT, target="service:qwen-72b"), "rollback_model", 16),
        (FaultSpec("gpu_off_bus", at=AT, target="gpu:llama-8b/0"), "drain_node", 6),
    ],
    ids=lambda value: value.kind if isinstance(value, FaultSpec) else "",
)
def test_what_would_be_done_is_told_and_rehearsed_but_not_done(
    fault: FaultSpec, remediation: str, minutes: float
) -> None:
    story = Scenario(
        "observed",
        duration=timedelta(minutes=minutes),
        history=HistorySpec(span=timedelta(days=2)),
        faults=(fault,),
    )
    observing = lab_settings("sqlite://", mode=Mode.OBSERVE)
    with Simulation(Lab(story), observing) as watched:
        while not watched.ended:
            watched.step()
            worked_out = [
                i for i in watched.app.store.intents() if i.plan.remediation == remediation
            ]
            if worked_out and worked_out[0].state is State.REHEARSED:
                break
        assert worked_out, "nothing was worked out"
        assert worked_out[0].state is State.REHEARSED
        assert changes(watched.lab.write_log) == []
        assert any(write.dry_run for write in watched.lab.write_log)
        told = [e.message for _, e in watched.app.store.audit() if e.kind == "intent.rehearsed"]
        assert f"would have been done: {worked_out[0].plan.summary}" in told
        assert watched.app.store.verify_audit()[1] == ""
