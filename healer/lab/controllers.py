"""All controllers of the simulated cluster, moved by hand: one `step` at a moment.

They work on the store like their genuine counterparts work on an API server, and know nothing
of kubelets: a pod they create stays Pending, and one they end stays Terminating, until somebody
plays its kubelet.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from healer.lab.control import (
    budgets,
    daemonset,
    deployment,
    garbage,
    nodes,
    replicaset,
    scheduler,
    statefulset,
)
from healer.lab.control.autoscaler import Autoscaler, Desired
from healer.lab.kube.status import Obj
from healer.lab.kube.store import ObjectStore

MOST_ROUNDS = 6
"""One thing leads to the next within a moment: Deployment, ReplicaSet, pod, node, budget."""


def _no_metrics(_: Obj) -> int | None:
    return None


class Controllers:
    """hpa_desired: how many replicas the metrics of an autoscaler call for, None for unknown."""

    def __init__(self, store: ObjectStore, hpa_desired: Desired = _no_metrics) -> None:
        self._store = store
        self._reconcilers: tuple[Callable[[ObjectStore, datetime], None], ...] = (
            Autoscaler(hpa_desired).reconcile,
            deployment.reconcile,
            statefulset.reconcile,
            replicaset.reconcile,
            daemonset.reconcile,
            garbage.reconcile,
            nodes.reconcile,
            scheduler.reconcile,
            budgets.reconcile,
        )

    def step(self, now: datetime) -> None:
        """Until nothing changes any more, or for a few rounds."""
        for _ in range(MOST_ROUNDS):
            with self._store.transaction():
                before = self._store.version
                for reconcile in self._reconcilers:
                    reconcile(self._store, now)
                if self._store.version == before:
                    return
