"""Correlate: findings, alerts and events that hang together become one incident.

Grave symptoms (findings of level PAGE, alerts, events the rules call grave) open incidents
and tie them together; warnings join but neither open nor bridge. Together are those of one
target, of targets one of which depends on the other, and of replicas of one workload, that
began within a window of each other. When a large share of all targets of a kind shows the
same at once it is a storm: one incident about what they have in common.

Running it twice on one snapshot changes nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta

import numpy as np

from healer.model.event import Event
from healer.model.finding import Finding, Level
from healer.model.frame import Frame
from healer.model.incident import Incident, Phase, Severity
from healer.model.snapshot import Snapshot
from healer.model.target import Target
from healer.settings import LoopSettings
from healer.stages.evidence.bonds import (
    LASTING,
    Member,
    bundles,
    crowded,
    of_event,
    of_finding,
    own_parts,
    parts_of,
    planned,
    together,
    with_storms,
)
from healer.stages.evidence.symptoms import lasts

Opens = Callable[[Event], Severity | None]

GRAVE_KINDS = {
    "alert": Severity.WARNING,
    "gpu_lost": Severity.CRITICAL,
    "node_not_ready": Severity.CRITICAL,
    "gpus_withheld": Severity.WARNING,
}
"""What opens an incident where no rule book says."""


def opens_by_kind(event: Event) -> Severity | None:
    return GRAVE_KINDS.get(event.kind)


def correlate(
    open_incidents: tuple[Incident, ...],
    findings: tuple[Finding, ...],
    snapshot: Snapshot,
    settings: LoopSettings,
    new_id: Callable[[datetime], str],
    *,
    opens: Opens = opens_by_kind,
    recent: tuple[Incident, ...] = (),
) -> tuple[Incident, ...]:
    """All incidents that are open now, oldest first; those unchanged are the same objects.

    opens: how grave an incident an event opens on its own, `RuleBook.opens`.
    recent: incidents resolved lately; what they knew of does not open another one, and a
    fault that keeps coming back has to stay away longer.
    """
    members = with_storms(_members(findings, snapshot, settings, opens, recent), snapshot)
    known = {key: i for i, incident in enumerate(open_incidents) for key in _keys(incident)}
    joined: list[list[Member]] = [[] for _ in open_incidents]
    fresh: list[Member] = []
    for member in members:
        if member.key in known:
            joined[known[member.key]].append(member)
        else:
            fresh.append(member)
    homes = [
        [*mine, *_standing(incident, snapshot, settings)]
        for incident, mine in zip(open_incidents, joined, strict=True)
    ]
    alone: list[Member] = []
    for member in fresh:
        home = _home(member, open_incidents, homes, snapshot, settings)
        if home is None:
            alone.append(member)
        else:
            joined[home].append(member)
    kept = [
        _updated(incident, mine, snapshot, settings)
        for incident, mine in zip(open_incidents, joined, strict=True)
    ]
    opened = [
        _opened(bundle, snapshot, new_id, recent)
        for bundle in bundles(alone, snapshot, settings.correlate_within)
    ]
    return (*kept, *opened)


def resolve_quiet(incident: Incident, now: datetime, settings: LoopSettings) -> Incident:
    """`incident` resolved, if its symptoms have been gone long enough; else as it is.

    An incident that keeps flapping has to be quiet twice as long each time, up to eightfold.
    While an action is under way the loop resolves it, not we.
    """
    if incident.phase in (Phase.ACTING, Phase.VERIFYING, Phase.RESOLVED):
        return incident
    if incident.quiet_since is None or now - incident.quiet_since < quiet_for(incident, settings):
        return incident
    return dataclasses.replace(
        incident,
        phase=Phase.RESOLVED,
        resolved_at=now,
        updated_at=now,
        resolution=incident.resolution or "symptoms ceased",
        version=incident.version + 1,
    )


def quiet_for(incident: Incident, settings: LoopSettings) -> timedelta:
    """How long `incident` has to be without symptoms before it is over."""
    held: timedelta = settings.quiet_for * min(2**incident.flaps, 8)
    return held


def _members(
    findings: Sequence[Finding],
    snapshot: Snapshot,
    settings: LoopSettings,
    opens: Opens,
    recent: Sequence[Incident],
) -> list[Member]:
    """Symptoms of this tick, earliest first; grave ones before warnings of the same moment."""
    told = {e.key for incident in recent for e in incident.events}
    found = [of_finding(f, planned(f, snapshot)) for f in findings]
    for event in snapshot.events:
        severity = opens(event)
        if severity is None:
            continue
        if event.key in told and (event.kind != "alert" or event.ended_at is not None):
            continue
        if event.ended_at is None and snapshot.now - event.at > _event_age(event, settings):
            continue
        found.append(of_event(event, severity, snapshot.now, settings))
    return sorted(found, key=lambda m: (not m.grave, m.since, m.key))


def _event_age(event: Event, settings: LoopSettings) -> timedelta:
    """Some last until they are over; what happened at one moment soon is history."""
    return timedelta.max if event.kind in LASTING else settings.correlate_within


def _keys(incident: Incident) -> set[str]:
    return {f.key for f in incident.findings} | {e.key for e in incident.events}


def _standing(incident: Incident, snapshot: Snapshot, settings: LoopSettings) -> list[Member]:
    """The members an incident has already, as newcomers see them."""
    found = [of_finding(f, held=False) for f in incident.findings]
    found += [of_event(e, Severity.WARNING, snapshot.now, settings) for e in incident.events]
    return [m for m in found if m.grave] or found


def _home(
    member: Member,
    incidents: Sequence[Incident],
    homes: list[list[Member]],
    snapshot: Snapshot,
    settings: LoopSettings,
) -> int | None:
    """The first open incident `member` is a part of."""
    parts = parts_of(snapshot.topology, member.target) if own_parts(member) else frozenset()
    for i, (incident, standing) in enumerate(zip(incidents, homes, strict=True)):
        early = incident.started_at - settings.correlate_within
        if parts & set(incident.touches) and member.since >= early:
            return i
        if _belongs(member, standing, snapshot, settings):
            return i
    return None


def _belongs(
    member: Member, standing: list[Member], snapshot: Snapshot, settings: LoopSettings
) -> bool:
    """Newcomers of an incident that still goes on may come later than the window."""
    alike = [other for other in standing if other.name == member.name]
    crowds = crowded([*alike, member], snapshot) if member.grave and len(alike) > 1 else frozenset()
    return any(
        other.grave
        and together(member, other, snapshot, crowds)
        and member.since >= other.since - settings.correlate_within
        for other in standing
    )


def _updated(
    incident: Incident, mine: Sequence[Member], snapshot: Snapshot, settings: LoopSettings
) -> Incident:
    findings = {f.key: f for f in incident.findings}
    findings.update((m.finding.key, m.finding) for m in mine if m.finding is not None)
    events = {e.key: e for e in incident.events}
    events.update((m.event.key, m.event) for m in mine if m.event is not None)
    alive = any(m.active and m.grave for m in mine) or _cannot_tell(
        incident, mine, snapshot, settings
    )
    quiet = None if alive else incident.quiet_since or snapshot.now
    returned = alive and incident.quiet_since is not None
    grave = [m for m in mine if m.grave]
    changed = dataclasses.replace(
        incident,
        findings=tuple(findings.values()),
        events=tuple(events.values()),
        targets=tuple(dict.fromkeys((*incident.targets, *(m.target for m in grave)))),
        severity=max((incident.severity, *(m.severity for m in grave)), key=_GRAVITY.index),
        started_at=min((incident.started_at, *(m.since for m in grave))),
        quiet_since=quiet,
        flaps=incident.flaps + returned,
        touches=_touches(incident.touches, grave, snapshot),
    )
    if changed == incident:
        return incident
    return dataclasses.replace(changed, updated_at=snapshot.now, version=incident.version + 1)


_GRAVITY = (Severity.INFO, Severity.WARNING, Severity.CRITICAL)


def _cannot_tell(
    incident: Incident, mine: Sequence[Member], snapshot: Snapshot, settings: LoopSettings
) -> bool:
    """Whether silence may be blindness: what was seen then cannot be looked at now.

    A pod or GPU that the API server no longer knows has taken its symptoms with it.
    """
    told = {m.key for m in mine}
    silent = [f for f in incident.findings if f.level >= Level.PAGE and f.key not in told]
    return any(_unseen(f, snapshot, settings) for f in silent)


def _unseen(finding: Finding, snapshot: Snapshot, settings: LoopSettings) -> bool:
    topology = snapshot.topology
    sees_all = snapshot.cluster_ok and topology.complete and bool(topology.entities)
    if sees_all and finding.target not in topology.entities:
        return False
    if not snapshot.metrics_ok:
        return True
    names = [finding.signal, *(name for name, _ in finding.contributions)]
    frames = [snapshot.frames[name] for name in names if name in snapshot.frames]
    if not frames:
        return True
    newest = snapshot.now - lasts(settings.step)
    if all(_is_off(frame, snapshot, newest.timestamp()) for frame in frames):
        return False
    for frame in frames:
        seen = frame.last_seen()
        for i, target in enumerate(frame.targets):
            if target == finding.target and seen[i] >= newest.timestamp():
                return False
    return True


def _is_off(frame: Frame, snapshot: Snapshot, newest_s: float) -> bool:
    """Whether this is a switch whose series are there only while it is on, and its source is
    heard: then a row that ended tells that it is off."""
    told = frame.values[np.isfinite(frame.values)]
    if frame.signal.unit != "bool" or not (told > 0).all():
        return False
    return any(
        other.signal.source == frame.signal.source and bool((other.last_seen() >= newest_s).any())
        for other in snapshot.frames.values()
        if other is not frame
    )


def _touches(
    before: tuple[Target, ...], grave: Sequence[Member], snapshot: Snapshot
) -> tuple[Target, ...]:
    """What the grave symptoms are a part of, remembered beyond the life of their pods."""
    now = {part for m in grave if own_parts(m) for part in parts_of(snapshot.topology, m.target)}
    return (*before, *sorted(now - set(before)))


def _opened(
    bundle: Sequence[Member],
    snapshot: Snapshot,
    new_id: Callable[[datetime], str],
    recent: Iterable[Incident],
) -> Incident:
    grave = [m for m in bundle if m.grave]
    keys = {m.key for m in bundle}
    before = [i for i in recent if keys & {f.key for f in i.findings}]
    common = bundle[0].storm
    first = grave[0]
    over = all(m.event is not None and m.event.ended_at is not None for m in grave)
    title = common or next((m.said for m in grave if m.finding is not None), first.said)
    return Incident(
        id=new_id(snapshot.now),
        opened_at=snapshot.now,
        started_at=min(m.since for m in grave),
        updated_at=snapshot.now,
        phase=Phase.OPEN,
        severity=max((m.severity for m in grave), key=_GRAVITY.index),
        title=title,
        targets=tuple(dict.fromkeys(m.target for m in grave)),
        findings=tuple(m.finding for m in bundle if m.finding is not None),
        events=tuple(m.event for m in bundle if m.event is not None),
        flaps=max((i.flaps + 1 for i in before), default=0),
        quiet_since=snapshot.now if over else None,
        touches=_touches((), grave, snapshot),
    )
