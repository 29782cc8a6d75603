"""Stands in where there is no Kubernetes: nothing is seen and nothing can be done."""

from __future__ import annotations

from collections.abc import Mapping

from healer.errors import Permanent
from healer.model.actions import VERBS, Action
from healer.model.intent import Receipt
from healer.model.topology import Topology
from healer.ports import ClusterView

REASON = "Kubernetes is switched off in the settings"


class NoCluster:
    """A Cluster that is empty and Hands that refuse."""

    def view(self) -> ClusterView:
        return ClusterView(Topology(complete=False))

    def healthy_revisions(self) -> frozenset[str]:
        return frozenset()

    def trust_revisions(self, uids: frozenset[str]) -> None:
        """Nothing is rolled back here."""

    def denied(self) -> Mapping[str, str]:
        return dict.fromkeys(VERBS, REASON)

    def rehearse(self, action: Action, intent_id: str) -> Receipt:
        raise Permanent(REASON)

    def carry_out(self, action: Action, intent_id: str) -> Receipt:
        raise Permanent(REASON)

    def holds(self, action: Action, intent_id: str) -> bool | None:
        return None
