"""The table of permissions is what the hands really ask of the API server: no more, no less."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
from kube_world import NAMESPACE, World

from healer.adapters.kubernetes import KubernetesCluster, KubernetesHands, connect
from healer.adapters.kubernetes.permissions import NEEDED, Permission
from healer.lab.mount import MountedPool
from healer.lab.web import Request, Response
from healer.model.actions import (
    Action,
    CordonNode,
    DeletePod,
    EvictPod,
    QuarantinePod,
    ReleasePod,
    RestartWorkload,
    RollbackWorkload,
    ScaleWorkload,
    SetFloor,
    UncordonNode,
)
from healer.model.target import Kind, Target
from healer.settings import KubernetesSettings

OWNER = Target(Kind.WORKLOAD, "deployment/llama", NAMESPACE)
METHODS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


class Recorder:
    """A world whose hands' requests are written down as the permissions they need."""

    def __init__(self) -> None:
        self.world = World()
        for name in ("gpu-a", "gpu-b", "gpu-c"):
            self.world.node(name)
        self.world.deployment()
        self.world.step(3)
        self.asked: set[Permission] = set()
        settings = KubernetesSettings(url="http://mounted")
        self.hands = KubernetesHands(self._connected(settings, self._heard), self.world.clock)
        unheard = self._connected(settings, self.world.server.handle)
        self.cluster = KubernetesCluster(unheard, settings, self.world.clock)

    def _connected(
        self, settings: KubernetesSettings, handle: Callable[[Request], Response]
    ) -> object:
        api = connect(settings)
        api.rest_client.pool_manager = MountedPool(handle)
        return api

    def _heard(self, request: Request) -> Response:
        self.asked.add(permission(request.method, request.path))
        return self.world.server.handle(request)

    def uid(self, resource: str, name: str) -> str:
        found = self.world.store.get(resource, "" if resource == "nodes" else NAMESPACE, name)
        assert found is not None
        return str(found["metadata"]["uid"])


def permission(method: str, path: str) -> Permission:
    """What RBAC calls this request."""
    parts = path.strip("/").split("/")
    group, rest = (parts[1], parts[3:]) if parts[0] == "apis" else ("", parts[2:])
    if rest[0] == "namespaces" and len(rest) > 2:
        rest = rest[2:]
    named = len(rest) > 1
    resource = "/".join([rest[0], *rest[2:]])
    verb = METHODS[method]
    return Permission("list" if verb == "get" and not named else verb, group, resource)


def eviction(given: Recorder) -> Action:
    meta = given.world.pods()[0]["metadata"]
    return EvictPod(Target(Kind.POD, meta["name"], NAMESPACE, meta["uid"]), OWNER, meta["uid"])


def cordon(given: Recorder) -> CordonNode:
    uid = given.uid("nodes", "gpu-a")
    return CordonNode(Target(Kind.NODE, "gpu-a", "", uid), uid, "", "bad GPU")


def uncordon(given: Recorder) -> Action:
    mark = cordon(given)
    assert given.hands.carry_out(mark, "i1").ok
    given.asked.clear()
    return UncordonNode(mark.target, mark.uid, "i1")


def scaling(given: Recorder) -> Action:
    uid = given.uid("apps/deployments", "llama")
    return ScaleWorkload(replace(OWNER, uid=uid), 4, 3, uid)


def rollback(given: Recorder) -> Action:
    given.cluster.view()
    given.world.set_image("vllm:bad")
    given.world.step(3)
    topology = given.cluster.view().topology
    good = next(r for r in topology.of(Kind.REVISION) if r.facts["healthy_seen"])
    uid = given.uid("apps/deployments", "llama")
    return RollbackWorkload(
        replace(OWNER, uid=uid), good.target, good.target.uid,
        good.facts["template_digest"], good.facts["template"], "2", uid,
    )  # fmt: skip


def pod_of(given: Recorder) -> Target:
    meta = given.world.pods()[0]["metadata"]
    return Target(Kind.POD, meta["name"], NAMESPACE, meta["uid"])


def deletion(given: Recorder) -> Action:
    pod = pod_of(given)
    return DeletePod(pod, OWNER, pod.uid)


def floor(given: Recorder) -> Action:
    made = given.world.store.create(
        "autoscaling/horizontalpodautoscalers",
        {
            "metadata": {"name": "llama", "namespace": NAMESPACE},
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "llama"},
                "minReplicas": 2,
                "maxReplicas": 5,
            },
        },
    )
    return SetFloor(OWNER, "horizontalpodautoscaler/llama", 4, 2, made["metadata"]["uid"])


def restart(given: Recorder) -> Action:
    return RestartWorkload(OWNER, "2026-03-04T12:00:00Z", given.uid("apps/deployments", "llama"))


def quarantine(given: Recorder) -> Action:
    pod = pod_of(given)
    return QuarantinePod(pod, ("app",), OWNER, pod.uid)


def release(given: Recorder) -> Action:
    taken = quarantine(given)
    assert given.hands.carry_out(taken, "i1").ok
    given.asked.clear()
    return ReleasePod(taken.target, taken.target.uid, "i1")


SAMPLES: Mapping[str, Callable[[Recorder], Action]] = {
    "evict_pod": eviction,
    "delete_pod": deletion,
    "cordon_node": cordon,
    "uncordon_node": uncordon,
    "scale_workload": scaling,
    "set_floor": floor,
    "rollback_workload": rollback,
    "restart_workload": restart,
    "quarantine_pod": quarantine,
    "release_pod": release,
}


@pytest.mark.parametrize("verb", SAMPLES)
def test_a_verb_asks_for_exactly_what_the_table_says(verb: str) -> None:
    given = Recorder()
    action = SAMPLES[verb](given)
    assert action.verb == verb
    assert given.hands.rehearse(action, "i1").ok
    assert given.hands.holds(action, "i1") is False
    assert given.hands.carry_out(action, "i1").ok
    assert given.asked == set(NEEDED[verb])


def test_requests_are_read_as_rbac_reads_them() -> None:
    base = "/api/v1/namespaces/llm"
    assert str(permission("POST", f"{base}/pods/a/eviction")) == "create pods/eviction"
    assert str(permission("GET", f"{base}/pods")) == "list pods"
    assert str(permission("PATCH", "/api/v1/nodes/n")) == "patch nodes"
    assert str(permission("GET", "/api/v1/namespaces/llm")) == "get namespaces"
    scale = "/apis/apps/v1/namespaces/llm/deployments/x/scale"
    assert str(permission("PATCH", scale)) == "patch deployments/scale.apps"


def test_every_verb_that_sends_something_has_a_sample() -> None:
    assert set(SAMPLES) == {verb for verb, needed in NEEDED.items() if needed}
