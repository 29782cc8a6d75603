"""Faults of engines, traffic and releases."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from healer.lab.faults.base import Fault, broken_by, replica, service
from healer.lab.objects import NAMESPACE, template

if TYPE_CHECKING:
    from healer.lab.world import World


@dataclass(frozen=True, slots=True)
class EngineHang(Fault):
    """The engine's ranks wait for one another: no token is made, `/health` still answers."""

    def begin(self, world: World, target: str, now: datetime) -> str:
        victim = replica(world, target)
        victim.engine.hung = True
        return f"pod:{victim.namespace}/{victim.name}"

    def end(self, world: World, target: str, now: datetime) -> None:
        name = broken_by(world, self).rpartition("/")[2]
        for one in world.kubelets.replicas.values():
            if one.name == name:
                one.engine.hung = False

    def healed(self, world: World, broken: str) -> bool:
        name = broken.rpartition("/")[2]
        return all(r.name != name for r in world.kubelets.replicas.values())


@dataclass(frozen=True, slots=True)
class TrafficSurge(Fault):
    """More of the same requests, for everybody alike."""

    factor: float = 3.0
    ramp_s: float = 60.0

    def begin(self, world: World, target: str, now: datetime) -> str:
        name = service(world, target)
        world.surges[name] = (now, self.factor, self.ramp_s)
        return f"service:{NAMESPACE}/{name}"

    def end(self, world: World, target: str, now: datetime) -> None:
        world.surges.pop(service(world, target), None)


@dataclass(frozen=True, slots=True)
class LongPrompts(Fault):
    """As many requests as before, with far longer prompts: the cache fills before queues grow."""

    factor: float = 8.0

    def begin(self, world: World, target: str, now: datetime) -> str:
        name = service(world, target)
        world.longer[name] = self.factor
        return f"service:{NAMESPACE}/{name}"

    def end(self, world: World, target: str, now: datetime) -> None:
        world.longer.pop(service(world, target), None)


@dataclass(frozen=True, slots=True)
class BatchLoad(Fault):
    """A nightly batch: high utilisation, and nobody waits longer than promised."""

    factor: float = 1.7

    def begin(self, world: World, target: str, now: datetime) -> str:
        name = service(world, target)
        world.surges[name] = (now, self.factor, 120.0)
        return f"service:{NAMESPACE}/{name}"

    def end(self, world: World, target: str, now: datetime) -> None:
        world.surges.pop(service(world, target), None)


@dataclass(frozen=True, slots=True)
class BadRevision(Fault):
    """Somebody rolls out a release that is slower, or fails requests, or both."""

    slowdown: float = 3.0
    errors: float = 0.0
    """Share of requests that fail."""
    tag: str = "v0.33.0-rc1"

    def begin(self, world: World, target: str, now: datetime) -> str:
        name = service(world, target)
        model = next(m for m in world.scenario.models if m.name == name)
        world.releases[self.tag] = (1.0 / self.slowdown, self.errors)

        def roll(deployment: dict) -> None:  # type: ignore[type-arg]
            deployment["spec"]["template"] = template(model, self.tag, ("--enforce-eager",))
            deployment["metadata"].setdefault("annotations", {})["kubernetes.io/change-cause"] = (
                f"release {self.tag}"
            )

        world.api.store.modify("apps/deployments", NAMESPACE, name, roll)
        return f"workload:{NAMESPACE}/deployment/{name}"

    def healed(self, world: World, broken: str) -> bool:
        name = broken.rpartition("/")[2]
        running = world.kubelets.of(name)
        return bool(running) and not any(r.image.endswith(self.tag) for r in running)
