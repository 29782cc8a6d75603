"""A machine's services as a cluster of one node, so that everything else stays as it is.

A container or unit is a pod of the namespace `machine`, its supervisor's entry for it the
workload that makes it anew, and one run of it has one UID. So to evict such a pod is to have its
supervisor restart it, guards, verification and the record work unchanged, and a service that
somebody else has restarted meanwhile is left alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from healer.adapters.machine.supervisor import Service, Supervisor
from healer.errors import HealerError, Permanent
from healer.model.actions import VERBS, Action, Escalate, EvictPod
from healer.model.intent import Receipt
from healer.model.snapshot import Problem
from healer.model.target import Kind, Target
from healer.model.topology import Entity, Topology
from healer.ports import Clock, ClusterView

NAMESPACE = "machine"
POSSIBLE = ("evict_pod", "escalate")
REASON = "do that on one machine: a service can be restarted, and nothing else"


@dataclass(frozen=True, slots=True)
class Machine:
    """Fulfils `Cluster`, `Remembers` and `Hands`."""

    node: str
    """The machine's name, as the exporter's `Hostname` label says it."""
    supervisors: tuple[Supervisor, ...]
    clock: Clock

    # reading

    def view(self) -> ClusterView:
        entities: dict[Target, Entity] = {}
        edges: set[tuple[Target, Target]] = set()
        problems: list[Problem] = []
        node = Target(Kind.NODE, self.node, uid=self.node)
        entities[node] = Entity(node, facts={"ready": True, "unschedulable": False})
        for supervisor in self.supervisors:
            for name in supervisor.names:
                try:
                    found = supervisor.look(name)
                except HealerError as error:
                    problems.append(Problem("machine", str(error), self.clock.now()))
                    continue
                if found is None:
                    said = f"there is no {supervisor.kind} {name}"
                    problems.append(Problem("machine", said, self.clock.now()))
                    continue
                pod, owner = _pod(name, found.run), workload(supervisor.kind, name)
                entities[pod] = Entity(pod, created_at=found.started_at, facts=_facts(found, node))
                entities[owner] = Entity(owner, facts=_owner_facts(supervisor.kind, found))
                edges |= {(pod, node), (pod, owner)}
        whole = not problems
        return ClusterView(
            Topology(entities, frozenset(edges), whole), (), tuple(problems), whole, self.denied()
        )

    def denied(self) -> Mapping[str, str]:
        return {verb: REASON for verb in VERBS if verb not in POSSIBLE}

    def healthy_revisions(self) -> frozenset[str]:
        return frozenset()

    def trust_revisions(self, uids: frozenset[str]) -> None:
        """Nothing is rolled back here."""

    # writing

    def rehearse(self, action: Action, intent_id: str) -> Receipt:
        found = self._asked(action)
        if isinstance(found, Receipt):
            return found
        supervisor, service = found
        said = f"{supervisor.kind} {service.name} would be restarted"
        return Receipt(True, self.clock.now(), said, dry_run=True, before=_shown(service))

    def carry_out(self, action: Action, intent_id: str) -> Receipt:
        found = self._asked(action)
        if isinstance(found, Receipt):
            return found
        supervisor, service = found
        supervisor.restart(service.name)
        said = f"{supervisor.kind} {service.name} is being restarted"
        return Receipt(True, self.clock.now(), said, before=_shown(service))

    def holds(self, action: Action, intent_id: str) -> bool | None:
        if not isinstance(action, EvictPod):
            return None
        try:
            service = self._supervisor(action).look(action.target.name)
        except HealerError:
            return None
        return service is not None and service.run != action.uid

    def _asked(self, action: Action) -> tuple[Supervisor, Service] | Receipt:
        """What is to be restarted, as it is right now; or why there is nothing to do."""
        now = self.clock.now()
        if isinstance(action, Escalate):
            return Receipt(True, now, "a person is asked; the machine stays as it is")
        if not isinstance(action, EvictPod):
            raise Permanent(f"{action.verb}: we may not {REASON}")
        supervisor = self._supervisor(action)
        service = supervisor.look(action.target.name)
        if service is None:
            return Receipt(False, now, f"{action.target} is gone already", gone=True)
        if service.run != action.uid:
            said = f"{action.target} was restarted meanwhile: {service.run}, not {action.uid}"
            return Receipt(False, now, said, gone=True, before=_shown(service))
        if service.changing:
            said = f"{action.target} is being started or stopped"
            return Receipt(False, now, said, retry_after_s=15.0, before=_shown(service))
        return supervisor, service

    def _supervisor(self, action: EvictPod) -> Supervisor:
        """Whose service it is. Raises Permanent for one that the settings do not name."""
        for supervisor in self.supervisors:
            named = action.target.name in supervisor.names
            if named and action.owner == workload(supervisor.kind, action.target.name):
                return supervisor
        raise Permanent(f"{action.target}: the settings name no such container or unit")


def _pod(name: str, run: str) -> Target:
    return Target(Kind.POD, name, NAMESPACE, run)


def workload(kind: str, name: str) -> Target:
    return Target(Kind.WORKLOAD, f"{kind}/{name}", NAMESPACE, f"{kind}/{name}")


def _facts(service: Service, node: Target) -> dict[str, object]:
    return {
        "phase": service.phase,
        "ready": service.ready,
        "node": node.name,
        "restarts": service.restarts,
        "reason": service.reason or None,
        "terminating": False,
        "bare": False,
        **service.facts,
    }


def _owner_facts(kind: str, service: Service) -> dict[str, object]:
    return {"api_kind": kind.title(), "replicas": 1, "ready_replicas": int(service.ready)}


def _shown(service: Service) -> dict[str, object]:
    return {"run": service.run, "ready": service.ready, "phase": service.phase}
