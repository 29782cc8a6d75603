"""A node that runs another driver or kernel than before was changed, whoever did it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from healer.adapters.kubernetes.node_changes import node_changes, versions

NOW = datetime(2026, 3, 4, 10, tzinfo=UTC)
DRIVER = "nvidia.com/cuda.driver-version.full"


def node(driver: str = "570.172.08", kernel: str = "6.1.0", **labels: str) -> dict[str, Any]:
    return {
        "metadata": {"name": "gpu-a", "uid": "n1", "labels": {DRIVER: driver, **labels}},
        "status": {"nodeInfo": {"kernelVersion": kernel}},
    }


def test_another_driver_is_a_change_that_names_both_versions() -> None:
    (event,) = node_changes(versions([node()]), [node("580.95.05")], NOW)
    assert (event.kind, str(event.target), event.at) == ("changed", "node:gpu-a", NOW)
    assert "570.172.08 → 580.95.05" in event.message


def test_a_node_that_stays_as_it_is_or_gets_a_label_of_no_meaning_is_not_changed() -> None:
    before = versions([node()])
    assert not list(node_changes(before, [node()], NOW))
    assert not list(node_changes(before, [node(team="search")], NOW))


def test_what_was_not_known_before_is_no_change() -> None:
    assert not list(node_changes({}, [node()], NOW))
    bare = {"metadata": {"name": "gpu-a", "uid": "n1"}}
    assert not list(node_changes(versions([bare]), [node()], NOW))
    assert not list(node_changes(versions([node()]), [bare], NOW))


def test_a_new_kernel_after_a_reboot_is_a_change() -> None:
    (event,) = node_changes(versions([node()]), [node(kernel="6.12.1")], NOW)
    assert "kernelVersion 6.1.0 → 6.12.1" in event.message
