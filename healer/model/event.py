"""Something that happened at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from healer.model.target import Target


@dataclass(frozen=True, slots=True)
class Event:
    """An Xid, a Kubernetes event, a received alert, a rollout, somebody's cordon.

    `kind` is one of: xid, alert, kubernetes, rollout, scaled, pod_failed, pod_created,
    pod_deleted, node_not_ready, node_cordoned, gpu_lost, gpus_withheld, changed. `attributes`
    carry what the kind has: `xid`, `reason`, `alertname`, `severity`, `revision`, `by`, …
    """

    kind: str
    target: Target
    at: datetime
    message: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    source: str = ""
    """Where it was read: `prometheus`, `kubernetes`, `alertmanager`, `grafana`, `kmsg`."""
    ended_at: datetime | None = None
    """For what lasts, such as an alert: when it was over; None while it lasts."""
    seen_at: datetime | None = None
    """When we first heard of it, where that can be much later than `at`; None for at once."""
    group: str = ""
    """What the sender told it together with; empty for nothing."""

    @property
    def key(self) -> str:
        """The same occurrence seen twice has the same key."""
        marks = ",".join(f"{k}={v}" for k, v in sorted(self.attributes.items()))
        return f"{self.kind}|{self.target}|{self.at.isoformat()}|{marks}"
