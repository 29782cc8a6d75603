"""Faults of GPUs and of what cools and feeds them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from healer.lab.faults.base import Fault, devices, gpu, replica
from healer.lab.gpu import Gpu

if TYPE_CHECKING:
    from healer.lab.world import World


def _holder_crashes(world: World, device: Gpu, now: datetime, code: int) -> None:
    for one in list(world.kubelets.replicas.values()):
        if device in one.gpus:
            world.kubelets.crash(one, now, "Error", code)


@dataclass(frozen=True, slots=True)
class GpuOffBus(Fault):
    """Xid 79: the GPU is gone from the bus, its series with it, and the engine on it dies."""

    def begin(self, world: World, target: str, now: datetime) -> str:
        device = gpu(world, target)
        device.xid(79)
        device.present = False
        _holder_crashes(world, device, now, 1)
        return f"gpu:{device.uuid}"

    def healed(self, world: World, broken: str) -> bool:
        node = next(g.node for g in world.gpus if g.uuid == broken.partition(":")[2])
        cordoned = (
            (world.api.store.get("nodes", "", node) or {}).get("spec", {}).get("unschedulable")
        )
        there = any(not r.ready and r.node == node for r in world.kubelets.replicas.values())
        return bool(cordoned) and not there


@dataclass(frozen=True, slots=True)
class EccUncontained(Fault):
    """Xid 48 and 95: memory is corrupt and the error spread; whoever computes there dies."""

    def begin(self, world: World, target: str, now: datetime) -> str:
        device = gpu(world, target)
        device.xid(48)
        device.xid(95)
        device.dbe += 1
        device.remap_pending = 1
        _holder_crashes(world, device, now, 134)
        return f"gpu:{device.uuid}"

    def healed(self, world: World, broken: str) -> bool:
        device = next(g for g in world.gpus if g.uuid == broken.partition(":")[2])
        return device.holder is None


@dataclass(frozen=True, slots=True)
class ThermalThrottle(Fault):
    """Cooling fails: the air gets hot, clocks fall to keep the chips below their limit."""

    ambient_c: float = 75.0

    def begin(self, world: World, target: str, now: datetime) -> str:
        found = devices(world, target)
        for device in found:
            device.ambient_c = self.ambient_c
        return f"gpu:{found[0].uuid}" if len(found) == 1 else target

    def end(self, world: World, target: str, now: datetime) -> None:
        for device in world.gpus:
            device.ambient_c = device.spec.ambient_c

    def healed(self, world: World, broken: str) -> bool:
        hot = [g for g in world.gpus if g.ambient_c > g.spec.ambient_c]
        return not any(g.holder for g in hot)


@dataclass(frozen=True, slots=True)
class PowerBrake(Fault):
    """The chassis' power supply asks for half the clock."""

    def begin(self, world: World, target: str, now: datetime) -> str:
        for device in devices(world, target):
            device.brake = True
        return target

    def end(self, world: World, target: str, now: datetime) -> None:
        for device in world.gpus:
            device.brake = False

    def healed(self, world: World, broken: str) -> bool:
        return not any(g.brake and g.holder for g in world.gpus)


@dataclass(frozen=True, slots=True)
class XidBenign(Fault):
    """A lone Xid of an application: 43 or 45. The GPU is healthy."""

    code: int = 43

    def begin(self, world: World, target: str, now: datetime) -> str:
        device = replica(world, target.replace("gpu:", "pod:", 1)).gpus[0]
        device.xid(self.code)
        return f"gpu:{device.uuid}"
