"""Process → pod, by its control group: for processes that took a GPU past the kubelet.

Only the pod's UID and the container's id are in the path. Other pods' processes are seen with
hostPID alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")
ROOT = Path("/sys/fs/cgroup")
_DEEPEST = 3
"""A pod's group is `kubepods[.slice]/[class/]pod…`, of any driver."""
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


def command(pid: int, proc: Path = PROC) -> str:
    """The process' name as it calls itself; nothing where it may not be looked at."""
    try:
        return (proc / str(pid) / "comm").read_text(errors="replace").strip()
    except OSError:
        return ""


def pods(root: Path = ROOT) -> Iterator[tuple[str, Path]]:
    """(UID, control group) of every pod of the node; version 2 alone has pressure."""
    waiting = [(folder, 1) for folder in root.glob("kubepods*")]
    while waiting:
        folder, depth = waiting.pop()
        found = _POD.search(folder.name)
        if found is not None:
            yield found["uid"].replace("_", "-"), folder
        elif depth < _DEEPEST:
            try:
                waiting += [(each, depth + 1) for each in folder.iterdir() if each.is_dir()]
            except OSError:
                continue
