"""The metric table through the genuine binding: every row, and what is absent."""

from __future__ import annotations

from gpu_node import GpuNode, uuid_of
from gpu_page import Page, page_of

from exporters.nvml import Nvml
from exporters.rows import DCGM_ONLY
from exporters.table import load_table
from exporters.watch import Watch

GPU = {"UUID": uuid_of(0)}
EXPECTED: dict[str, float] = {
    "DCGM_FI_DEV_SM_CLOCK": 1755,
    "DCGM_FI_DEV_MEM_CLOCK": 2619,
    "DCGM_FI_DEV_MEMORY_TEMP": 52,
    "DCGM_FI_DEV_GPU_TEMP": 41,
    "DCGM_FI_DEV_POWER_USAGE": 412.345,
    "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION": 987_654_321,
    "DCGM_FI_DEV_PCIE_REPLAY_COUNTER": 3,
    "DCGM_FI_DEV_GPU_UTIL": 87,
    "DCGM_FI_DEV_MEM_COPY_UTIL": 33,
    "DCGM_FI_DEV_ENC_UTIL": 0,
    "DCGM_FI_DEV_DEC_UTIL": 2,
    "DCGM_FI_DEV_FB_FREE": 10_929,
    "DCGM_FI_DEV_FB_USED": 70_000,
    "DCGM_FI_DEV_FB_RESERVED": 630,
    "DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS": 2,
    "DCGM_FI_DEV_CORRECTABLE_REMAPPED_ROWS": 1,
    "DCGM_FI_DEV_ROW_REMAP_FAILURE": 0,
    "DCGM_FI_DEV_ROW_REMAP_PENDING": 0,
    "DCGM_FI_DEV_VGPU_LICENSE_STATUS": 0,
    "DCGM_FI_DEV_ECC_SBE_VOL_TOTAL": 5,
    "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL": 0,
    "DCGM_FI_DEV_ECC_SBE_AGG_TOTAL": 9,
    "DCGM_FI_DEV_ECC_DBE_AGG_TOTAL": 1,
    "DCGM_FI_DEV_RETIRED_SBE": 0,
    "DCGM_FI_DEV_RETIRED_DBE": 0,
    "DCGM_FI_DEV_RETIRED_PENDING": 0,
    "DCGM_FI_DEV_POWER_VIOLATION": 123_456_789,
    "DCGM_FI_DEV_THERMAL_VIOLATION": 1000,
    "DCGM_FI_DEV_SYNC_BOOST_VIOLATION": 0,
    "DCGM_FI_DEV_BOARD_LIMIT_VIOLATION": 0,
    "DCGM_FI_DEV_LOW_UTIL_VIOLATION": 11,
    "DCGM_FI_DEV_RELIABILITY_VIOLATION": 0,
    "DCGM_FI_DEV_NVLINK_CRC_FLIT_ERROR_COUNT_TOTAL": 0,
    "DCGM_FI_DEV_NVLINK_CRC_DATA_ERROR_COUNT_TOTAL": 0,
    "DCGM_FI_DEV_NVLINK_REPLAY_ERROR_COUNT_TOTAL": 7,
    "DCGM_FI_DEV_NVLINK_RECOVERY_ERROR_COUNT_TOTAL": 1,
    "DCGM_FI_DEV_FB_TOTAL": 81_559,
    "DCGM_FI_DEV_FB_USED_PERCENT": 0.864956,
    "DCGM_FI_DEV_BAR1_TOTAL": 131_072,
    "DCGM_FI_DEV_BAR1_USED": 1_024,
    "DCGM_FI_DEV_POWER_USAGE_INSTANT": 415,
    "DCGM_FI_DEV_POWER_MGMT_LIMIT": 650,
    "DCGM_FI_DEV_PSTATE": 0,
    "DCGM_FI_DEV_PERSISTENCE_MODE": 1,
    "DCGM_FI_DEV_ECC_CURRENT": 1,
    "DCGM_FI_DEV_SLOWDOWN_TEMP": 89,
    "DCGM_FI_DEV_SHUTDOWN_TEMP": 92,
    "DCGM_FI_DEV_GPU_TEMP_LIMIT": 46,
    "DCGM_FI_DEV_CLOCKS_EVENT_REASONS": 4,
    "DCGM_FI_DEV_CLOCK_THROTTLE_REASONS": 4,
    "DCGM_FI_DEV_PCIE_LINK_GEN": 4,
    "DCGM_FI_DEV_PCIE_LINK_WIDTH": 16,
    "healer_gpu_recovery_action": 0,
    "healer_gpu_sram_threshold_exceeded": 0,
    "healer_gpu_thermal_margin_celsius": 46,
    "healer_gpu_throttle_reasons": 4,
    "healer_gpu_pcie_link_generation": 4,
    "healer_gpu_pcie_link_generation_max": 5,
    "healer_gpu_pcie_link_width": 16,
    "healer_gpu_pcie_link_width_max": 16,
    "healer_gpu_power_limit_watts": 700,
    "healer_gpu_sm_clock_max_mhz": 1980,
    "healer_gpu_fabric_state": 3,
    "healer_gpu_fabric_health_mask": 170,
}
"""The rows that are one value a device."""
LABELLED: dict[str, dict[tuple[str, ...], float]] = {
    "healer_gpu_throttle_nanoseconds_total": {
        ("reason", "sw_power_cap"): 123_456_789,
        ("reason", "sync_boost"): 0,
        ("reason", "sw_thermal"): 2e9,
        ("reason", "hw_thermal"): 1e9,
        ("reason", "hw_power_brake"): 500,
    },
    "healer_gpu_pcie_errors_total": {("kind", "correctable"): 8, ("kind", "fatal"): 0},
    "healer_gpu_ecc_errors_total": {
        ("error", "corrected", "location", "dram"): 5,
        ("error", "uncorrected", "location", "sram"): 0,
    },
    "healer_gpu_repair_pending": {("part", "memory_channel"): 0, ("part", "tpc"): 1},
    "healer_gpu_nvlink_active": {("link", "0"): 1, ("link", "1"): 0},
    "healer_gpu_nvlink_errors_total": {
        ("link", "0", "kind", "replay"): 7,
        ("link", "0", "kind", "recovery"): 1,
        ("link", "0", "kind", "crc_flit"): 0,
        ("link", "0", "kind", "crc_data"): 0,
        ("link", "0", "kind", "malformed_packet"): 4,
        ("link", "1", "kind", "replay"): 0,
    },
    "healer_gpu_nvlink_bytes_total": {
        ("link", "0", "direction", "transmitted"): 1_024_000,
        ("link", "0", "direction", "received"): 2_048_000,
    },
    "healer_gpu_process_memory_bytes": {("pid", "4321"): 73_400_320_000},
}


def swept() -> Watch:
    watch = Watch(Nvml())
    watch.sweep_once()
    return watch


def page() -> Page:
    return page_of(swept())


def test_every_row_of_the_table_is_exposed_with_the_value_that_the_driver_gave(
    node: GpuNode,
) -> None:
    node.with_gpus(2).set(0, process=["4321 73400320000"])
    shown = page()
    assert {name: shown.value(name, **GPU) for name in EXPECTED} == EXPECTED
    for name, samples in LABELLED.items():
        own = [(ls, v) for ls, v in shown[name] if ls["UUID"] == uuid_of(0)]
        assert len(own) == len(samples), name
        for key, value in samples.items():
            labels = dict(zip(key[::2], key[1::2], strict=True))
            assert shown.value(name, **GPU, **labels) == value
    read_here = {row.name for row in load_table() if row.read not in DCGM_ONLY}
    assert read_here == EXPECTED.keys() | LABELLED.keys()


def test_a_series_carries_the_labels_of_dcgm_exporter(node: GpuNode) -> None:
    node.with_gpus(1)
    ((labels, _),) = page()["DCGM_FI_DEV_GPU_TEMP"]
    assert labels == {
        "gpu": "0",
        "UUID": uuid_of(0),
        "pci_bus_id": "00000000:18:00.0",
        "device": "nvidia0",
        "modelName": "NVIDIA H100 80GB HBM3",
        "Hostname": "gpu-node-1",
        "DCGM_FI_DRIVER_VERSION": "570.86.15",
    }


def test_what_a_card_does_not_support_is_absent_and_not_zero(node: GpuNode) -> None:
    node.with_gpus(1).set(0, field_82=None, energy_mj=None, encoder=None, links=0, events=None)
    shown = page()
    for name in (
        "DCGM_FI_DEV_MEMORY_TEMP",
        "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION",
        "DCGM_FI_DEV_ENC_UTIL",
        "healer_gpu_nvlink_active",
        "healer_gpu_nvlink_errors_total",
    ):
        assert name not in shown
    assert shown.value("healer_gpu_state", state="ok", **GPU) == 1


def test_a_blank_value_of_the_driver_is_absent(node: GpuNode) -> None:
    node.with_gpus(1).set(0, field_82=2**64 - 1)
    assert "DCGM_FI_DEV_MEMORY_TEMP" not in page()


def test_a_process_whose_memory_is_unknown_has_no_sample(node: GpuNode) -> None:
    node.with_gpus(1).set(0, process=["11 -1", "12 1048576"])
    ((labels, value),) = page()["healer_gpu_process_memory_bytes"]
    assert (labels["pid"], value) == ("12", 1048576)


def test_what_is_not_supported_is_asked_once_and_never_again(node: GpuNode) -> None:
    node.with_gpus(1).set(0, energy_mj=None)
    watch = swept()
    node.set(0, energy_mj=5)
    watch.sweep_once()
    assert "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION" not in page_of(watch)


def test_no_permission_is_a_capability_and_not_a_fault(node: GpuNode) -> None:
    node.with_gpus(1).put(0, "code:sram_exceeded", 4)
    shown = page()
    assert "healer_gpu_sram_threshold_exceeded" not in shown
    assert shown.value("healer_gpu_state", state="ok", **GPU) == 1


def test_a_call_that_fails_for_once_leaves_its_value_out_and_comes_back(node: GpuNode) -> None:
    node.with_gpus(1).put(0, "code:power_mw", 999)
    watch = swept()
    shown = page_of(watch)
    assert "DCGM_FI_DEV_POWER_USAGE" not in shown
    assert shown.value("healer_gpu_state", state="error", **GPU) == 1
    assert shown.value("DCGM_FI_DEV_GPU_TEMP", **GPU) == 41
    node.put(0, "code:power_mw", None)
    watch.sweep_once()
    shown = page_of(watch)
    assert shown.value("DCGM_FI_DEV_POWER_USAGE", **GPU) == 412.345
    assert shown.value("healer_gpu_state", state="ok", **GPU) == 1


def test_an_old_driver_without_the_new_calls_still_gives_the_rest(node: GpuNode) -> None:
    node.with_gpus(1).say(
        "missing nvmlDeviceGetMemoryInfo_v2",
        "missing nvmlDeviceGetTemperatureV",
        "missing nvmlDeviceGetComputeRunningProcesses_v3",
        "missing nvmlDeviceGetGpuFabricInfoV",
    )
    shown = page()
    assert shown.value("DCGM_FI_DEV_GPU_TEMP", **GPU) == 41
    assert shown.value("DCGM_FI_DEV_FB_USED", **GPU) == 70_000
    assert "DCGM_FI_DEV_FB_RESERVED" not in shown
    assert shown.value("healer_gpu_driver_state", state="ok") == 1


def test_with_extras_only_nothing_is_shown_that_dcgm_exporter_shows(node: GpuNode) -> None:
    node.with_gpus(1)
    names = page_of(swept(), extras_only=True).samples.keys()
    shown_by_dcgm = {row.name for row in load_table() if not row.extra}
    assert not names & (shown_by_dcgm | {"DCGM_FI_DEV_XID_ERRORS"})
    assert {"DCGM_FI_DEV_ECC_DBE_VOL_TOTAL", "healer_gpu_recovery_action"} <= names


def test_an_index_that_moves_to_another_device_does_not_move_its_series(node: GpuNode) -> None:
    node.with_gpus(2)
    watch = swept()
    node.gpus = {0: node.gpus[1] | {"temperature": 77}, 1: node.gpus[0]}
    node.set(1, temperature=33)
    watch.sweep_once()
    shown = page_of(watch)
    assert shown.value("DCGM_FI_DEV_GPU_TEMP", UUID=uuid_of(1)) == 77
    assert shown.value("DCGM_FI_DEV_GPU_TEMP", UUID=uuid_of(0)) == 33
