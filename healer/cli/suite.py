"""Many scenarios, each clean and perturbed, on all cores: how good Healer is, as figures.

A world costs far more to warm up (weeks of history, first fits) than a scenario costs to run, so
each distinct world is warmed once and every run that begins in it is a fork of that process, taken
just before the run's first fault: until then all of them see the same.
"""

from __future__ import annotations

import dataclasses
import gc
import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from healer.cli.forks import Slots, Tell, in_forks
from healer.cli.simulation import Simulation, lab_settings
from healer.lab.lab import Lab
from healer.lab.scenario import Allowed, Expectation, FaultSpec, Scenario
from healer.lab.scoring import Observed, score
from healer.model.incident import Phase
from healer.model.report import Report

LATE = timedelta(seconds=60)
MISSING = 0.2
SKEW = timedelta(seconds=30)
SETTLED = timedelta(minutes=2)
"""After all is well again."""
HANDED_OVER = timedelta(minutes=10)
"""After all that is not well has been left to people. Twice the lab's cooldown: whatever Healer
might try once more would have been seen."""


@dataclass(frozen=True, slots=True)
class Job:
    scenario: Scenario
    variant: str

    @property
    def name(self) -> str:
        return f"{self.scenario.name}/{self.variant}"


def clean(scenario: Scenario) -> Scenario:
    return scenario


def late(scenario: Scenario) -> Scenario:
    return _perturbed(scenario, late=LATE)


def missing(scenario: Scenario) -> Scenario:
    return _perturbed(scenario, missing=MISSING)


def skew(scenario: Scenario) -> Scenario:
    return _perturbed(scenario, skew=SKEW)


def change(scenario: Scenario) -> Scenario:
    """Somebody changes something that has nothing to do with it, shortly before."""
    other, first = _another(scenario), _first(scenario)
    if other is None or first is None:
        return scenario
    at = max(first - timedelta(minutes=2), timedelta(seconds=30))
    unrelated = FaultSpec("unrelated_change", at=at, target=f"service:{other}", name="unrelated")
    return dataclasses.replace(_named(scenario), faults=(unrelated, *scenario.faults))


def second(scenario: Scenario) -> Scenario:
    """An engine of another model hangs three minutes later, independently."""
    other, first = _another(scenario), _first(scenario)
    if other is None or first is None:
        return scenario
    more = FaultSpec(
        "engine_hang", at=first + timedelta(minutes=3), target=f"pod:{other}/0", name="second"
    )
    right = Expectation(
        causes=("engine_hang",),
        targets=(f"pod:*/{other}-*",),
        remediations=("restart_pod",),
        fault="second",
    )
    named = _named(scenario)
    return dataclasses.replace(
        named,
        faults=(*scenario.faults, more),
        expect=(*named.expect, right),
        allowed=(*scenario.allowed, Allowed("evict", f"pod:*/{other}-*")),
    )


VARIANTS: Mapping[str, Callable[[Scenario], Scenario]] = {
    "clean": clean,
    "late": late,
    "missing": missing,
    "skew": skew,
    "change": change,
    "second": second,
}


def jobs(scenarios: Sequence[Scenario], variants: Sequence[str]) -> list[Job]:
    return [
        Job(VARIANTS[variant](scenario), variant) for scenario in scenarios for variant in variants
    ]


def run_all(
    wanted: Sequence[Job],
    workers: int,
    done: Callable[[dict[str, Any]], None],
    *,
    whole: bool = False,
) -> list[dict[str, Any]]:
    """Every job's result, of `judged`; `done` is told of each as it comes."""
    worlds: dict[str, list[Job]] = {}
    for job in wanted:
        worlds.setdefault(world_of(job.scenario), []).append(job)
    # The largest first, so that the small ones fill the gaps at the end.
    groups = sorted(worlds.values(), key=len, reverse=True)
    results: dict[str, dict[str, Any]] = {}

    def take(result: dict[str, Any]) -> None:
        results[result["job"]] = result
        done(result)

    with TemporaryDirectory() as folder:
        slots = Slots(Path(folder), workers)
        tasks = [partial(_run_world, group, slots, whole) for group in groups]
        for _, line in in_forks(tasks, workers):
            take(json.loads(line))
    for job in wanted:
        if job.name not in results:
            take({"job": job.name, "variant": job.variant, "crashed": True})
    return list(results.values())


def _run_world(group: Sequence[Job], slots: Slots, whole: bool, tell: Tell) -> None:
    def run(job: Job, simulation: Simulation, tell: Tell) -> None:
        with slots.one():
            tell(json.dumps(judged(job, simulation, whole=whole)))

    with ExitStack() as open_world:
        with slots.one():
            simulation = open_world.enter_context(warmed(group[0].scenario))
        ordered = sorted(group, key=lambda job: quiet_for(job.scenario))
        for quiet, jobs in groupby(ordered, key=lambda job: quiet_for(job.scenario)):
            with slots.one():
                keep_quiet(simulation, quiet)
            # What is alive now outlives every run: forks neither look through it nor copy it.
            gc.freeze()
            tasks = [partial(run, job, simulation) for job in jobs]
            for _, line in in_forks(tasks, slots.count):
                tell(line)


def warmed(scenario: Scenario) -> Simulation:
    """A simulation at its start, with its history learned and nothing broken yet."""
    quiet = dataclasses.replace(
        scenario,
        faults=(),
        duration=timedelta(hours=1),
        perturb=dataclasses.replace(scenario.perturb, late=timedelta(0)),
    )
    simulation = Simulation(Lab(quiet), lab_settings("sqlite://"))
    simulation.step()
    return simulation


def quiet_for(scenario: Scenario) -> timedelta:
    """How long nothing is broken after the start. What is detected late begins broken."""
    if scenario.perturb.late:
        return timedelta(0)
    return _first(scenario) or timedelta(0)


def keep_quiet(simulation: Simulation, quiet: timedelta) -> None:
    """To the last tick before that much of the simulation is over."""
    end = simulation.scenario.start + quiet
    while simulation.lab.now + simulation.settings.loop.interval < end:
        simulation.step()


def judged(job: Job, simulation: Simulation, *, whole: bool = False) -> dict[str, Any]:
    """Runs the job in a simulation that was warmed for its world: until all is over, or whole."""
    began, worked = time.monotonic(), time.process_time()
    simulation.turn_to(job.scenario)
    if whole:
        simulation.run()
    else:
        simulation.run(until=_Settled(simulation))
    store = simulation.app.store
    audit = [entry for _, entry in store.audit(limit=100_000)]
    observed = Observed(store.incidents(limit=200).items, store.intents(), audit)
    result = score(job.scenario, simulation.lab, observed)
    expected = {e.fault for e in job.scenario.expect}
    about = [f for f in result["faults"] if f["fault"] not in ("unrelated", "second")]
    main = next((f for f in about if f["fault"] in expected), next(iter(about), None))
    return {
        "job": job.name,
        "variant": job.variant,
        "negative": job.scenario.negative,
        "main": main,
        **result,
        "took_s": round(time.monotonic() - began, 1),
        "cpu_s": round(time.process_time() - worked, 1),
    }


@dataclass(slots=True)
class _Settled:
    """Whether all has been over for a while: then the rest of the time shows nothing new."""

    simulation: Simulation
    _since: datetime | None = None
    _left: frozenset[str] = frozenset()
    """Incidents that people have to see to."""

    def __call__(self, report: Report) -> bool:
        world, store = self.simulation.lab.world, self.simulation.app.store
        begun = len(world.broken) == len(self.simulation.scenario.faults)
        passing = any(b.spec.duration and not b.ended for b in world.broken)
        open_ = [incident for incident in report.incidents if incident.is_open]
        left = frozenset(i.id for i in open_ if i.phase is Phase.ESCALATED)
        healed = all(b.fault.healed(world, b.what) for b in world.broken)
        working = len(left) < len(open_) or bool(store.intents(open_only=True))
        if not begun or passing or working or not (healed or left):
            self._since = None
            return False
        if self._since is None or left != self._left:
            self._since, self._left = report.at, left
        heard = bool(store.incidents(limit=1).items)
        return heard and report.at - self._since >= (HANDED_OVER if left else SETTLED)


def world_of(scenario: Scenario) -> str:
    """What the history and the first fits depend on."""
    parts = (
        scenario.start,
        scenario.seed,
        scenario.scrape,
        scenario.cluster,
        scenario.models,
        scenario.history,
        scenario.perturb.missing,
        scenario.perturb.skew,
    )
    return repr(parts)


def _perturbed(scenario: Scenario, **changes: Any) -> Scenario:
    return dataclasses.replace(scenario, perturb=dataclasses.replace(scenario.perturb, **changes))


def _named(scenario: Scenario) -> Scenario:
    """What is expected speaks of its fault by name, so that another fault may stand beside it."""
    if len(scenario.faults) != 1:
        return scenario
    only = scenario.faults[0].name or scenario.faults[0].kind
    expect = tuple(dataclasses.replace(e, fault=e.fault or only) for e in scenario.expect)
    return dataclasses.replace(scenario, expect=expect)


def _first(scenario: Scenario) -> timedelta | None:
    return min((fault.at for fault in scenario.faults), default=None)


def _another(scenario: Scenario) -> str | None:
    """A model that no fault is about."""
    spoken = " ".join(fault.target or scenario.models[0].name for fault in scenario.faults)
    return next((m.name for m in scenario.models if m.name not in spoken), None)
