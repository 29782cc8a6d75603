from __future__ import annotations

import pytest
from kube_world import NAMESPACE, World, deployment

from healer.lab.kube import selectors
from healer.lab.kube.status import ApiError

APPS = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
MERGE = "application/merge-patch+json"


def test_every_change_has_a_higher_version_and_a_change_of_nothing_has_none(world: World) -> None:
    world.deployment()
    before = world.get("apps/deployments", "llama")
    same = world.store.update("apps/deployments", before)
    assert same["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    world.set_image("vllm:2")
    after = world.get("apps/deployments", "llama")
    assert int(after["metadata"]["resourceVersion"]) > int(before["metadata"]["resourceVersion"])


def test_the_generation_counts_changes_of_the_spec_only(world: World) -> None:
    world.deployment()
    world.store.patch_status("apps/deployments", NAMESPACE, "llama", {"replicas": 3})
    assert world.get("apps/deployments", "llama")["metadata"]["generation"] == 1
    world.set_image("vllm:2")
    assert world.get("apps/deployments", "llama")["metadata"]["generation"] == 2


def test_what_is_handed_out_can_be_changed_without_changing_the_store(world: World) -> None:
    world.deployment()
    world.get("apps/deployments", "llama")["spec"]["replicas"] = 99
    assert world.get("apps/deployments", "llama")["spec"]["replicas"] == 3


def test_an_object_made_anew_has_another_uid(world: World) -> None:
    first = world.deployment()
    world.store.delete("apps/deployments", NAMESPACE, "llama")
    assert world.deployment()["metadata"]["uid"] != first["metadata"]["uid"]


def test_a_stale_write_in_process_is_refused_too(world: World) -> None:
    old = world.deployment()
    world.set_image("vllm:2")
    with pytest.raises(ApiError, match="has been modified"):
        world.store.update("apps/deployments", old)


def test_a_finalizer_holds_an_object_until_it_is_taken_off(world: World) -> None:
    obj = deployment()
    obj["metadata"]["finalizers"] = ["example.com/hold"]
    world.store.create("apps/deployments", obj)
    assert world.ask("DELETE", f"{APPS}/llama")[0] == 200
    assert "deletionTimestamp" in world.get("apps/deployments", "llama")["metadata"]
    body = {"metadata": {"finalizers": None}}
    assert world.ask("PATCH", f"{APPS}/llama", body, MERGE)[0] == 200
    assert world.store.get("apps/deployments", NAMESPACE, "llama") is None


def test_a_running_pod_ends_only_when_its_kubelet_says_so(served: World) -> None:
    name = served.pods()[0]["metadata"]["name"]
    status, body, _ = served.ask("DELETE", f"{PODS}/{name}")
    assert status == 200
    assert body["metadata"]["deletionGracePeriodSeconds"] == 30
    assert served.get("pods", name)["metadata"]["deletionTimestamp"] == "2026-03-04T12:00:45Z"
    served.step()
    assert served.store.get("pods", NAMESPACE, name) is None


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", APPS, deployment("other")),
        ("PATCH", f"{APPS}/llama", {"spec": {"replicas": 5}}),
        ("PATCH", f"{APPS}/llama/scale", {"spec": {"replicas": 5}}),
        ("DELETE", f"{APPS}/llama", None),
        ("POST", f"{PODS}/POD/eviction", {"metadata": {}}),
        ("DELETE", f"{PODS}/POD", None),
    ],
)
def test_a_dry_run_answers_as_if_and_changes_nothing(
    method: str, path: str, body: object, served: World
) -> None:
    pod = served.pods()[0]["metadata"]["name"]
    version = served.store.version
    status, _, _ = served.ask(method, path.replace("POD", pod), body, MERGE, dryRun="All")
    assert status in (200, 201)
    assert served.store.version == version
    assert served.server.write_log[-1].dry_run
    assert not served.server.write_log[-1].changed


def test_a_dry_run_in_the_options_of_a_delete_counts_as_well(served: World) -> None:
    name, version = served.pods()[0]["metadata"]["name"], served.store.version
    served.ask("DELETE", f"{PODS}/{name}", {"dryRun": ["All"]})
    assert served.store.version == version


def test_a_dry_run_of_an_eviction_does_not_spend_the_budget(served: World) -> None:
    served.budget(minAvailable=2)
    served.step()
    name = served.pods()[0]["metadata"]["name"]
    body = {"metadata": {"name": name}, "deleteOptions": {"dryRun": ["All"]}}
    for _ in range(3):
        assert served.ask("POST", f"{PODS}/{name}/eviction", body)[0] == 201
    budget = served.get("policy/poddisruptionbudgets", "llama")
    assert budget["status"]["disruptionsAllowed"] == 1


def test_a_pending_pod_is_not_protected_by_a_budget(served: World) -> None:
    served.budget(minAvailable=3)
    served.store.modify(
        "pods", NAMESPACE, served.pods()[0]["metadata"]["name"],
        lambda pod: pod["status"].update(phase="Pending"),
    )  # fmt: skip
    served.controllers.step(served.clock.now())
    name = next(p["metadata"]["name"] for p in served.pods() if p["status"]["phase"] == "Pending")
    assert served.ask("POST", f"{PODS}/{name}/eviction", {"metadata": {}})[0] == 201


def test_a_broken_pod_may_go_only_while_the_others_suffice(served: World) -> None:
    served.budget(minAvailable=2)
    first, second = (pod["metadata"]["name"] for pod in served.pods()[:2])
    served.set_ready(first, ready=False)
    served.controllers.step(served.clock.now())
    path = f"{PODS}/{first}/eviction"
    assert served.ask("POST", path, {"metadata": {}}, dryRun="All")[0] == 201
    served.set_ready(second, ready=False)
    served.controllers.step(served.clock.now())
    assert served.ask("POST", path, {"metadata": {}}, dryRun="All")[0] == 429


def test_a_page_shows_the_version_of_the_first_even_when_the_world_moves(served: World) -> None:
    _, first, _ = served.ask("GET", PODS, limit="2")
    assert len(first["items"]) == 2
    assert first["metadata"]["remainingItemCount"] == 1
    served.store.delete("pods", NAMESPACE, served.pods()[2]["metadata"]["name"])
    token = first["metadata"]["continue"]
    _, second, _ = served.ask("GET", PODS, limit="2", **{"continue": token})
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    assert len(second["items"]) == 1
    served.server.forget_history()
    assert served.ask("GET", PODS, limit="2", **{"continue": token})[0] == 410


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"labelSelector": "app=llama"}, 3),
        ({"labelSelector": "app in (llama, qwen),pod-template-hash"}, 3),
        ({"labelSelector": "app notin (llama)"}, 0),
        ({"labelSelector": "app!=qwen,!missing"}, 3),
        ({"fieldSelector": "spec.nodeName=gpu-a"}, 1),
        ({"fieldSelector": "status.phase!=Running"}, 0),
    ],
)
def test_lists_are_selected(query: dict[str, str], found: int, served: World) -> None:
    _, body, _ = served.ask("GET", "/api/v1/pods", **query)
    assert len(body["items"]) == found


def test_a_field_nobody_indexes_is_refused(served: World) -> None:
    status, body, _ = served.ask("GET", PODS, fieldSelector="spec.color=red")
    assert (status, body["message"]) == (400, "field label not supported: spec.color")


def test_both_event_versions_show_one_storage(world: World) -> None:
    event = {
        "metadata": {"name": "e1", "namespace": "default"},
        "eventTime": "2026-03-04T12:00:00.000001Z",
        "type": "Warning",
        "reason": "Sick",
        "action": "Look",
        "note": "it is sick",
        "reportingController": "healer.dev/healer",
        "reportingInstance": "healer-0",
        "regarding": {"kind": "Node", "name": "gpu-a"},
    }
    path = "/apis/events.k8s.io/v1/namespaces/default/events"
    assert world.ask("POST", path, event)[0] == 201
    _, core, _ = world.ask("GET", "/api/v1/namespaces/default/events/e1")
    assert (core["message"], core["involvedObject"]["name"]) == ("it is sick", "gpu-a")
    _, new, _ = world.ask("GET", f"{path}/e1")
    assert new["note"] == "it is sick"
    del event["action"]
    status, body, _ = world.ask("POST", path, event | {"metadata": {"namespace": "default"}})
    assert (status, body["details"]["causes"][0]["field"]) == (422, "metadata.name")


def test_a_review_tells_what_is_denied(world: World) -> None:
    world.server.access.deny("create", "pods/eviction")
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    for verb, allowed in (("create", False), ("get", True)):
        asked = {"verb": verb, "resource": "pods", "subresource": "eviction"}
        _, body, _ = world.ask("POST", path, {"spec": {"resourceAttributes": asked}})
        assert body["status"]["allowed"] is allowed
    assert world.server.write_log == []


def test_an_in_process_list_takes_a_selector(served: World) -> None:
    assert len(served.store.list("pods", NAMESPACE, selectors.labels("app=llama"))) == 3
    assert served.store.list("pods", "default") == []
