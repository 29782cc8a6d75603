"""The shape of a fault, and how it finds what it breaks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import datetime
from typing import TYPE_CHECKING

from healer.errors import BadInput
from healer.lab.gpu import Gpu
from healer.lab.kubelet import Replica
from healer.lab.objects import node_name

if TYPE_CHECKING:
    from healer.lab.world import World


class Fault(ABC):
    """Options are the fields of the deriving dataclass."""

    @abstractmethod
    def begin(self, world: World, target: str, now: datetime) -> str:
        """Break it. Returns what was broken, as it is called in the cluster."""

    def end(self, world: World, target: str, now: datetime) -> None:
        """Let go of it, for faults with a duration. Most stay until they are healed."""
        return

    def healed(self, world: World, broken: str) -> bool:
        """Whether nothing of it harms any more; asked only for scoring."""
        return True


def broken_by(world: World, fault: Fault) -> str:
    """What a fault broke when it began: by its end the INDEX-th replica may be another one."""
    return next(one.what for one in world.broken if one.fault is fault)


class NotYet(Exception):
    """There is nothing at this moment that the fault could break; it begins as soon as there is."""


def replica(world: World, target: str) -> Replica:
    """`pod:MODEL/INDEX`: the INDEX-th oldest ready replica; the first model's first by default.

    While fewer are ready it is the youngest of those. Raises NotYet where none is.
    """
    model, index = _parts(target, "pod", world.scenario.models[0].name)
    found = [r for r in world.kubelets.of(model) if r.ready]
    if not found:
        raise NotYet(target)
    return found[min(index, len(found) - 1)]


def gpu(world: World, target: str) -> Gpu:
    """`gpu:MODEL/INDEX`: the first GPU of that replica."""
    return replica(world, target.replace("gpu:", "pod:", 1)).gpus[0]


def service(world: World, target: str) -> str:
    return target.partition(":")[2] or world.scenario.models[0].name


def node(world: World, target: str) -> str:
    """`node:INDEX`, or `node:MODEL/INDEX` for the node of that replica."""
    text = target.partition(":")[2]
    if "/" in text:
        return replica(world, f"pod:{text}").node
    return node_name(int(text or 0))


def devices(world: World, target: str) -> list[Gpu]:
    """GPUs of `rack:INDEX`, `node:…` or `gpu:…`."""
    kind, _, text = target.partition(":")
    if kind == "rack":
        racks = world.scenario.cluster.racks
        nodes = {
            node_name(i) for i in range(world.scenario.cluster.nodes) if i % racks == int(text or 0)
        }
        return [g for g in world.gpus if g.node in nodes]
    if kind == "node":
        name = node(world, target)
        return [g for g in world.gpus if g.node == name]
    return [gpu(world, target)]


def _parts(target: str, kind: str, default: str) -> tuple[str, int]:
    text = target.partition(":")[2] or default
    if target and not target.startswith(f"{kind}:"):
        raise BadInput(f"expected {kind}:MODEL/INDEX", path="target", value=target)
    model, _, index = text.partition("/")
    return model, int(index or 0)
