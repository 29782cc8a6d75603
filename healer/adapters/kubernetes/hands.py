"""The write side: one request per action, sent once, its answer read for what it means.

Each verb reads its object first and compares UID and expected state; the write then carries the
UID and the resourceVersion just read, so nothing changes in between unnoticed. The version in
the plan is older than the guards' deliberations, and kubelets and controllers have touched the
object's status since.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import assert_never

from kubernetes.client import ApiClient

from healer.adapters.alone import Alone
from healer.adapters.kubernetes import (
    cordoning,
    deleting,
    errors,
    evicting,
    floors,
    quarantine,
    restarting,
    rollback,
    scaling,
)
from healer.adapters.kubernetes.sender import Sender
from healer.errors import HealerError
from healer.model.actions import (
    Action,
    CordonNode,
    DeletePod,
    Escalate,
    EvictPod,
    QuarantinePod,
    ReleasePod,
    RestartWorkload,
    RollbackWorkload,
    ScaleWorkload,
    SetFloor,
    UncordonNode,
)
from healer.model.intent import Receipt
from healer.ports import Clock, Leadership


@dataclass(frozen=True, slots=True)
class KubernetesHands:
    """Fulfils `healer.ports.Hands`. Nothing here is ever sent twice."""

    api: ApiClient
    clock: Clock
    owner: str = "healer"
    """Who signs cordons; two installations in one cluster need two names."""
    timeout_s: tuple[float, float] = errors.TIMEOUT_S
    leading: Leadership = field(default_factory=Alone)
    """Asked right before each mutation: a leader no more sends nothing more."""

    def rehearse(self, action: Action, intent_id: str) -> Receipt:
        return self._do(self._sender(dry_run=True), action, intent_id)

    def carry_out(self, action: Action, intent_id: str) -> Receipt:
        return self._do(self._sender(dry_run=False), action, intent_id)

    def holds(self, action: Action, intent_id: str) -> bool | None:
        try:
            return self._holds(self._sender(dry_run=True), action, intent_id)
        except HealerError:
            return None

    def _sender(self, *, dry_run: bool) -> Sender:
        return Sender(self.api, self.clock, dry_run, self.timeout_s, self.leading)

    def _do(  # noqa: PLR0911  # one branch a verb
        self, sender: Sender, action: Action, intent_id: str
    ) -> Receipt:
        match action:
            case EvictPod():
                return evicting.evict(sender, action)
            case DeletePod():
                return deleting.delete(sender, action)
            case CordonNode():
                return cordoning.cordon(sender, action, intent_id, self.owner)
            case UncordonNode():
                return cordoning.uncordon(sender, action, self.owner)
            case ScaleWorkload():
                return scaling.scale(sender, action)
            case SetFloor():
                return floors.set_floor(sender, action, intent_id, self.owner)
            case RollbackWorkload():
                return rollback.rollback(sender, action, self.owner)
            case RestartWorkload():
                return restarting.restart(sender, action)
            case QuarantinePod():
                return quarantine.quarantine(sender, action, intent_id, self.owner)
            case ReleasePod():
                return quarantine.release(sender, action, self.owner)
            case Escalate():
                return sender.done("a person is asked; the cluster stays as it is", {}, {})
            case _:
                assert_never(action)

    def _holds(  # noqa: PLR0911
        self, sender: Sender, action: Action, intent_id: str
    ) -> bool:
        match action:
            case EvictPod() | DeletePod():
                return evicting.holds(sender, action)
            case CordonNode():
                return cordoning.cordon_holds(sender, action)
            case UncordonNode():
                return cordoning.uncordon_holds(sender, action, self.owner)
            case ScaleWorkload():
                return scaling.holds(sender, action)
            case SetFloor():
                return floors.holds(sender, action, self.owner)
            case RollbackWorkload():
                return rollback.holds(sender, action)
            case RestartWorkload():
                return restarting.holds(sender, action)
            case QuarantinePod():
                return quarantine.quarantine_holds(sender, action, intent_id, self.owner)
            case ReleasePod():
                return quarantine.release_holds(sender, action, self.owner)
            case Escalate():
                return True
            case _:
                assert_never(action)
