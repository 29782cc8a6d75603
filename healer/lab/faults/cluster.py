"""Faults and doings around the serving: telemetry, nodes, images, other people."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from healer.lab.faults.base import Fault, broken_by, node, service
from healer.lab.objects import IMAGE, NAMESPACE, template

if TYPE_CHECKING:
    from healer.lab.world import World


@dataclass(frozen=True, slots=True)
class TelemetryLoss(Fault):
    """An exporter dies; what it watched goes on."""

    exporter: str = "dcgm"
    """dcgm, node or engine."""

    def begin(self, world: World, target: str, now: datetime) -> str:
        name = node(world, target) if target else ""
        world.silenced.add((self.exporter, name))
        return f"node:{name}" if name else "cluster:cluster"

    def end(self, world: World, target: str, now: datetime) -> None:
        name = broken_by(world, self).partition(":")[2] if target else ""
        world.silenced.discard((self.exporter, name))


@dataclass(frozen=True, slots=True)
class NodeDown(Fault):
    """The whole node falls silent: kubelet, exporters and what ran there."""

    def begin(self, world: World, target: str, now: datetime) -> str:
        name = node(world, target)
        world.kubelets.silent.add(name)
        for exporter in ("dcgm", "node", "engine"):
            world.silenced.add((exporter, name))
        return f"node:{name}"

    def end(self, world: World, target: str, now: datetime) -> None:
        name = broken_by(world, self).partition(":")[2]
        world.kubelets.silent.discard(name)
        world.silenced -= {(exporter, name) for exporter in ("dcgm", "node", "engine")}
        for one in world.kubelets.replicas.values():
            if one.node == name:
                one.engine.hung = False

    def healed(self, world: World, broken: str) -> bool:
        name = broken.partition(":")[2]
        if name not in world.kubelets.silent:
            return True
        return not any(r.ready and r.node == name for r in world.kubelets.replicas.values())


@dataclass(frozen=True, slots=True)
class BadImage(Fault):
    """A release whose image does not exist: the new pods never start."""

    tag: str = "v0.33.O"

    def begin(self, world: World, target: str, now: datetime) -> str:
        name = service(world, target)
        model = next(m for m in world.scenario.models if m.name == name)
        world.kubelets.missing_images.add(f"{IMAGE}:{self.tag}")

        def roll(deployment: dict) -> None:  # type: ignore[type-arg]
            deployment["spec"]["template"] = template(model, self.tag, ())

        world.api.store.modify("apps/deployments", NAMESPACE, name, roll)
        return f"workload:{NAMESPACE}/deployment/{name}"

    def healed(self, world: World, broken: str) -> bool:
        pods = world.api.store.list("pods")
        return not any(
            c["image"] == f"{IMAGE}:{self.tag}" for p in pods for c in p["spec"]["containers"]
        )


@dataclass(frozen=True, slots=True)
class AdminDrain(Fault):
    """Somebody drains a node on purpose, as `kubectl drain` does."""

    def begin(self, world: World, target: str, now: datetime) -> str:
        name = node(world, target)

        def cordon(found: dict) -> None:  # type: ignore[type-arg]
            found.setdefault("spec", {})["unschedulable"] = True

        world.api.store.modify("nodes", "", name, cordon)
        for replica in list(world.kubelets.replicas.values()):
            if replica.node == name:
                world.api.store.delete("pods", replica.namespace, replica.name, grace_s=30)
        return f"node:{name}"


@dataclass(frozen=True, slots=True)
class SlowModelStore(Fault):
    """Weights come many times slower than usual: every new pod takes long to be ready."""

    factor: float = 6.0

    def begin(self, world: World, target: str, now: datetime) -> str:
        world.kubelets.load_factor = self.factor
        return "cluster:cluster"

    def end(self, world: World, target: str, now: datetime) -> None:
        world.kubelets.load_factor = 1.0


@dataclass(frozen=True, slots=True)
class UnrelatedChange(Fault):
    """Somebody labels a Deployment that has nothing to do with anything."""

    def begin(self, world: World, target: str, now: datetime) -> str:
        name = service(world, target)

        def label(found: dict) -> None:  # type: ignore[type-arg]
            found["metadata"].setdefault("labels", {})["team"] = "search"

        world.api.store.modify("apps/deployments", NAMESPACE, name, label)
        return f"workload:{NAMESPACE}/deployment/{name}"
