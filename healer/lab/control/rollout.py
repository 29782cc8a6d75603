"""How many replicas each ReplicaSet of a Deployment should have next."""

from __future__ import annotations

from collections.abc import Mapping

from healer.lab.control.common import share
from healer.lab.kube.status import Obj

PodsByOwner = Mapping[str, list[Obj]]


def fenceposts(deployment: Obj) -> tuple[int, int]:
    """(surge, unavailable) in replicas; both zero would never move, so one may be missing."""
    spec = deployment["spec"]
    strategy = spec.get("strategy") or {}
    if strategy.get("type") == "Recreate":
        return 0, 0
    rolling = strategy.get("rollingUpdate") or {}
    surge = share(rolling.get("maxSurge", "25%"), spec["replicas"], up=True)
    unavailable = share(rolling.get("maxUnavailable", "25%"), spec["replicas"], up=False)
    if not surge and not unavailable:
        unavailable = 1
    return surge, min(unavailable, spec["replicas"])


def replicas(
    deployment: Obj, new: Obj | None, old: list[Obj], pods: PodsByOwner, *, paused: bool
) -> dict[str, int]:
    """ReplicaSet UID → replicas."""
    wanted = {each["metadata"]["uid"]: each["spec"]["replicas"] for each in old}
    if new is None:
        return _spread(deployment, old, wanted)
    wanted[new["metadata"]["uid"]] = new["spec"]["replicas"]
    if paused:
        return _spread(deployment, [*old, new], wanted)
    if (deployment["spec"].get("strategy") or {}).get("type") == "Recreate":
        return _recreate(deployment, new, old, pods)
    _grow(deployment, new, wanted)
    _shrink(deployment, new, old, wanted)
    return wanted


def _spread(deployment: Obj, active: list[Obj], wanted: dict[str, int]) -> dict[str, int]:
    """While nothing rolls, a change of size goes to the largest ReplicaSet."""
    if active:
        largest = max(active, key=lambda each: int(each["spec"]["replicas"]))
        uid = largest["metadata"]["uid"]
        others = sum(count for key, count in wanted.items() if key != uid)
        wanted[uid] = max(deployment["spec"]["replicas"] - others, 0)
    return wanted


def _recreate(deployment: Obj, new: Obj, old: list[Obj], pods: PodsByOwner) -> dict[str, int]:
    wanted = {each["metadata"]["uid"]: 0 for each in old}
    still = any(pods.get(uid) for uid in wanted)
    wanted[new["metadata"]["uid"]] = (
        new["spec"]["replicas"] if still else deployment["spec"]["replicas"]
    )
    return wanted


def _grow(deployment: Obj, new: Obj, wanted: dict[str, int]) -> None:
    uid, desired = new["metadata"]["uid"], deployment["spec"]["replicas"]
    if wanted[uid] >= desired:
        wanted[uid] = desired
        return
    surge, _ = fenceposts(deployment)
    room = desired + surge - sum(wanted.values())
    wanted[uid] += max(min(room, desired - wanted[uid]), 0)


def _shrink(deployment: Obj, new: Obj, old: list[Obj], wanted: dict[str, int]) -> None:
    """Unhealthy old replicas first, then healthy ones as far as availability allows."""
    _, unavailable = fenceposts(deployment)
    least = deployment["spec"]["replicas"] - unavailable
    new_uid = new["metadata"]["uid"]
    missing = wanted[new_uid] - _available(new)
    budget = sum(wanted.values()) - least - max(missing, 0)
    for each in old:
        uid = each["metadata"]["uid"]
        sick = max(wanted[uid] - _available(each), 0)
        cut = min(max(budget, 0), sick)
        wanted[uid] -= cut
        budget -= cut
    spare = sum(min(_available(each), wanted[each["metadata"]["uid"]]) for each in [*old, new])
    spare -= least
    for each in old:
        uid = each["metadata"]["uid"]
        cut = min(max(spare, 0), wanted[uid])
        wanted[uid] -= cut
        spare -= cut


def _available(replica_set: Obj) -> int:
    return int(replica_set.get("status", {}).get("availableReplicas", 0))
