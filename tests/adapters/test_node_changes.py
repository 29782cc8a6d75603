"""A node that runs another driver or kernel than before was changed, whoever did it; and one
that keeps its GPUs from the scheduler is told of."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from healer.adapters.kubernetes.node_changes import (
    node_changes,
    short_of_gpus,
    versions,
    withheld,
)

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


def offering(count: str, *, cordoned: bool = False) -> dict[str, Any]:
    found = node()
    gpu = "nvidia.com/gpu"
    found["status"] |= {"capacity": {gpu: "8"}, "allocatable": {gpu: count}}
    return found | {"spec": {"unschedulable": True} if cordoned else {}}


def test_a_node_that_withholds_gpus_for_a_minute_is_told_of_until_it_offers_them_again() -> None:
    short = short_of_gpus({}, [offering("0")], NOW)
    assert not list(withheld(short, [offering("0")], NOW + timedelta(seconds=30)))
    later = NOW + timedelta(minutes=5)
    short = short_of_gpus(short, [offering("0")], later)
    (event,) = withheld(short, [offering("0")], later)
    assert (event.kind, str(event.target), event.at) == ("gpus_withheld", "node:gpu-a", NOW)
    assert "0 of 8 GPUs" in event.message
    assert not short_of_gpus(short, [offering("8")], later)


def test_a_plugin_that_starts_anew_begins_its_minute_again() -> None:
    short = short_of_gpus({}, [offering("0")], NOW)
    short = short_of_gpus(short, [offering("8")], NOW + timedelta(seconds=40))
    short = short_of_gpus(short, [offering("0")], NOW + timedelta(seconds=80))
    assert not list(withheld(short, [offering("0")], NOW + timedelta(seconds=100)))


def test_somebody_at_work_on_a_node_and_a_node_without_gpus_are_left_alone() -> None:
    assert not short_of_gpus({}, [offering("0", cordoned=True), node()], NOW)
