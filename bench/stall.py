"""Whether `stall` is quick where an engine hangs, and silent where it does not, in the lab.

    python bench/stall.py [--hours 24] [--only saturation,hang,…]

`hang` measures from the fault to the first finding, at a scrape every 15 s, for engines under
usual load, under full load and with hardly any. The others must give no finding: a fleet at its
limit for `--hours` with queues that never empty, a model that loads, a node that is drained,
a quiet night, prompts of twenty thousand tokens. Exit status 1 when a hang took longer than
120 s or anything else was called one.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from detectors.stall import Stall
from healer.adapters import logs
from healer.adapters.signal_catalogue import load_signals
from healer.cli.simulation import Simulation, lab_settings
from healer.lab.lab import Lab
from healer.lab.scenario import FaultSpec, HistorySpec, ModelSpec, Scenario, TrafficSpec
from healer.model.finding import Finding
from healer.settings import Mode, RuleSettings, Settings

LIMIT_S = 120.0
MINUTE = timedelta(minutes=1)
HANG_AT = timedelta(minutes=12)
ONE_MODEL = (ModelSpec("llama-8b", replicas=2),)


def scenario(name: str, span: timedelta, *faults: FaultSpec, **traffic: float) -> Scenario:
    """One model on two replicas; `traffic` are options of TrafficSpec."""
    model = replace(ONE_MODEL[0], traffic=TrafficSpec(**traffic))  # type: ignore[arg-type]
    history = HistorySpec(span=timedelta(hours=2))
    return Scenario(name, duration=span, models=(model,), history=history, faults=faults)


def hang(seed: int, **traffic: float) -> Scenario:
    """It hangs at a different moment of the scrape interval with each seed."""
    at = HANG_AT + timedelta(seconds=4 * seed)
    fault = FaultSpec("engine_hang", at, target="pod:llama-8b/1")
    return replace(scenario(f"hang {seed}", HANG_AT + 6 * MINUTE, fault, **traffic), seed=seed + 1)


def quiet_ones(hours: float) -> dict[str, Scenario]:
    drain = FaultSpec("admin_drain", 10 * MINUTE, target="node:0")
    slow = FaultSpec("slow_model_store", 5 * MINUTE)
    rollout = FaultSpec("bad_revision", 10 * MINUTE, target="service:llama-8b")
    return {
        "saturation": scenario("saturation", timedelta(hours=hours), per_s=60.0, swing=0.0),
        "drain": scenario("drain", 60 * MINUTE, drain),
        "loading": scenario("loading", 60 * MINUTE, slow, rollout),
        "night": scenario("night", timedelta(hours=min(hours, 4)), per_s=0.004, swing=0.0),
        "long prompts": scenario(
            "long prompts", timedelta(hours=min(hours, 2)), per_s=0.4, prompt_tokens=20_000.0
        ),
    }


def settings() -> Settings:
    """Only the signals that the detector reads: the rest would cost ten times as much."""
    wanted = {*Stall().wants, "gpu_held"}
    others = tuple({s.name for s in load_signals()} - wanted)
    return replace(lab_settings("sqlite://", mode=Mode.OBSERVE), rules=RuleSettings((), others))


def found_in(story: Scenario, watch: Callable[[int], None] = lambda _: None) -> list[Finding]:
    """Every finding, a tick each, until the scenario ends."""
    detector, found = Stall(), list[Finding]()
    with Simulation(Lab(story), settings()) as simulation:
        tick = 0
        while not simulation.ended:
            simulation.clock.move(simulation.settings.loop.interval)
            simulation.lab.advance(simulation.clock.now())
            seen = simulation.app.observer.snapshot(simulation.clock.now())
            found += detector.detect(seen, None)
            tick += 1
            watch(tick)
    return found


def delay_s(story: Scenario) -> float | None:
    """From the fault to the first finding about its pod."""
    first = min((each.at for each in found_in(story)), default=None)
    begun = story.start + story.faults[0].at
    return None if first is None else (first - begun).total_seconds()


def measure_hangs() -> bool:
    loads = {"usual": {"per_s": 6.0}, "full": {"per_s": 60.0}, "slight": {"per_s": 1.0}}
    good = True
    for name, traffic in loads.items():
        delays = [delay_s(hang(seed, **traffic)) for seed in range(3)]
        worst = max((LIMIT_S * 10 if each is None else each) for each in delays)
        good &= worst <= LIMIT_S
        said = ", ".join("never" if each is None else f"{each:.0f} s" for each in delays)
        sys.stdout.write(f"hang under {name} load: found after {said} (limit {LIMIT_S:.0f} s)\n")
    return good


def measure_quiet(name: str, story: Scenario) -> bool:
    begun, ticks = time.monotonic(), 0

    def watch(tick: int) -> None:
        nonlocal ticks
        ticks = tick

    found = found_in(story, watch)
    took = time.monotonic() - begun
    span_h = story.duration.total_seconds() / 3600
    sys.stdout.write(
        f"{name}: {len(found)} findings in {span_h:.1f} h, {ticks} ticks, {took:.0f} s\n"
    )
    for each in found[:3]:
        sys.stdout.write(f"  {each.at} {each.target}: {each.summary}\n")
    return not found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--only", default="", help="names, separated by commas")
    given = parser.parse_args()
    logs.configure("error", "text")
    only = set(filter(None, given.only.split(",")))
    good = measure_hangs() if not only or "hang" in only else True
    for name, story in quiet_ones(given.hours).items():
        if not only or name in only:
            good &= measure_quiet(name, story)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
