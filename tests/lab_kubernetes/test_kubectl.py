"""The genuine kubectl against the simulator: somebody else's idea of how the API behaves."""

from __future__ import annotations

import os
import re
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import servers
from kube_world import NAMESPACE, World

from healer.lab.web import Server

pytestmark = pytest.mark.server


@dataclass
class Kubectl:
    world: World
    url: str
    home: Path

    def __call__(self, *args: str) -> str:
        """Standard output; fails the test on another exit code than 0."""
        code, out, err = self.run(*args)
        assert code == 0, f"kubectl {' '.join(args)}: {err}"
        return out

    def run(self, *args: str) -> tuple[int, str, str]:
        with self.start(*args) as process:
            out, err = process.communicate(timeout=300)
        return process.returncode, out, err

    def start(self, *args: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(servers.binary("kubectl")), "--server", self.url, "-n", NAMESPACE, *args],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={"HOME": str(self.home), "PATH": os.environ["PATH"], "KUBECONFIG": os.devnull},
        )


@pytest.fixture
def kubectl(served: World, tmp_path: Path) -> Iterator[Kubectl]:
    """Against a cluster that lives: five simulated seconds pass every few milliseconds."""
    servers.need("kubectl")
    over = threading.Event()

    def live() -> None:
        while not over.wait(0.02):
            served.step()

    thread = threading.Thread(target=live)
    with Server(served.server.handle) as server:
        thread.start()
        yield Kubectl(served, server.url, tmp_path)
        over.set()
        thread.join()


def test_get_and_describe_show_what_is_there(kubectl: Kubectl) -> None:
    assert kubectl("get", "nodes").split()[:10].count("Ready") == 1
    pods = kubectl("get", "pods").splitlines()
    assert pods[0].split()[:3] == ["NAME", "READY", "STATUS"]
    assert sum("1/1" in line and "Running" in line for line in pods) == 3
    assert kubectl("get", "deploy,rs,pdb,hpa,svc", "--ignore-not-found").count("llama") >= 2
    node = kubectl("describe", "node", "gpu-a")
    assert re.search(r"nvidia.com/gpu +4 +4", node)
    deployment = kubectl("describe", "deployment", "llama")
    assert "3 desired | 3 updated | 3 total | 3 available" in deployment
    assert "ScalingReplicaSet" in deployment
    name = kubectl.world.pods()[0]["metadata"]["name"]
    assert "Successfully assigned" in kubectl("describe", "pod", name)


def test_cordon_and_uncordon(kubectl: Kubectl) -> None:
    assert (
        kubectl("cordon", "gpu-a", "--dry-run=server") == "node/gpu-a cordoned (server dry run)\n"
    )
    assert not kubectl.world.store.list("nodes")[0]["spec"].get("unschedulable")
    assert kubectl("cordon", "gpu-a") == "node/gpu-a cordoned\n"
    assert "Ready,SchedulingDisabled" in kubectl("get", "node", "gpu-a")
    assert kubectl("cordon", "gpu-a") == "node/gpu-a already cordoned\n"
    assert kubectl("uncordon", "gpu-a") == "node/gpu-a uncordoned\n"
    assert "SchedulingDisabled" not in kubectl("get", "nodes")


def test_drain_moves_the_pods_of_a_node(kubectl: Kubectl) -> None:
    out = kubectl("drain", "gpu-a", "--timeout=240s")
    assert out.endswith("node/gpu-a drained\n")
    assert kubectl("get", "pods", "-A", "--field-selector", "spec.nodeName=gpu-a") == ""


def test_drain_waits_for_a_budget_that_is_used_up(kubectl: Kubectl) -> None:
    kubectl.world.budget(minAvailable=3)
    kubectl.world.step()
    with kubectl.start("drain", "gpu-a", "--timeout=240s") as drain:
        said = next((line for line in drain.stderr or () if "Cannot evict pod" in line), "")
        assert drain.poll() is None, "it goes on trying"
        drain.kill()
    assert "Cannot evict pod as it would violate the pod's disruption budget" in said
    assert len(kubectl.world.pods()) == 3
    evictions = [w.status for w in kubectl.world.server.write_log if "eviction" in w.path]
    assert set(evictions) == {429}


def test_scale_sets_replicas(kubectl: Kubectl) -> None:
    assert "scaled" in kubectl("scale", "deploy/llama", "--replicas=5")
    kubectl("rollout", "status", "deploy/llama", "--timeout=240s")
    assert len(kubectl.world.pods()) == 5
    code, _, err = kubectl.run("scale", "deploy/llama", "--replicas=1", "--current-replicas=9")
    assert (code, "Expected replicas to be 9" in err) == (1, True)


def test_rollout_history_status_and_undo(kubectl: Kubectl) -> None:
    kubectl("set", "image", "deploy/llama", "vllm=vllm:2")
    assert "successfully rolled out" in kubectl(
        "rollout", "status", "deploy/llama", "--timeout=240s"
    )
    history = kubectl("rollout", "history", "deploy/llama").split()
    assert [word for word in history if word.isdigit()] == ["1", "2"]
    assert "vllm:1" in kubectl("rollout", "history", "deploy/llama", "--revision=1")
    kubectl("rollout", "undo", "deploy/llama", "--dry-run=server")
    template = kubectl.world.get("apps/deployments", "llama")["spec"]["template"]
    assert template["spec"]["containers"][0]["image"] == "vllm:2"
    assert "rolled back" in kubectl("rollout", "undo", "deploy/llama")
    kubectl("rollout", "status", "deploy/llama", "--timeout=240s")
    images = kubectl("get", "pods", "-o", "jsonpath={.items[*].spec.containers[0].image}")
    assert set(images.split()) == {"vllm:1"}
    history = kubectl("rollout", "history", "deploy/llama").split()
    assert [word for word in history if word.isdigit()] == ["2", "3"]


def test_label_annotate_taint_and_delete(kubectl: Kubectl) -> None:
    kubectl("label", "node", "gpu-a", "rack=r1")
    kubectl("annotate", "node", "gpu-a", "note=x")
    kubectl("taint", "node", "gpu-a", "sick=yes:NoSchedule")
    assert "gpu-a" in kubectl("get", "nodes", "-l", "rack=r1")
    assert "sick" in kubectl("get", "node", "gpu-a", "-o", "jsonpath={.spec.taints[*].key}")
    kubectl("taint", "node", "gpu-a", "sick-")
    name = kubectl.world.pods()[0]["metadata"]["name"]
    kubectl("delete", "pod", name, "--timeout=240s")
    assert name not in {pod["metadata"]["name"] for pod in kubectl.world.pods()}


def test_a_denied_verb_is_told_as_forbidden(kubectl: Kubectl) -> None:
    kubectl.world.server.access.deny("patch", "nodes")
    _, _, err = kubectl.run("cordon", "gpu-a")
    assert 'nodes "gpu-a" is forbidden: User "healer" cannot patch resource "nodes"' in err
