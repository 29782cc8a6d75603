"""Rows of labels become frames of targets, and edges become events."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import builders
import numpy as np
import pytest

from healer.model.frame import Frame
from healer.model.signal import EventRule, Worse
from healer.model.target import CLUSTER, Kind, Target
from healer.model.topology import Entity, Topology
from healer.ports import Episode, Matrix
from healer.stages import observe
from healer.stages.locate import Places, locate, of_alert

NAN = float("nan")
NODE = Target(Kind.NODE, "gpu-node-1")
OTHER_NODE = Target(Kind.NODE, "gpu-node-2")
POD = Target(Kind.POD, "vllm-0", "serving", "uid-v")
EXPORTER = Target(Kind.POD, "dcgm-x", "monitoring", "uid-d")
HOSTED = Target(Kind.POD, "node-exporter-x", "monitoring", "uid-n")
WORKLOAD = Target(Kind.WORKLOAD, "deployment/llama-8b", "serving", "uid-w")
GPU = Target(Kind.GPU, "GPU-aaaa")


@pytest.fixture
def topology() -> Topology:
    def pod(target: Target, ip: str, **facts: Any) -> Entity:
        return Entity(target, facts={"ip": ip, "node": "gpu-node-1", "phase": "Running"} | facts)

    entities = [
        Entity(NODE),
        Entity(OTHER_NODE),
        pod(POD, "10.1.0.7", gpus_requested=1),
        pod(EXPORTER, "10.1.0.9", daemonset=True, gpus_requested=0),
        pod(HOSTED, "192.168.0.1", daemonset=True),
        pod(Target(Kind.POD, "kube-proxy-x", "kube-system"), "192.168.0.1", daemonset=True),
        pod(Target(Kind.POD, "job-1", "serving"), "10.1.0.7", phase="Succeeded"),
        Entity(WORKLOAD, facts={"hpa": {"name": "llama-scaler"}}),
    ]
    return Topology({each.target: each for each in entities}, frozenset({(POD, NODE)}))


@pytest.fixture
def places(topology: Topology) -> Places:
    return Places.of(topology)


def matrix(rows: Any, *labels: dict[str, str], step_s: float = 15.0) -> Matrix:
    values = np.atleast_2d(np.asarray(rows, dtype=np.float64))
    times = builders.NOW.timestamp() - step_s * np.arange(values.shape[1] - 1, -1, -1)
    return Matrix(times.astype(np.float64), values, labels)


def of(scope: Kind, labels: dict[str, str], places: Places) -> Target | None:
    return locate(scope, labels, places)


# ---------------------------------------------------------------- queries


def test_a_query_none_of_whose_metrics_exist_is_not_sent() -> None:
    old_and_new = builders.signal("kv_usage", metrics=("new_name", "old_name"))
    absent = builders.signal("ttft_p95", metrics=("nowhere",))
    any_name = builders.signal("custom")
    assert observe.plan_queries([old_and_new, absent, any_name], {"old_name"}) == (
        old_and_new,
        any_name,
    )


def test_all_queries_are_sent_while_the_names_are_unknown() -> None:
    signals = (builders.signal(metrics=("nowhere",)),)
    assert observe.plan_queries(signals, None) == signals


# ---------------------------------------------------------------- targets


@pytest.mark.parametrize(
    "labels",
    [
        {"namespace": "serving", "pod": "vllm-0"},
        {"namespace": "monitoring", "pod": "x", "exported_namespace": "serving",
         "exported_pod": "vllm-0"},
        {"pod": "vllm-0"},
        {"instance": "10.1.0.7:8000"},
    ],
)  # fmt: skip
def test_a_pod_is_found_by_whatever_the_scrape_calls_it(
    labels: dict[str, str], places: Places
) -> None:
    found = of(Kind.POD, labels, places)
    assert found == POD
    assert found is not None
    assert found.uid == "uid-v"


def test_an_address_shared_by_several_pods_names_none(places: Places) -> None:
    assert of(Kind.POD, {"instance": "192.168.0.1:9100"}, places) is None


def test_an_unknown_address_names_no_pod_of_a_cluster(places: Places) -> None:
    assert of(Kind.POD, {"instance": "10.9.9.9:8000"}, places) is None


def test_a_cluster_that_does_not_answer_lends_its_names_to_nobody() -> None:
    silent = Places.of(Topology(complete=False))
    labels = {"instance": "10.1.0.7:8000", "job": "vllm"}
    assert of(Kind.POD, labels, silent) is None
    assert of(Kind.NODE, labels, silent) is None


def test_without_a_cluster_the_instance_stands_for_pod_and_node() -> None:
    nowhere = Places.of(Topology(), alone=True)
    labels = {"instance": "127.0.0.1:8000", "job": "vllm"}
    assert of(Kind.POD, labels, nowhere) == Target(Kind.POD, "127.0.0.1:8000", "vllm")
    assert of(Kind.NODE, labels, nowhere) == Target(Kind.NODE, "127.0.0.1")


@pytest.mark.parametrize(
    "labels",
    [
        {"node": "gpu-node-1", "pod": "ksm-0", "namespace": "monitoring"},
        {"Hostname": "gpu-node-1"},
        {"hostname": "gpu-node-1.example.internal"},
        {"Hostname": "dcgm-x"},
        {"namespace": "monitoring", "pod": "node-exporter-x"},
        {"instance": "192.168.0.1:9100"},
        {"instance": "gpu-node-1:9100"},
    ],
)
def test_a_node_is_found_by_whatever_the_exporter_calls_it(
    labels: dict[str, str], places: Places
) -> None:
    assert of(Kind.NODE, labels, places) == NODE


def test_a_node_that_is_gone_is_not_taken_for_the_exporters_own(places: Places) -> None:
    labels = {"node": "gone", "namespace": "monitoring", "pod": "dcgm-x"}
    assert of(Kind.NODE, labels, places) == Target(Kind.NODE, "gone")


def test_a_host_outside_the_cluster_is_no_node_of_it(places: Places) -> None:
    assert of(Kind.NODE, {"instance": "database.example:9100"}, places) is None


def test_an_autoscaler_means_the_workload_it_scales(places: Places) -> None:
    labels = {"namespace": "serving", "horizontalpodautoscaler": "llama-scaler"}
    assert of(Kind.WORKLOAD, labels, places) == WORKLOAD
    assert of(Kind.WORKLOAD, {**labels, "horizontalpodautoscaler": "other"}, places) is None


def test_an_ipv6_instance_is_read(places: Places) -> None:
    six = Target(Kind.POD, "six", "serving")
    places = Places.of(Topology({six: Entity(six, facts={"ip": "fd00::7"})}))
    assert of(Kind.POD, {"instance": "[fd00::7]:8000"}, places) == six


# ---------------------------------------------------------------- frames


def test_rows_become_targets_and_infinity_no_measurement(places: Places) -> None:
    answer = matrix([[1, np.inf, 3]], {"namespace": "serving", "pod": "vllm-0", "model": "m"})
    frame = observe.to_frame(builders.signal(), answer, places)
    assert frame.targets == (POD,)
    assert frame.values.dtype == np.float32
    np.testing.assert_array_equal(frame.values, [[1, NAN, 3]])
    assert frame.labels[0]["model"] == "m"


def test_rows_that_name_no_target_are_left_out(places: Places) -> None:
    answer = matrix([[1.0], [2.0]], {"job": "x"}, {"namespace": "serving", "pod": "vllm-0"})
    assert observe.to_frame(builders.signal(), answer, places).targets == (POD,)


@pytest.mark.parametrize(("worse", "expected"), [(Worse.UP, [5, 2, 9]), (Worse.DOWN, [1, 2, 9])])
def test_of_several_rows_of_one_target_the_worse_counts(
    worse: Worse, expected: list[float], places: Places
) -> None:
    answer = matrix(
        [[1, 2, NAN], [5, NAN, 9]],
        {"namespace": "serving", "pod": "vllm-0", "engine": "old"},
        {"namespace": "serving", "pod": "vllm-0", "engine": "new"},
    )
    frame = observe.to_frame(builders.signal(worse=worse), answer, places)
    np.testing.assert_array_equal(frame.values, [expected])
    assert frame.labels[0]["engine"] == "new", "labels are the newest row's"


def test_kept_labels_tell_rows_of_one_target_apart(places: Places) -> None:
    answer = matrix(
        [[1.0], [0.0]],
        {"namespace": "serving", "pod": "vllm-0", "reason": "CrashLoopBackOff"},
        {"namespace": "serving", "pod": "vllm-0", "reason": "ErrImagePull"},
    )
    frame = observe.to_frame(builders.signal(keep=("reason",)), answer, places)
    assert frame.targets == (POD, POD)
    assert [labels["reason"] for labels in frame.labels] == ["CrashLoopBackOff", "ErrImagePull"]


def test_sources_of_one_name_meet_in_one_frame() -> None:
    one = builders.frame([[1, NAN]], (builders.pod("a"),))
    other = builders.frame([[7, 8], [3, 4]], (builders.pod("a"), builders.pod("b")))
    merged = observe.merge([one, other])
    assert merged.targets == (builders.pod("a"), builders.pod("b"))
    np.testing.assert_array_equal(merged.values, [[1, 8], [3, 4]])


# ---------------------------------------------------------------- events


def xid_frame(rows: Any, when: str = "increase", attribute: str = "xid") -> Frame:
    signal = builders.signal("gpu_xid", event=EventRule("xid", attribute, when), keep=("xid",))
    made = builders.frame(rows, tuple(GPU for _ in np.atleast_2d(rows)))
    labels = tuple({"xid": "79"} for _ in made.targets)
    return Frame(signal, made.times, made.values, made.targets, labels)


def columns(frame: Frame, seen: dict[Target, float] | None = None) -> list[int]:
    at = [event.at.timestamp() for event in observe.events_of(frame, seen)]
    return [int(np.searchsorted(frame.times, each)) for each in at]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 0, 0, 0], []),
        ([3, 3, 3, 3], []),
        ([0, 1, 1, 2], [1, 3]),
        ([3, NAN, 3, 4], [3]),
        ([NAN, NAN, 1, 1], [2]),
        ([1, NAN, NAN, NAN], []),
        ([5, 5, 0, 0], []),
        ([5, 5, 2, 2], [2]),
        ([NAN, NAN, NAN, NAN], []),
    ],
)
def test_each_rise_of_a_counter_is_an_event(values: list[float], expected: list[int]) -> None:
    assert columns(xid_frame(values)) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 79, 79, 79], [1]),
        ([79, 79, 79, 79], []),
        ([79, 0, 0, 0], []),
        ([79, 45, 45, 62], [1, 3]),
        ([NAN, 79, 79, 79], []),
    ],
)
def test_a_sticky_gauge_tells_only_its_changes(values: list[float], expected: list[int]) -> None:
    assert columns(xid_frame(values, "change", "value")) == expected


def test_a_gauge_that_appears_on_a_gpu_long_known_is_news() -> None:
    frame = xid_frame([NAN, 79, 79, 79], "change", "value")
    assert columns(frame, {GPU: float(frame.times[0])}) == [1]


def test_a_counter_that_appears_together_with_its_gpu_is_old_news() -> None:
    frame = xid_frame([NAN, NAN, 5, 5])
    assert columns(frame, {GPU: float(frame.times[2])}) == []
    assert columns(frame, {GPU: float(frame.times[0])}) == [2]


def test_an_event_says_which_and_where() -> None:
    (event,) = observe.events_of(xid_frame([0, 1]))
    assert (event.kind, event.target, event.attributes) == ("xid", GPU, {"xid": "79"})
    (gauge,) = observe.events_of(xid_frame([0, 79], "change", "value"))
    assert gauge.attributes == {"xid": "79"}


def test_one_xid_told_by_two_exporters_is_one_event_and_repeats_stay() -> None:
    counted = observe.events_of(xid_frame([0, 1, 1, 2]))
    last = observe.events_of(xid_frame([0, 0, 79, 79], "change", "value"))
    assert observe.fold([counted, last]) == counted


def test_an_alert_becomes_an_event_that_lasts(places: Places) -> None:
    episode = Episode(
        "alertmanager",
        "f00",
        builders.at(-60),
        {"alertname": "GpuHot", "severity": "critical", "UUID": "GPU-aaaa", "pod": "dcgm-x"},
        {"summary": "hot"},
        ends_at=builders.NOW,
    )
    (event,) = observe.alert_events([episode], places)
    assert (event.kind, event.target, event.message) == ("alert", GPU, "hot")
    assert event.attributes["alertname"] == "GpuHot"
    assert (event.at, event.ended_at) == (builders.at(-60), builders.NOW)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({"pod": "vllm-0", "namespace": "serving", "node": "gpu-node-1"}, POD),
        ({"pod": "dcgm-x", "namespace": "monitoring", "Hostname": "gpu-node-2"}, OTHER_NODE),
        ({"deployment": "llama-8b", "namespace": "serving"}, WORKLOAD),
        ({"instance": "192.168.0.1:9100"}, NODE),
        ({"instance": "10.1.0.7:8000"}, POD),
        ({"instance": "10.1.0.9:9400"}, NODE),
        ({"instance": "10.1.0.7:8000", "node": "gpu-node-2"}, OTHER_NODE),
        ({"alertname": "Watchdog"}, CLUSTER),
    ],
)
def test_an_alert_is_about_the_most_particular_thing_it_names(
    labels: dict[str, str], expected: Target, places: Places
) -> None:
    assert of_alert(labels, places) == expected


def test_without_a_cluster_an_alert_meets_the_findings_of_its_host() -> None:
    nowhere = Places.of(Topology(), alone=True)
    labels = {"alertname": "CpuBusy", "instance": "127.0.0.1:9100", "job": "node"}
    assert of_alert(labels, nowhere) == locate(Kind.NODE, labels, nowhere)


# ---------------------------------------------------------------- GPUs


def held(rows: Any, *labels: dict[str, str]) -> Frame:
    keep = ("exported_namespace", "exported_pod", "namespace", "pod")
    signal = builders.signal("gpu_held", scope=Kind.GPU, keep=keep)
    made = builders.frame(rows, tuple(GPU for _ in labels))
    return Frame(signal, made.times, made.values, made.targets, labels)


WHERE = {"gpu": "3", "modelName": "H100", "Hostname": "dcgm-x"}
BY_POD = {**WHERE, "exported_namespace": "serving", "exported_pod": "vllm-0"}


def test_gpus_join_the_topology_with_node_and_holder(topology: Topology) -> None:
    seen = observe.with_gpus(topology, [held([[1, 1]], BY_POD)])
    assert {(GPU, NODE), (POD, GPU), (POD, NODE)} <= seen.edges
    assert seen.entities[GPU].facts == {"index": "3", "model": "H100", "node": "gpu-node-1"}
    assert seen.related(POD, Kind.GPU) == (GPU,)


def test_a_gpu_that_fell_silent_keeps_its_last_holder(topology: Topology) -> None:
    seen = observe.with_gpus(topology, [held([[1, 1, NAN, NAN]], BY_POD)])
    assert (POD, GPU) in seen.edges


def test_a_gpu_given_back_has_no_holder(topology: Topology) -> None:
    seen = observe.with_gpus(topology, [held([[1, 1, NAN], [NAN, NAN, 1]], BY_POD, WHERE)])
    assert (POD, GPU) not in seen.edges


def test_the_exporters_own_pod_holds_no_gpu(topology: Topology) -> None:
    own = {**WHERE, "namespace": "monitoring", "pod": "dcgm-x"}
    seen = observe.with_gpus(topology, [held([[1]], own)])
    assert not seen.above(EXPORTER)
    honoured = {**WHERE, "namespace": "serving", "pod": "vllm-0"}
    seen = observe.with_gpus(topology, [held([[1]], honoured)])
    assert (POD, GPU) in seen.edges


def test_first_seen_is_the_earliest_sample_of_any_signal() -> None:
    early, late = builders.frame([[NAN, 1, 1]]), builders.frame([[NAN, NAN, 1]])
    (target,) = early.targets
    assert observe.first_seen([late, early]) == {target: float(early.times[1])}
    assert timedelta(seconds=late.step_s) == timedelta(seconds=15)
