"""From lists of objects to a topology: entities, and edges from the dependent to what it needs.

Pure. GPUs are not the API server's to know; their edges come from the metrics.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from healer.adapters.kubernetes import facts, owners, selecting, workload_facts
from healer.adapters.kubernetes.errors import Obj
from healer.adapters.kubernetes.paths import target_of
from healer.model.target import Kind, Target
from healer.model.topology import Entity, Topology
from healer.settings import KubernetesSettings

KINDS = (
    "Deployment", "StatefulSet", "DaemonSet", "Rollout", "LeaderWorkerSet", "InferenceService",
)  # fmt: skip
LWS = "leaderworkerset.sigs.k8s.io/name"
"""Label of every pod and StatefulSet that a LeaderWorkerSet makes."""
LWS_GROUP = "leaderworkerset.sigs.k8s.io/group-index"
"""Label of its pods: which of its replicas, a leader and its workers, they are a part of."""
_DROPPED = frozenset({"kubectl.kubernetes.io/last-applied-configuration"})


@dataclass(frozen=True, slots=True)
class Lists:
    """Everything listed, by kind. Pods come as entities: there are too many to keep whole."""

    pods: Mapping[Target, Entity] = field(default_factory=dict)
    nodes: tuple[Obj, ...] = ()
    workloads: Mapping[str, tuple[Obj, ...]] = field(default_factory=dict)
    """By kind, as `KINDS` spells it."""
    replica_sets: tuple[Obj, ...] = ()
    controller_revisions: tuple[Obj, ...] = ()
    services: tuple[Obj, ...] = ()
    budgets: tuple[Obj, ...] = ()
    autoscalers: tuple[Obj, ...] = ()


@dataclass(frozen=True, slots=True)
class Remembered:
    """What one look at the API server cannot tell."""

    healthy: frozenset[str] = frozenset()
    """UIDs of revisions that once had all their replicas available."""
    rollouts: Mapping[str, str] = field(default_factory=dict)
    """Workload UID → start of its latest rollout, ISO 8601."""
    predictors: Mapping[str, tuple[tuple[int, Obj], ...]] = field(default_factory=dict)
    """InferenceService UID → (generation, predictor) that were ready once, the oldest first.
    KServe keeps no revisions that could be returned to."""


def build(
    lists: Lists,
    settings: KubernetesSettings,
    remembered: Remembered = Remembered(),
    *,
    complete: bool = True,
) -> Topology:
    entities: dict[Target, Entity] = dict(lists.pods)
    edges: set[tuple[Target, Target]] = set()
    for obj in lists.nodes:
        made = entity(Target(Kind.NODE, _name(obj), "", _uid(obj)), obj, facts.node(obj, settings))
        entities[made.target] = made
        if made.facts.get("rack"):
            rack = Target(Kind.RACK, made.facts["rack"])
            entities.setdefault(rack, Entity(rack))
            edges.add((made.target, rack))
    by_uid = {
        _uid(obj): obj | {"kind": kind}
        for kind, objects in (*lists.workloads.items(), ("ReplicaSet", lists.replica_sets))
        for obj in objects
    }
    tops = _workloads(lists, remembered)
    revisions = dict(_revisions(lists, by_uid, remembered))
    for top, revision in _active(revisions).items():
        if top in tops:
            known = {"revision": revision.name}
            tops[top] = replace(tops[top], facts={**tops[top].facts, **known})
    entities |= tops
    entities |= {made.target: made for made, _ in revisions.values()}
    edges |= {(made.target, top) for made, top in revisions.values() if top in tops}
    edges |= set(_pod_edges(lists.pods.values(), revisions, by_uid, entities))
    for pod, group, top in _groups(lists.pods.values()):
        entities.setdefault(group, Entity(group))
        edges.add((pod, group))
        if top in entities:
            edges.add((group, entities[top].target))
    for service, served in _services(lists, tops):
        entities[service.target] = service
        edges |= {(top, service.target) for top in served}
    return Topology(entities, frozenset(edges), complete)


def pod_entity(obj: Obj) -> Entity:
    return entity(
        Target(Kind.POD, _name(obj), obj["metadata"].get("namespace", ""), _uid(obj)),
        obj,
        facts.pod(obj),
    )


def entity(target: Target, obj: Obj, known: Mapping[str, Any]) -> Entity:
    meta = obj["metadata"]
    notes = meta.get("annotations") or {}
    return Entity(
        target,
        labels=meta.get("labels") or {},
        annotations={key: value for key, value in notes.items() if key not in _DROPPED},
        created_at=facts.moment(meta.get("creationTimestamp")),
        resource_version=str(meta.get("resourceVersion", "")),
        facts=known,
    )


def _workloads(lists: Lists, remembered: Remembered) -> dict[Target, Entity]:
    found: dict[Target, Entity] = {}
    bare = tuple(obj for obj in lists.replica_sets if facts.controller(obj) is None)
    sets = {
        (obj["metadata"].get("namespace", ""), _name(obj))
        for obj in lists.workloads.get("LeaderWorkerSet", ())
    }
    for kind, objects in (*lists.workloads.items(), ("ReplicaSet", bare)):
        for obj in objects:
            if kind == "StatefulSet" and _lws_of(obj) in sets:
                continue
            target = _workload_target(kind, obj)
            known = workload_facts.workload(obj, kind)
            began = remembered.rollouts.get(_uid(obj))
            if began and _rolling(obj, known):
                known["progressing_at"] = began
            known |= _governed(lists, kind, obj)
            found[target] = entity(target, obj, known)
    return found


def _rolling(obj: Obj, known: Mapping[str, Any]) -> bool:
    """A rollout under way, and not merely a change of size or a pod lost."""
    seen, wanted = known.get("observed_generation"), known.get("generation")
    if seen is not None and wanted is not None and seen < wanted:
        return True
    progress = facts.condition(obj, "Progressing")
    if progress:
        return progress.get("reason") != "NewReplicaSetAvailable"
    status = obj.get("status") or {}
    return status.get("currentRevision") != status.get("updateRevision")


def _governed(lists: Lists, kind: str, obj: Obj) -> dict[str, Any]:
    """Its autoscaler and its disruption budget."""
    namespace, known = obj["metadata"].get("namespace", ""), {}
    for each in lists.autoscalers:
        ref = (each.get("spec") or {}).get("scaleTargetRef") or {}
        same = (ref.get("kind"), ref.get("name")) == (kind, _name(obj))
        if same and each["metadata"].get("namespace", "") == namespace:
            known["hpa"] = workload_facts.autoscaler(each)
            break
    labels = _template_labels(obj)
    for each in lists.budgets:
        selector = (each.get("spec") or {}).get("selector")
        if each["metadata"].get("namespace", "") == namespace and selecting.matches(
            selector, labels
        ):
            known["pdb"] = workload_facts.budget(each)
            break
    return known


def _revisions(
    lists: Lists, by_uid: Mapping[str, Obj], remembered: Remembered
) -> Iterator[tuple[str, tuple[Entity, Target]]]:
    """UID → (revision, workload it belongs to)."""
    newest: dict[str, int] = defaultdict(int)
    rows: list[tuple[Obj, Obj, Mapping[str, Any], int | None]] = []
    for obj in (*lists.replica_sets, *lists.controller_revisions):
        owner = by_uid.get((facts.controller(obj) or {}).get("uid", ""))
        if owner is None:
            continue
        template, number = _pinned(obj)
        if template is None:
            continue
        newest[_uid(owner)] = max(newest[_uid(owner)], number or 0)
        rows.append((obj, owner, template, number))
    yield from _predictors(lists, remembered)
    for obj, owner, template, number in rows:
        target = Target(Kind.REVISION, _name(obj), obj["metadata"].get("namespace", ""), _uid(obj))
        known = workload_facts.revision(template, number)
        status = obj.get("status") or {}
        known |= {
            "active": number == newest[_uid(owner)],
            "healthy_seen": _uid(obj) in remembered.healthy,
        }
        if "spec" in obj:
            known |= {
                "replicas": facts.whole(obj["spec"].get("replicas", 0)) or 0,
                "ready_replicas": status.get("readyReplicas") or 0,
                "available_replicas": status.get("availableReplicas") or 0,
            }
        yield _uid(obj), (entity(target, obj, known), _workload_target(owner["kind"], owner))


def _predictors(
    lists: Lists, remembered: Remembered
) -> Iterator[tuple[str, tuple[Entity, Target]]]:
    """An InferenceService's present predictor, and those that were ready before it."""
    for obj in lists.workloads.get("InferenceService", ()):
        uid, generation = _uid(obj), int(obj["metadata"].get("generation") or 0)
        ready = dict(remembered.predictors.get(uid, ()))
        predictor = (obj.get("spec") or {}).get("predictor") or {}
        for number, each in {**ready, generation: predictor}.items():
            name = f"{_name(obj)}@{number}"
            target = Target(Kind.REVISION, name, obj["metadata"].get("namespace", ""))
            known = workload_facts.revision(each, number) | {
                "active": number == generation,
                "healthy_seen": number in ready,
            }
            top = _workload_target("InferenceService", obj)
            yield f"{uid}@{number}", (Entity(target, facts=known), top)


def _lws_of(obj: Obj) -> tuple[str, str]:
    labels = obj["metadata"].get("labels") or {}
    return obj["metadata"].get("namespace", ""), labels.get(LWS, "")


def _pinned(obj: Obj) -> tuple[Mapping[str, Any] | None, int | None]:
    """(pod template, revision number) of a ReplicaSet or ControllerRevision."""
    if "data" in obj:
        inner = ((obj.get("data") or {}).get("spec") or {}).get("template")
        return inner, facts.whole(obj.get("revision"))
    notes = obj["metadata"].get("annotations") or {}
    number = notes.get(workload_facts.REVISION) or notes.get(workload_facts.ROLLOUT_REVISION)
    return (obj.get("spec") or {}).get("template"), facts.whole(number)


def _active(revisions: Mapping[str, tuple[Entity, Target]]) -> dict[Target, Target]:
    return {top: made.target for made, top in revisions.values() if made.facts["active"]}


def _pod_edges(
    pods: Iterable[Entity],
    revisions: Mapping[str, tuple[Entity, Target]],
    by_uid: Mapping[str, Obj],
    entities: Mapping[Target, Entity],
) -> Iterator[tuple[Target, Target]]:
    by_name = {made.target: made.target for made, _ in revisions.values()}
    for pod in pods:
        node = Target(Kind.NODE, pod.facts.get("node", ""))
        if node in entities:
            yield pod.target, entities[node].target
        group = Target(
            Kind.WORKLOAD, f"leaderworkerset/{pod.labels.get(LWS, '')}", pod.target.namespace
        )
        if group in entities:  # its owners change hands twice on the way up
            yield pod.target, entities[group].target
            continue
        owner_uid = pod.facts.get("owner_uid", "")
        if owner_uid in revisions:
            yield pod.target, revisions[owner_uid][0].target
            continue
        named = Target(Kind.REVISION, pod.facts.get("revision", ""), pod.target.namespace)
        if named in by_name:
            yield pod.target, by_name[named]
            continue
        top = _top(pod, by_uid)
        if top is not None and top in entities:
            yield pod.target, entities[top].target


def _groups(pods: Iterable[Entity]) -> Iterator[tuple[Target, Target, Target]]:
    """(pod, its group, the LeaderWorkerSet): the ranks of one replica, on however many nodes.

    A pod without the number of its group is of an unknown one.
    """
    for pod in pods:
        name, number = pod.labels.get(LWS, ""), pod.labels.get(LWS_GROUP, "")
        if name and number:
            space = pod.target.namespace
            top = Target(Kind.WORKLOAD, f"leaderworkerset/{name}", space)
            yield pod.target, Target(Kind.GROUP, f"{name}-{number}", space), top


def _top(pod: Entity, by_uid: Mapping[str, Obj]) -> Target | None:
    """The workload of a pod without a known revision."""
    ref = {"uid": pod.facts.get("owner_uid", ""), "name": pod.facts.get("owner_name")}
    links = owners.chain(ref, by_uid)
    return _workload_target(links[-1]["kind"], links[-1]) if links else None


def _services(lists: Lists, tops: Mapping[Target, Entity]) -> Iterator[tuple[Entity, list[Target]]]:
    labels: dict[str, list[tuple[Target, Mapping[str, str]]]] = defaultdict(list)
    for kind, objects in (*lists.workloads.items(), ("ReplicaSet", lists.replica_sets)):
        for obj in objects:
            target = _workload_target(kind, obj)
            if target in tops:
                labels[target.namespace].append((tops[target].target, _template_labels(obj)))
    for obj in lists.services:
        selector = (obj.get("spec") or {}).get("selector")
        namespace = obj["metadata"].get("namespace", "")
        target = Target(Kind.SERVICE, _name(obj), namespace, _uid(obj))
        known = {"selector": selector, "cluster_ip": (obj.get("spec") or {}).get("clusterIP")}
        kept = {name: value for name, value in known.items() if value is not None}
        yield (
            entity(target, obj, kept),
            [
                top
                for top, have in labels[namespace]
                if selector and all(have.get(k) == v for k, v in selector.items())
            ],
        )


def _workload_target(kind: str, obj: Obj) -> Target:
    namespace = obj["metadata"].get("namespace", "")
    if kind == "ReplicaSet":
        return Target(Kind.WORKLOAD, f"replicaset/{_name(obj)}", namespace, _uid(obj))
    target = target_of(kind, namespace, _name(obj), _uid(obj))
    assert target is not None
    return target


def _template_labels(obj: Obj) -> Mapping[str, str]:
    spec = obj.get("spec") or {}
    template = spec.get("template") or workload_facts.worker_template(spec)
    found: Mapping[str, str] = (template.get("metadata") or {}).get("labels") or {}
    return found


def _name(obj: Obj) -> str:
    return str(obj["metadata"]["name"])


def _uid(obj: Obj) -> str:
    return str(obj["metadata"].get("uid", ""))
