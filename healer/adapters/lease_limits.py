"""How the times of a lease hang together, and where it lies."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

from healer.errors import BadInput
from healer.settings import LeaseSettings

WRITE_TIMEOUT_S = (2.0, 4.0)
"""To connect and to wait, of every mutation where several replicas may act."""

NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


def check(settings: LeaseSettings) -> None:
    """Raises BadInput where the times leave no moment to act in."""
    for name, shorter, longer in (
        ("retry_every", settings.retry_every, settings.renew_deadline),
        ("renew_deadline", settings.renew_deadline, settings.duration),
    ):
        if not timedelta(0) < shorter < longer:
            after = "renew_deadline" if name == "retry_every" else "duration"
            raise BadInput(
                f"expected less than lease.{after} ({longer.total_seconds():g} s), and more than 0",
                path=f"lease.{name}", value=f"{shorter.total_seconds():g} s",
            )  # fmt: skip
    if acting_s(settings) <= settings.retry_every.total_seconds():
        needs = sum(WRITE_TIMEOUT_S) + settings.retry_every.total_seconds()
        raise BadInput(
            f"expected more than {needs:g} s: a request and a renewal have to fit in",
            path="lease.duration", value=f"{settings.duration.total_seconds():g} s",
        )  # fmt: skip


def acting_s(settings: LeaseSettings) -> float:
    """Seconds after a renewal was sent in which a mutation may begin: it has to have ended before
    anybody else may take the lease."""
    room = settings.duration.total_seconds() - sum(WRITE_TIMEOUT_S)
    return min(settings.renew_deadline.total_seconds(), room)


def own_namespace(file: Path = NAMESPACE_FILE) -> str:
    """The pod's own. Raises BadInput outside a pod."""
    if found := os.environ.get("POD_NAMESPACE"):
        return found
    try:
        return file.read_text().strip()
    except OSError as error:
        raise BadInput(
            "expected a namespace: outside a pod there is none to take",
            path="lease.namespace", value="",
        ) from error  # fmt: skip
