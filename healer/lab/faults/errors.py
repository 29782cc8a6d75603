"""Faults that the driver logs: contained memory errors, wear, links, a GPU that errs again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from healer.lab.faults.base import Fault, broken_by, gpu, replica
from healer.lab.gpu import Gpu
from healer.lab.kubelet import Doom

if TYPE_CHECKING:
    from healer.lab.world import World


def _device(world: World, broken: str) -> Gpu:
    uuid = broken.partition(":")[2]
    return next(g for g in world.gpus if g.uuid == uuid)


@dataclass(frozen=True, slots=True)
class EccContained(Fault):
    """Xid 94: one process lost its data and makes no token more; the GPU itself is well."""

    def begin(self, world: World, target: str, now: datetime) -> str:
        victim = replica(world, target.replace("gpu:", "pod:", 1))
        device = victim.gpus[0]
        device.xid(94)
        device.dbe += 1
        victim.engine.hung = True
        device.dead = True
        return f"pod:{victim.namespace}/{victim.name}"

    def healed(self, world: World, broken: str) -> bool:
        name = broken.rpartition("/")[2]
        return all(r.name != name for r in world.kubelets.replicas.values())


@dataclass(frozen=True, slots=True)
class GpuDegrading(Fault):
    """Xid 63 again and again: memory rows wear out, a remapping waits for a reset."""

    times: int = 4
    every_s: float = 90.0

    def begin(self, world: World, target: str, now: datetime) -> str:
        device = gpu(world, target)
        device.remap_pending = 1
        for number in range(self.times):
            at = now + timedelta(seconds=self.every_s * number)
            world.later.append((at, lambda: device.xid(63)))
        return f"gpu:{device.uuid}"

    def healed(self, world: World, broken: str) -> bool:
        return _device(world, broken).holder is None


@dataclass(frozen=True, slots=True)
class NvlinkErrors(Fault):
    """Xid 74: a link between GPUs repeats itself, and the tensor-parallel group waits for it."""

    speed: float = 0.45
    """What is left of the group's speed."""
    errors_per_s: float = 40.0

    def begin(self, world: World, target: str, now: datetime) -> str:
        device = gpu(world, target)
        device.xid(74)
        device.nvlinks_down = 1
        device.nvlink_errors_per_s = self.errors_per_s
        device.link_speed = self.speed
        return f"gpu:{device.uuid}"

    def end(self, world: World, target: str, now: datetime) -> None:
        for device in world.gpus:
            device.nvlinks_down, device.nvlink_errors_per_s, device.link_speed = 0, 0.0, 1.0

    def healed(self, world: World, broken: str) -> bool:
        return _device(world, broken).holder is None


@dataclass(frozen=True, slots=True)
class GpuFlaky(Fault):
    """Xid 31 under whatever runs there: each container on this GPU ends after a while."""

    after_s: float = 60.0

    def begin(self, world: World, target: str, now: datetime) -> str:
        device = gpu(world, target)
        doom = Doom(device.uuid, timedelta(seconds=self.after_s), "Error", 134, xid=31)
        holder = next(r for r in world.kubelets.replicas.values() if device in r.gpus)
        device.xid(31)
        world.kubelets.crash(holder, now, "Error", 134, for_good=False)
        world.kubelets.dooms.append(doom)
        return f"gpu:{device.uuid}"

    def end(self, world: World, target: str, now: datetime) -> None:
        uuid = broken_by(world, self).partition(":")[2]
        world.kubelets.dooms = [doom for doom in world.kubelets.dooms if doom.marks != uuid]

    def healed(self, world: World, broken: str) -> bool:
        return _device(world, broken).holder is None
