"""The write side: one request per action, sent once, its answer read for what it means.

Each verb reads its object first and compares UID and expected state; the write then carries the
UID and the resourceVersion just read, so nothing changes in between unnoticed. The version in
the plan is older than the guards' deliberations, and kubelets and controllers have touched the
object's status since.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from kubernetes.client import ApiClient

from healer.adapters.kubernetes import cordoning, errors, evicting, rollback, scaling
from healer.adapters.kubernetes.sender import Sender
from healer.errors import HealerError
from healer.model.actions import (
    Action,
    CordonNode,
    Escalate,
    EvictPod,
    RollbackWorkload,
    ScaleWorkload,
    UncordonNode,
)
from healer.model.intent import Receipt
from healer.ports import Clock


@dataclass(frozen=True, slots=True)
class KubernetesHands:
    """Fulfils `healer.ports.Hands`. Nothing here is ever sent twice."""

    api: ApiClient
    clock: Clock
    owner: str = "healer"
    """Who signs cordons; two installations in one cluster need two names."""
    timeout_s: tuple[float, float] = errors.TIMEOUT_S

    def rehearse(self, action: Action, intent_id: str) -> Receipt:
        return self._do(self._sender(dry_run=True), action, intent_id)

    def carry_out(self, action: Action, intent_id: str) -> Receipt:
        return self._do(self._sender(dry_run=False), action, intent_id)

    def holds(self, action: Action, intent_id: str) -> bool | None:
        try:
            return self._holds(self._sender(dry_run=True), action)
        except HealerError:
            return None

    def _sender(self, *, dry_run: bool) -> Sender:
        return Sender(self.api, self.clock, dry_run, self.timeout_s)

    def _do(self, sender: Sender, action: Action, intent_id: str) -> Receipt:
        match action:
            case EvictPod():
                return evicting.evict(sender, action)
            case CordonNode():
                return cordoning.cordon(sender, action, intent_id, self.owner)
            case UncordonNode():
                return cordoning.uncordon(sender, action, self.owner)
            case ScaleWorkload():
                return scaling.scale(sender, action)
            case RollbackWorkload():
                return rollback.rollback(sender, action, self.owner)
            case Escalate():
                return sender.done("a person is asked; the cluster stays as it is", {}, {})
            case _:
                assert_never(action)

    def _holds(self, sender: Sender, action: Action) -> bool:
        match action:
            case EvictPod():
                return evicting.holds(sender, action)
            case CordonNode():
                return cordoning.cordon_holds(sender, action)
            case UncordonNode():
                return cordoning.uncordon_holds(sender, action, self.owner)
            case ScaleWorkload():
                return scaling.holds(sender, action)
            case RollbackWorkload():
                return rollback.holds(sender, action)
            case Escalate():
                return True
            case _:
                assert_never(action)
