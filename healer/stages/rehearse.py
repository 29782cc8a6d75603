"""Rehearses a rule test: a described world in, the diagnosis and what differs out.

The shape is promtool's: series in its notation (`a+bxn`, `_`), events, a topology, a moment,
and what is expected at it. No clock and no cluster: the world is built as values and goes
through the very stages that diagnose in the daemon.
"""

from __future__ import annotations

import fnmatch
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator

from healer.errors import BadInput
from healer.model.event import Event
from healer.model.finding import Finding, Level
from healer.model.frame import Frame
from healer.model.hypothesis import Diagnosis, Hypothesis
from healer.model.incident import Incident
from healer.model.rule import RuleBook
from healer.model.signal import Signal
from healer.model.snapshot import Problem, Snapshot
from healer.model.target import CLUSTER, Kind, Target
from healer.model.topology import Entity, Topology
from healer.settings import LoopSettings
from healer.stages.correlate import correlate
from healer.stages.diagnose import diagnose_all
from healer.stages.evidence.reading import bounds
from healer.values import Span

START = datetime(2026, 1, 1, tzinfo=UTC)


def _target(value: object) -> object:
    if isinstance(value, str):
        return CLUSTER if value == "cluster" else Target.parse(value)
    return value


Place = Annotated[Target, BeforeValidator(_target)]


@dataclass(frozen=True, slots=True)
class PodSpec:
    name: str
    node: str = ""
    gpus: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    group: str = ""
    """Of a tensor-parallel group, the pods that live and die together."""
    created: Span | None = None
    """After the start of the series; with its revision when not given."""
    gone: bool = False
    """Left series behind, but the API server no longer knows it."""


@dataclass(frozen=True, slots=True)
class RevisionSpec:
    name: str
    pods: tuple[PodSpec, ...] = ()
    created: Span | None = None
    """After the start of the series; earlier than it when not given."""
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WorkloadSpec:
    name: str
    """`serving/deployment/llama-8b`."""
    revisions: tuple[RevisionSpec, ...] = ()
    service: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NodeSpec:
    name: str
    rack: str = ""
    gpus: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TopologySpec:
    nodes: tuple[NodeSpec, ...] = ()
    workloads: tuple[WorkloadSpec, ...] = ()


@dataclass(frozen=True, slots=True)
class SeriesSpec:
    series: str
    """`ttft_p95{target="pod:serving/llama-*"}`: a signal, and targets of the topology by glob."""
    values: str


@dataclass(frozen=True, slots=True)
class EventSpec:
    kind: str
    target: Place
    at: Span
    message: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    ended: Span | None = None


@dataclass(frozen=True, slots=True)
class SymptomSpec:
    """What a detector would have found; observed and expected are read off the series."""

    signal: str
    target: str
    """A target, or a glob over the topology's."""
    since: Span
    level: str = "page"
    detector: str = "seasonal"


@dataclass(frozen=True, slots=True)
class Expected:
    top1: str = ""
    target: str = ""
    confidence: tuple[float, float] = (0.0, 1.0)
    cites: tuple[str, ...] = ()
    """Each must be part of a citation or question that speaks for the leader."""
    action: str = ""
    """Proposed with enough confidence to be carried out."""
    silent: bool = False
    """No incident, or one on whose strength nothing would be done."""
    asks: bool = False
    """It abstains and names what would decide."""
    incidents: int | None = None
    not_top1: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RuleTest:
    name: str
    at: Span
    topology: TopologySpec = field(default_factory=TopologySpec)
    input_series: tuple[SeriesSpec, ...] = ()
    events: tuple[EventSpec, ...] = ()
    symptoms: tuple[SymptomSpec, ...] = ()
    expect: Expected = field(default_factory=Expected)
    file: str = ""


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """What came out. An empty `differs` is a pass."""

    test: RuleTest
    incidents: tuple[Incident, ...]
    diagnoses: tuple[Diagnosis, ...]
    problems: tuple[Problem, ...]
    differs: tuple[str, ...]


def rehearse(
    test: RuleTest,
    book: RuleBook,
    signals: Mapping[str, Signal],
    interval: timedelta = timedelta(seconds=15),
) -> Rehearsed:
    """Run `test` through correlate and diagnose. Raises BadInput where it makes no sense."""
    snapshot = world(test, signals, interval)
    settings = LoopSettings(step=interval)
    ids = iter(f"{test.name}#{i}" for i in range(1, 1000))
    found = findings(test, snapshot)
    opened = correlate((), found, snapshot, settings, lambda _: next(ids), opens=book.opens)
    diagnoses, problems = diagnose_all(opened, snapshot, book)
    ranked = tuple(diagnoses[incident.id] for incident in opened)
    differs = tuple(_differs(test.expect, opened, ranked, problems))
    return Rehearsed(test, opened, ranked, problems, differs)


def world(test: RuleTest, signals: Mapping[str, Signal], interval: timedelta) -> Snapshot:
    """The snapshot a tick would see at `test.at`."""
    topology, gone = _topology(test.topology)
    now = START + test.at
    columns = int(test.at / interval) + 1
    times = START.timestamp() + interval.total_seconds() * np.arange(columns, dtype=np.float64)
    keep = times > now.timestamp() - LoopSettings().window.total_seconds() - 1e-6
    rows: dict[str, dict[Target, NDArray[np.float64]]] = defaultdict(dict)
    for spec in test.input_series:
        name, pattern = _series(spec.series)
        if name not in signals:
            raise BadInput("a known signal", path=f"{test.name}.input_series", value=name)
        values = _padded(_values(spec.values), columns)
        targets = _matching(pattern, (*topology.entities, *gone))
        if not targets:
            raise BadInput(
                "a target of the topology", path=f"{test.name}.input_series", value=pattern
            )
        rows[name].update(dict.fromkeys(targets, values))
    frames = {
        name: Frame(
            signals[name],
            times[keep],
            np.array([row[keep] for row in each.values()], dtype=np.float32),
            tuple(each),
        )
        for name, each in rows.items()
    }
    events = tuple(
        Event(
            e.kind,
            e.target,
            START + e.at,
            e.message,
            e.attributes,
            "test",
            None if e.ended is None or e.ended > test.at else START + e.ended,
        )
        for e in sorted(test.events, key=lambda e: e.at)
        if e.at <= test.at
    )
    return Snapshot(now, frames, events, topology)


def findings(test: RuleTest, snapshot: Snapshot) -> tuple[Finding, ...]:
    """The symptoms of `test` as a detector would have claimed them by now."""
    found = []
    known = {t for frame in snapshot.frames.values() for t in frame.targets}
    for spec in test.symptoms:
        if spec.since > test.at:
            continue
        targets = _matching(spec.target, (*snapshot.topology.entities, *known))
        if not targets:
            raise BadInput("a target", path=f"{test.name}.symptoms", value=spec.target)
        for target in targets:
            observed, low, high, unit = _claimed(spec, target, snapshot)
            found.append(
                Finding(
                    target,
                    spec.signal,
                    spec.detector,
                    Level[spec.level.upper()],
                    START + spec.since,
                    snapshot.now,
                    observed,
                    low,
                    high,
                    4.0,
                    unit,
                )
            )
    return tuple(found)


def _claimed(
    spec: SymptomSpec, target: Target, snapshot: Snapshot
) -> tuple[float, float, float, str]:
    frame = snapshot.frames.get(spec.signal)
    row = frame.row(target) if frame is not None else None
    if frame is None or row is None:
        return float("nan"), float("nan"), float("nan"), ""
    usual = row[(frame.times < (START + spec.since).timestamp()) & np.isfinite(row)]
    seen = row[np.isfinite(row)]
    observed = float(seen[-1]) if len(seen) else float("nan")
    if not len(usual):
        return observed, float("nan"), float("nan"), frame.signal.unit
    low, _, high = bounds(np.sort(usual.astype(np.float64)), frame.signal.matters)
    return observed, low, high, frame.signal.unit


_SERIES = re.compile(r'^\s*([a-z][a-z0-9_]*)\s*\{\s*target\s*=\s*"([^"]+)"\s*\}\s*$')
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?"
_ITEM = re.compile(rf"^(?:_(?:x(\d+))?|({_NUMBER})(?:([-+](?:\d+\.?\d*|\.\d+))?x(\d+))?)$", re.I)


def _series(text: str) -> tuple[str, str]:
    found = _SERIES.match(text)
    if found is None:
        raise BadInput('a series such as ttft_p95{target="pod:serving/a-*"}', value=text)
    return found[1], found[2]


def _values(text: str) -> NDArray[np.float64]:
    """promtool's notation: `a+bxn` is a, a+b, … (n + 1 samples); `_xn` is n missing ones."""
    found: list[float] = []
    for item in text.split():
        match = _ITEM.match(item)
        if match is None:
            raise BadInput("values such as `0.3x20 1+0.5x10 _x4`", value=item)
        missing, number, step, times = match.groups()
        if number is None:
            found += [float("nan")] * int(missing or 1)
        else:
            rise = float(step or 0)
            found += [float(number) + rise * i for i in range(int(times or 0) + 1)]
    return np.array(found)


def _padded(values: NDArray[np.float64], columns: int) -> NDArray[np.float64]:
    """The last value goes on to the moment of the test, as a test author expects."""
    if len(values) >= columns:
        return values[:columns]
    rest = np.full(columns - len(values), values[-1] if len(values) else np.nan)
    return np.concatenate([values, rest])


def _matching(pattern: str, targets: Iterable[Target]) -> tuple[Target, ...]:
    if pattern == "cluster":
        return (CLUSTER,)
    found = dict.fromkeys(t for t in targets if fnmatch.fnmatchcase(str(t), pattern))
    return tuple(sorted(found))


def _topology(spec: TopologySpec) -> tuple[Topology, tuple[Target, ...]]:
    """The topology, and the pods that have left series behind."""
    entities: dict[Target, Entity] = {}
    edges: set[tuple[Target, Target]] = set()
    gone: list[Target] = []
    for each in spec.nodes:
        node = Target(Kind.NODE, each.name)
        facts = {"ready": True, "unschedulable": False, "rack": each.rack, **each.facts}
        entities[node] = Entity(node, facts=facts)
        if each.rack:
            rack = Target(Kind.RACK, each.rack)
            entities[rack] = Entity(rack)
            edges.add((node, rack))
        for name in each.gpus:
            gpu = Target(Kind.GPU, name)
            entities[gpu] = Entity(gpu, facts={"node": each.name})
            edges.add((gpu, node))
    for one in spec.workloads:
        namespace, _, name = one.name.partition("/")
        workload = Target(Kind.WORKLOAD, name, namespace)
        pods = sum(not pod.gone for r in one.revisions for pod in r.pods)
        newest = sum(not pod.gone for r in one.revisions[-1:] for pod in r.pods)
        facts = {"replicas": pods, "updated_replicas": newest, "ready_replicas": pods, **one.facts}
        entities[workload] = Entity(workload, facts=facts)
        if one.service:
            service = Target(Kind.SERVICE, one.service, namespace)
            entities[service] = Entity(service)
            edges.add((workload, service))
        for number, rev in enumerate(one.revisions, 1):
            revision = Target(Kind.REVISION, rev.name, namespace)
            created = START - timedelta(days=1) if rev.created is None else START + rev.created
            given = {"number": number, **rev.facts}
            entities[revision] = Entity(revision, created_at=created, facts=given)
            edges.add((revision, workload))
            for each_pod in rev.pods:
                pod = Target(Kind.POD, each_pod.name, namespace, f"uid-{each_pod.name}")
                if each_pod.gone:
                    gone.append(pod)
                    continue
                state = {"ready": True, "phase": "Running", "node": each_pod.node}
                born = created if each_pod.created is None else START + each_pod.created
                entities[pod] = Entity(pod, created_at=born, facts={**state, **each_pod.facts})
                edges.add((pod, revision))
                if each_pod.node:
                    edges.add((pod, Target(Kind.NODE, each_pod.node)))
                edges |= {(pod, Target(Kind.GPU, gpu)) for gpu in each_pod.gpus}
                if each_pod.group:
                    group = Target(Kind.GROUP, each_pod.group, namespace)
                    entities[group] = Entity(group)
                    edges |= {(pod, group), (group, workload)}
    return Topology(entities, frozenset(edges)), tuple(gone)


def _differs(
    expect: Expected,
    incidents: Sequence[Incident],
    diagnoses: Sequence[Diagnosis],
    problems: Sequence[Problem],
) -> Iterable[str]:
    yield from (f"{problem.where} failed: {problem.what}" for problem in problems)
    if expect.incidents is not None and len(incidents) != expect.incidents:
        yield f"{len(incidents)} incidents, expected {expect.incidents}"
    if expect.silent:
        for diagnosis in diagnoses:
            if carried := _would_do(diagnosis):
                yield f"would {carried}, expected silence"
        if not expect.top1:
            return
    if not diagnoses:
        yield "no incident"
        return
    mine = next((d for d in diagnoses if _leads(d, expect)), diagnoses[0])
    yield from _of_diagnosis(expect, mine)


def _leads(diagnosis: Diagnosis, expect: Expected) -> bool:
    leader = diagnosis.leader
    return leader is not None and leader.cause == expect.top1


def _of_diagnosis(expect: Expected, diagnosis: Diagnosis) -> Iterable[str]:
    leader = diagnosis.leader
    if leader is None:
        yield "no hypothesis"
        return
    said = ", ".join(
        f"{h.cause} on {h.target} {h.confidence:.2f}" for h in diagnosis.hypotheses[:3]
    )
    if expect.top1 and leader.cause != expect.top1:
        yield f"{said}; expected {expect.top1} to lead"
        return
    if leader.cause in expect.not_top1:
        yield f"{said}; {leader.cause} must not lead"
    if expect.target and str(leader.target) != expect.target:
        yield f"on {leader.target}, expected {expect.target}"
    low, high = expect.confidence
    if not low <= leader.confidence <= high:
        yield f"{said}: confidence expected in [{low:g}, {high:g}]"
    if bool(diagnosis.abstained) != expect.asks and (expect.asks or expect.action):
        yield f"abstained: {diagnosis.abstained or 'no'}"
    if expect.asks and not diagnosis.would_decide:
        yield "names nothing that would decide"
    if expect.action and _would_do(diagnosis) != expect.action:
        yield f"would {_would_do(diagnosis) or 'do nothing'}, expected {expect.action} ({said})"
    cited = "\n".join(f"{t.asked} {t.seen}" for t in leader.evidence_for)
    for wanted in expect.cites:
        if wanted not in cited:
            yield f"does not cite {wanted!r}; it cites:\n{cited}"


def _would_do(diagnosis: Diagnosis) -> str:
    """The first rung that would be carried out on this diagnosis, were everything armed."""
    leader: Hypothesis | None = diagnosis.leader
    if leader is None or diagnosis.abstained or not leader.proposes:
        return ""
    first = leader.proposes[0]
    if first == "escalate" or leader.confidence < leader.min_confidence:
        return ""
    return first
