"""Every verb of ours, and what the genuine kubectl sees of it afterwards."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import servers
from kube_world import NAMESPACE, World, deployment

from healer.adapters.kubernetes import KubernetesCluster, KubernetesHands, connect
from healer.lab.web import Server
from healer.model.actions import (
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
from healer.model.topology import Topology
from healer.settings import KubernetesSettings

pytestmark = [pytest.mark.server, pytest.mark.sim_only]

OWNER = Target(Kind.WORKLOAD, "deployment/llama", NAMESPACE)
AT = "2026-03-04T12:00:00+00:00"


class Scene:
    def __init__(self, world: World, url: str, home: Path) -> None:
        self.world, self._url, self._home = world, url, home
        settings = KubernetesSettings(url=url)
        self.api = connect(settings)
        self.hands = KubernetesHands(self.api, world.clock)
        self.cluster = KubernetesCluster(self.api, settings, world.clock)

    def kubectl(self, *args: str) -> str:
        done = subprocess.run(
            [str(servers.binary("kubectl")), "--server", self._url, "-n", NAMESPACE, *args],
            capture_output=True,
            text=True,
            timeout=300,
            env={"HOME": str(self._home), "PATH": os.environ["PATH"], "KUBECONFIG": os.devnull},
            check=True,
        )
        return done.stdout

    def sees(self, *args: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.kubectl("get", *args, "-o", "json"))
        return found

    def uid(self, *args: str) -> str:
        return str(self.sees(*args)["metadata"]["uid"])

    def pod(self) -> Target:
        meta = self.world.pods()[0]["metadata"]
        return Target(Kind.POD, meta["name"], NAMESPACE, meta["uid"])

    def topology(self) -> Topology:
        return self.cluster.view().topology


@pytest.fixture
def scene(served: World, tmp_path: Path) -> Iterator[Scene]:
    servers.need("kubectl")
    with Server(served.server.handle) as server:
        made = Scene(served, server.url, tmp_path)
        yield made
        made.api.rest_client.pool_manager.clear()


@pytest.mark.parametrize("verb", [EvictPod, DeletePod])
def test_a_pod_that_is_ended_is_replaced(
    scene: Scene, verb: Callable[[Target, Target, str], EvictPod | DeletePod]
) -> None:
    pod = scene.pod()
    assert scene.hands.carry_out(verb(pod, OWNER, pod.uid), "i1").ok
    assert "deletionTimestamp" in scene.sees("pod", pod.name)["metadata"]
    scene.world.step(4)
    names = scene.kubectl("get", "pods", "-o", "name").split()
    assert len(names) == 3
    assert f"pod/{pod.name}" not in names


def test_a_cordon_and_its_end(scene: Scene) -> None:
    node = Target(Kind.NODE, "gpu-a", "", scene.uid("node", "gpu-a"))
    assert scene.hands.carry_out(CordonNode(node, node.uid, "", "bad GPU"), "i1").ok
    assert "SchedulingDisabled" in scene.kubectl("get", "node", "gpu-a")
    assert scene.hands.carry_out(UncordonNode(node, node.uid, "i1"), "i2").ok
    assert "SchedulingDisabled" not in scene.kubectl("get", "node", "gpu-a")


def test_a_node_that_kubectl_cordoned_is_not_ours_to_open(scene: Scene) -> None:
    node = Target(Kind.NODE, "gpu-a", "", scene.uid("node", "gpu-a"))
    scene.kubectl("cordon", "gpu-a")
    assert scene.hands.carry_out(CordonNode(node, node.uid, "", "bad GPU"), "i1").ok
    assert scene.hands.carry_out(UncordonNode(node, node.uid, "i1"), "i2").gone
    assert "SchedulingDisabled" in scene.kubectl("get", "node", "gpu-a")


def test_a_number_of_replicas(scene: Scene) -> None:
    uid = scene.uid("deploy", "llama")
    assert scene.hands.carry_out(ScaleWorkload(OWNER, 4, 3, uid), "i1").ok
    scene.world.step(4)
    assert "4/4" in scene.kubectl("get", "deploy", "llama")
    scene.kubectl("scale", "deploy/llama", "--replicas=2")
    assert scene.hands.carry_out(ScaleWorkload(OWNER, 5, 4, uid), "i2").gone


def test_an_autoscalers_minimum(scene: Scene) -> None:
    scene.world.store.create(
        "autoscaling/horizontalpodautoscalers",
        {
            "metadata": {"name": "llama", "namespace": NAMESPACE},
            "spec": {
                "scaleTargetRef": {
                    "apiVersion": "apps/v1",
                    "kind": "Deployment",
                    "name": "llama",
                },
                "minReplicas": 2,
                "maxReplicas": 5,
            },
        },
    )
    uid = scene.uid("hpa", "llama")
    wanted = SetFloor(OWNER, "horizontalpodautoscaler/llama", 4, 2, uid)
    assert scene.hands.carry_out(wanted, "i1").ok
    scene.world.step(6)
    assert "4/4" in scene.kubectl("get", "deploy", "llama")
    assert scene.hands.carry_out(replace(wanted, floor=2, was=4, takes_back="i1"), "i2").ok
    assert scene.sees("hpa", "llama")["spec"]["minReplicas"] == 2


def test_a_rollback_and_the_history_that_kubectl_tells(scene: Scene) -> None:
    scene.topology()
    scene.kubectl("set", "image", "deploy/llama", "vllm=vllm:bad")
    scene.world.step(4)
    topology = scene.topology()
    good = next(r for r in topology.of(Kind.REVISION) if r.facts["healthy_seen"])
    action = RollbackWorkload(
        OWNER, good.target, good.target.uid, good.facts["template_digest"],
        good.facts["template"], "2", scene.uid("deploy", "llama"),
    )  # fmt: skip
    assert scene.hands.carry_out(action, "i1").ok
    scene.world.step(6)
    assert "successfully rolled out" in scene.kubectl("rollout", "status", "deploy/llama")
    images = scene.kubectl("get", "pods", "-o", "jsonpath={.items[*].spec.containers[0].image}")
    assert set(images.split()) == {"vllm:1"}
    assert "rolled back" in scene.kubectl("rollout", "history", "deploy/llama")


def test_a_stateful_set_that_is_stuck_is_mended_by_its_template_and_an_eviction(
    scene: Scene,
) -> None:
    scene.kubectl("delete", "deploy", "llama")
    scene.world.step(3)
    spec = deployment("set", 2)["spec"] | {"serviceName": "set"}
    scene.world.store.create(
        "apps/statefulsets", {"metadata": {"name": "set", "namespace": NAMESPACE}, "spec": spec}
    )
    scene.world.step(6)
    scene.topology()
    scene.kubectl("set", "image", "statefulset/set", "vllm=vllm:bad")
    scene.world.step(6)
    topology = scene.topology()
    good = next(r for r in topology.of(Kind.REVISION) if r.facts["healthy_seen"])
    bad = next(r for r in topology.of(Kind.REVISION) if r.facts["active"])
    assert bad.target != good.target
    workload = Target(Kind.WORKLOAD, "statefulset/set", NAMESPACE)
    action = RollbackWorkload(
        workload, good.target, good.target.uid, good.facts["template_digest"],
        good.facts["template"], bad.target.name, scene.uid("sts", "set"),
    )  # fmt: skip
    assert scene.hands.carry_out(action, "i1").ok
    scene.world.step(6)
    stuck = [p.target for p in scene.topology().of(Kind.POD) if p.facts["ready"] is False]
    assert stuck, "without a kubelet's fault the lab would not show the trap"
    for pod in stuck:
        assert scene.hands.carry_out(EvictPod(pod, workload, pod.uid), "i1").ok
    scene.world.step(8)
    assert "2/2" in scene.kubectl("get", "sts", "set")
    images = scene.kubectl("get", "pods", "-o", "jsonpath={.items[*].spec.containers[0].image}")
    assert set(images.split()) == {"vllm:1"}


def test_a_restart_as_kubectl_would_do_it(scene: Scene) -> None:
    before = set(scene.kubectl("get", "pods", "-o", "name").split())
    restart = RestartWorkload(OWNER, AT, scene.uid("deploy", "llama"))
    assert scene.hands.carry_out(restart, "i1").ok
    notes = scene.sees("deploy", "llama")["spec"]["template"]["metadata"]["annotations"]
    assert notes["kubectl.kubernetes.io/restartedAt"] == AT
    scene.world.step(20)
    after = set(scene.kubectl("get", "pods", "-o", "name").split())
    assert len(after) == 3
    assert not after & before


def test_a_quarantine_and_its_end(scene: Scene) -> None:
    pod = scene.pod()
    assert scene.hands.carry_out(QuarantinePod(pod, ("app",), OWNER, pod.uid), "i1").ok
    scene.world.step(4)
    serving = scene.kubectl("get", "pods", "-l", "app=llama", "-o", "name").split()
    assert len(serving) == 3
    assert f"pod/{pod.name}" not in serving
    assert "Running" in scene.kubectl("get", "pod", pod.name)
    assert scene.hands.carry_out(ReleasePod(pod, pod.uid, "i1"), "i2").ok
    assert scene.sees("pod", pod.name)["metadata"]["labels"]["app"] == "llama"
