"""From answers of Prometheus to what a tick sees: frames and events.

Pure: which queries are worth sending, which target each row means, how rows of one
target become one, and which edges of a signal are events. The adapter
`healer.adapters.observer` asks and remembers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from healer.model.event import Event
from healer.model.frame import Frame
from healer.model.signal import EventRule, Signal, Worse
from healer.model.target import Kind, Target
from healer.model.topology import Entity, Topology
from healer.ports import Episode, Matrix
from healer.stages.locate import POD_LABELS, Places, locate, of_alert

FOLD_WITHIN = timedelta(minutes=3)
"""The same Xid told by two exporters, scraped and collected at their own pace, is one event."""


def plan_queries(
    signals: Iterable[Signal], known_metric_names: Collection[str] | None
) -> tuple[Signal, ...]:
    """The signals that can have data. None for the names: not known, so all are asked."""
    if known_metric_names is None:
        return tuple(signals)
    return tuple(
        each
        for each in signals
        if not each.metrics or any(name in known_metric_names for name in each.metrics)
    )


def to_frame(signal: Signal, matrix: Matrix, places: Places) -> Frame:
    """Rows by target; those of one target and equal `keep` labels become one.

    Of several values at one moment the worse counts. Rows that name no target are left out.
    Infinite values are no measurements and become NaN.
    """
    groups: dict[tuple[Target, tuple[str, ...]], list[int]] = defaultdict(list)
    for at, labels in enumerate(matrix.labels):
        target = locate(signal.scope, labels, places)
        if target is not None:
            groups[target, tuple(labels.get(k, "") for k in signal.keep)].append(at)
    finite = np.isfinite(matrix.values)
    clean = np.where(finite, matrix.values, np.nan).astype(np.float32)
    rows = np.empty((len(groups), len(matrix.times)), np.float32)
    labels_of = []
    for into, members in enumerate(groups.values()):
        if len(members) == 1:
            newest = members[0]
            rows[into] = clean[newest]
        else:
            pick = np.fmin if signal.worse is Worse.DOWN else np.fmax
            rows[into] = pick.reduce(clean[members], axis=0)
            newest = max(members, key=lambda row: _last(finite[row]))
        labels_of.append(_without_name(matrix.labels[newest]))
    targets = tuple(target for target, _ in groups)
    return Frame(signal, matrix.times, rows, targets, tuple(labels_of))


def _last(present: NDArray[np.bool_]) -> int:
    """Index of the last True, -1 for none."""
    found = np.flatnonzero(present)
    return int(found[-1]) if len(found) else -1


def _without_name(labels: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in labels.items() if name != "__name__"}


def merge(frames: Sequence[Frame]) -> Frame:
    """Frames of one name and grid from several sources as one; an earlier source goes first.

    Where one target has rows from two sources, the later fills in what the earlier lacks.
    """
    first = next((f for f in frames if len(f)), frames[0])
    filled = [f for f in frames if len(f)]
    if len(filled) <= 1:
        return first
    rows: dict[tuple[Target, tuple[str, ...]], tuple[NDArray[np.float32], Mapping[str, str]]] = {}
    for frame in filled:
        for at, (target, values) in enumerate(frame.rows()):
            labels = frame.labels[at] if frame.labels else {}
            key = target, tuple(labels.get(k, "") for k in first.signal.keep)
            if key in rows:
                had, labels = rows[key]
                values = np.where(np.isnan(had), values, had)  # noqa: PLW2901 - the merged row
            rows[key] = values, labels
    return Frame(
        first.signal,
        first.times,
        np.stack([values for values, _ in rows.values()]),
        tuple(target for target, _ in rows),
        tuple(labels for _, labels in rows.values()),
    )


def first_seen(frames: Iterable[Frame]) -> Mapping[Target, float]:
    """When each target first had a sample in any frame, seconds since the epoch."""
    seen: dict[Target, float] = {}
    for frame in frames:
        present = np.isfinite(frame.values)
        begins = np.where(present.any(axis=1), frame.times[present.argmax(axis=1)], np.nan)
        for target, begun in zip(frame.targets, begins.tolist(), strict=True):
            if begun < seen.get(target, np.inf):
                seen[target] = begun
    return seen


def events_of(frame: Frame, seen: Mapping[Target, float] | None = None) -> tuple[Event, ...]:
    """The edges of a signal with an event rule, oldest first.

    seen: since when each target is observed at all, of `first_seen`. A series that appears
    later than its target did has just begun to count, so its first value is news; one that
    appears together with its target may be as old as the target.
    """
    rule = frame.signal.event
    if rule is None:
        return ()
    found: list[Event] = []
    for at, (target, values) in enumerate(frame.rows()):
        labels = frame.labels[at] if frame.labels else {}
        begun = None if seen is None else seen.get(target)
        found += [
            _event(rule, frame, target, labels, column, float(values[column]))
            for column in _edges(rule, frame.times, values, begun)
        ]
    return tuple(sorted(found, key=lambda event: event.at))


def _edges(
    rule: EventRule, times: NDArray[np.float64], values: NDArray[np.float32], begun: float | None
) -> Iterator[int]:
    columns = np.flatnonzero(np.isfinite(values))
    if not len(columns):
        return
    first = int(columns[0])
    if first > 0 and values[first] > 0:
        known_before = begun is not None and begun < float(times[first])
        if known_before or (begun is None and rule.when == "increase"):
            yield first
    for before, now in pairwise(columns):
        old, new = values[before], values[now]
        # After a reset a counter begins at zero, so whatever it shows has happened since.
        if new > 0 and new != old:
            yield int(now)


def _event(
    rule: EventRule,
    frame: Frame,
    target: Target,
    labels: Mapping[str, str],
    column: int,
    value: float,
) -> Event:
    if rule.attribute == "value":
        name, which = rule.kind, f"{value:g}"
    else:
        name, which = rule.attribute, labels.get(rule.attribute, "")
    title = frame.signal.title or frame.signal.name
    return Event(
        rule.kind,
        target,
        datetime.fromtimestamp(float(frame.times[column]), UTC),
        f"{title}: {name} {which}",
        {name: which},
        "prometheus",
    )


def fold(groups: Iterable[Sequence[Event]]) -> tuple[Event, ...]:
    """Events of several signals, oldest first; what two signals both tell is told once.

    Repeats within one signal are repeats and stay.
    """
    kept: list[Event] = []
    for group in groups:
        others = tuple(kept)
        kept += [event for event in group if not any(_same(event, other) for other in others)]
    return tuple(sorted(kept, key=lambda event: event.at))


def _same(one: Event, other: Event) -> bool:
    return (
        (one.kind, one.target, one.attributes) == (other.kind, other.target, other.attributes)
    ) and abs(one.at - other.at) <= FOLD_WITHIN


def alert_events(episodes: Iterable[Episode], places: Places) -> tuple[Event, ...]:
    """Received alerts as events on the targets their labels name."""
    return tuple(
        Event(
            "alert",
            of_alert(each.labels, places),
            # Nothing began after it was heard of, whatever the sender's clock says.
            min(each.starts_at, each.first_seen or each.starts_at),
            each.annotations.get("summary") or each.annotations.get("description", ""),
            {
                "alertname": each.labels.get("alertname", ""),
                "severity": each.labels.get("severity", ""),
                "fingerprint": each.fingerprint,
            },
            each.source,
            each.ends_at,
            each.first_seen,
            f"{each.source}|{each.group}" if each.group else "",
        )
        for each in episodes
    )


def with_gpus(
    topology: Topology, frames: Iterable[Frame], places: Places | None = None
) -> Topology:
    """The topology with the GPUs that the frames know: gpu → node, pod → gpu, index and model.

    A GPU that fell silent keeps its last holder while that pod exists: what ran on it is
    just what one asks when it is gone.
    """
    places = places or Places.of(topology)
    entities: dict[Target, Entity] = {}
    edges: set[tuple[Target, Target]] = set()
    placed = {
        gpu.target
        for gpu in topology.of(Kind.GPU)
        if any(above.kind is Kind.NODE for above in topology.above(gpu.target))
    }
    holders: dict[Target, list[tuple[float, Target | None]]] = defaultdict(list)
    for frame in frames:
        if frame.signal.scope is not Kind.GPU or not frame.labels:
            continue
        tells_holder = any(label in frame.signal.keep for label, _ in POD_LABELS)
        for gpu, labels, seen in zip(frame.targets, frame.labels, frame.last_seen(), strict=True):
            if gpu not in placed:
                node = locate(Kind.NODE, labels, places)
                known = entities.get(gpu) or topology.get(gpu)
                entities[gpu] = _gpu_entity(known, gpu, labels, node)
                if node is not None:
                    edges.add((gpu, node))
                    placed.add(gpu)
            if tells_holder and np.isfinite(seen):
                holders[gpu].append((float(seen), _holder(labels, places)))
    for gpu, rows in holders.items():
        newest = max(seen for seen, _ in rows)
        edges |= {(pod, gpu) for seen, pod in rows if seen >= newest and pod is not None}
    return topology.grown(entities, edges)


def with_models(topology: Topology, frames: Iterable[Frame]) -> Topology:
    """The topology with the models that engines say they serve: workload (or pod) → model.

    What a gateway tells of a model then concerns the pods behind it.
    """
    entities: dict[Target, Entity] = {}
    edges: set[tuple[Target, Target]] = set()
    for frame in frames:
        if frame.signal.scope is not Kind.POD or "model_name" not in frame.signal.keep:
            continue
        for pod, labels in zip(frame.targets, frame.labels, strict=True):
            name = labels.get("model_name")
            if not name or topology.get(pod) is None:
                continue
            model = Target(Kind.MODEL, name)
            entities.setdefault(model, topology.get(model) or Entity(model))
            servers = topology.related(pod, Kind.WORKLOAD) or (pod,)
            edges |= {(server, model) for server in servers}
    return topology.grown(entities, edges)


def _holder(labels: Mapping[str, str], places: Places) -> Target | None:
    """The pod that has the GPU, not the exporter's pod that tells of it."""
    pod = locate(Kind.POD, labels, places)
    if pod is None or places.topology.get(pod) is None:
        return None
    if not labels.get("exported_pod") and not places.topology.fact(pod, "gpus_requested", 0):
        return None
    return pod


def _gpu_entity(
    had: Entity | None, gpu: Target, labels: Mapping[str, str], node: Target | None
) -> Entity:
    facts = dict(had.facts) if had else {}
    for fact, value in (
        ("index", labels.get("gpu")),
        ("model", labels.get("modelName") or labels.get("model_name")),
        ("node", node.name if node else None),
    ):
        if value:
            facts.setdefault(fact, value)
    return replace(had, facts=facts) if had else Entity(gpu, facts=facts)
