from __future__ import annotations

import json
from typing import Any

import pytest

from healer.lab.kube import patches

POD: dict[str, Any] = {
    "metadata": {"labels": {"a": "1", "b": "2"}, "finalizers": ["x"]},
    "spec": {
        "tolerations": [{"key": "old"}],
        "containers": [
            {
                "name": "vllm",
                "image": "vllm:1",
                "args": ["--a", "--b"],
                "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
                "ports": [{"containerPort": 8000, "name": "http"}],
            },
            {"name": "proxy", "image": "proxy:1"},
        ],
    },
}


def strategic(patch: Any) -> Any:
    return patches.apply(patches.STRATEGIC_PATCH, POD, json.dumps(patch).encode())


def containers(patch: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = strategic({"spec": {"containers": patch}})["spec"]["containers"]
    return found


def test_a_strategic_patch_changes_one_container_and_keeps_the_other() -> None:
    first, second = containers([{"name": "vllm", "image": "vllm:2"}])
    assert (first["image"], first["args"]) == ("vllm:2", ["--a", "--b"])
    assert second == {"name": "proxy", "image": "proxy:1"}


def test_variables_are_merged_by_name_and_ports_by_number() -> None:
    patch = {
        "name": "vllm",
        "env": [{"name": "B", "value": "3"}, {"name": "C", "value": "4"}],
        "ports": [{"containerPort": 8000, "protocol": "TCP"}],
    }
    first = containers([patch])[0]
    assert [(e["name"], e["value"]) for e in first["env"]] == [("A", "1"), ("B", "3"), ("C", "4")]
    assert first["ports"] == [{"containerPort": 8000, "name": "http", "protocol": "TCP"}]


def test_lists_without_a_merge_key_are_replaced_whole() -> None:
    assert containers([{"name": "vllm", "args": ["--c"]}])[0]["args"] == ["--c"]
    spec = strategic({"spec": {"tolerations": [{"key": "new"}]}})["spec"]
    assert spec["tolerations"] == [{"key": "new"}]


def test_directives_delete_and_replace() -> None:
    left = containers([{"name": "proxy", "$patch": "delete"}])
    assert [each["name"] for each in left] == ["vllm"]
    assert containers([{"$patch": "replace"}, {"name": "x", "image": "x"}]) == [
        {"name": "x", "image": "x"}
    ]
    labels = strategic({"metadata": {"labels": {"$patch": "replace", "c": "3"}}})["metadata"]
    assert labels["labels"] == {"c": "3"}


def test_primitive_lists_join_and_can_lose_a_member() -> None:
    assert strategic({"metadata": {"finalizers": ["y"]}})["metadata"]["finalizers"] == ["x", "y"]
    gone = strategic({"metadata": {"$deleteFromPrimitiveList/finalizers": ["x"]}})
    assert gone["metadata"]["finalizers"] == []


def test_a_template_marked_replace_drops_what_it_does_not_name() -> None:
    owner = {"spec": {"template": POD}}
    patch = {"spec": {"template": {"$patch": "replace", "spec": {"containers": []}}}}
    done = patches.apply(patches.STRATEGIC_PATCH, owner, json.dumps(patch).encode())
    assert done["spec"]["template"] == {"spec": {"containers": []}}


def test_a_merge_patch_removes_by_null_and_replaces_lists() -> None:
    patch = {"metadata": {"labels": {"a": None}}, "spec": {"containers": []}}
    done = patches.apply(patches.MERGE_PATCH, POD, json.dumps(patch).encode())
    assert done["metadata"]["labels"] == {"b": "2"}
    assert done["spec"]["containers"] == []


def test_a_patch_leaves_the_original_alone() -> None:
    before = json.dumps(POD)
    strategic({"spec": {"containers": [{"name": "vllm", "env": [{"name": "A", "value": "9"}]}]}})
    patch = [{"op": "remove", "path": "/spec/containers/0/env/0"}]
    patches.apply(patches.JSON_PATCH, POD, json.dumps(patch).encode())
    assert json.dumps(POD) == before


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (patches.STRATEGIC_PATCH, b"[]"),
        (patches.MERGE_PATCH, b"{"),
        (patches.JSON_PATCH, b'[{"op": "test", "path": "/nowhere", "value": 1}]'),
        (patches.STRATEGIC_PATCH, b'{"spec": {"containers": [{"image": "x"}]}}'),
        ("application/apply-patch+yaml", b"{}"),
    ],
)
def test_what_makes_no_sense_is_refused(kind: str, body: bytes) -> None:
    with pytest.raises(patches.status.ApiError) as refused:
        patches.apply(kind, POD, body)
    assert refused.value.code in (400, 415, 422)
