"""What is known of kinds that add-ons bring: Rollouts, groups of pods, model services, KEDA."""

from __future__ import annotations

from typing import Any

import pytest
from kube_world import NAMESPACE, World, deployment, template

from healer.adapters.kubernetes import KubernetesCluster, connect
from healer.lab.mount import MountedPool
from healer.model.target import Kind, Target
from healer.model.topology import Topology
from healer.settings import KubernetesSettings


class Scene:
    def __init__(self) -> None:
        self.world = World()
        self.world.node("gpu-a", 32)
        settings = KubernetesSettings(url="http://mounted")
        api = connect(settings)
        api.rest_client.pool_manager = MountedPool(self.world.server.handle)
        self.cluster = KubernetesCluster(api, settings, self.world.clock)

    def topology(self) -> Topology:
        view = self.cluster.view()
        assert view.ok
        assert view.problems == ()
        return view.topology

    def create(
        self, resource: str, name: str, spec: dict[str, Any], status: Any = None, **meta: Any
    ) -> dict[str, Any]:
        body = {"metadata": {"name": name, "namespace": NAMESPACE} | meta, "spec": spec}
        return self.world.store.create(resource, body | ({"status": status} if status else {}))


@pytest.fixture
def scene() -> Scene:
    return Scene()


def owned_by(kind: str, owner: dict[str, Any]) -> list[dict[str, Any]]:
    meta = owner["metadata"]
    return [{"kind": kind, "name": meta["name"], "uid": meta["uid"], "controller": True}]


def test_a_rollout_has_revisions_numbered_by_argo(scene: Scene) -> None:
    made = scene.create(
        "argoproj/rollouts", "ro", {"replicas": 2, "template": template("ro")},
        {"readyReplicas": 2, "availableReplicas": 2, "observedGeneration": "1"},
        annotations={"rollout.argoproj.io/revision": "2"},
    )  # fmt: skip
    for number in (1, 2):
        scene.create(
            "apps/replicasets", f"ro-{number}",
            {"replicas": 0, "selector": {"matchLabels": {"x": "y"}},
             "template": template("ro", f"vllm:{number}")},
            annotations={"rollout.argoproj.io/revision": str(number)},
            ownerReferences=owned_by("Rollout", made),
        )  # fmt: skip
    topology = scene.topology()
    workload = Target(Kind.WORKLOAD, "rollout/ro", NAMESPACE)
    assert topology.fact(workload, "api_kind") == "Rollout"
    assert topology.fact(workload, "observed_generation") == 1
    active = [r.target.name for r in topology.of(Kind.REVISION) if r.facts["active"]]
    assert active == ["ro-2"]
    assert topology.fact(workload, "revision") == "ro-2"


def test_a_replica_of_a_leader_worker_set_is_a_group_of_pods(scene: Scene) -> None:
    group = {"size": 4, "workerTemplate": template("g", gpus=8)}
    made = scene.create(
        "leaderworkerset/leaderworkersets", "g", {"replicas": 2, "leaderWorkerTemplate": group}
    )
    labels = {"leaderworkerset.sigs.k8s.io/name": "g"}
    scene.create(
        "apps/statefulsets", "g", deployment("g", 2)["spec"] | {"serviceName": "g"},
        labels=labels, ownerReferences=owned_by("LeaderWorkerSet", made),
    )  # fmt: skip
    pod = template("g")
    scene.create(
        "pods", "g-0-1", pod["spec"] | {"nodeName": "gpu-a"}, {"phase": "Running"},
        labels=labels | {"leaderworkerset.sigs.k8s.io/group-index": "0"},
        ownerReferences=[{"kind": "StatefulSet", "name": "g-0", "uid": "u", "controller": True}],
    )  # fmt: skip
    topology = scene.topology()
    workload = Target(Kind.WORKLOAD, "leaderworkerset/g", NAMESPACE)
    assert topology.fact(workload, "gpus_per_replica") == 32
    assert workload in topology.related(Target(Kind.POD, "g-0-1", NAMESPACE), Kind.WORKLOAD)
    assert topology.get(Target(Kind.WORKLOAD, "statefulset/g", NAMESPACE)) is None


def test_a_predictor_that_was_ready_is_remembered_after_it_was_replaced(scene: Scene) -> None:
    ready = {"observedGeneration": 1, "conditions": [{"type": "Ready", "status": "True"}]}
    good = {"model": {"storageUri": "hf://llama/1"}}
    scene.create("serving/inferenceservices", "m", {"predictor": good}, ready)
    scene.topology()

    def replace(obj: dict[str, Any]) -> None:
        obj["spec"]["predictor"] = {"model": {"storageUri": "hf://llama/2"}}

    scene.world.store.modify("serving/inferenceservices", NAMESPACE, "m", replace)
    topology = scene.topology()
    found = {r.target.name: r.facts for r in topology.of(Kind.REVISION)}
    assert (found["m@1"]["healthy_seen"], found["m@1"]["active"]) == (True, False)
    assert (found["m@2"]["healthy_seen"], found["m@2"]["active"]) == (False, True)
    assert found["m@1"]["template"] == good
    workload = Target(Kind.WORKLOAD, "inferenceservice/m", NAMESPACE)
    assert set(topology.below(workload)) == {
        Target(Kind.REVISION, name, NAMESPACE) for name in found
    }


@pytest.mark.parametrize(
    ("owner", "scaler"),
    [(None, "horizontalpodautoscaler/h"), ("ScaledObject", "scaledobject/so")],
)
def test_the_bound_that_counts_is_that_of_the_autoscalers_own_owner(
    scene: Scene, owner: str | None, scaler: str
) -> None:
    scene.world.deployment()
    owners = {}
    if owner:
        made = scene.create("keda/scaledobjects", "so", {"minReplicaCount": 1})
        owners = {"ownerReferences": owned_by(owner, made)}
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "llama"}
    scene.create(
        "autoscaling/horizontalpodautoscalers", "h",
        {"scaleTargetRef": target, "minReplicas": 2, "maxReplicas": 5}, **owners,
    )  # fmt: skip
    known = scene.topology().fact(Target(Kind.WORKLOAD, "deployment/llama", NAMESPACE), "hpa")
    assert known["scaler"] == scaler
    assert (known["min"], known["max"]) == (2, 5)
    assert known["uid"]


@pytest.mark.parametrize(
    ("manager", "field", "who"),
    [
        ("argocd-controller", "f:template", "argocd"),
        ("kustomize-controller", "f:template", "flux"),
        ("helm-controller", "f:template", "flux"),
        ("argocd-controller", "f:replicas", None),
        ("kubectl-edit", "f:template", None),
    ],
)
def test_who_wrote_the_template_tells_whose_it_is(
    scene: Scene, manager: str, field: str, who: str | None
) -> None:
    made = deployment()
    fields = [{"manager": manager, "operation": "Apply", "fieldsV1": {"f:spec": {field: {}}}}]
    made["metadata"]["managedFields"] = fields
    scene.world.store.create("apps/deployments", made)
    workload = Target(Kind.WORKLOAD, "deployment/llama", NAMESPACE)
    assert scene.topology().fact(workload, "managed_by") == who


def test_a_daemon_sets_pods_know_their_revision(scene: Scene) -> None:
    made = scene.create(
        "apps/daemonsets", "exp",
        {"selector": {"matchLabels": {"app": "exp"}}, "template": template("exp")},
        {"desiredNumberScheduled": 1, "numberReady": 1, "numberAvailable": 1,
         "updatedNumberScheduled": 1},
    )  # fmt: skip
    scene.world.store.create(
        "apps/controllerrevisions",
        {
            "metadata": {
                "name": "exp-abc",
                "namespace": NAMESPACE,
                "ownerReferences": owned_by("DaemonSet", made),
            },
            "data": {"spec": {"template": template("exp")}},
            "revision": 1,
        },
    )
    scene.create(
        "pods", "exp-x", template("exp")["spec"] | {"nodeName": "gpu-a"}, {"phase": "Running"},
        labels={"controller-revision-hash": "abc"}, ownerReferences=owned_by("DaemonSet", made),
    )  # fmt: skip
    topology = scene.topology()
    revision = Target(Kind.REVISION, "exp-abc", NAMESPACE)
    assert revision in topology.above(Target(Kind.POD, "exp-x", NAMESPACE))
    assert topology.fact(revision, "healthy_seen") is True
