from __future__ import annotations

from datetime import timedelta
from typing import Any

from kube_world import NAMESPACE, World, template

REVISION = "deployment.kubernetes.io/revision"


def replica_sets(world: World) -> dict[str, int]:
    """Revision → replicas."""
    return {
        obj["metadata"]["annotations"][REVISION]: obj["spec"]["replicas"]
        for obj in world.store.list("apps/replicasets")
    }


def condition(obj: dict[str, Any], kind: str) -> dict[str, Any]:
    found: dict[str, Any] = next(c for c in obj["status"]["conditions"] if c["type"] == kind)
    return found


def images(world: World) -> list[str]:
    return sorted(pod["spec"]["containers"][0]["image"] for pod in world.pods())


def test_a_deployment_gets_its_pods_on_different_nodes(served: World) -> None:
    assert {pod["spec"]["nodeName"] for pod in served.pods()} == {"gpu-a", "gpu-b", "gpu-c"}
    status = served.get("apps/deployments", "llama")["status"]
    assert (status["availableReplicas"], status["updatedReplicas"]) == (3, 3)
    progressing = condition(served.get("apps/deployments", "llama"), "Progressing")
    assert progressing["reason"] == "NewReplicaSetAvailable"


def test_an_idle_cluster_does_not_change(served: World) -> None:
    version = served.store.version
    served.step(5)
    assert served.store.version == version


def test_a_rollout_never_has_too_few_available_or_too_many(served: World) -> None:
    served.set_image("vllm:2")
    for _ in range(6):
        served.controllers.step(served.clock.now())
        active = [p for p in served.pods() if "deletionTimestamp" not in p["metadata"]]
        ready = [p for p in active if p["status"]["phase"] == "Running"]
        assert len(active) <= 4
        assert len(ready) >= 3
        served.step()
    assert images(served) == ["vllm:2"] * 3
    assert replica_sets(served) == {"1": 0, "2": 3}


def test_undoing_a_rollout_takes_the_old_replica_set_up_again(served: World) -> None:
    served.set_image("vllm:2")
    served.step(6)
    served.set_image("vllm:1")
    served.step(6)
    assert replica_sets(served) == {"2": 0, "3": 3}
    assert served.get("apps/deployments", "llama")["metadata"]["annotations"][REVISION] == "3"


def test_a_bad_rollout_stops_and_fails_by_its_deadline(served: World) -> None:
    served.store.modify(
        "apps/deployments", NAMESPACE, "llama",
        lambda obj: obj["spec"].update(progressDeadlineSeconds=60),
    )  # fmt: skip
    served.set_image("vllm:bad")
    served.step(4)
    assert images(served) == ["vllm:1"] * 3 + ["vllm:bad"]
    assert condition(served.get("apps/deployments", "llama"), "Progressing")["status"] == "True"
    served.step(15)
    progressing = condition(served.get("apps/deployments", "llama"), "Progressing")
    assert (progressing["status"], progressing["reason"]) == ("False", "ProgressDeadlineExceeded")
    served.set_image("vllm:1")
    served.step(4)
    assert images(served) == ["vllm:1"] * 3


def test_a_recreate_deployment_never_runs_both_revisions(world: World) -> None:
    world.deployment(strategy={"type": "Recreate"})
    world.step(3)
    world.set_image("vllm:2")
    for _ in range(6):
        world.step()
        assert len(set(images(world))) <= 1
    assert images(world) == ["vllm:2"] * 3


def test_a_paused_deployment_does_not_roll(served: World) -> None:
    def pause(obj: dict[str, Any]) -> None:
        obj["spec"]["paused"] = True

    served.store.modify("apps/deployments", NAMESPACE, "llama", pause)
    served.set_image("vllm:2")
    served.step(4)
    assert images(served) == ["vllm:1"] * 3


def test_only_as_many_old_revisions_stay_as_the_history_allows(served: World) -> None:
    served.store.modify(
        "apps/deployments", NAMESPACE, "llama",
        lambda obj: obj["spec"].update(revisionHistoryLimit=1),
    )  # fmt: skip
    for number in range(2, 6):
        served.set_image(f"vllm:{number}")
        served.step(6)
    assert replica_sets(served) == {"4": 0, "5": 3}


def test_a_lost_pod_is_replaced_and_the_rollout_stays_complete(served: World) -> None:
    served.set_ready(served.pods()[0]["metadata"]["name"], ready=False)
    served.step()
    deployment = served.get("apps/deployments", "llama")
    assert condition(deployment, "Progressing")["reason"] == "NewReplicaSetAvailable"
    served.store.delete("pods", NAMESPACE, served.pods()[0]["metadata"]["name"])
    served.step(2)
    assert len(served.pods()) == 3


def test_scaling_down_takes_the_pods_least_worth_keeping(served: World) -> None:
    sick = served.pods()[1]["metadata"]["name"]
    served.set_ready(sick, ready=False)
    served.store.modify(
        "apps/deployments", NAMESPACE, "llama", lambda obj: obj["spec"].update(replicas=2)
    )
    served.step(2)
    assert sick not in {pod["metadata"]["name"] for pod in served.pods()}
    assert len(served.pods()) == 2


def test_a_pod_waits_until_a_whole_node_has_room_for_it(world: World) -> None:
    world.deployment("small", 3, template=template("small", gpus=5))
    world.step(2)
    world.deployment("large", 1, template=template("large", gpus=8))
    world.step(2)
    (large,) = [p for p in world.pods() if p["metadata"]["labels"]["app"] == "large"]
    assert "nodeName" not in large["spec"]
    waiting = condition(large, "PodScheduled")
    assert waiting["reason"] == "Unschedulable"
    assert waiting["message"] == "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
    reasons = {e["reason"] for e in world.store.list("events") if e["type"] == "Warning"}
    assert reasons == {"FailedScheduling"}
    world.node("gpu-d")
    world.step(2)
    (large,) = [p for p in world.pods() if p["metadata"]["labels"]["app"] == "large"]
    assert large["spec"]["nodeName"] == "gpu-d"


def test_a_terminating_pod_holds_its_gpus_until_it_is_gone(world: World) -> None:
    for name in ("gpu-b", "gpu-c"):
        world.store.modify("nodes", "", name, lambda n: n["spec"].update(unschedulable=True))
    world.deployment(replicas=1, template=template(gpus=8))
    world.step(2)
    name = world.pods()[0]["metadata"]["name"]
    world.stuck.add(name)
    world.store.delete("pods", NAMESPACE, name, grace_s=30)
    world.step(3)
    (successor,) = [p for p in world.pods() if p["metadata"]["name"] != name]
    assert "nodeName" not in successor["spec"]
    world.stuck.clear()
    world.step(3)
    assert world.get("pods", successor["metadata"]["name"])["spec"]["nodeName"] == "gpu-a"


def test_a_cordon_is_mirrored_by_a_taint_and_keeps_pods_away(served: World) -> None:
    served.store.modify("nodes", "", "gpu-a", lambda n: n["spec"].update(unschedulable=True))
    served.step()
    (taint,) = served.store.list("nodes")[0]["spec"]["taints"]
    assert (taint["key"], taint["effect"]) == ("node.kubernetes.io/unschedulable", "NoSchedule")
    (pod,) = [p for p in served.pods() if p["spec"]["nodeName"] == "gpu-a"]
    served.store.delete("pods", NAMESPACE, pod["metadata"]["name"])
    served.step(2)
    assert {p["spec"]["nodeName"] for p in served.pods()} == {"gpu-b", "gpu-c"}
    served.store.modify("nodes", "", "gpu-a", lambda n: n["spec"].pop("unschedulable"))
    served.step()
    assert "taints" not in served.store.list("nodes")[0]["spec"]


def test_pods_leave_an_unreachable_node_after_five_minutes(served: World) -> None:
    def silent(node: dict[str, Any]) -> None:
        node["status"]["conditions"] = [{"type": "Ready", "status": "Unknown"}]

    (pod,) = [p for p in served.pods() if p["spec"]["nodeName"] == "gpu-a"]
    served.stuck.add(pod["metadata"]["name"])
    served.store.modify("nodes", "", "gpu-a", silent)
    served.step()
    assert "deletionTimestamp" not in served.get("pods", pod["metadata"]["name"])["metadata"]
    served.clock.move(timedelta(minutes=5))
    served.step(3)
    assert "deletionTimestamp" in served.get("pods", pod["metadata"]["name"])["metadata"]
    assert len(served.pods()) == 4


def test_a_budget_counts_healthy_pods_and_what_may_go(served: World) -> None:
    served.budget(maxUnavailable="34%")
    served.step()
    status = served.get("policy/poddisruptionbudgets", "llama")["status"]
    assert (status["expectedPods"], status["desiredHealthy"]) == (3, 1)
    assert status["disruptionsAllowed"] == 2
    served.set_ready(served.pods()[0]["metadata"]["name"], ready=False)
    served.step()
    status = served.get("policy/poddisruptionbudgets", "llama")["status"]
    assert (status["currentHealthy"], status["disruptionsAllowed"]) == (2, 1)


def autoscaler(world: World, low: int = 2, high: int = 5) -> None:
    ref = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "llama"}
    world.store.create(
        "autoscaling/horizontalpodautoscalers",
        {
            "metadata": {"name": "llama", "namespace": NAMESPACE},
            "spec": {"scaleTargetRef": ref, "minReplicas": low, "maxReplicas": high},
        },
    )


def replicas(world: World) -> int:
    return int(world.get("apps/deployments", "llama")["spec"]["replicas"])


def test_an_autoscaler_scales_up_at_once_within_its_limits(served: World) -> None:
    served.hpa_desired = 9
    autoscaler(served)
    served.step()
    assert replicas(served) == 5
    hpa = served.get("autoscaling/horizontalpodautoscalers", "llama")
    assert condition(hpa, "ScalingLimited")["reason"] == "TooManyReplicas"


def test_an_autoscaler_takes_back_what_somebody_else_set(served: World) -> None:
    served.hpa_desired = 3
    autoscaler(served)
    served.clock.move(timedelta(minutes=10))
    served.step(4)
    served.store.modify(
        "apps/deployments", NAMESPACE, "llama", lambda obj: obj["spec"].update(replicas=5)
    )
    served.step(8)
    assert replicas(served) == 3


def test_an_autoscaler_waits_before_it_scales_down(served: World) -> None:
    served.hpa_desired = 5
    autoscaler(served)
    served.step(4)
    served.hpa_desired = 2
    served.step(8)
    assert replicas(served) == 5
    served.clock.move(timedelta(minutes=5))
    served.step(4)
    assert replicas(served) == 2


def test_an_autoscaler_without_metrics_does_nothing(served: World) -> None:
    autoscaler(served)
    served.step(4)
    assert replicas(served) == 3
    hpa = served.get("autoscaling/horizontalpodautoscalers", "llama")
    assert condition(hpa, "ScalingActive")["status"] == "False"


def test_what_lost_its_owner_goes_too(served: World) -> None:
    served.store.delete("apps/deployments", NAMESPACE, "llama")
    served.step(3)
    assert served.pods() == []
    assert served.store.list("apps/replicasets") == []


def test_pods_of_a_node_that_was_removed_are_gone(served: World) -> None:
    served.store.delete("nodes", "", "gpu-a")
    served.step(2)
    assert {pod["spec"]["nodeName"] for pod in served.pods()} == {"gpu-b", "gpu-c"}


def stateful(world: World, replicas: int = 3, policy: str = "OrderedReady") -> None:
    world.store.create(
        "apps/statefulsets",
        {
            "metadata": {"name": "cache", "namespace": NAMESPACE},
            "spec": {
                "replicas": replicas,
                "podManagementPolicy": policy,
                "serviceName": "cache",
                "selector": {"matchLabels": {"app": "cache"}},
                "template": template("cache", gpus=1),
            },
        },
    )


def set_stateful_image(world: World, image: str) -> None:
    def change(obj: dict[str, Any]) -> None:
        obj["spec"]["template"]["spec"]["containers"][0]["image"] = image

    world.store.modify("apps/statefulsets", NAMESPACE, "cache", change)


def test_stateful_pods_come_one_after_the_other_and_keep_their_names(world: World) -> None:
    stateful(world)
    world.controllers.step(world.clock.now())
    assert [pod["metadata"]["name"] for pod in world.pods()] == ["cache-0"]
    world.step(4)
    names = [pod["metadata"]["name"] for pod in world.pods()]
    assert names == ["cache-0", "cache-1", "cache-2"]
    uid = world.get("pods", "cache-1")["metadata"]["uid"]
    world.store.delete("pods", NAMESPACE, "cache-1")
    world.step(2)
    assert world.get("pods", "cache-1")["metadata"]["uid"] != uid


def test_a_stateful_update_goes_from_the_last_to_the_first(world: World) -> None:
    stateful(world)
    world.step(5)
    set_stateful_image(world, "vllm:2")
    world.step(1)
    assert world.get("pods", "cache-0")["spec"]["containers"][0]["image"] == "vllm:1"
    world.step(8)
    assert images(world) == ["vllm:2"] * 3
    status = world.get("apps/statefulsets", "cache")["status"]
    assert status["currentRevision"] == status["updateRevision"]
    assert status["updatedReplicas"] == 3


def test_a_reverted_stateful_update_stays_stuck_until_the_broken_pod_is_deleted(
    world: World,
) -> None:
    stateful(world)
    world.step(5)
    set_stateful_image(world, "vllm:bad")
    world.step(4)
    assert images(world) == ["vllm:1", "vllm:1", "vllm:bad"]
    set_stateful_image(world, "vllm:1")
    world.step(10)
    assert images(world) == ["vllm:1", "vllm:1", "vllm:bad"]
    world.store.delete("pods", NAMESPACE, "cache-2")
    world.step(4)
    assert images(world) == ["vllm:1"] * 3


def test_a_daemon_runs_on_every_node_cordoned_or_not(world: World) -> None:
    world.store.modify("nodes", "", "gpu-b", lambda n: n["spec"].update(unschedulable=True))
    world.store.create(
        "apps/daemonsets",
        {
            "metadata": {"name": "exporter", "namespace": NAMESPACE},
            "spec": {
                "selector": {"matchLabels": {"app": "exporter"}},
                "template": template("exporter", gpus=0),
            },
        },
    )
    world.step(2)
    assert {pod["spec"]["nodeName"] for pod in world.pods()} == {"gpu-a", "gpu-b", "gpu-c"}


def test_two_runs_of_the_same_story_are_the_same(world: World) -> None:
    def story() -> list[Any]:
        made = World()
        for name in ("gpu-a", "gpu-b"):
            made.node(name)
        made.deployment()
        made.step(3)
        made.set_image("vllm:2")
        made.step(5)
        return [made.pods(), made.store.list("events"), made.store.version]

    assert story() == story()


def test_a_pod_that_is_no_longer_selected_is_let_go_and_taken_up_again_when_it_is(
    served: World,
) -> None:
    name = served.pods()[0]["metadata"]["name"]

    def relabel(value: str) -> None:
        def change(pod: dict[str, Any]) -> None:
            pod["metadata"]["labels"]["app"] = value

        served.store.modify("pods", NAMESPACE, name, change)

    relabel("looked-at")
    served.step(3)
    assert "ownerReferences" not in served.get("pods", name)["metadata"]
    assert len(served.pods()) == 4
    relabel("llama")
    served.step(3)
    assert len(served.pods()) == 3
