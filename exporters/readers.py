"""How each value is asked of NVML. Every reader may raise: the caller knows what that means.

Field numbers and limits: NVIDIA's nvml.h. Power, energy and codec calls are missing on some
cards, utilization under MIG: `NotSupported` is a capability, not a failure. The PCIe throughput
call is not used: it blocks for 20 ms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pynvml as nv

from exporters.device import Sample
from exporters.links import LINK_READERS
from exporters.probe import Probe

Reader = Callable[[Probe], tuple[Sample, ...]]

_MIB = 1024 * 1024
_THROTTLE: Mapping[int, str] = {
    nv.NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_POWER_CAP: "sw_power_cap",
    nv.NVML_FI_DEV_CLOCKS_EVENT_REASON_SYNC_BOOST: "sync_boost",
    nv.NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_THERM_SLOWDOWN: "sw_thermal",
    nv.NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_THERM_SLOWDOWN: "hw_thermal",
    nv.NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_POWER_BRAKE_SLOWDOWN: "hw_power_brake",
}
"""Nanosecond counters by reason."""
_PCIE_ERRORS: Mapping[int, str] = {
    nv.NVML_FI_DEV_PCIE_COUNT_CORRECTABLE_ERRORS: "correctable",
    nv.NVML_FI_DEV_PCIE_COUNT_NON_FATAL_ERROR: "non_fatal",
    nv.NVML_FI_DEV_PCIE_COUNT_FATAL_ERROR: "fatal",
    nv.NVML_FI_DEV_PCIE_COUNT_RECEIVER_ERROR: "receiver",
    nv.NVML_FI_DEV_PCIE_COUNT_BAD_TLP: "bad_tlp",
    nv.NVML_FI_DEV_PCIE_COUNT_BAD_DLLP: "bad_dllp",
    nv.NVML_FI_DEV_PCIE_COUNT_NAKS_RECEIVED: "naks_received",
    nv.NVML_FI_DEV_PCIE_COUNT_NAKS_SENT: "naks_sent",
    nv.NVML_FI_DEV_PCIE_COUNT_UNSUPPORTED_REQ: "unsupported_request",
    nv.NVML_FI_DEV_PCIE_COUNT_LCRC_ERROR: "lcrc",
    nv.NVML_FI_DEV_PCIE_COUNT_LANE_ERROR: "lane",
}
_LOCATIONS: Mapping[int, str] = {
    nv.NVML_MEMORY_LOCATION_L1_CACHE: "l1_cache",
    nv.NVML_MEMORY_LOCATION_L2_CACHE: "l2_cache",
    nv.NVML_MEMORY_LOCATION_DRAM: "dram",
    nv.NVML_MEMORY_LOCATION_REGISTER_FILE: "register_file",
    nv.NVML_MEMORY_LOCATION_TEXTURE_MEMORY: "texture_memory",
    nv.NVML_MEMORY_LOCATION_TEXTURE_SHM: "texture_shm",
    nv.NVML_MEMORY_LOCATION_CBU: "cbu",
    nv.NVML_MEMORY_LOCATION_SRAM: "sram",
}
_ECC_KINDS: Mapping[int, str] = {
    nv.NVML_MEMORY_ERROR_TYPE_CORRECTED: "corrected",
    nv.NVML_MEMORY_ERROR_TYPE_UNCORRECTED: "uncorrected",
}
_SCALARS: Mapping[str, int] = {
    "memory_temp_c": nv.NVML_FI_DEV_MEMORY_TEMP,
    "recovery_action": nv.NVML_FI_DEV_GET_GPU_RECOVERY_ACTION,
    "retired_sbe": nv.NVML_FI_DEV_RETIRED_SBE,
    "retired_dbe": nv.NVML_FI_DEV_RETIRED_DBE,
    "retired_pending": nv.NVML_FI_DEV_RETIRED_PENDING,
    "power_violation_ns": nv.NVML_FI_DEV_PERF_POLICY_POWER,
    "thermal_violation_ns": nv.NVML_FI_DEV_PERF_POLICY_THERMAL,
    "sync_boost_violation_ns": nv.NVML_FI_DEV_PERF_POLICY_SYNC_BOOST,
    "board_limit_violation_ns": nv.NVML_FI_DEV_PERF_POLICY_BOARD_LIMIT,
    "low_util_violation_ns": nv.NVML_FI_DEV_PERF_POLICY_LOW_UTILIZATION,
    "reliability_violation_ns": nv.NVML_FI_DEV_PERF_POLICY_RELIABILITY,
    "nvlink_crc_flit": nv.NVML_FI_DEV_NVLINK_CRC_FLIT_ERROR_COUNT_TOTAL,
    "nvlink_crc_data": nv.NVML_FI_DEV_NVLINK_CRC_DATA_ERROR_COUNT_TOTAL,
    "nvlink_replay": nv.NVML_FI_DEV_NVLINK_REPLAY_ERROR_COUNT_TOTAL,
    "nvlink_recovery": nv.NVML_FI_DEV_NVLINK_RECOVERY_ERROR_COUNT_TOTAL,
}
"""Readers that are one field."""

FIELDS = tuple(
    dict.fromkeys([*_SCALARS.values(), *_THROTTLE, *_PCIE_ERRORS, nv.NVML_FI_DEV_POWER_INSTANT])
)
"""What `Probe` asks for at once."""


def _one(value: float) -> tuple[Sample, ...]:
    return (Sample(float(value)),)


def _field(number: int) -> Reader:
    return lambda probe: _one(probe.field(number))


def _each_field(names: Mapping[int, str], label: str) -> Reader:
    """One sample for each field that the card has. Raises NotSupported if it has none."""

    def read(probe: Probe) -> tuple[Sample, ...]:
        found: list[Sample] = []
        for number, name in names.items():
            try:
                found.append(Sample(probe.field(number), {label: name}))
            except nv.NVMLError_NotSupported:
                continue
        return _some(found)

    return read


def _some(found: list[Sample]) -> tuple[Sample, ...]:
    if not found:
        raise nv.NVMLError(nv.NVML_ERROR_NOT_SUPPORTED)
    return tuple(found)


def _memory_v2(handle: Any) -> Any:
    """Version 2 tells reserved from used, and counts it in `used`."""
    return nv.nvmlDeviceGetMemoryInfo(handle, version=nv.nvmlMemory_v2)


def _temperature(handle: Any) -> Any:
    return nv.nvmlDeviceGetTemperatureV(handle, nv.NVML_TEMPERATURE_GPU)


def _temperature_v1(handle: Any) -> Any:
    return nv.nvmlDeviceGetTemperature(handle, nv.NVML_TEMPERATURE_GPU)


def _fb_used(probe: Probe) -> tuple[Sample, ...]:
    info = probe.first(_memory_v2, nv.nvmlDeviceGetMemoryInfo)
    return _one((info.used - getattr(info, "reserved", 0)) / _MIB)


def _fb_free(probe: Probe) -> tuple[Sample, ...]:
    return _one(probe.first(_memory_v2, nv.nvmlDeviceGetMemoryInfo).free / _MIB)


def _fb_total(probe: Probe) -> tuple[Sample, ...]:
    return _one(probe.first(_memory_v2, nv.nvmlDeviceGetMemoryInfo).total / _MIB)


def _fb_used_share(probe: Probe) -> tuple[Sample, ...]:
    """Of what may be used: reserved memory is nobody's."""
    info = probe.first(_memory_v2, nv.nvmlDeviceGetMemoryInfo)
    reserved = getattr(info, "reserved", 0)
    if info.total <= reserved:
        raise nv.NVMLError(nv.NVML_ERROR_NOT_SUPPORTED)
    return _one(round((info.used - reserved) / (info.total - reserved), 6))


def _threshold(kind: int) -> Reader:
    return lambda probe: _one(probe.ask(nv.nvmlDeviceGetTemperatureThreshold, kind))


def _rows(position: int) -> Reader:
    return lambda probe: _one(probe.ask(nv.nvmlDeviceGetRemappedRows)[position])


def _ecc(error: int, counter: int) -> Reader:
    return lambda probe: _one(probe.ask(nv.nvmlDeviceGetTotalEccErrors, error, counter))


def _ecc_locations(probe: Probe) -> tuple[Sample, ...]:
    found: list[Sample] = []
    for kind, error in _ECC_KINDS.items():
        for place, location in _LOCATIONS.items():
            try:
                count = probe.ask(
                    nv.nvmlDeviceGetMemoryErrorCounter, kind, nv.NVML_VOLATILE_ECC, place
                )
            except (nv.NVMLError_NotSupported, nv.NVMLError_InvalidArgument):
                continue  # no such memory on this card, or no such counter for it
            found.append(Sample(float(count), {"error": error, "location": location}))
    return _some(found)


def _sram_threshold(probe: Probe) -> tuple[Sample, ...]:
    status = nv.c_nvmlEccSramErrorStatus_v1_t()
    nv.nvmlDeviceGetSramEccErrorStatus(probe.handle, nv.byref(status))
    return _one(status.bThresholdExceeded)


def _repairs(probe: Probe) -> tuple[Sample, ...]:
    """Blackwell and later: broken memory channels or clusters that a reset takes out of use."""
    channel, cluster = probe.ask(nv.nvmlDeviceGetRepairStatus)
    return (
        Sample(float(channel), {"part": "memory_channel"}),
        Sample(float(cluster), {"part": "tpc"}),
    )


def _fabric(probe: Probe) -> Any:
    info = nv.c_nvmlGpuFabricInfo_v2_t()
    nv.nvmlDeviceGetGpuFabricInfoV(probe.handle, nv.byref(info))
    if info.state == nv.NVML_GPU_FABRIC_STATE_NOT_SUPPORTED:
        raise nv.NVMLError(nv.NVML_ERROR_NOT_SUPPORTED)
    return info


def _vgpu_license(probe: Probe) -> tuple[Sample, ...]:
    info = probe.ask(nv.nvmlDeviceGetGridLicensableFeatures_v4)
    features = info.gridLicensableFeatures[: info.licensableFeaturesCount]
    return _one(any(feature.featureState for feature in features))


def _processes(probe: Probe) -> Any:
    # The plain name turns a missing function into an error that is no NVMLError.
    return probe.first(
        nv.nvmlDeviceGetComputeRunningProcesses_v3, nv.nvmlDeviceGetComputeRunningProcesses_v2
    )


def running_pids(probe: Probe) -> tuple[int, ...]:
    return tuple(dict.fromkeys(int(p.pid) for p in _processes(probe)))


def _process_memory(probe: Probe) -> tuple[Sample, ...]:
    """By process: with MIG it may run in several instances. No memory known, no sample."""
    used: dict[int, float] = {}
    for process in _processes(probe):
        if process.usedGpuMemory is not None:
            used[process.pid] = used.get(process.pid, 0.0) + float(process.usedGpuMemory)
    return tuple(Sample(value, {"pid": str(pid)}) for pid, value in used.items())


_CORRECTED, _UNCORRECTED = (
    nv.NVML_MEMORY_ERROR_TYPE_CORRECTED,
    nv.NVML_MEMORY_ERROR_TYPE_UNCORRECTED,
)

READERS: Mapping[str, Reader] = {
    **{name: _field(number) for name, number in _SCALARS.items()},
    **LINK_READERS,
    "sm_clock_mhz": lambda p: _one(p.ask(nv.nvmlDeviceGetClockInfo, nv.NVML_CLOCK_SM)),
    "sm_clock_max_mhz": lambda p: _one(p.ask(nv.nvmlDeviceGetMaxClockInfo, nv.NVML_CLOCK_SM)),
    "mem_clock_mhz": lambda p: _one(p.ask(nv.nvmlDeviceGetClockInfo, nv.NVML_CLOCK_MEM)),
    "gpu_temp_c": lambda p: _one(p.first(_temperature, _temperature_v1)),
    "thermal_margin_c": lambda p: _one(p.ask(nv.nvmlDeviceGetMarginTemperature)),
    "power_w": lambda p: _one(p.ask(nv.nvmlDeviceGetPowerUsage) / 1000),
    "power_limit_w": lambda p: _one(p.ask(nv.nvmlDeviceGetEnforcedPowerLimit) / 1000),
    "power_instant_w": lambda p: _one(p.field(nv.NVML_FI_DEV_POWER_INSTANT) / 1000),
    "power_cap_w": lambda p: _one(p.ask(nv.nvmlDeviceGetPowerManagementLimit) / 1000),
    "performance_state": lambda p: _one(p.ask(nv.nvmlDeviceGetPerformanceState)),
    "persistence_mode": lambda p: _one(p.ask(nv.nvmlDeviceGetPersistenceMode)),
    "ecc_mode": lambda p: _one(p.ask(nv.nvmlDeviceGetEccMode)[0]),
    "slowdown_temp_c": _threshold(nv.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN),
    "shutdown_temp_c": _threshold(nv.NVML_TEMPERATURE_THRESHOLD_SHUTDOWN),
    "bar1_total_mib": lambda p: _one(p.ask(nv.nvmlDeviceGetBAR1MemoryInfo).bar1Total / _MIB),
    "bar1_used_mib": lambda p: _one(p.ask(nv.nvmlDeviceGetBAR1MemoryInfo).bar1Used / _MIB),
    "energy_mj": lambda p: _one(p.ask(nv.nvmlDeviceGetTotalEnergyConsumption)),
    "pcie_replays": lambda p: _one(p.ask(nv.nvmlDeviceGetPcieReplayCounter)),
    "pcie_errors": _each_field(_PCIE_ERRORS, "kind"),
    "gpu_util": lambda p: _one(p.ask(nv.nvmlDeviceGetUtilizationRates).gpu),
    "mem_copy_util": lambda p: _one(p.ask(nv.nvmlDeviceGetUtilizationRates).memory),
    "encoder_util": lambda p: _one(p.ask(nv.nvmlDeviceGetEncoderUtilization)[0]),
    "decoder_util": lambda p: _one(p.ask(nv.nvmlDeviceGetDecoderUtilization)[0]),
    "fb_free_mib": _fb_free,
    "fb_used_mib": _fb_used,
    "fb_total_mib": _fb_total,
    "fb_used_share": _fb_used_share,
    "fb_reserved_mib": lambda p: _one(p.ask(_memory_v2).reserved / _MIB),
    "remapped_correctable": _rows(0),
    "remapped_uncorrectable": _rows(1),
    "remap_pending": _rows(2),
    "remap_failure": _rows(3),
    "ecc_sbe_volatile": _ecc(_CORRECTED, nv.NVML_VOLATILE_ECC),
    "ecc_dbe_volatile": _ecc(_UNCORRECTED, nv.NVML_VOLATILE_ECC),
    "ecc_sbe_aggregate": _ecc(_CORRECTED, nv.NVML_AGGREGATE_ECC),
    "ecc_dbe_aggregate": _ecc(_UNCORRECTED, nv.NVML_AGGREGATE_ECC),
    "ecc_by_location": _ecc_locations,
    "sram_threshold": _sram_threshold,
    "repair_pending": _repairs,
    "throttle_reasons": lambda p: _one(p.ask(nv.nvmlDeviceGetCurrentClocksEventReasons)),
    "throttle_ns": _each_field(_THROTTLE, "reason"),
    "pcie_generation": lambda p: _one(p.ask(nv.nvmlDeviceGetCurrPcieLinkGeneration)),
    "pcie_generation_max": lambda p: _one(p.ask(nv.nvmlDeviceGetMaxPcieLinkGeneration)),
    "pcie_width": lambda p: _one(p.ask(nv.nvmlDeviceGetCurrPcieLinkWidth)),
    "pcie_width_max": lambda p: _one(p.ask(nv.nvmlDeviceGetMaxPcieLinkWidth)),
    "fabric_state": lambda p: _one(_fabric(p).state),
    "fabric_health_mask": lambda p: _one(_fabric(p).healthMask),
    "vgpu_license": _vgpu_license,
    "process_memory_bytes": _process_memory,
}
"""By the name that a row of the metric table says."""

INSTANCE_READERS = (
    "fb_free_mib",
    "fb_used_mib",
    "fb_reserved_mib",
    "fb_total_mib",
    "fb_used_share",
)
"""What a MIG instance tells of itself; the rest is the device's."""
