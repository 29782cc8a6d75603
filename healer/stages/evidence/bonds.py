"""What ties symptoms together into one incident, and what keeps them apart."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from healer.model.event import Event
from healer.model.finding import Finding, Level
from healer.model.incident import Severity
from healer.model.snapshot import Snapshot
from healer.model.target import CLUSTER, Kind, Target
from healer.model.topology import Topology
from healer.settings import LoopSettings
from healer.stages.evidence.relations import to_kind

STORM_SHARE = 0.25
"""Share of all targets of one kind that show the same at once."""

STORM_LEAST = 4
"""Two of three replicas are no storm."""

CROWD = 0.6
"""Share of a node's pods or GPUs that suffer at once, from which on the node is what they share."""

LASTING = frozenset({"alert", "gpus_withheld"})
"""Kinds of events that are told for as long as they last."""

LIFECYCLE = frozenset({"pod_ready", "pod_restarts", "workload_unavailable"})
"""Signals that move by themselves while somebody drains a node or rolls out a revision."""


@dataclass(frozen=True, slots=True)
class Member:
    """A symptom of this tick on its way into an incident."""

    key: str
    name: str
    target: Target
    since: datetime
    grave: bool
    severity: Severity
    said: str
    active: bool = True
    """Whether it is there now: an alert that resolved, or an Xid of a while ago, is not."""
    finding: Finding | None = None
    event: Event | None = None
    storm: str = ""
    """Set when it is part of one: what the storm is, for people."""


def of_finding(finding: Finding, held: bool) -> Member:  # noqa: FBT001  see `planned`
    """held: it is what planned work looks like, and opens nothing."""
    grave = finding.level >= Level.PAGE and not held
    severity = Severity.CRITICAL if finding.level >= Level.ACT else Severity.WARNING
    said = finding.summary or f"{finding.signal} of {finding.target} deviates"
    return Member(
        finding.key,
        finding.signal,
        finding.target,
        finding.since,
        grave,
        severity,
        said,
        finding=finding,
    )


_SEVERITIES = {
    "critical": Severity.CRITICAL,
    "page": Severity.CRITICAL,
    "error": Severity.CRITICAL,
    "info": Severity.INFO,
    "none": Severity.INFO,
}
"""What people write into an alert's severity label; anything else is a warning."""


def of_event(event: Event, severity: Severity, now: datetime, settings: LoopSettings) -> Member:
    label = event.attributes.get("severity", "").lower()
    if event.kind == "alert":
        severity = _SEVERITIES.get(label, severity)
        active = event.ended_at is None
        # One that was over before a tick saw it, or before we heard of it, is news all the same.
        newest = max(event.ended_at or now, event.seen_at or event.at)
        grave = active or now - newest < 2 * settings.quiet_for
    elif event.kind in LASTING:
        active = grave = True
    else:
        active = event.ended_at is None and now - event.at <= settings.quiet_for
        # Shorter than it takes to be active and then quiet: it opens one incident, not two.
        grave = now - event.at < 2 * settings.quiet_for
    named = event.attributes.get("alertname", "")
    said = ": ".join(part for part in (named or event.kind, event.message) if part)
    return Member(
        event.key,
        event.kind,
        event.target,
        event.at,
        grave,
        severity,
        said,
        active=active,
        event=event,
    )


def planned(finding: Finding, snapshot: Snapshot) -> bool:
    """Whether `finding` is what a drain by hand or a rollout under way looks like."""
    if finding.signal not in LIFECYCLE:
        return False
    topology = snapshot.topology
    nodes = topology.related(finding.target, Kind.NODE)
    if any(_by_hand(topology, node) for node in nodes):
        return True
    return any(
        _rolling(topology, workload) for workload in topology.related(finding.target, Kind.WORKLOAD)
    )


def _by_hand(topology: Topology, node: Target) -> bool:
    cordoned = topology.fact(node, "unschedulable") is True
    return cordoned and topology.fact(node, "cordon_owner") is None


def _rolling(topology: Topology, workload: Target) -> bool:
    if topology.fact(workload, "progress_failed") is True:
        return False
    wanted = topology.fact(workload, "replicas")
    updated = topology.fact(workload, "updated_replicas")
    return isinstance(wanted, int) and isinstance(updated, int) and updated < wanted


def bonded(one: Member, other: Member, snapshot: Snapshot) -> bool:
    """Whether two symptoms touch connected targets, or were told as one by who knows them."""
    if _told_together(one, other, snapshot.topology):
        return True
    if CLUSTER in (one.target, other.target):
        return one.target == other.target and _named(one) == _named(other)
    if one.target == other.target:
        return True
    topology = snapshot.topology
    if other.target in to_kind(topology, one.target, other.target.kind):
        return True
    pods = [_pods(topology, each.target) for each in (one, other)]
    if one.target.kind not in _SHARED and other.target.kind not in _SHARED and pods[0] & pods[1]:
        return True
    if one.target.kind in _SHARED or other.target.kind in _SHARED:
        return False
    return parts_of(topology, one.target) & parts_of(topology, other.target) != frozenset()


def _told_together(one: Member, other: Member, topology: Topology) -> bool:
    """Whether both came in one group of alerts and the topology cannot tell better."""
    groups = [each.event.group if each.event else "" for each in (one, other)]
    if not groups[0] or groups[0] != groups[1]:
        return False
    return any(t == CLUSTER or topology.get(t) is None for t in (one.target, other.target))


_SHARED = frozenset({Kind.NODE, Kind.RACK, Kind.CLUSTER})
"""Targets below which unrelated things live side by side: they bond with what is on them only."""


def own_parts(member: Member) -> bool:
    """Whether it speaks for the workloads it is a part of; a node's symptom does not."""
    return member.target.kind not in _SHARED


def _named(member: Member) -> str:
    return member.event.attributes.get("alertname", "") if member.event else member.name


def _pods(topology: Topology, target: Target) -> frozenset[Target]:
    return frozenset(topology.related(target, Kind.POD))


def parts_of(topology: Topology, target: Target) -> frozenset[Target]:
    """The workloads, services and groups a target is a part of; those of a GPU's pods for a GPU."""
    own = {target} if target.kind is Kind.POD else set(_pods(topology, target))
    found = {
        above
        for each in (own or {target})
        for kind in (Kind.GROUP, Kind.WORKLOAD, Kind.SERVICE)
        for above in topology.related(each, kind)
    }
    return frozenset(found)


def bundles(
    members: Sequence[Member], snapshot: Snapshot, within: timedelta
) -> tuple[tuple[Member, ...], ...]:
    """Members that hang together, one tuple an incident; groups without a grave one are left out.

    Grave members tie groups together; each warning joins the first group it is bonded with.
    """
    grave = [m for m in members if m.grave]
    parent = list(range(len(grave)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    crowds = crowded(grave, snapshot)
    kinds = tuple(dict.fromkeys(m.target.kind for m in grave))
    known: dict[object, list[int]] = defaultdict(list)
    for i, one in enumerate(grave):
        marks = _marks(one, snapshot.topology)
        near = {j for mark in (*marks, *_led(one.target, kinds, snapshot)) for j in known[mark]}
        for j in sorted(near):
            other = grave[j]
            if root(i) == root(j) or abs(one.since - other.since) > within:
                continue
            if together(one, other, snapshot, crowds):
                parent[root(i)] = root(j)
        for mark in marks:
            known[mark].append(i)
    groups: dict[int, list[Member]] = defaultdict(list)
    for i, member in enumerate(grave):
        groups[root(i)].append(member)
    found = list(groups.values())
    for warning in (m for m in members if not m.grave and m.active):
        for group in found:
            if any(m.grave and bonded(warning, m, snapshot) for m in group):
                group.append(warning)
                break
    return tuple(tuple(group) for group in found)


def _marks(member: Member, topology: Topology) -> list[object]:
    """What two members that are `together` have at least one of in common.

    Only those that share one are compared, so that many faults far apart cost no more each.
    """
    target = member.target
    found: list[object] = [target, ("storm", member.storm) if member.storm else target]
    if member.event and member.event.group:
        found.append(("group", member.event.group))
    if target == CLUSTER:
        return found
    found += [("on", node, member.name) for node in topology.related(target, Kind.NODE)]
    if target.kind not in _SHARED:
        found += [
            ("part", each) for each in (*_pods(topology, target), *parts_of(topology, target))
        ]
    return found


def _led(target: Target, kinds: tuple[Kind, ...], snapshot: Snapshot) -> Iterator[Target]:
    """Whatever of these kinds goes with `target`."""
    for kind in kinds:
        if target != CLUSTER and kind is not target.kind:
            yield from to_kind(snapshot.topology, target, kind)


def together(one: Member, other: Member, snapshot: Snapshot, crowds: frozenset[Target]) -> bool:
    """Whether they are one incident, `crowds` being nodes of which most shows the same."""
    if one.storm and one.storm == other.storm:
        return True
    if bonded(one, other, snapshot):
        return True
    nodes = [set(snapshot.topology.related(m.target, Kind.NODE)) for m in (one, other)]
    return bool(nodes[0] & nodes[1] & crowds) and one.name == other.name


def crowded(grave: Sequence[Member], snapshot: Snapshot) -> frozenset[Target]:
    """Nodes most of whose pods or GPUs (at least three) show the same."""
    topology = snapshot.topology
    seen: dict[tuple[Target, str, Kind], set[Target]] = defaultdict(set)
    for member in grave:
        if member.target.kind in (Kind.POD, Kind.GPU):
            for node in topology.related(member.target, Kind.NODE):
                seen[node, member.name, member.target.kind].add(member.target)
    return frozenset(
        node
        for (node, _, kind), many in seen.items()
        if len(many) >= 3 and len(many) >= CROWD * len(topology.related(node, kind))
    )


def with_storms(members: Sequence[Member], snapshot: Snapshot) -> list[Member]:
    """The members, those that are part of a storm marked with what it is."""
    alike: dict[tuple[str, Kind], set[Target]] = defaultdict(set)
    for member in members:
        if member.grave and member.target != CLUSTER:
            alike[_named(member), member.target.kind].add(member.target)
    storms: dict[tuple[str, Kind], str] = {}
    for (name, kind), targets in alike.items():
        everyone = len(snapshot.topology.of(kind))
        many = len(targets) >= STORM_LEAST and len(targets) >= STORM_SHARE * everyone > 0
        if many and not _one_workload(snapshot.topology, targets):
            storms[name, kind] = f"{name} on {len(targets)} of {everyone} {kind}s at once"
    return [
        dataclasses.replace(m, storm=storms.get((_named(m), m.target.kind), "") if m.grave else "")
        for m in members
    ]


def _one_workload(topology: Topology, targets: set[Target]) -> bool:
    """Replicas of one workload that suffer alike are its own affair, however many they are."""
    shared = [parts_of(topology, target) for target in targets]
    return bool(frozenset.intersection(*shared))
