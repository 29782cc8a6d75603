"""The simulator refuses in the very words recorded from a genuine control plane."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from kube_world import NAMESPACE, World, deployment

RECORDED: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "data/kubernetes/apiserver-1.36.2-errors.json").read_text()
)
APPS = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
MERGE = "application/merge-patch+json"
OTHER = "00000000-0000-0000-0000-000000000000"

Answer = tuple[int, dict[str, Any], dict[str, str]]


def evict(world: World, name: str) -> Answer:
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
    return world.ask("POST", f"{PODS}/{name}/eviction", body)


def blocked_by_a_full_budget(world: World) -> Answer:
    world.budget(minAvailable=3)
    world.step()
    return evict(world, world.pods()[0]["metadata"]["name"])


def blocked_after_one(world: World) -> Answer:
    world.budget(minAvailable=2)
    world.step()
    first, second = (pod["metadata"]["name"] for pod in world.pods()[:2])
    assert evict(world, first)[0] == 201
    world.controllers.step(world.clock.now())
    return evict(world, second)


def stale_update(world: World) -> Answer:
    old = world.get("apps/deployments", "llama")
    world.store.patch_status("apps/deployments", NAMESPACE, "llama", {"collisionCount": 1})
    return world.ask("PUT", f"{APPS}/llama", old)


def immutable_selector(world: World) -> Answer:
    body = {"spec": {"selector": {"matchLabels": {"app": "x"}}}}
    return world.ask("PATCH", f"{APPS}/llama", body, MERGE)


def forbidden(world: World) -> Answer:
    world.server.access.deny("patch", "nodes")
    return world.ask("PATCH", "/api/v1/nodes/gpu-a", {}, MERGE)


def bad_token(world: World) -> Answer:
    world.server.token = "right"
    return world.ask("GET", "/api/v1/nodes")


def wrong_uid(world: World) -> Answer:
    name = world.pods()[0]["metadata"]["name"]
    return world.ask("DELETE", f"{PODS}/{name}", {"preconditions": {"uid": OTHER}})


CASES = {
    "evict blocked by PDB": blocked_by_a_full_budget,
    "evict 2nd (budget used)": blocked_after_one,
    "evict missing pod": lambda world: evict(world, "nope"),
    "update stale resourceVersion": stale_update,
    "create exists": lambda world: world.ask(
        "POST", "/api/v1/namespaces", {"metadata": {"name": "llm"}}
    ),
    "invalid": lambda world: world.ask("PATCH", f"{APPS}/llama", {"spec": {"replicas": -1}}, MERGE),
    "unknown field strict": lambda world: world.ask(
        "PATCH", f"{APPS}/llama", {"spec": {"replicaz": 1}}, MERGE, fieldValidation="Strict"
    ),
    "immutable selector": immutable_selector,
    "delete wrong uid precondition": wrong_uid,
    "RBAC forbidden": forbidden,
    "bad token": bad_token,
    "list rv in future": lambda world: world.ask(
        "GET", "/api/v1/nodes", resourceVersion="999999999"
    ),
    "list bad continue": lambda world: world.ask("GET", "/api/v1/nodes", **{"continue": "nope!"}),
}


def test_every_recording_is_played() -> None:
    assert set(CASES) == set(RECORDED)


@pytest.mark.parametrize("name", CASES)
def test_the_error_is_the_recorded_one(name: str, served: World) -> None:
    status, body, headers = CASES[name](served)
    wanted = RECORDED[name]
    assert status == wanted["http"]
    assert _general(body) == _general(wanted["body"])
    assert headers.get("Retry-After") == wanted["headers"].get("Retry-After")


def _general(body: dict[str, Any]) -> dict[str, Any]:
    """Without what differs from cluster to cluster: generated names, UIDs, versions."""
    text = json.dumps(body)
    text = re.sub(r"llama-[a-z0-9]{8,10}-[a-z0-9]{5}", "llama-POD", text)
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UID", text)
    text = re.sub(r"current: \d+", "current: N", text)
    general: dict[str, Any] = json.loads(text)
    return general


def test_a_budget_not_yet_counted_asks_for_patience(served: World) -> None:
    served.budget(minAvailable=1)
    status, body, headers = evict(served, served.pods()[0]["metadata"]["name"])
    assert (status, headers["Retry-After"]) == (429, "10")
    assert "still being processed" in body["details"]["causes"][0]["message"]


def test_two_budgets_on_one_pod_are_a_server_error(served: World) -> None:
    served.budget(minAvailable=1)
    served.store.create(
        "policy/poddisruptionbudgets",
        {
            "metadata": {"name": "second", "namespace": NAMESPACE},
            "spec": {"selector": {"matchLabels": {"app": "llama"}}, "minAvailable": 1},
        },
    )
    served.step()
    status, body, _ = evict(served, served.pods()[0]["metadata"]["name"])
    assert status == 500
    assert "more than one PodDisruptionBudget" in body["message"]


def test_a_failed_test_operation_is_unprocessable(served: World) -> None:
    patch = [{"op": "test", "path": "/metadata/uid", "value": OTHER}]
    status, body, _ = served.ask("PATCH", f"{APPS}/llama", patch, "application/json-patch+json")
    assert (status, body["reason"]) == (422, "Invalid")


def test_a_lease_needs_its_six_digits(world: World) -> None:
    path = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
    lease = {"metadata": {"name": "healer"}, "spec": {"renewTime": "2026-03-04T12:00:00Z"}}
    status, body, _ = world.ask("POST", path, lease)
    assert status == 400
    assert "2006-01-02T15:04:05.000000Z07:00" in body["message"]
    lease["spec"] = {"renewTime": "2026-03-04T12:00:00.000000Z"}
    assert world.ask("POST", path, lease)[0] == 201


def test_an_object_without_its_namespace_is_not_found(world: World) -> None:
    other = deployment() | {"metadata": {"name": "llama", "namespace": "nowhere"}}
    status, body, _ = world.ask("POST", "/apis/apps/v1/namespaces/nowhere/deployments", other)
    assert (status, body["message"]) == (404, 'namespaces "nowhere" not found')
