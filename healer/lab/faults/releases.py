"""Releases and settings that do harm, and pods that wear out by themselves."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from healer.lab.faults.base import Fault, node, replica, service
from healer.lab.kubelet import Doom
from healer.lab.objects import GOOD_TAG, NAMESPACE, template

if TYPE_CHECKING:
    from healer.lab.world import World

OOM = (
    "Error: engine core failed to start: torch.OutOfMemoryError: CUDA out of memory. "
    "Tried to allocate 2.50 GiB"
)


def roll_out(world: World, name: str, tag: str, args: tuple[str, ...], why: str) -> None:
    """As `kubectl apply` of a changed Deployment does."""
    model = next(m for m in world.scenario.models if m.name == name)

    def change(deployment: dict) -> None:  # type: ignore[type-arg]
        deployment["spec"]["template"] = template(model, tag, args)
        notes = deployment["metadata"].setdefault("annotations", {})
        notes["kubernetes.io/change-cause"] = why

    world.api.store.modify("apps/deployments", NAMESPACE, name, change)


@dataclass(frozen=True, slots=True)
class ConfigChange(Fault):
    """The same image with an argument that asks for more memory than the GPU has."""

    argument: str = "--gpu-memory-utilization=0.99"
    after_s: float = 40.0

    def begin(self, world: World, target: str, now: datetime) -> str:
        name = service(world, target)
        doom = Doom(self.argument, timedelta(seconds=self.after_s), "Error", 1, OOM)
        world.kubelets.dooms.append(doom)
        roll_out(world, name, GOOD_TAG, (self.argument,), f"set {self.argument}")
        return f"workload:{NAMESPACE}/deployment/{name}"

    def healed(self, world: World, broken: str) -> bool:
        name = broken.rpartition("/")[2]
        running = world.kubelets.of(name)
        return bool(running) and not any(self.argument in r.args for r in running)


@dataclass(frozen=True, slots=True)
class CrashingRevision(Fault):
    """A release whose kernels fault (Xid 31) wherever they run."""

    tag: str = "v0.33.0-rc2"
    after_s: float = 150.0

    def begin(self, world: World, target: str, now: datetime) -> str:
        name = service(world, target)
        doom = Doom(self.tag, timedelta(seconds=self.after_s), "Error", 134, xid=31)
        world.kubelets.dooms.append(doom)
        roll_out(world, name, self.tag, (), f"release {self.tag}")
        return f"workload:{NAMESPACE}/deployment/{name}"

    def healed(self, world: World, broken: str) -> bool:
        name = broken.rpartition("/")[2]
        running = world.kubelets.of(name)
        return bool(running) and not any(r.image.endswith(self.tag) for r in running)


@dataclass(frozen=True, slots=True)
class MemoryLeak(Fault):
    """Host memory creeps up in every pod of a model until the kernel ends it (OOMKilled)."""

    share: float = 0.85
    """Of its limit, where it stands when the story begins."""
    per_hour: float = 1.2

    def begin(self, world: World, target: str, now: datetime) -> str:
        name = service(world, target)
        for number, one in enumerate(world.kubelets.of(name)):
            one.memory_share = self.share - 0.03 * number
        world.leaks[name] = self.per_hour
        return f"workload:{NAMESPACE}/deployment/{name}"

    def end(self, world: World, target: str, now: datetime) -> None:
        world.leaks.pop(service(world, target), None)


@dataclass(frozen=True, slots=True)
class RankDeath(Fault):
    """One rank's process dies; the others of its group wait in a collective until it times out."""

    rank: int = -1
    """Which of the pod's GPUs; the last by default."""
    timeout_s: float = 600.0

    def begin(self, world: World, target: str, now: datetime) -> str:
        victim = replica(world, target)
        victim.gpus[self.rank].dead = True
        victim.engine.hung = True

        def time_out() -> None:
            if victim.uid in world.kubelets.replicas and not victim.crashed and not victim.ending:
                message = "Watchdog caught collective operation timeout: NCCL WorkNCCL"
                world.kubelets.say(victim, world.now, message)
                world.kubelets.crash(victim, world.now, "Error", 134)

        world.later.append((now + timedelta(seconds=self.timeout_s), time_out))
        return f"pod:{victim.namespace}/{victim.name}"

    def healed(self, world: World, broken: str) -> bool:
        name = broken.rpartition("/")[2]
        return all(r.name != name for r in world.kubelets.replicas.values())


@dataclass(frozen=True, slots=True)
class DriverChange(Fault):
    """A node comes back from a driver upgrade; two minutes later a model is released. It is slow.

    Either could be to blame, and the record does not tell which: the new pods run nowhere else.
    """

    slowdown: float = 2.5
    tag: str = "v0.33.1"

    def begin(self, world: World, target: str, now: datetime) -> str:
        where = node(world, target)
        guests = {r.model.name for r in world.kubelets.replicas.values() if r.node == where}

        def upgraded(found: dict) -> None:  # type: ignore[type-arg]
            found["metadata"]["labels"]["nvidia.com/cuda.driver.major"] = "580"
            found["metadata"]["labels"]["nvidia.com/cuda.driver-version.full"] = "580.95.05"

        world.api.store.modify("nodes", "", where, upgraded)
        world.releases[self.tag] = (1.0 / self.slowdown, 0.0)

        def release() -> None:
            for name in guests:
                roll_out(world, name, self.tag, (), f"release {self.tag}")

        world.later.append((now + timedelta(minutes=2), release))
        return f"node:{where}"
