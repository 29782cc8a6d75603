from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

from kube_world import NAMESPACE, World

from healer.lab.web import Request

PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"


def watch(world: World, **query: str) -> Iterator[dict[str, Any]]:
    """Events of a watch that ends soon unless told otherwise."""
    asked = {"watch": "true", "timeoutSeconds": "0"} | query
    response = world.server.handle(Request("GET", PODS, tuple(asked.items())))
    assert not isinstance(response.body, bytes)
    return (json.loads(line) for line in response.body)


def test_a_watch_tells_what_changed_after_its_version(served: World) -> None:
    version = str(served.store.version)
    name = served.pods()[0]["metadata"]["name"]
    served.set_ready(name, ready=False)
    served.store.delete("pods", NAMESPACE, name)
    told = list(watch(served, resourceVersion=version))
    assert [each["type"] for each in told] == ["MODIFIED", "DELETED"]
    versions = [int(each["object"]["metadata"]["resourceVersion"]) for each in told]
    assert versions == sorted(versions)
    assert versions[-1] == served.store.version


def test_a_watch_without_a_version_begins_with_what_is_there(served: World) -> None:
    told = list(watch(served, sendInitialEvents="true", allowWatchBookmarks="true"))
    assert [each["type"] for each in told][:4] == ["ADDED", "ADDED", "ADDED", "BOOKMARK"]
    notes = told[3]["object"]["metadata"]["annotations"]
    assert notes == {"k8s.io/initial-events-end": "true"}


def test_an_object_that_leaves_the_selection_is_deleted_for_its_watcher(served: World) -> None:
    version, name = str(served.store.version), served.pods()[0]["metadata"]["name"]
    query = {"resourceVersion": version, "labelSelector": "app=llama"}
    served.store.modify("pods", NAMESPACE, name, lambda p: p["metadata"]["labels"].clear())
    assert [each["type"] for each in watch(served, **query)] == ["DELETED"]


def test_a_forgotten_version_ends_the_watch_with_410(served: World) -> None:
    version = str(served.store.version - 1)
    served.server.forget_history()
    (told,) = watch(served, resourceVersion=version)
    assert (told["type"], told["object"]["code"], told["object"]["reason"]) == (
        "ERROR",
        410,
        "Expired",
    )


def test_a_bookmark_carries_the_newest_version(served: World) -> None:
    version = str(served.store.version)
    served.store.patch_status("nodes", "", "gpu-a", {"phase": "x"})
    (told,) = watch(served, resourceVersion=version, allowWatchBookmarks="true")
    assert told["type"] == "BOOKMARK"
    assert told["object"]["metadata"]["resourceVersion"] == str(served.store.version)


def test_a_waiting_watch_wakes_for_a_change(served: World) -> None:
    stream = watch(served, resourceVersion=str(served.store.version), timeoutSeconds="20")
    name = served.pods()[0]["metadata"]["name"]
    timer = threading.Timer(0.05, served.set_ready, (name, False))
    timer.start()
    assert next(stream)["object"]["metadata"]["name"] == name
    timer.join()
