"""Process → pod, by its control group: for processes that took a GPU past the kubelet.

Only the pod's UID and the container's id are in the path. Other pods' processes are seen with
hostPID alone.
"""

from __future__ import annotations

import re
from pathlib import Path

PROC = Path("/proc")
_POD = re.compile(
    r"pod(?P<uid>[0-9a-f]{8}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12})"
)
"""cgroupfs writes `pod<uid>`, systemd `kubepods-burstable-pod<uid with _>.slice`."""


def pod_uid(pid: int, proc: Path = PROC) -> str:
    """The UID of the process' pod; nothing where it has none or may not be looked at."""
    try:
        text = (proc / str(pid) / "cgroup").read_text(errors="replace")
    except OSError:
        return ""
    found = _POD.search(text)
    return found["uid"].replace("_", "-") if found else ""
