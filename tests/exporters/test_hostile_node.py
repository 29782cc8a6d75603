"""A node on its worst day: calls that fail at random, a driver replaced under us, a kubelet that
hangs, says too much or names devices in its own way."""

from __future__ import annotations

import socket
import tempfile
import threading
import time
from pathlib import Path

import pynvml as nv
import pytest
import requests
from gpu_exporter import scrape, serving, until
from gpu_node import GpuNode, uuid_of
from gpu_page import Page, page_of, read
from kubelet_stub import device, field, kubelet, pod

from exporters import pods
from exporters.collector import Exposition
from exporters.exposition import render
from exporters.kubelet import Kubelet
from exporters.nvml import Nvml
from exporters.pods import Allotted, Holder, ask_kubelet
from exporters.table import load_table
from exporters.watch import Watch
from healer.errors import Temporary

TEMP = "DCGM_FI_DEV_GPU_TEMP"
LLAMA = Holder("serving", "llama-8b-0", "engine")
QWEN = Holder("serving", "qwen-7b-0", "engine")
MIG = ["0 MIG-aaaa 7 1g.10gb 4000 5000", "1 MIG-bbbb 9 3g.40gb 30000 9000"]


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def swept(clock: Clock) -> Watch:
    watch = Watch(Nvml(clock=clock), clock=clock)
    watch.sweep_once()
    return watch


def values(page: Page) -> dict[tuple[str, ...], float]:
    """By series, without what moves."""
    return {
        (name, *(f"{k}={v}" for k, v in sorted(labels.items()))): value
        for name, samples in page.samples.items()
        for labels, value in samples
        if not name.endswith(("_seconds", "sweeps_total")) and name != "healer_gpu_state"
    }


def test_calls_that_fail_at_random_cost_their_value_and_nothing_is_ever_wrong(
    node: GpuNode, clock: Clock
) -> None:
    node.with_gpus(3).set(2, mig_mode=1, mig=MIG)
    watch = swept(clock)
    whole = values(page_of(watch))
    node.say("chaos 30")
    missing = 0
    for _ in range(40):
        watch.sweep_once()
        shown = values(page_of(watch))
        # A card that does not say who it is does not answer; no value may be another's.
        wrong = {key[0] for key in shown if shown[key] != whole.get(key)}
        assert wrong <= {"healer_gpu_present"}
        missing += len(whole.keys() - shown.keys())
        assert page_of(watch).value("healer_gpu_driver_state", state="ok") == 1
    assert missing > 100
    node.say()
    clock.now_s += 600
    watch.sweep_once()
    assert values(page_of(watch)) == whole


def test_what_was_not_supported_is_asked_again_after_ten_minutes(
    node: GpuNode, clock: Clock
) -> None:
    node.with_gpus(1).set(0, energy_mj=None)
    watch = swept(clock)
    node.set(0, energy_mj=5)
    for after_s, shown in ((599, False), (601, True)):
        clock.now_s = 1000.0 + after_s
        watch.sweep_once()
        assert ("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION" in page_of(watch)) is shown


def test_an_instance_that_goes_while_it_is_asked_is_no_fault_of_the_driver(
    node: GpuNode, clock: Clock
) -> None:
    node.with_gpus(2).set(0, mig_mode=1, mig=MIG)
    watch = swept(clock)
    node.set(0, part_code=999)
    watch.sweep_once()
    shown = page_of(watch)
    assert shown.value("healer_gpu_driver_state", state="ok") == 1
    assert shown.value("healer_gpu_state", state="ok", UUID=uuid_of(1)) == 1
    # Whose memory it is cannot be said: neither the parts' nor the whole's.
    assert {ls["UUID"] for ls, _ in shown["DCGM_FI_DEV_FB_USED"]} == {uuid_of(1)}
    node.set(0, part_code=None)
    watch.sweep_once()
    assert len(page_of(watch)["DCGM_FI_DEV_FB_USED"]) == 3


def test_a_mig_mode_that_cannot_be_read_for_once_does_not_make_the_card_whole(
    node: GpuNode, clock: Clock
) -> None:
    node.with_gpus(1).set(0, mig_mode=1, mig=MIG, process=["77 1024"])
    watch = swept(clock)
    node.put(0, "code:mig_mode", 999)
    watch.sweep_once()
    shown = page_of(watch, holders={uuid_of(0): (LLAMA,)})
    assert shown.value("healer_gpu_state", state="error") == 1
    assert "DCGM_FI_DEV_FB_USED" not in shown
    assert "pod" not in shown[TEMP][0][0]


def test_noise_in_the_cards_memory_for_names_costs_the_name_alone(
    node: GpuNode, clock: Clock
) -> None:
    node.with_gpus(3).set(0, name="NVIDIA \udcff\udcfe", vbios="\udc80")
    node.set(2, uuid="GPU-\udcff")
    shown = page_of(swept(clock))
    assert shown.value(TEMP, UUID=uuid_of(0)) == 41
    assert shown.value("healer_gpu_driver_state", state="ok") == 1
    (noisy,) = [ls for ls, _ in shown["healer_gpu_info"] if ls["UUID"] == uuid_of(0)]
    assert "vbios_version" not in noisy
    assert shown.value("healer_gpu_present") == 2


@pytest.mark.parametrize("call", ["nvmlDeviceGetPowerUsage", "nvmlDeviceGetUUID"])
def test_a_library_replaced_under_us_is_a_state_of_the_node(
    node: GpuNode, clock: Clock, call: str
) -> None:
    node.with_gpus(2)
    watch = swept(clock)
    node.say(f"fail {call} 18", "init 18")
    watch.sweep_once()
    shown = page_of(watch)
    assert shown.value("healer_gpu_driver_state", state="mismatch") == 1
    assert TEMP not in shown
    node.say()
    watch.sweep_once()
    assert page_of(watch).value("healer_gpu_present") == 2


def test_a_driver_reloaded_under_us_is_found_by_opening_it_anew(
    node: GpuNode, clock: Clock
) -> None:
    """The old handles answer that their devices are lost, for ever."""
    node.with_gpus(2)
    watch = swept(clock)
    node.say("generation 1")
    for after_s, lost in ((10, 2), (290, 2), (301, 2), (311, 0)):
        clock.now_s = 1000.0 + after_s
        watch.sweep_once()
        states = [v for ls, v in page_of(watch)["healer_gpu_state"] if ls["state"] == "lost"]
        assert sum(states) == lost, after_s
    assert page_of(watch).value("healer_gpu_present") == 2


def test_gpus_that_stay_lost_stay_lost_though_the_library_is_opened_anew(
    node: GpuNode, clock: Clock
) -> None:
    node.with_gpus(2)
    watch = swept(clock)
    for gpu in (0, 1):
        node.set(gpu, state=15)
    for _ in range(3):
        clock.now_s += 301
        watch.sweep_once()
        states = [v for ls, v in page_of(watch)["healer_gpu_state"] if ls["state"] == "lost"]
        assert states == [1, 1]


def test_a_set_of_events_that_cannot_be_given_back_does_not_keep_the_library_open(
    node: GpuNode, clock: Clock
) -> None:
    node.with_gpus(1)
    watch = swept(clock)
    for _ in range(3):
        node.say("count_code 999", "fail nvmlEventSetFree 999")
        watch.sweep_once()
        node.say()
        watch.sweep_once()
    assert page_of(watch).value("healer_gpu_present") == 1


def test_a_driver_blocked_for_a_minute_says_so_all_along(node: GpuNode, clock: Clock) -> None:
    node.with_gpus(2)
    watch = swept(clock)
    node.say("block nvmlDeviceGetPowerUsage")
    worker = threading.Thread(target=watch.sweep_once, daemon=True)
    worker.start()
    try:
        until(lambda: watch._running)
        for after_s, blocked_s in ((9, 0), (11, 11), (60, 60)):
            clock.now_s = 1000.0 + after_s
            shown = page_of(watch)
            assert shown.value("healer_gpu_driver_blocked") == blocked_s
            assert shown.value("healer_gpu_sweep_age_seconds") == after_s
            assert (TEMP in shown) is (blocked_s == 0)
        assert shown.value("healer_gpu_state", state="blocked", UUID=uuid_of(1)) == 1
    finally:
        node.say()
        worker.join(60)
    assert page_of(watch).value("healer_gpu_driver_blocked") == 0


@pytest.mark.parametrize("fails", [{}, {"state": 15}], ids=["well", "lost"])
def test_a_device_met_at_two_indices_of_one_sweep_is_told_once(
    node: GpuNode, clock: Clock, monkeypatch: pytest.MonkeyPatch, fails: dict[str, object]
) -> None:
    node.with_gpus(3)
    watch = swept(clock)
    node.set(0, hidden=1)
    asked = nv.nvmlDeviceGetHandleByIndex

    def plugged_in_meanwhile(at: int) -> object:
        handle = asked(at)
        if at == 0:
            node.set(0, hidden=None)
            node.set(1, **fails)
        return handle

    monkeypatch.setattr(nv, "nvmlDeviceGetHandleByIndex", plugged_in_meanwhile)
    for _ in range(2):
        watch.sweep_once()
        node.set(0, hidden=1)
        assert sum(value for _, value in page_of(watch)["healer_gpu_state"]) == 3


def test_a_driver_that_comes_and_goes_spoils_no_page(node: GpuNode, tmp_path: Path) -> None:
    node.with_gpus(3)
    read_enough = threading.Event()

    def wreck() -> None:
        states: list[dict[str, object]] = [{"state": 15}, {"state": None, "hidden": 1}]
        states += [{"hidden": None, "mig_mode": 1, "mig": MIG}, {"mig_mode": 0, "mig": None}]
        at = 0
        while at < 30 or not read_enough.is_set():
            node.set(at % 3, **states[at % 4])
            node.say(*[[], ["init 9", "count_code 9"], ["chaos 200"], ["init 18"]][at % 4])
            time.sleep(0.02)
            at += 1

    with serving(tmp_path, every_s=0.005) as exporter, requests.Session() as session:
        breaker = threading.Thread(target=wreck)
        breaker.start()
        pages = 0
        try:
            while breaker.is_alive():
                answer = session.get(f"{exporter.url}/metrics", timeout=60)
                assert answer.status_code == 200, answer.text
                assert read(answer.text)["healer_gpu_driver_state"]
                pages += 1
                if pages > 10:
                    read_enough.set()
        finally:
            read_enough.set()
            breaker.join(60)
        for gpu in range(3):
            node.set(gpu, state=None, hidden=None, mig_mode=0, mig=None)
        node.say()
        until(lambda: scrape(exporter).value("healer_gpu_present") == 3)


def test_a_kubelet_that_takes_the_call_and_says_nothing_costs_the_scrape_nothing(
    node: GpuNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.with_gpus(1)
    monkeypatch.setattr(pods, "ask_kubelet", lambda path: ask_kubelet(path, timeout_s=60))
    with tempfile.TemporaryDirectory(prefix="kubelet-") as folder:
        path = Path(folder) / "kubelet.sock"
        with socket.socket(socket.AF_UNIX) as mute:
            mute.bind(str(path))
            mute.listen()
            with pytest.raises(Temporary, match=r"DEADLINE_EXCEEDED|UNAVAILABLE"):
                ask_kubelet(path, timeout_s=0.2)
            with serving(tmp_path, pod_resources=path) as exporter:
                began = time.monotonic()
                page = read(requests.get(f"{exporter.url}/metrics", timeout=60).text)
                assert time.monotonic() - began < 30
    assert page.value("healer_gpu_kubelet_up") == 0
    assert page.value(TEMP) == 41


def test_ten_thousand_pods_with_long_names_are_read(node: GpuNode, clock: Clock) -> None:
    """More than gRPC takes by default, with the CPUs and memory that each pod has too."""
    crowd = b"".join(
        pod(
            Holder("crowded-namespace", f"worker-{number:05d}-{'x' * 250}", "main"),
            *(device("example.org/nic", f"nic-{number}-{port}") for port in range(4)),
        )
        for number in range(10_000)
    )
    assert len(crowd) > 4 * 1024 * 1024
    with kubelet(crowd + pod(LLAMA, device("nvidia.com/gpu", uuid_of(0)))) as path:
        holders = ask_kubelet(path, timeout_s=60).holders
    assert holders[uuid_of(0)] == (LLAMA,)
    node.with_gpus(1)
    exposition = Exposition(
        load_table(), swept(clock).seen, lambda: (Allotted(holders), True), "gpu-node-1"
    )
    assert read(render(exposition.collect())).value(TEMP, pod="llama-8b-0") == 41


def test_googles_device_plugin_names_devices_by_their_files(node: GpuNode, clock: Clock) -> None:
    node.with_gpus(3).set(1, mig_mode=1, mig=MIG, minor=4)
    shared = device("nvidia.com/gpu", "nvidia2/vgpu0") + device("nvidia.com/gpu", "nvidia2/vgpu1")
    reply = pod(LLAMA, device("nvidia.com/gpu", "nvidia0", "nvidia4/gi9")) + pod(QWEN, shared)
    allocatable = b"".join(
        field(1, field(1, "nvidia.com/gpu") + field(2, name)) for name in ("nvidia0", "nvidia4/gi9")
    )
    with kubelet(reply, allocatable) as path:
        allotted = ask_kubelet(path, timeout_s=60)
    assert allotted.allocatable == {"nvidia0"}
    shown = page_of(swept(clock), holders=dict(allotted.holders))
    assert shown.value(TEMP, UUID=uuid_of(0), pod=LLAMA.pod) == 41
    assert shown.value(TEMP, UUID=uuid_of(2), pod=QWEN.pod) == 41
    assert shown.value("DCGM_FI_DEV_FB_USED", GPU_I_ID="9", pod=LLAMA.pod) == 30_000


def test_a_socket_that_may_not_be_seen_and_a_surprise_are_survived(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refuse() -> Allotted:
        raise PermissionError(13, "Permission denied")

    kubelet_of_others = Kubelet(refuse)
    kubelet_of_others.refresh()
    kubelet_of_others.refresh()
    assert kubelet_of_others.allotted() == (Allotted(), False)
    said = capsys.readouterr().err
    assert said.count("Permission denied") == 1
