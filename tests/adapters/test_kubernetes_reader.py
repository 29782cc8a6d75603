from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from kube_world import NAMESPACE, START, World, template

from healer.adapters.kubernetes import KubernetesCluster, connect
from healer.lab.kube.faults import Fault
from healer.lab.mount import MountedPool
from healer.model.actions import VERBS
from healer.model.event import Event
from healer.model.target import Kind, Target
from healer.ports import ClusterView
from healer.settings import KubernetesSettings

LLAMA = Target(Kind.WORKLOAD, "deployment/llama", NAMESPACE)
SERVICE = Target(Kind.SERVICE, "llama", NAMESPACE)


class Scene:
    def __init__(self, world: World) -> None:
        self.world = world
        self.settings = KubernetesSettings(url="http://mounted")
        api = connect(self.settings)
        api.rest_client.pool_manager = MountedPool(world.server.handle)
        self.cluster = KubernetesCluster(api, self.settings, world.clock)

    def view(self) -> ClusterView:
        return self.cluster.view()

    def events(self, kind: str) -> list[Event]:
        return [event for event in self.view().events if event.kind == kind]

    def fact(self, target: Target, name: str) -> Any:
        return self.view().topology.fact(target, name)


@pytest.fixture
def scene() -> Scene:
    world = World()
    labels = {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}
    for name, rack in (("gpu-a", "r1"), ("gpu-b", "r1"), ("gpu-c", "r2")):
        world.node(name, **labels, **{"topology.kubernetes.io/rack": rack})
    world.deployment()
    world.store.create(
        "services",
        {
            "metadata": {"name": "llama", "namespace": NAMESPACE},
            "spec": {"selector": {"app": "llama"}, "clusterIP": "10.0.0.7"},
        },
    )
    world.step(3)
    return Scene(world)


def test_a_pod_is_connected_up_to_its_service_and_its_rack(scene: Scene) -> None:
    view = scene.view()
    topology = view.topology
    assert (view.ok, topology.complete, view.problems) == (True, True, ())
    (pod,) = (p.target for p in topology.of(Kind.POD) if p.facts["node"] == "gpu-a")
    names = {str(target) for kind in Kind for target in topology.related(pod, kind)}
    revision = topology.fact(pod, "revision")
    assert names == {
        str(pod),
        "node:gpu-a",
        "rack:r1",
        f"revision:{NAMESPACE}/{revision}",
        f"workload:{NAMESPACE}/deployment/llama",
        f"service:{NAMESPACE}/llama",
    }
    assert pod.uid
    assert all(target.uid for target in topology.entities if target.kind is not Kind.RACK)


def test_facts_have_their_documented_names(scene: Scene) -> None:
    scene.world.budget(minAvailable=2)
    scene.world.step()
    topology = scene.view().topology
    pod = topology.of(Kind.POD)[0].facts
    assert (pod["phase"], pod["ready"], pod["gpus_requested"]) == ("Running", True, 4)
    assert (pod["bare"], pod["mirror"], pod["daemonset"], pod["terminating"]) == (False,) * 4
    assert pod["owner_kind"] == "ReplicaSet"
    assert pod["containers"][0]["image"] == "vllm:1"
    assert "reason" not in pod
    node = topology.of(Kind.NODE)[0].facts
    assert (node["ready"], node["unschedulable"]) == (True, False)
    assert (node["gpus_capacity"], node["gpus_allocatable"]) == (8, 8)
    assert (node["pool"], node["rack"]) == ("NVIDIA-H100-80GB-HBM3", "r1")
    assert "cordon_owner" not in node
    workload = topology.get(LLAMA)
    assert workload is not None
    assert (workload.facts["api_kind"], workload.facts["replicas"]) == ("Deployment", 3)
    assert (workload.facts["ready_replicas"], workload.facts["updated_replicas"]) == (3, 3)
    assert workload.facts["generation"] == workload.facts["observed_generation"]
    assert workload.facts["pdb"] == {"name": "llama", "min_available": 2, "disruptions_allowed": 1}
    assert "hpa" not in workload.facts
    assert "managed_by" not in workload.facts
    assert "progressing_at" not in workload.facts
    revision = topology.of(Kind.REVISION)[0].facts
    assert (revision["number"], revision["active"], revision["healthy_seen"]) == (1, True, True)
    assert revision["template"] == template()


def test_a_revision_is_healthy_only_once_it_carried_every_replica(scene: Scene) -> None:
    scene.view()
    scene.world.set_image("vllm:bad")
    scene.world.step(3)
    seen = {
        r.facts["number"]: (r.facts["active"], r.facts["healthy_seen"])
        for r in scene.view().topology.of(Kind.REVISION)
    }
    assert seen == {1: (False, True), 2: (True, False)}


def test_a_revision_that_was_undone_is_nowhere_to_return_to(scene: Scene) -> None:
    scene.view()
    scene.world.set_image("vllm:2")
    scene.world.step(6)
    assert all(r.facts["healthy_seen"] for r in scene.view().topology.of(Kind.REVISION))
    scene.world.set_image("vllm:1")
    scene.world.step(6)
    seen = {
        r.facts["images"][0]: r.facts["healthy_seen"]
        for r in scene.view().topology.of(Kind.REVISION)
    }
    assert seen == {"vllm:1": True, "vllm:2": False}


def test_what_was_healthy_before_a_restart_can_be_handed_on(scene: Scene) -> None:
    scene.view()
    known = scene.cluster.memory.remembered.healthy
    scene.world.set_image("vllm:2")
    scene.world.step(6)
    again = Scene(scene.world)

    def healthy() -> dict[int, bool]:
        found = again.view().topology.of(Kind.REVISION)
        return {r.facts["number"]: r.facts["healthy_seen"] for r in found}

    assert healthy() == {1: False, 2: True}
    again.cluster.memory.trust(known)
    assert healthy() == {1: True, 2: True}


def test_a_rollout_is_dated_by_the_revision_it_made(scene: Scene) -> None:
    assert scene.events("rollout") == []
    began = scene.world.clock.now()
    scene.world.set_image("vllm:bad")
    scene.world.step(4)
    (event,) = scene.events("rollout")
    assert (event.target, event.at) == (LLAMA, began)
    assert event.attributes["images"] == "vllm:bad"
    assert scene.fact(LLAMA, "progressing_at") == began.isoformat()
    scene.world.step(4)
    assert [each.key for each in scene.events("rollout")] == [event.key]


def test_a_rollout_before_the_first_look_is_found_too(scene: Scene) -> None:
    began = scene.world.clock.now()
    scene.world.set_image("vllm:bad")
    scene.world.step(4)
    (event,) = scene.events("rollout")
    assert event.at == began


def test_an_undo_is_a_rollout_of_its_own_time(scene: Scene) -> None:
    scene.world.set_image("vllm:2")
    scene.world.step(6)
    scene.view()
    scene.world.clock.move(timedelta(minutes=20))
    scene.world.set_image("vllm:1")
    scene.world.step(2)
    (event,) = scene.events("rollout")
    assert event.attributes["images"] == "vllm:1"
    assert event.at >= START + timedelta(minutes=20)


def test_scaling_is_an_event_and_no_rollout(scene: Scene) -> None:
    scene.view()
    scene.world.store.modify(
        "apps/deployments", NAMESPACE, "llama", lambda obj: obj["spec"].update(replicas=5)
    )
    scene.world.step(2)
    events = scene.view().events
    scaled = [e.attributes for e in events if e.kind == "scaled"]
    assert scaled == [{"from": "3", "to": "5"}]
    assert not [e for e in events if e.kind == "rollout"]


def test_a_cordon_says_whose_it_is(scene: Scene) -> None:
    assert scene.events("node_cordoned") == []
    scene.world.store.modify("nodes", "", "gpu-a", lambda n: n["spec"].update(unschedulable=True))
    scene.world.step()
    (event,) = scene.events("node_cordoned")
    assert (event.target.name, event.attributes["by"]) == ("gpu-a", "somebody else")
    at = event.at
    scene.world.step(3)
    assert [each.at for each in scene.events("node_cordoned")] == [at]


def test_a_failed_container_and_a_lost_node_are_events(scene: Scene) -> None:
    name = scene.world.pods()[0]["metadata"]["name"]
    ended = {"reason": "OOMKilled", "exitCode": 137, "finishedAt": "2026-03-04T12:00:10Z"}
    state = {"name": "vllm", "ready": False, "restartCount": 1, "lastState": {"terminated": ended}}
    state["state"] = {"waiting": {"reason": "CrashLoopBackOff"}}
    scene.world.store.patch_status("pods", NAMESPACE, name, {"containerStatuses": [state]})
    since = "2026-03-04T12:00:05Z"
    condition = {"type": "Ready", "status": "Unknown", "lastTransitionTime": since}
    scene.world.store.patch_status("nodes", "", "gpu-b", {"conditions": [condition]})
    view = scene.view()
    (failed,) = [e for e in view.events if e.kind == "pod_failed"]
    assert (failed.target.name, failed.attributes["reason"]) == (name, "OOMKilled")
    assert failed.at == START + timedelta(seconds=10)
    (lost,) = [e for e in view.events if e.kind == "node_not_ready"]
    assert (lost.target.name, lost.at) == ("gpu-b", START + timedelta(seconds=5))
    pod = view.topology.fact(failed.target, "containers")[0]
    assert pod["waiting"] == "CrashLoopBackOff"
    assert view.topology.fact(failed.target, "restarts") == 1


def test_warnings_of_the_cluster_are_events_and_the_rest_is_not(scene: Scene) -> None:
    scene.world.deployment("large", 1, template=template("large", gpus=16))
    scene.world.step(2)
    events = scene.events("kubernetes")
    assert [e.attributes["reason"] for e in events] == ["FailedScheduling"]
    assert events[0].target.kind is Kind.POD


def test_a_pod_that_went_away_between_two_looks_is_an_event(scene: Scene) -> None:
    scene.view()
    gone = scene.world.pods()[0]["metadata"]
    scene.world.store.delete("pods", NAMESPACE, gone["name"])
    scene.world.step(2)
    (event,) = scene.events("pod_deleted")
    assert event.target.uid == gone["uid"]


def test_one_kind_that_is_forbidden_leaves_the_rest_standing(scene: Scene) -> None:
    scene.view()
    scene.world.server.access.deny("list", "poddisruptionbudgets")
    view = scene.view()
    assert (view.ok, view.topology.complete) == (True, False)
    assert [p.where for p in view.problems] == ["kubernetes.PodDisruptionBudget"]
    assert len(view.topology.of(Kind.POD)) == 3


def test_unreadable_events_do_not_make_the_topology_incomplete(scene: Scene) -> None:
    scene.world.server.access.deny("list", "events")
    view = scene.view()
    assert (view.ok, view.topology.complete, len(view.problems)) == (True, True, 1)


def test_without_pods_there_is_no_view_but_nothing_is_forgotten(scene: Scene) -> None:
    scene.view()
    scene.world.server.access.deny("list", "pods")
    view = scene.view()
    assert (view.ok, view.topology.complete) == (False, False)
    assert len(view.topology.of(Kind.POD)) == 3
    assert not [e for e in view.events if e.kind == "pod_deleted"]


def test_a_server_that_is_not_there_is_one_problem(scene: Scene) -> None:
    settings = KubernetesSettings(url="http://127.0.0.1:1")
    view = KubernetesCluster(connect(settings), settings, scene.world.clock).view()
    assert (view.ok, view.topology.complete, len(view.problems)) == (False, False, 1)
    assert view.problems[0].where == "kubernetes"
    assert "out of reach" in view.problems[0].what


def test_an_expired_page_starts_the_list_over(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("healer.adapters.kubernetes.listing.PAGE", 2)
    assert len(scene.view().topology.of(Kind.POD)) == 3
    strike = scene.world.server.faults.strike

    def forget_once(request: Any) -> Fault | None:
        if request.param("continue") and request.path.endswith("/pods"):
            scene.world.server.forget_history()
            scene.world.server.faults.strike = strike  # type: ignore[method-assign]
        return strike(request)

    scene.world.server.faults.strike = forget_once  # type: ignore[method-assign]
    view = scene.view()
    assert (view.ok, len(view.topology.of(Kind.POD))) == (True, 3)


def test_secrets_in_the_environment_of_a_pod_are_not_kept(scene: Scene) -> None:
    made = template()
    made["spec"]["containers"][0]["env"] = [
        {"name": "HF_TOKEN", "value": "hf_abcdef"},
        {"name": "VLLM_USE_V1", "value": "1"},
        {"name": "OTHER", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
    ]
    scene.world.deployment("other", 1, template=made | {"metadata": {"labels": {"app": "other"}}})
    scene.world.step(2)
    pods = scene.view().topology.of(Kind.POD)
    (pod,) = [p for p in pods if p.target.name.startswith("other")]
    assert pod.facts["containers"][0]["env"] == {"HF_TOKEN": "***", "VLLM_USE_V1": "1"}


@pytest.mark.parametrize(
    ("marks", "owner"),
    [
        ({"annotations": {"argocd.argoproj.io/tracking-id": "x"}}, "argocd"),
        ({"labels": {"kustomize.toolkit.fluxcd.io/name": "x"}}, "flux"),
        ({"labels": {"app.kubernetes.io/managed-by": "Helm"}}, "helm"),
    ],
)
def test_who_manages_a_workload_is_known(marks: Any, owner: str, scene: Scene) -> None:
    def mark(obj: dict[str, Any]) -> None:
        for place, values in marks.items():
            obj["metadata"].setdefault(place, {}).update(values)

    scene.world.store.modify("apps/deployments", NAMESPACE, "llama", mark)
    assert scene.fact(LLAMA, "managed_by") == owner


def test_stateful_and_daemon_pods_have_their_workloads(scene: Scene) -> None:
    for kind, name in (("statefulsets", "cache"), ("daemonsets", "exporter")):
        scene.world.store.create(
            f"apps/{kind}",
            {
                "metadata": {"name": name, "namespace": NAMESPACE},
                "spec": {
                    "selector": {"matchLabels": {"app": name}},
                    "template": template(name, gpus=0),
                },
            },
        )
    scene.world.step(3)
    topology = scene.view().topology
    tops = {
        pod.target.name.split("-")[0]: str(topology.related(pod.target, Kind.WORKLOAD)[0])
        for pod in topology.of(Kind.POD)
    }
    assert tops["cache"] == f"workload:{NAMESPACE}/statefulset/cache"
    assert tops["exporter"] == f"workload:{NAMESPACE}/daemonset/exporter"
    (cache,) = [p for p in topology.of(Kind.POD) if p.target.name == "cache-0"]
    assert topology.related(cache.target, Kind.REVISION)
    assert all(p.facts["daemonset"] == p.target.name.startswith("exporter") for p in
               topology.of(Kind.POD))  # fmt: skip


def test_a_bare_pod_hangs_from_nothing(scene: Scene) -> None:
    scene.world.store.create(
        "pods",
        {"metadata": {"name": "lonely", "namespace": NAMESPACE}, "spec": template()["spec"]},
    )
    topology = scene.view().topology
    lonely = Target(Kind.POD, "lonely", NAMESPACE)
    assert topology.fact(lonely, "bare") is True
    assert topology.above(lonely) == ()


def test_what_is_denied_is_told_by_verb_and_asked_again_later(scene: Scene) -> None:
    assert scene.cluster.denied() == {}
    scene.world.server.access.deny("create", "pods/eviction")
    assert scene.cluster.denied() == {}
    scene.world.clock.move(timedelta(minutes=6))
    assert scene.cluster.denied() == {"evict_pod": "create pods/eviction"}


def test_permissions_that_cannot_be_asked_count_as_denied(scene: Scene) -> None:
    settings = KubernetesSettings(url="http://127.0.0.1:1")
    denied = KubernetesCluster(connect(settings), settings, scene.world.clock).denied()
    assert set(denied) == set(VERBS) - {"escalate"}


def test_unchanged_pods_are_not_worked_out_again(scene: Scene) -> None:
    first = {p.target: p for p in scene.view().topology.of(Kind.POD)}
    changed = scene.world.pods()[0]["metadata"]["name"]
    scene.world.set_ready(changed, ready=False)
    second = {p.target: p for p in scene.view().topology.of(Kind.POD)}
    same = {target.name: second[target] is first[target] for target in first}
    assert same == {name: name != changed for name in same}


def test_odd_objects_do_not_spoil_the_view(scene: Scene) -> None:
    odd = {"metadata": {"name": "odd", "namespace": NAMESPACE}, "spec": {"containers": None}}
    made = scene.world.store.create("pods", odd)
    scene.world.store.modify(
        "pods", NAMESPACE, "odd",
        lambda pod: pod.update(status={"conditions": None, "containerStatuses": None}),
    )  # fmt: skip
    pod = Target(Kind.POD, "odd", NAMESPACE)
    view = scene.view()
    assert view.topology.fact(pod, "ready") is False
    assert view.topology.entities[pod].target.uid == made["metadata"]["uid"]
