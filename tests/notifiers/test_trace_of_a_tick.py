"""A trace shows what a tick spends its time on: one span for each stage, inside the tick's."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from healer.adapters.tracing import open_tracing
from healer.cli.simulation import Simulation, lab_settings
from healer.lab.lab import Lab
from healer.lab.scenario import ClusterSpec, FaultSpec, HistorySpec, ModelSpec, Scenario
from healer.model.intent import State
from healer.settings import TracingSettings

STORY = Scenario(
    "traced",
    duration=timedelta(minutes=9),
    cluster=ClusterSpec(nodes=2, gpus=4),
    models=(ModelSpec("llama-8b"),),
    history=HistorySpec(span=timedelta(hours=1)),
    faults=(FaultSpec("engine_hang", at=timedelta(seconds=30), target="pod:llama-8b/1"),),
)
STAGES = {"observe", "detect", "correlate", "diagnose", "plan", "guard", "act", "verify", "report"}


def test_every_stage_of_a_repair_has_its_span_inside_its_tick() -> None:
    kept = InMemorySpanExporter()
    tracing = open_tracing(TracingSettings(), kept)
    with Simulation(Lab(STORY), lab_settings("sqlite://")) as story:
        app = story.app
        app.tracing = tracing
        setattr(app, "learn", lambda: None)  # noqa: B010  fits take most of the time, off the tick
        healing = dataclasses.replace(app.healing, span=tracing.span)
        app.loop = dataclasses.replace(app.loop, span=tracing.span, healing=healing)
        story.run(until=lambda _: any(i.state is State.SUCCEEDED for i in app.store.intents()))
        (repair,) = app.store.intents()
    spans = kept.get_finished_spans()
    assert {span.name for span in spans} >= STAGES | {"tick", "heal"}
    ticks = {s.context.trace_id for s in spans if s.name == "tick"}
    assert {s.context.trace_id for s in spans if s.name in STAGES} <= ticks
    (acted, *_) = [s for s in spans if s.name == "act"]
    assert dict(acted.attributes or {}) == {"intent": repair.id, "remediation": "restart_pod"}
    one = [s.name for s in spans if s.context.trace_id == acted.context.trace_id]
    assert one == [
        *("observe", "detect", "correlate", "diagnose"),
        *("plan", "guard", "act", "heal", "report", "tick"),
    ]
