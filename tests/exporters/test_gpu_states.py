"""Faults of device, driver and library are states, and nothing stale passes for fresh."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gpu_node import GpuNode, uuid_of
from gpu_page import page_of

from exporters import bus
from exporters.device import Fault, Sweep
from exporters.journal import Journal
from exporters.nvml import Nvml
from exporters.pods import Holder
from exporters.watch import Watch
from healer import __version__

GPU0, GPU1 = {"UUID": uuid_of(0)}, {"UUID": uuid_of(1)}
TEMP = "DCGM_FI_DEV_GPU_TEMP"


def swept(**options: float) -> Watch:
    watch = Watch(Nvml(), **options)
    watch.sweep_once()
    return watch


def until(true: Callable[[], bool], within_s: float = 120.0) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, "it never became true"
        time.sleep(0.01)


def test_healthy_gpus_are_all_present_and_ok(node: GpuNode) -> None:
    node.with_gpus(2)
    shown = page_of(swept())
    assert shown.value("healer_gpu_present") == shown.value("healer_gpu_expected") == 2
    assert [v for ls, v in shown["healer_gpu_state"] if ls["state"] == "ok"] == [1, 1]
    assert shown.value("healer_gpu_driver_state", state="ok") == 1
    assert shown.value("healer_gpu_driver_blocked") == 0
    assert abs(shown.value("healer_gpu_last_answer_timestamp_seconds", **GPU0) - time.time()) < 60


def test_a_lost_gpu_keeps_its_state_series_and_loses_its_values(node: GpuNode) -> None:
    node.with_gpus(2)
    watch = swept()
    node.set(1, state=15)
    watch.sweep_once()
    shown = page_of(watch)
    assert shown.value("healer_gpu_state", state="lost", **GPU1) == 1
    assert shown.value("healer_gpu_state", state="ok", **GPU1) == 0
    assert [labels["UUID"] for labels, _ in shown[TEMP]] == [uuid_of(0)]
    assert (shown.value("healer_gpu_present"), shown.value("healer_gpu_expected")) == (1, 2)


def test_a_gpu_that_comes_back_is_ok_again(node: GpuNode) -> None:
    node.with_gpus(1)
    watch = swept()
    for state, expected in ((15, "lost"), (None, "ok")):
        node.set(0, state=state)
        watch.sweep_once()
        assert page_of(watch).value("healer_gpu_state", state=expected, **GPU0) == 1
    assert page_of(watch).value(TEMP, **GPU0) == 41


def test_a_gpu_that_needs_a_reset_says_so(node: GpuNode) -> None:
    node.with_gpus(2)
    watch = swept()
    node.set(0, state=16)
    watch.sweep_once()
    shown = page_of(watch)
    assert shown.value("healer_gpu_state", state="reset_required", **GPU0) == 1
    assert [labels["UUID"] for labels, _ in shown[TEMP]] == [uuid_of(1)]


def test_an_unplugged_gpu_is_gone_and_still_expected(node: GpuNode) -> None:
    node.with_gpus(3)
    watch = swept()
    node.set(1, hidden=1)
    watch.sweep_once()
    shown = page_of(watch)
    assert shown.value("healer_gpu_state", state="gone", **GPU1) == 1
    assert (shown.value("healer_gpu_present"), shown.value("healer_gpu_expected")) == (2, 3)
    assert sorted(ls["UUID"] for ls, _ in shown[TEMP]) == [uuid_of(0), uuid_of(2)]


def test_a_gpu_lost_before_the_exporter_came_is_missing_by_the_kubelets_count(
    node: GpuNode,
) -> None:
    node.with_gpus(2).set(1, state=15)
    shown = page_of(swept(), allocatable=frozenset({uuid_of(0), uuid_of(1)}))
    assert (shown.value("healer_gpu_present"), shown.value("healer_gpu_expected")) == (1, 2)


def test_library_and_driver_of_different_versions_are_a_state_and_recover(node: GpuNode) -> None:
    node.with_gpus(1).say("init 18")
    watch = swept()
    shown = page_of(watch)
    assert shown.value("healer_gpu_driver_state", state="mismatch") == 1
    assert TEMP not in shown
    assert shown.value("healer_gpu_present") == 0
    node.say()
    watch.sweep_once()
    assert page_of(watch).value(TEMP, **GPU0) == 41


def test_a_driver_that_is_not_loaded_is_a_state(node: GpuNode) -> None:
    node.say("init 9")
    assert page_of(swept()).value("healer_gpu_driver_state", state="no_driver") == 1


def test_a_driver_that_fails_while_running_leaves_its_gpus_in_error(node: GpuNode) -> None:
    node.with_gpus(2)
    watch = swept()
    node.say("count_code 999")
    watch.sweep_once()
    shown = page_of(watch)
    assert shown.value("healer_gpu_driver_state", state="error") == 1
    assert shown.value("healer_gpu_state", state="error", **GPU0) == 1
    assert (shown.value("healer_gpu_present"), shown.value("healer_gpu_expected")) == (0, 2)
    node.say()
    watch.sweep_once()
    assert page_of(watch).value("healer_gpu_present") == 2


@contextmanager
def blocked(node: GpuNode, watch: Watch) -> Iterator[threading.Thread]:
    """A sweep that hangs in the driver."""
    node.say("block nvmlDeviceGetPowerUsage")
    worker = threading.Thread(target=watch.sweep_once, daemon=True)
    worker.start()
    try:
        yield worker
    finally:
        node.say()
        worker.join(60)


def test_a_blocked_driver_is_shown_with_its_age_and_without_old_values(node: GpuNode) -> None:
    node.with_gpus(2)
    watch = swept(deadline_s=0.1)
    with blocked(node, watch) as worker:
        until(lambda: watch.seen().blocked_s > 0.1)
        shown = page_of(watch)
        assert worker.is_alive(), "the page did not wait for the driver"
        assert shown.value("healer_gpu_driver_blocked") > 0.1
        assert shown.value("healer_gpu_sweep_age_seconds") > 0.1
        assert TEMP not in shown
        assert "healer_gpu_present" not in shown
        assert shown.value("healer_gpu_state", state="blocked", **GPU0) == 1
        assert shown.value("healer_gpu_state", state="ok", **GPU0) == 0
    shown = page_of(watch)
    assert shown.value("healer_gpu_driver_blocked") == 0
    assert shown.value(TEMP, **GPU0) == 41


def test_a_slow_answer_within_the_deadline_is_not_a_blocked_driver(node: GpuNode) -> None:
    node.with_gpus(1)
    watch = swept(deadline_s=60)
    with blocked(node, watch):
        until(lambda: watch._running)
        shown = page_of(watch)
        assert shown.value("healer_gpu_driver_blocked") == 0
        assert shown.value(TEMP, **GPU0) == 41


def test_a_driver_blocked_from_the_start_is_shown_too(node: GpuNode) -> None:
    node.with_gpus(1)
    watch = Watch(Nvml(), deadline_s=0.05)
    with blocked(node, watch):
        until(lambda: watch.seen().blocked_s > 0.05)
        shown = page_of(watch)
        assert shown.value("healer_gpu_driver_blocked") > 0.05
        assert "healer_gpu_driver_state" not in shown


def test_an_unheard_of_exception_does_not_end_the_sweeping() -> None:
    class Broken:
        calls = 0

        def sweep(self) -> Sweep:
            self.calls += 1
            if self.calls == 1:
                raise MemoryError("no room")
            return Sweep(())

        def wait_faults(self, timeout_ms: int) -> tuple[Fault, ...]:
            return ()

    watch = Watch(Broken())
    watch.sweep_once()
    assert page_of(watch).value("healer_gpu_driver_state", state="error") == 1
    watch.sweep_once()
    assert page_of(watch).value("healer_gpu_driver_state", state="ok") == 1


MIG = ["0 MIG-aaaa 7 1g.10gb 4000 5000", "1 MIG-bbbb 9 3g.40gb 30000 9000"]


def test_a_mig_instance_has_its_own_memory_and_its_own_pod(node: GpuNode) -> None:
    node.with_gpus(1).set(0, mig_mode=1, mig=MIG, util=None)
    holders = {"MIG-bbbb": (Holder("serving", "llama-0", "engine"),)}
    shown = page_of(swept(), holders=holders)
    used = {ls["GPU_I_ID"]: (ls, v) for ls, v in shown["DCGM_FI_DEV_FB_USED"]}
    assert {k: v for k, (_, v) in used.items()} == {"7": 4000, "9": 30000}
    assert used["9"][0]["GPU_I_PROFILE"] == "3g.40gb"
    assert used["9"][0]["pod"] == "llama-0"
    assert "pod" not in used["7"][0]
    assert {ls["UUID"] for ls, _ in shown["DCGM_FI_DEV_FB_USED"]} == {uuid_of(0)}
    ((whole, _),) = shown[TEMP]
    assert "pod" not in whole
    ((holder, _),) = shown["healer_gpu_holder"]
    assert (holder["GPU_I_ID"], holder["pod"]) == ("9", "llama-0")


def test_what_mig_forbids_comes_back_when_the_card_is_whole_again(node: GpuNode) -> None:
    node.with_gpus(1).set(0, mig_mode=1, mig=MIG)
    watch = swept()
    assert "DCGM_FI_DEV_ROW_REMAP_FAILURE" not in page_of(watch)
    node.set(0, mig_mode=0, mig=None)
    watch.sweep_once()
    shown = page_of(watch)
    assert shown.value("DCGM_FI_DEV_ROW_REMAP_FAILURE", **GPU0) == 0
    assert shown.value("DCGM_FI_DEV_FB_USED", **GPU0) == 70_000


def test_a_mig_reconfiguration_replaces_the_instances(node: GpuNode) -> None:
    node.with_gpus(1).set(0, mig_mode=1, mig=MIG)
    watch = swept()
    node.set(0, mig=["0 MIG-cccc 1 7g.80gb 60000 20000"])
    watch.sweep_once()
    ((labels, used),) = page_of(watch)["DCGM_FI_DEV_FB_USED"]
    assert (labels["GPU_I_PROFILE"], used) == ("7g.80gb", 60000)


def test_a_gpu_that_only_the_bus_still_knows_is_missing_and_named(node: GpuNode) -> None:
    """It was lost before the exporter came, and the kubelet counts healthy ones only."""
    node.with_gpus(2)
    on_bus = frozenset({"0000:18:00", "0000:19:00", "0000:9b:00"})
    shown = page_of(swept(), allocatable=frozenset({uuid_of(0), uuid_of(1)}), on_bus=on_bus)
    assert (shown.value("healer_gpu_present"), shown.value("healer_gpu_expected")) == (2, 3)
    assert [labels["pci_bus_id"] for labels, _ in shown["healer_gpu_silent"]] == ["0000:9b:00"]


def test_a_lost_gpu_that_is_listed_is_not_silent(node: GpuNode) -> None:
    node.with_gpus(2)
    watch = swept()
    node.set(1, state=15)
    watch.sweep_once()
    shown = page_of(watch, on_bus=frozenset({"0000:18:00", "0000:19:00"}))
    assert "healer_gpu_silent" not in shown
    assert shown.value("healer_gpu_expected") == 2


def test_the_bus_is_read_for_gpus_bound_to_the_driver_alone(tmp_path: Path) -> None:
    classes = {"0000:9b:00.0": "0x030200", "0000:07:00.0": "0x068000", "0001:01:00.0": "0x030000"}
    for name, kind in classes.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "class").write_text(f"{kind}\n")
    (tmp_path / "0000:9c:00.0").mkdir()  # unbound while it is looked at
    (tmp_path / "uevent").write_text("")
    assert bus.gpus(tmp_path) == {"0000:9b:00", "0001:01:00"}
    assert bus.gpus(tmp_path / "absent") == frozenset()


def test_each_change_is_one_line_in_the_log(node: GpuNode) -> None:
    node.with_gpus(2)
    lines: list[str] = []
    watch = Watch(Nvml(), journal=Journal(lines.append))
    for state in (None, None, 15, 15, None):
        node.set(1, state=state)
        watch.sweep_once()
    node.say("init 18", "count_code 999")
    watch.sweep_once()
    watch.sweep_once()
    assert [line.removeprefix("exporter: ").split(":")[0] for line in lines] == [
        "driver ok, version 570.86.15\n",
        f"{uuid_of(1)} at 00000000",
        f"{uuid_of(1)} at 00000000",
        "driver error",
        f"{uuid_of(0)} at 00000000",
        f"{uuid_of(1)} at 00000000",
        "driver mismatch",
    ]
    assert lines[1].endswith("19:00.0 lost: GPU is lost\n")
    assert lines[2].endswith("19:00.0 ok\n")


def test_a_sweep_tells_how_long_it_took_and_that_it_was(node: GpuNode) -> None:
    node.with_gpus(1).say("latency_us 200")
    watch = swept()
    watch.sweep_once()
    shown = page_of(watch)
    assert shown.value("healer_gpu_sweeps_total") == 2
    assert 0.001 < shown.value("healer_gpu_sweep_seconds") < 5
    assert shown["healer_gpu_exporter_info"][0][0]["version"] == __version__


def test_compute_instances_of_one_gpu_instance_are_one_series(node: GpuNode) -> None:
    """They share its memory; told twice, the scrape would be refused."""
    parts = ["0 MIG-aaaa 2 1c.3g.40gb 9000 30000", "1 MIG-bbbb 2 1c.3g.40gb 9000 30000"]
    node.with_gpus(1).set(0, mig_mode=1, mig=parts)
    one, two = Holder("a", "one", "main"), Holder("a", "two", "main")
    shown = page_of(swept(), holders={"MIG-aaaa": (one,), "MIG-bbbb": (two,)})
    ((labels, used),) = shown["DCGM_FI_DEV_FB_USED"]
    assert (labels["GPU_I_PROFILE"], used) == ("3g.40gb", 9000)
    assert "pod" not in labels
    assert {ls["pod"] for ls, _ in shown["healer_gpu_holder"]} == {"one", "two"}
    shown = page_of(swept(), holders={"MIG-aaaa": (one,), "MIG-bbbb": (one,)})
    assert shown["DCGM_FI_DEV_FB_USED"][0][0]["pod"] == "one"
    assert len(shown["healer_gpu_holder"]) == 1
