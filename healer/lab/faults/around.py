"""What goes wrong around the engines: room, routing, the gateway, exporters, and plain nonsense."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from healer.lab.faults.base import Fault, broken_by, node, replica, service
from healer.lab.objects import NAMESPACE, node_name

if TYPE_CHECKING:
    from healer.lab.world import World


@dataclass(frozen=True, slots=True)
class NoCapacity(Fault):
    """Somebody asks for more replicas than the cluster has GPUs for."""

    more: int = 20

    def begin(self, world: World, target: str, now: datetime) -> str:
        name = service(world, target)

        def scale(deployment: dict) -> None:  # type: ignore[type-arg]
            deployment["spec"]["replicas"] += self.more

        world.api.store.modify("apps/deployments", NAMESPACE, name, scale)
        return f"workload:{NAMESPACE}/deployment/{name}"

    def end(self, world: World, target: str, now: datetime) -> None:
        def scale(deployment: dict) -> None:  # type: ignore[type-arg]
            deployment["spec"]["replicas"] = max(1, deployment["spec"]["replicas"] - self.more)

        world.api.store.modify("apps/deployments", NAMESPACE, service(world, target), scale)


@dataclass(frozen=True, slots=True)
class DevicePlugin(Fault):
    """The device plugin offers nothing any more; what runs goes on, what is new stays Pending."""

    def begin(self, world: World, target: str, now: datetime) -> str:
        name = node(world, target)
        world.kubelets.unplugged.add(name)
        return f"node:{name}"

    def end(self, world: World, target: str, now: datetime) -> None:
        world.kubelets.unplugged.discard(broken_by(world, self).partition(":")[2])


@dataclass(frozen=True, slots=True)
class RoutingSkew(Fault):
    """One replica gets several times its share, and its siblings what is left."""

    factor: float = 4.0

    def begin(self, world: World, target: str, now: datetime) -> str:
        victim = replica(world, target)
        world.weights[victim.name] = self.factor
        return f"pod:{victim.namespace}/{victim.name}"

    def end(self, world: World, target: str, now: datetime) -> None:
        world.weights.clear()


@dataclass(frozen=True, slots=True)
class SlowGateway(Fault):
    """Requests wait in the gateway, and fewer get through; the engines have little to do."""

    wait_s: float = 20.0
    through: float = 0.3

    def begin(self, world: World, target: str, now: datetime) -> str:
        for model in world.scenario.models:
            world.slow_gateway[model.name] = (self.wait_s, self.through)
        return f"service:{NAMESPACE}/{service(world, target)}"

    def end(self, world: World, target: str, now: datetime) -> None:
        world.slow_gateway.clear()


@dataclass(frozen=True, slots=True)
class MisledExporter(Fault):
    """After an upgrade the GPU exporter of many nodes tells that their GPUs are gone."""

    share: float = 1.0
    """Of all nodes, the first ones."""

    def begin(self, world: World, target: str, now: datetime) -> str:
        count = max(1, round(self.share * world.scenario.cluster.nodes))
        world.misled |= {node_name(index) for index in range(count)}
        return "cluster:cluster"

    def end(self, world: World, target: str, now: datetime) -> None:
        world.misled.clear()


@dataclass(frozen=True, slots=True)
class GarbageOutput(Fault):
    """A model answers nonsense until it is cut off: long outputs, no error, no Xid."""

    longer: float = 6.0

    def begin(self, world: World, target: str, now: datetime) -> str:
        name = service(world, target)
        world.wordier[name] = self.longer
        return f"service:{NAMESPACE}/{name}"

    def end(self, world: World, target: str, now: datetime) -> None:
        world.wordier.pop(service(world, target), None)
