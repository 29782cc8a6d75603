"""Xids: every edge once, whichever of the two sources tells it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from gpu_node import GpuNode, uuid_of
from gpu_page import page_of

from exporters.device import Fault, bus_key
from exporters.kernel_log import KernelLog, Line, fault_of, parse_record
from exporters.nvml import Nvml
from exporters.watch import Watch
from exporters.xids import XidLedger

TOTAL = "healer_gpu_xid_errors_total"
BUS = "0000:18:00"
NOW = 1_772_000_000.0


def until(true: Callable[[], bool], within_s: float = 120.0) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, "it never became true"
        time.sleep(0.01)


@contextmanager
def running(node: GpuNode, log: Path | None = None) -> Iterator[Watch]:
    """A watch that listens to NVML's events."""
    watch = Watch(Nvml(), every_s=0.05, open_log=None if log is None else lambda: KernelLog(log))
    watch.start()
    try:
        until(lambda: watch.seen().sources.get("nvml", False))
        yield watch
    finally:
        node.say()
        watch.stop(wait_s=60)


def count(watch: Watch, gpu: int, code: int) -> float:
    return sum(
        v
        for ls, v in page_of(watch)[TOTAL]
        if ls["UUID"] == uuid_of(gpu) and ls["xid"] == str(code)
    )


def test_each_xid_is_counted_once_with_its_code_and_gpu(node: GpuNode) -> None:
    node.with_gpus(2)
    with running(node) as watch:
        node.xid(0, 31, 31, 79)
        node.xid(1, 63)
        until(lambda: len(watch.seen().xids) == 3)
        assert [count(watch, *at) for at in ((0, 31), (0, 79), (1, 63))] == [2, 1, 1]
        shown = page_of(watch)
        labels = next(ls for ls, _ in shown[TOTAL] if ls["xid"] == "79")
        assert labels["pci_bus_id"] == "00000000:18:00.0"
        assert labels["modelName"] == "NVIDIA H100 80GB HBM3"
        seen = shown.value("healer_gpu_xid_last_seen_timestamp_seconds", xid="79")
        assert abs(seen - time.time()) < 60


def test_a_repeat_of_the_same_xid_is_counted_though_the_gauge_stays(node: GpuNode) -> None:
    node.with_gpus(1)
    with running(node) as watch:
        for times in (1, 2):
            node.xid(0, 94)
            until(lambda want=times: count(watch, 0, 94) == want)
            gauge = page_of(watch).value("DCGM_FI_DEV_XID_ERRORS", UUID=uuid_of(0))
            assert gauge == 94


def test_a_gpu_without_xids_shows_zero_and_no_counter(node: GpuNode) -> None:
    node.with_gpus(1)
    with running(node) as watch:
        until(lambda: watch.seen().sweep is not None)
        shown = page_of(watch)
        assert shown.value("DCGM_FI_DEV_XID_ERRORS") == 0
        assert TOTAL not in shown
        assert shown.value("healer_gpu_xid_source_up", source="nvml") == 1


def test_a_storm_of_a_thousand_a_second_is_counted_exactly(node: GpuNode) -> None:
    node.with_gpus(4)
    chance = random.Random(7)
    sent = [(chance.randrange(4), chance.choice((13, 31, 45))) for _ in range(3000)]
    with running(node) as watch:
        for start in range(0, len(sent), 50):
            for gpu, code in sent[start : start + 50]:
                node.xid(gpu, code)
            time.sleep(0.05)
        until(lambda: sum(x.count for x in watch.seen().xids) >= len(sent))
        time.sleep(0.1)
        counts = {(g, c): count(watch, g, c) for g, c in set(sent)}
    assert counts == {key: sent.count(key) for key in set(sent)}


def test_the_fault_of_a_gpu_that_fell_off_the_bus_is_still_its_own(node: GpuNode) -> None:
    node.with_gpus(2)
    with running(node) as watch:
        node.set(1, state=15)
        node.xid(1, 79)
        until(lambda: count(watch, 1, 79) == 1)


def test_events_go_on_after_the_driver_was_reloaded(node: GpuNode) -> None:
    node.with_gpus(1)
    with running(node) as watch:
        node.xid(0, 31)
        until(lambda: count(watch, 0, 31) == 1)
        node.say("count_code 999")
        until(lambda: (s := watch.seen().sweep) is not None and s.state == "error")
        node.say()
        until(lambda: (s := watch.seen().sweep) is not None and s.state == "ok")
        until(lambda: (node.xid(0, 62), time.sleep(0.1), count(watch, 0, 62) > 0)[2])


def test_a_driver_without_events_says_so(node: GpuNode) -> None:
    node.with_gpus(1).set(0, events=None)
    watch = Watch(Nvml(), every_s=0.05)
    watch.start()
    try:
        until(lambda: watch.seen().sources.get("nvml") is False)
        assert page_of(watch).value("healer_gpu_xid_source_up", source="nvml") == 0
    finally:
        watch.stop(wait_s=60)


def test_an_xid_that_event_and_log_both_tell_is_one(node: GpuNode, tmp_path: Path) -> None:
    log = tmp_path / "kmsg"
    log.write_text("")
    node.with_gpus(1)
    with running(node, log) as watch:
        until(lambda: watch.seen().sources.get("kernel_log", False))
        node.xid(0, 79)
        with log.open("a") as file:
            file.write("4,1,9000000,-;NVRM: Xid (PCI:0000:18:00): 79, pid=1, GPU has fallen\n")
            file.write("4,2,9000001,-;NVRM: Xid (PCI:0000:18:00): 119, pid=1, Timeout\n")
        until(lambda: count(watch, 0, 119) == 1)
        until(lambda: count(watch, 0, 79) == 1)
        time.sleep(0.05)
        assert count(watch, 0, 79) == 1


def ledger_of(*reports: tuple[str, float, int]) -> dict[int, tuple[int, int]]:
    """(source, seconds from now, code) → by code: count and bursts."""
    ledger = XidLedger()
    for source, after, code in reports:
        ledger.record(source, Fault(BUS, code, NOW + after), NOW)
    return {seen.code: (seen.count, seen.bursts) for seen in ledger.seen()}


def test_twins_of_the_two_sources_are_matched_one_to_one() -> None:
    reports = [("nvml", i / 1000, 31) for i in range(100)]
    reports += [("kernel_log", 0.5 + i / 1000, 31) for i in range(103)]
    assert ledger_of(*reports) == {31: (103, 1)}


def test_reports_far_apart_are_two_xids() -> None:
    assert ledger_of(("nvml", 0, 31), ("kernel_log", 60, 31)) == {31: (2, 1)}


def test_the_same_source_is_never_its_own_twin() -> None:
    assert ledger_of(("nvml", 0, 31), ("nvml", 0, 31)) == {31: (2, 1)}


def test_another_code_or_device_is_no_twin() -> None:
    ledger = XidLedger()
    for source, bus, code in (
        ("nvml", BUS, 31),
        ("kernel_log", BUS, 32),
        ("kernel_log", "0000:19:00", 31),
    ):
        ledger.record(source, Fault(bus, code, NOW), NOW)
    assert [seen.count for seen in ledger.seen()] == [1, 1, 1]


def test_repeats_are_one_burst_until_three_minutes_of_silence() -> None:
    times = (0, 170, 340, 530, 531)
    assert ledger_of(*(("nvml", at, 13) for at in times)) == {13: (5, 2)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("NVRM: Xid (PCI:0000:91:00): 79, pid='<unknown>', GPU has", ("0000:91:00", 79)),
        ("NVRM: Xid (0000:03:00): 14, Channel 00000001", ("0000:03:00", 14)),
        ("NVRM: Xid (PCI:0001:AF:00.0): 48, pid=7", ("0001:af:00", 48)),
        ("[Sun Feb 23 16:24:18 2025] NVRM: Xid (PCI:0000:9b:00): 119, pid=2", ("0000:9b:00", 119)),
        ("NVRM: GPU at PCI:0000:9b:00: GPU-1234", None),
        ("NVRM: Xid (PCI:0000:9b:00): soon", None),
        ("nvidia-nvswitch2: open (major=510)", None),
        (
            "nvidia-nvswitch3: SXid (PCI:0000:c1:00.0): 20034, Fatal, Link 30 LTSSM Fault Up",
            ("0000:c1:00", 20034),
        ),
        ("nvidia-nvswitch3: SXid (PCI:0000:c1:00.0): 20034, Severity 1 Engine instance 30", None),
    ],
)
def test_a_log_line_is_read(text: str, expected: tuple[str, int] | None) -> None:
    fault = fault_of(Line(text), 0.0)
    assert (None if fault is None else (fault.bus, fault.code)) == expected


def test_a_kernel_record_is_dated_by_the_kernels_clock() -> None:
    raw = b"4,812,206764307,-;NVRM: Xid (PCI:0000:18:00): 31, pid=1"
    assert fault_of(parse_record(raw), NOW) == Fault(BUS, 31, NOW + 206.764307)


def test_a_program_that_writes_into_the_log_is_not_believed() -> None:
    assert fault_of(parse_record(b"12,812,206,-;NVRM: Xid (PCI:0000:18:00): 79, x"), NOW) is None


def test_recorded_logs_give_exactly_their_xids(data_folder: Path) -> None:
    logs = data_folder / "scrapes" / "kernel-log"
    found = {
        name: [fault.code for fault in KernelLog(logs / name).faults()]
        for name in ("xid-119-dmesg.log", "xid-13-43-dmesg-iso.log", "kmsg-nvswitch.log")
    }
    for name, codes in found.items():
        lines = (logs / name).read_text().splitlines()
        assert len(codes) == sum("NVRM: Xid" in line for line in lines)
    assert set(found["xid-119-dmesg.log"]) == {119}
    assert set(found["xid-13-43-dmesg-iso.log"]) == {13, 43}
    assert found["kmsg-nvswitch.log"] == []


def test_binary_noise_in_the_log_is_passed_over(tmp_path: Path) -> None:
    log = tmp_path / "kmsg"
    noise = bytes(random.Random(3).randrange(256) for _ in range(20_000))
    line = b"4,1,5,-;NVRM: Xid (PCI:0000:18:00): 48, pid=1\n SUBSYSTEM=pci\n"
    log.write_bytes(noise + b"\n" + line + noise)
    reader = KernelLog(log)
    assert [fault.code for fault in reader.faults()] == [48]
    with log.open("ab") as file:
        file.write(b"\n" + line)
    assert [(fault.code, fault.at_s) for fault in reader.faults()] == [(48, None)]
    reader.close()


def test_errors_of_switches_are_counted_apart_from_those_of_gpus(
    node: GpuNode, tmp_path: Path
) -> None:
    log = tmp_path / "kmsg"
    place = "nvidia-nvswitch3: SXid (PCI:0000:c1:00.0)"
    log.write_text(
        f"3,1,9000000,-;{place}: 20034, Fatal, Link 30 LTSSM Fault Up\n"
        f"3,2,9000001,-;{place}: 20034, Severity 1 Engine instance 30 Sub-engine instance 00\n"
        f"3,3,9000002,-;{place}: 20034, Data {{0x00000030, 0x00000030}}\n"
        f"4,4,9100000,-;{place}: 24007, Non-fatal, Link 04 sourcetrack timeout error\n"
        f"4,5,9200000,-;{place}: 24007, Non-fatal, Link 05 sourcetrack timeout error\n"
    )
    node.with_gpus(1)
    with running(node, log) as watch:
        until(lambda: len(watch.seen().xids) == 2)
        assert watch.seen().last_codes == {}
        shown = page_of(watch)
    name = "healer_gpu_nvswitch_errors_total"
    assert shown.value(name, sxid="20034", fatal="true", pci_bus_id="0000:c1:00") == 1
    assert shown.value(name, sxid="24007", fatal="false") == 2
    assert TOTAL not in shown
    assert shown.value("DCGM_FI_DEV_XID_ERRORS") == 0


def test_a_log_that_may_not_be_read_is_said_and_survived(node: GpuNode, tmp_path: Path) -> None:
    node.with_gpus(1)
    with running(node, tmp_path / "absent") as watch:
        until(lambda: watch.seen().sources.get("kernel_log") is False)
        node.xid(0, 31)
        until(lambda: count(watch, 0, 31) == 1)


def test_bus_addresses_of_all_spellings_are_one() -> None:
    assert bus_key("00000000:9B:00.0") == bus_key("0000:9b:00") == "0000:9b:00"
