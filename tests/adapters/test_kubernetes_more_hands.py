"""The verbs besides the first five: what they change, what they refuse, and how they go back."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from kube_world import NAMESPACE, World, deployment, template

from healer.adapters.kubernetes import KubernetesHands, connect, templates
from healer.adapters.kubernetes.signatures import FLOOR, QUARANTINE
from healer.errors import Permanent, UnknownOutcome
from healer.lab.kube.faults import Fault
from healer.lab.mount import MountedPool
from healer.model.actions import (
    DeletePod,
    QuarantinePod,
    ReleasePod,
    RestartWorkload,
    RollbackWorkload,
    ScaleWorkload,
    SetFloor,
)
from healer.model.target import Kind, Target
from healer.settings import KubernetesSettings

OWNER = Target(Kind.WORKLOAD, "deployment/llama", NAMESPACE)
AT = "2026-03-04T12:00:00+00:00"


class Scene:
    def __init__(self, world: World) -> None:
        self.world = world
        api = connect(KubernetesSettings(url="http://mounted"))
        api.rest_client.pool_manager = MountedPool(world.server.handle)
        self.hands = KubernetesHands(api, world.clock, timeout_s=(1.0, 0.5))

    def uid(self, resource: str, name: str) -> str:
        return str(self.world.get(resource, name)["metadata"]["uid"])

    def pod(self, at: int = 0) -> Target:
        meta = self.world.pods()[at]["metadata"]
        return Target(Kind.POD, meta["name"], NAMESPACE, meta["uid"])

    def create(self, resource: str, name: str, spec: dict[str, Any], **meta: Any) -> dict[str, Any]:
        return self.world.store.create(
            resource, {"metadata": {"name": name, "namespace": NAMESPACE} | meta, "spec": spec}
        )

    def hpa(self, low: int = 2, high: int = 6) -> dict[str, Any]:
        return self.create(
            "autoscaling/horizontalpodautoscalers",
            "llama",
            {
                "scaleTargetRef": {
                    "apiVersion": "apps/v1", "kind": "Deployment", "name": "llama",
                },
                "minReplicas": low,
                "maxReplicas": high,
            },
        )  # fmt: skip

    def changed(self) -> list[str]:
        return [w.method for w in self.world.server.write_log if w.changed]


@pytest.fixture
def scene() -> Scene:
    world = World()
    for name in ("gpu-a", "gpu-b", "gpu-c"):
        world.node(name)
    world.deployment()
    world.step(3)
    return Scene(world)


# delete


def test_a_deleted_pod_goes_whatever_its_budget_says(scene: Scene) -> None:
    scene.world.budget(minAvailable=3)
    scene.world.step()
    pod = scene.pod()
    delete = DeletePod(pod, OWNER, pod.uid)
    assert scene.hands.rehearse(delete, "i1").ok
    assert scene.changed() == []
    assert scene.hands.carry_out(delete, "i1").ok
    assert scene.hands.holds(delete, "i1")
    scene.world.step(3)
    assert pod.uid not in {p["metadata"]["uid"] for p in scene.world.pods()}
    assert len(scene.world.pods()) == 3


def test_a_namesake_of_the_pod_is_not_deleted(scene: Scene) -> None:
    pod = replace(scene.pod(), uid="another")
    receipt = scene.hands.carry_out(DeletePod(pod, OWNER, "another"), "i1")
    assert receipt.gone
    assert scene.changed() == []


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda m: m.pop("ownerReferences"), "lost its controller"),
        (lambda m: m["ownerReferences"][0].update(kind="Job"), "belongs to a Job"),
        (lambda m: m.update(annotations={"kubernetes.io/config.mirror": "x"}), "static pod"),
    ],
)
def test_a_pod_that_nobody_would_replace_is_not_deleted(
    scene: Scene, change: Callable[[dict[str, Any]], Any], why: str
) -> None:
    pod = scene.pod()
    scene.world.store.modify("pods", NAMESPACE, pod.name, lambda p: change(p["metadata"]))
    with pytest.raises(Permanent, match=why):
        scene.hands.carry_out(DeletePod(pod, OWNER, pod.uid), "i1")
    with pytest.raises(Permanent, match="no controller"):
        scene.hands.carry_out(DeletePod(pod, None, pod.uid), "i1")
    assert scene.changed() == []


def test_a_deletion_whose_answer_was_lost_is_read_back(scene: Scene) -> None:
    pod = scene.pod()
    delete = DeletePod(pod, OWNER, pod.uid)
    scene.world.server.faults.add(Fault("lose_answer", method="DELETE"))
    with pytest.raises(UnknownOutcome):
        scene.hands.carry_out(delete, "i1")
    assert scene.hands.holds(delete, "i1")
    assert len(scene.world.server.write_log) == 1


# floor


def floor(scene: Scene, to: int = 5, was: int = 2) -> SetFloor:
    uid = scene.uid("autoscaling/horizontalpodautoscalers", "llama")
    return SetFloor(OWNER, "horizontalpodautoscaler/llama", to, was, uid)


def test_a_raised_floor_is_what_the_autoscaler_scales_to_and_it_goes_back(scene: Scene) -> None:
    scene.hpa()
    wanted = floor(scene)
    receipt = scene.hands.carry_out(wanted, "i1")
    assert (receipt.before["minReplicas"], receipt.after["minReplicas"]) == (2, 5)
    assert scene.hands.holds(wanted, "i1")
    scene.world.step(6)
    assert scene.world.get("apps/deployments", "llama")["spec"]["replicas"] == 5
    back = replace(wanted, floor=2, was=5, takes_back="i1")
    assert not scene.hands.holds(back, "i2")
    assert scene.hands.carry_out(back, "i2").ok
    assert scene.hands.holds(back, "i2")
    hpa = scene.world.get("autoscaling/horizontalpodautoscalers", "llama")
    assert hpa["spec"]["minReplicas"] == 2
    assert FLOOR not in (hpa["metadata"].get("annotations") or {})


def test_a_floor_somebody_changed_since_stays_as_it_is(scene: Scene) -> None:
    scene.hpa()
    wanted = floor(scene)
    assert scene.hands.carry_out(wanted, "i1").ok

    def change(hpa: dict[str, Any]) -> None:
        hpa["spec"]["minReplicas"] = 4

    scene.world.store.modify("autoscaling/horizontalpodautoscalers", NAMESPACE, "llama", change)
    receipt = scene.hands.carry_out(replace(wanted, floor=2, was=5, takes_back="i1"), "i2")
    assert receipt.gone
    assert "somebody has set another" in receipt.detail
    foreign = scene.hands.carry_out(replace(wanted, floor=2, was=5, takes_back="other"), "i2")
    assert "not ours" in foreign.detail


def test_a_floor_above_the_upper_bound_is_refused(scene: Scene) -> None:
    scene.hpa()
    with pytest.raises(Permanent, match="6 replicas at most"):
        scene.hands.carry_out(floor(scene, to=7), "i1")


def test_a_floor_decided_on_another_one_is_left(scene: Scene) -> None:
    scene.hpa()
    assert scene.hands.carry_out(floor(scene, was=1), "i1").gone
    assert scene.hands.carry_out(floor(scene, to=2), "i1").detail == "2 at least already"
    assert scene.changed() == []


def test_kedas_own_bound_is_raised_and_an_absent_one_becomes_absent_again(scene: Scene) -> None:
    made = scene.create("keda/scaledobjects", "llama", {"scaleTargetRef": {"name": "llama"}})
    wanted = SetFloor(OWNER, "scaledobject/llama", 3, 1, made["metadata"]["uid"])
    assert scene.hands.carry_out(wanted, "i1").ok
    raised = scene.world.get("keda/scaledobjects", "llama")
    assert raised["spec"]["minReplicaCount"] == 3
    assert json.loads(raised["metadata"]["annotations"][FLOOR])["was"] is None
    assert scene.hands.carry_out(replace(wanted, floor=1, was=3, takes_back="i1"), "i2").ok
    assert "minReplicaCount" not in scene.world.get("keda/scaledobjects", "llama")["spec"]


def test_a_paused_scaled_object_is_left_alone(scene: Scene) -> None:
    made = scene.create(
        "keda/scaledobjects", "llama", {},
        annotations={"autoscaling.keda.sh/paused-scale-in": "true"},
    )  # fmt: skip
    with pytest.raises(Permanent, match="paused"):
        scene.hands.carry_out(
            SetFloor(OWNER, "scaledobject/llama", 3, 1, made["metadata"]["uid"]), "i1"
        )


# restart


def test_a_restarted_workload_replaces_every_pod_by_its_own_rolling_update(scene: Scene) -> None:
    before = {p["metadata"]["uid"] for p in scene.world.pods()}
    restart = RestartWorkload(OWNER, AT, scene.uid("apps/deployments", "llama"))
    assert not scene.hands.holds(restart, "i1")
    assert scene.hands.rehearse(restart, "i1").ok
    assert scene.hands.carry_out(restart, "i1").ok
    assert scene.hands.holds(restart, "i1")
    assert scene.hands.carry_out(restart, "i1").detail == "restarted already"
    scene.world.step(20)
    after = {p["metadata"]["uid"] for p in scene.world.pods()}
    assert len(after) == 3
    assert not after & before


def test_a_workload_that_would_not_roll_is_not_restarted(scene: Scene) -> None:
    def pause(obj: dict[str, Any]) -> None:
        obj["spec"]["paused"] = True

    scene.world.store.modify("apps/deployments", NAMESPACE, "llama", pause)
    with pytest.raises(Permanent, match="paused"):
        scene.hands.carry_out(RestartWorkload(OWNER, AT), "i1")
    rollout = Target(Kind.WORKLOAD, "rollout/llama", NAMESPACE)
    with pytest.raises(Permanent, match="only deployment"):
        scene.hands.carry_out(RestartWorkload(rollout, AT), "i1")
    made = replace(OWNER, uid="another")
    assert scene.hands.carry_out(RestartWorkload(made, AT), "i1").gone


# quarantine


def test_a_quarantined_pod_keeps_running_out_of_its_service_and_is_replaced(scene: Scene) -> None:
    pod = scene.pod()
    take = QuarantinePod(pod, ("app",), OWNER, pod.uid)
    assert not scene.hands.holds(take, "i1")
    assert scene.hands.carry_out(take, "i1").ok
    assert scene.hands.holds(take, "i1")
    assert scene.hands.carry_out(take, "i1").detail == "in quarantine already"
    assert scene.hands.carry_out(take, "another").gone
    scene.world.step(4)
    kept = scene.world.get("pods", pod.name)
    assert kept["metadata"]["uid"] == pod.uid
    assert kept["status"]["phase"] == "Running"
    assert "ownerReferences" not in kept["metadata"] or not kept["metadata"]["ownerReferences"]
    serving = [p for p in scene.world.pods() if p["metadata"]["labels"].get("app") == "llama"]
    assert len(serving) == 3
    back = ReleasePod(pod, pod.uid, "i1")
    assert scene.hands.carry_out(replace(back, quarantine_id="other"), "i2").gone
    assert scene.hands.carry_out(back, "i2").ok
    assert scene.hands.holds(back, "i2")
    released = scene.world.get("pods", pod.name)["metadata"]
    assert released["labels"]["app"] == "llama"
    assert QUARANTINE not in released.get("annotations", {})


def test_a_pod_whose_controller_could_not_replace_it_is_not_quarantined(scene: Scene) -> None:
    pod = scene.pod()

    def change(obj: dict[str, Any]) -> None:
        obj["metadata"]["ownerReferences"][0]["kind"] = "StatefulSet"

    scene.world.store.modify("pods", NAMESPACE, pod.name, change)
    with pytest.raises(Permanent, match="would not be replaced"):
        scene.hands.carry_out(QuarantinePod(pod, ("app",), OWNER, pod.uid), "i1")
    with pytest.raises(Permanent, match="no UID"):
        scene.hands.carry_out(QuarantinePod(replace(pod, uid=""), ("app",), OWNER), "i1")


# other kinds


@pytest.mark.parametrize(
    ("resource", "kind"),
    [
        ("apps/statefulsets", "statefulset"),
        ("leaderworkerset/leaderworkersets", "leaderworkerset"),
        ("argoproj/rollouts", "rollout"),
    ],
)
def test_other_kinds_are_scaled_through_their_scale(scene: Scene, resource: str, kind: str) -> None:
    spec = deployment("other", 2)["spec"] | {"serviceName": "other"}
    made = scene.create(resource, "other", spec)
    target = Target(Kind.WORKLOAD, f"{kind}/other", NAMESPACE)
    uid = made["metadata"]["uid"]
    scale = ScaleWorkload(target, 3, 2, uid)
    assert scene.hands.carry_out(scale, "i1").ok
    assert scene.hands.holds(scale, "i1")
    assert scene.world.get(resource, "other")["spec"]["replicas"] == 3
    assert scene.world.server.write_log[-1].path.endswith("/scale")


def test_an_inference_service_has_no_scale(scene: Scene) -> None:
    target = Target(Kind.WORKLOAD, "inferenceservice/llama", NAMESPACE)
    with pytest.raises(Permanent, match="cannot be scaled"):
        scene.hands.carry_out(ScaleWorkload(target, 3, 2), "i1")


def back_to(
    scene: Scene, target: Target, revision: dict[str, Any], good: dict[str, Any], was: str
) -> RollbackWorkload:
    meta = revision["metadata"]
    return RollbackWorkload(
        target,
        Target(Kind.REVISION, meta["name"], NAMESPACE, meta["uid"]),
        meta["uid"],
        templates.digest(good),
        templates.bare(good),
        was,
    )


@pytest.mark.parametrize("kind", ["statefulset", "daemonset"])
def test_a_set_goes_back_to_a_controller_revision(scene: Scene, kind: str) -> None:
    resource = f"apps/{kind}s"
    spec = deployment("set", 1)["spec"] | {"serviceName": "set"}
    if kind == "daemonset":
        del spec["replicas"], spec["serviceName"]
    scene.world.store.delete("apps/deployments", NAMESPACE, "llama")
    scene.world.step(3)
    scene.create(resource, "set", spec)
    scene.world.step(4)

    def worsen(obj: dict[str, Any]) -> None:
        obj["spec"]["template"]["spec"]["containers"][0]["image"] = "vllm:bad"

    if kind == "daemonset":  # its controller in the lab keeps no revisions
        for number, image in ((1, "vllm:1"), (2, "vllm:bad")):
            scene.world.store.create(
                "apps/controllerrevisions",
                {
                    "metadata": {"name": f"set-{number}", "namespace": NAMESPACE},
                    "data": {"spec": {"template": template("set", image) | {"$patch": "replace"}}},
                    "revision": number,
                },
            )
    scene.world.store.modify(resource, NAMESPACE, "set", worsen)
    scene.world.step(3)
    found = sorted(
        (r for r in scene.world.store.list("apps/controllerrevisions", NAMESPACE)),
        key=lambda r: r["revision"],
    )
    assert len(found) == 2
    good = found[0]["data"]["spec"]["template"]
    target = Target(Kind.WORKLOAD, f"{kind}/set", NAMESPACE, scene.uid(resource, "set"))
    action = back_to(scene, target, found[0], good, found[1]["metadata"]["name"])
    assert scene.hands.carry_out(action, "i1").ok
    assert scene.hands.holds(action, "i1")
    container = scene.world.get(resource, "set")["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "vllm:1"
    assert scene.hands.carry_out(action, "i1").detail.endswith("already")

    def further(obj: dict[str, Any]) -> None:
        obj["spec"]["template"]["spec"]["containers"][0]["image"] = "vllm:3"

    scene.world.store.modify(resource, NAMESPACE, "set", further)
    assert "moved on" in scene.hands.carry_out(action, "i1").detail


def test_an_argo_rollout_goes_back_and_one_with_a_reference_does_not(scene: Scene) -> None:
    good, bad = template("ro"), template("ro", "vllm:bad")
    made = scene.create(
        "argoproj/rollouts", "ro", {"replicas": 2, "template": bad},
        annotations={"rollout.argoproj.io/revision": "2"},
    )  # fmt: skip
    target = Target(Kind.WORKLOAD, "rollout/ro", NAMESPACE, made["metadata"]["uid"])
    stamped = json.loads(json.dumps(good))
    stamped["metadata"]["labels"]["rollouts-pod-template-hash"] = "abc"
    pinned = scene.create(
        "apps/replicasets", "ro-abc",
        {"replicas": 0, "selector": {"matchLabels": {"app": "ro"}}, "template": stamped},
    )  # fmt: skip
    action = back_to(scene, target, pinned, stamped, "2")
    assert scene.hands.carry_out(action, "i1").ok
    found = scene.world.get("argoproj/rollouts", "ro")["spec"]["template"]
    assert found == good
    other = scene.create("argoproj/rollouts", "ref", {"workloadRef": {"name": "llama"}})
    action = replace(action, target=Target(Kind.WORKLOAD, "rollout/ref", NAMESPACE))
    assert other["spec"]
    with pytest.raises(Permanent, match="another object"):
        scene.hands.carry_out(action, "i1")


def test_an_inference_service_gets_its_predictor_back(scene: Scene) -> None:
    good = {"model": {"modelFormat": {"name": "vllm"}, "storageUri": "hf://llama/1"}}
    bad = {"model": {"modelFormat": {"name": "vllm"}, "storageUri": "hf://llama/2"}}
    made = scene.create("serving/inferenceservices", "llama", {"predictor": bad})
    target = Target(Kind.WORKLOAD, "inferenceservice/llama", NAMESPACE, made["metadata"]["uid"])
    generation = str(made["metadata"]["generation"])
    action = RollbackWorkload(
        target, Target(Kind.REVISION, "llama@1", NAMESPACE), "",
        templates.digest(good), good, generation,
    )  # fmt: skip
    late = scene.hands.carry_out(replace(action, from_revision="9"), "i1")
    assert "moved on" in late.detail
    assert scene.hands.carry_out(action, "i1").ok
    assert scene.hands.holds(action, "i1")
    assert scene.world.get("serving/inferenceservices", "llama")["spec"]["predictor"] == good
