"""The whole of Healer against the simulated cluster: healthy and silent, fault, outage, crash."""

from __future__ import annotations

from datetime import timedelta

from healer.cli.simulation import Simulation, lab_settings
from healer.lab.lab import Lab
from healer.lab.scenario import (
    Allowed,
    Expectation,
    FaultSpec,
    HistorySpec,
    Scenario,
)
from healer.lab.scoring import changes
from healer.model.intent import State
from healer.settings import Mode

HANG = FaultSpec("engine_hang", at=timedelta(minutes=2), target="pod:llama-8b/1")
TICK = timedelta(seconds=15)


def scenario(*faults: FaultSpec, minutes: float = 9) -> Scenario:
    return Scenario(
        "story",
        duration=timedelta(minutes=minutes),
        history=HistorySpec(span=timedelta(days=2)),
        faults=faults,
        expect=(Expectation(causes=("engine_hang",), remediations=("restart_pod",)),),
        allowed=(Allowed("evict", "pod:serving/llama-8b-*"),),
    )


def test_a_healthy_cluster_is_left_alone_and_nobody_is_called() -> None:
    with Simulation(Lab(scenario(minutes=12)), lab_settings("sqlite://")) as healthy:
        healthy.run()
        assert healthy.app.store.intents() == ()
        assert changes(healthy.lab.write_log) == []


def test_a_hung_engine_is_replaced_and_the_record_holds() -> None:
    with Simulation(Lab(scenario(HANG)), lab_settings("sqlite://")) as story:
        story.run()
        store = story.app.store
        (intent,) = store.intents()
        assert (intent.plan.cause, intent.plan.remediation) == ("engine_hang", "restart_pod")
        assert intent.state is State.SUCCEEDED
        assert [verb for _, verb, _ in changes(story.lab.write_log)] == ["evict"]
        assert store.verify_audit()[1] == ""
        kinds = [entry.kind for _, entry in store.audit(incident_id=intent.plan.incident_id)]
        assert kinds.index("step.sent") < kinds.index("step.answered")


def test_in_observe_mode_nothing_changes_and_the_record_says_what_would_have_been_done() -> None:
    observing = lab_settings("sqlite://", mode=Mode.OBSERVE)
    with Simulation(Lab(scenario(HANG)), observing) as story:
        story.run()
        assert changes(story.lab.write_log) == []
        assert any(write.dry_run for write in story.lab.write_log)
        (intent,) = [i for i in story.app.store.intents() if i.plan.remediation != "escalate"]
        assert intent.state is State.REHEARSED
        told = [e.message for _, e in story.app.store.audit() if e.kind == "intent.rehearsed"]
        assert told == [f"would have been done: {intent.plan.summary}"]


def test_while_prometheus_is_down_nothing_is_done_and_the_loop_recovers_by_itself() -> None:
    with Simulation(Lab(scenario(HANG, minutes=12)), lab_settings("sqlite://")) as story:
        while story.lab.now < story.scenario.start + timedelta(minutes=3):
            story.step()
        story.lab.prometheus_api.outage = True
        for _ in range(8):
            report = story.step()
            assert any(problem.where == "prometheus" for problem in report.problems)
        assert changes(story.lab.write_log) == []
        assert story.app.health().database_ok
        story.lab.prometheus_api.outage = False
        story.run()
        assert [verb for _, verb, _ in changes(story.lab.write_log)] == ["evict"]
