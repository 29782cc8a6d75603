"""What each switch of the chart gives the acting identity: the verbs of one remediation.

`tools/chart.py` writes them, with the permissions that each verb needs, into the chart. A new verb
goes into `permissions.NEEDED` and under a switch here; a test keeps the roles, this table and what
is really sent to the API server in step.
"""

from __future__ import annotations

from collections.abc import Mapping

TOGGLES: Mapping[str, tuple[str, ...]] = {
    "restartPod": ("evict_pod",),
    "cordonNode": ("cordon_node", "uncordon_node"),
    "drainNode": ("cordon_node", "uncordon_node", "evict_pod"),
    "scale": ("scale_workload", "set_floor"),
    "rollback": ("rollback_workload",),
    "deletePod": ("delete_pod",),
    "restartWorkload": ("restart_workload",),
    "quarantinePod": ("quarantine_pod", "release_pod"),
}
"""Switch below `remediation.actions` → the verbs of its plan and of its undo."""

CLUSTER_SCOPED: frozenset[str] = frozenset({"nodes"})
"""Resources without a namespace: a right on them holds in the whole cluster."""
