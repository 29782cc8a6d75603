"""The read side: every kind as it is now, made into a topology and events.

A kind that cannot be read leaves the rest standing: its last known objects stay, and the
topology says that it is incomplete. Once started, kinds are followed by watches; one that is out
of step is listed. Either way a view is level-triggered: it is the world, not what changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from kubernetes.client import ApiClient

from healer.adapters.kubernetes import happenings
from healer.adapters.kubernetes.errors import Obj
from healer.adapters.kubernetes.listing import SOURCES, Source, everything
from healer.adapters.kubernetes.memory import Memory
from healer.adapters.kubernetes.permissions import Permissions
from healer.adapters.kubernetes.topology_builder import KINDS, Lists, build, pod_entity
from healer.adapters.kubernetes.watching import LOOK_AGAIN_AFTER_S, Mirror
from healer.errors import HealerError, Permanent, Temporary
from healer.model.event import Event
from healer.model.snapshot import Problem
from healer.model.target import Target
from healer.model.topology import Entity, Topology
from healer.ports import Clock, ClusterView
from healer.settings import KubernetesSettings

VITAL = frozenset({"Node", "Pod"})
"""Without these there is no view of the cluster at all."""


REUSE_TIMES, REUSE_MOST_S = 8.0, 10.0
"""A view is used again for that many times of what it took to make, and no longer than that."""


class KubernetesCluster:
    """Fulfils `healer.ports.Cluster`. namespaces: where rights may be bound one by one.
    acting: the client of the identity that acts, where it is another than the one that reads."""

    def __init__(
        self,
        api: ApiClient,
        settings: KubernetesSettings,
        clock: Clock,
        namespaces: tuple[str, ...] = (),
        acting: ApiClient | None = None,
    ) -> None:
        self._api, self._settings, self._clock = api, settings, clock
        self._permissions = Permissions(acting or api, clock, namespaces)
        self._known: dict[str, tuple[Obj, ...]] = {}
        self._pods: dict[Target, Entity] = {}
        self._timeout_s = (
            settings.connect_timeout.total_seconds(),
            settings.read_timeout.total_seconds(),
        )
        self._absent: dict[str, float] = {}
        """Optional kind that is not there → when it is looked for again."""
        self.mirrors: dict[str, Mirror[Any]] = {}
        self._recent: ClusterView | None = None
        self._recent_until = 0.0
        self.memory = Memory()

    def start(self) -> None:
        """Follow changes from now on, instead of listing at each view."""
        if not self._settings.watch or self.mirrors:
            return
        for source in SOURCES:
            keep = pod_entity if source.kind == "Pod" else _as_it_is
            made: Mirror[Any] = Mirror(self._api, source, self._clock, self._timeout_s, keep)
            self.mirrors[source.kind] = made
        for each in self.mirrors.values():
            each.start()

    def stop(self) -> None:
        for each in self.mirrors.values():
            each.stop()
        self.mirrors.clear()

    def denied(self) -> Mapping[str, str]:
        return self._permissions.denied()

    def healthy_revisions(self) -> frozenset[str]:
        return self.memory.remembered.healthy

    def trust_revisions(self, uids: frozenset[str]) -> None:
        self.memory.trust(uids)

    def view(self) -> ClusterView:
        """Where changes are followed and an alert asks early, the view of just before will do:
        on thousands of pods it costs a second, and whoever acts reads his object again."""
        began = self._clock.monotonic()
        if self._recent is not None and began < self._recent_until:
            return self._recent
        made = self.look()
        in_step = self._mirrors_in_step()
        took = self._clock.monotonic() - began
        self._recent = made if made.ok and in_step else None
        self._recent_until = began + min(REUSE_TIMES * took, REUSE_MOST_S)
        return made

    def _mirrors_in_step(self) -> bool:
        vital = (self.mirrors.get(kind) for kind in VITAL)
        return all(mirror is not None and mirror.in_step for mirror in vital)

    def look(self) -> ClusterView:
        """The world afresh, however recent the last view is."""
        now = self._clock.now()
        failed: dict[str, str] = {}
        for source in SOURCES:
            try:
                self._take(source)
            except HealerError as error:
                failed[source.kind] = str(error)
                if _unreachable(error):
                    # Nothing else will be reached either, and every try costs its time-out.
                    failed |= {each.kind: str(error) for each in SOURCES}
                    break
        complete = not any(s.matters and s.kind in failed for s in SOURCES)
        lists = self._lists()
        before = self.memory.remembered
        topology = build(lists, self._settings, before, complete=complete)
        ok = not VITAL & set(failed)
        if ok:
            self.memory.look(topology, lists, now)
            if self.memory.remembered != before:
                topology = build(lists, self._settings, self.memory.remembered, complete=complete)
        return ClusterView(
            topology=topology,
            events=self._events(topology, lists, now),
            problems=_problems(failed, now),
            ok=ok,
            denied=self._permissions.denied() if ok else {},
        )

    def _take(self, source: Source) -> None:
        """What the watch holds, or else a list. A kind whose API is not there has no objects."""
        mirror = self.mirrors.get(source.kind)
        if mirror is not None and (held := mirror.objects()) is not None:
            if source.kind == "Pod":
                self._pods = {pod.target: pod for pod in held}
            else:
                self._known[source.kind] = held
            return
        if source.optional and self._clock.monotonic() < self._absent.get(source.kind, 0.0):
            return
        try:
            objects = everything(self._api, source, self._timeout_s)
        except Permanent as error:
            if source.optional and str(error).startswith(("403", "404")):
                objects = []
                self._absent[source.kind] = self._clock.monotonic() + LOOK_AGAIN_AFTER_S
            elif str(error).startswith("404") and source.kind not in VITAL:
                objects = []
            else:
                raise
        if source.kind == "Pod":
            self._pods = {pod.target: pod for pod in map(self._pod, objects)}
        else:
            self._known[source.kind] = tuple(objects)

    def _pod(self, obj: Obj) -> Entity:
        """The entity of last time where the pod has not changed since."""
        meta = obj["metadata"]
        target = Target.parse(f"pod:{meta.get('namespace', '')}/{meta['name']}")
        known = self._pods.get(target)
        same = (
            known is not None
            and known.target.uid == meta.get("uid")
            and known.resource_version == meta.get("resourceVersion")
        )
        return known if known is not None and same else pod_entity(obj)

    def _lists(self) -> Lists:
        def of(kind: str) -> tuple[Obj, ...]:
            return self._known.get(kind, ())

        return Lists(
            pods=self._pods,
            nodes=of("Node"),
            workloads={kind: of(kind) for kind in KINDS},
            replica_sets=of("ReplicaSet"),
            controller_revisions=of("ControllerRevision"),
            services=of("Service"),
            budgets=of("PodDisruptionBudget"),
            autoscalers=of("HorizontalPodAutoscaler"),
        )

    def _events(self, topology: Topology, lists: Lists, now: datetime) -> tuple[Event, ...]:
        found = [
            *happenings.of_pods(lists.pods.values(), now),
            *happenings.of_nodes(lists.nodes, now),
            *happenings.of_warnings(self._known.get("Event", ()), now),
            *self.memory.events(lists, now),
        ]
        return tuple(sorted(found, key=lambda event: (event.at, event.key)))


def _as_it_is(obj: Obj) -> Obj:
    return obj


def _unreachable(error: HealerError) -> bool:
    return isinstance(error, Temporary) and "out of reach" in str(error)


def _problems(failed: Mapping[str, str], now: datetime) -> tuple[Problem, ...]:
    """One problem where one reason stopped everything."""
    if len(failed) == len(SOURCES) and len(set(failed.values())) == 1:
        return (Problem("kubernetes", next(iter(failed.values())), now),)
    return tuple(Problem(f"kubernetes.{kind}", what, now) for kind, what in failed.items())
