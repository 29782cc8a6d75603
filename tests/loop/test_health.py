"""What the daemon says of itself: breakers that are open are told by page, API and metric."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import builders

from healer.adapters.clocks import SteppedClock
from healer.app import App, open_world
from healer.model.intent import Intent, Receipt, State, Step
from healer.settings import KubernetesSettings, PrometheusSettings, Settings, StoreSettings

NOBODY = Settings(
    prometheus=PrometheusSettings(url="http://127.0.0.1:9"),
    kubernetes=KubernetesSettings(enabled=False),
    store=StoreSettings(url="sqlite://"),
)


def failed(number: int) -> Intent:
    plan = builders.plan(attempt=number)
    when = builders.at(-60 * (number + 1))
    steps = tuple(Step(a, when, Receipt(True, when), 1) for a in plan.actions)
    made = builders.intent(State.FAILED, plan=plan, created_at=when, updated_at=when)
    return dataclasses.replace(made, steps=steps)


def test_an_open_breaker_is_told_after_the_next_tick_until_its_reset() -> None:
    clock = SteppedClock(builders.NOW)
    app = App(NOBODY, open_world(NOBODY, clock))
    for number in range(2):
        app.store.claim_intent(failed(number))
    app.tick()
    assert app.health().breakers == ("restart_pod",)
    gauge = "healer_breaker_open"
    assert app.telemetry.registry.get_sample_value(gauge, {"remediation": "restart_pod"}) == 1
    clock.move(NOBODY.remediation.breaker_reset + timedelta(minutes=1))
    app.tick()
    assert app.health().breakers == ()
    assert app.telemetry.registry.get_sample_value(gauge, {"remediation": "restart_pod"}) == 0
    app.close()


class Standby:
    def epoch(self) -> str:
        return ""


def test_a_standby_reads_the_breakers_from_the_shared_store_and_counts_none() -> None:
    world = open_world(NOBODY, SteppedClock(builders.NOW))
    app = App(NOBODY, dataclasses.replace(world, leading=Standby()))
    for number in range(2):
        app.store.claim_intent(failed(number))
    assert not app.in_office()
    health = app.health()
    assert (health.standby, health.breakers) == (True, ("restart_pod",))
    assert "healer_breaker_open{" not in str(list(app.telemetry.registry.collect()))
    app.close()
