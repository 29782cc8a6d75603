"""How each value is asked of NVML. Every reader may raise: the caller knows what that means.

Field numbers and limits: NVIDIA's nvml.h. Power, energy and codec calls are missing on some
cards, utilization under MIG: `NotSupported` is a capability, not a failure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pynvml as nv

from exporters.device import Sample

Reader = Callable[[Any], tuple[Sample, ...]]

_MIB = 1024 * 1024
_THROTTLE_FIELDS: Mapping[int, str] = {
    nv.NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_POWER_CAP: "sw_power_cap",
    nv.NVML_FI_DEV_CLOCKS_EVENT_REASON_SYNC_BOOST: "sync_boost",
    nv.NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_THERM_SLOWDOWN: "sw_thermal",
    nv.NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_THERM_SLOWDOWN: "hw_thermal",
    nv.NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_POWER_BRAKE_SLOWDOWN: "hw_power_brake",
}
"""Nanosecond counters by reason."""
_LINK_COUNTERS: Mapping[int, str] = {
    nv.NVML_NVLINK_ERROR_DL_REPLAY: "replay",
    nv.NVML_NVLINK_ERROR_DL_RECOVERY: "recovery",
    nv.NVML_NVLINK_ERROR_DL_CRC_FLIT: "crc_flit",
    nv.NVML_NVLINK_ERROR_DL_CRC_DATA: "crc_data",
}


def _one(value: float) -> tuple[Sample, ...]:
    return (Sample(float(value)),)


def _field(handle: Any, number: int) -> tuple[Sample, ...]:
    (item,) = nv.nvmlDeviceGetFieldValues(handle, [number])
    nv._nvmlCheckReturn(item.nvmlReturn)  # each field carries its own return code
    return _one(_field_value(item))


def _field_value(item: Any) -> float:
    """The member of NVML's union that the item's type names."""
    member = {0: "dVal", 1: "uiVal", 2: "ulVal", 3: "ullVal", 4: "sllVal", 5: "siVal"}
    return float(getattr(item.value, member.get(item.valueType, "ullVal")))


def _memory(handle: Any) -> Any:
    """Version 2 tells reserved from used, and counts it in `used`."""
    return nv.nvmlDeviceGetMemoryInfo(handle, version=nv.nvmlMemory_v2)


def _fb_used(handle: Any) -> tuple[Sample, ...]:
    info = _memory(handle)
    return _one((info.used - info.reserved) / _MIB)


def _rows(position: int) -> Reader:
    return lambda handle: _one(nv.nvmlDeviceGetRemappedRows(handle)[position])


def _ecc(error: int, counter: int) -> Reader:
    return lambda handle: _one(nv.nvmlDeviceGetTotalEccErrors(handle, error, counter))


def _throttle_ns(handle: Any) -> tuple[Sample, ...]:
    items = nv.nvmlDeviceGetFieldValues(handle, list(_THROTTLE_FIELDS))
    return tuple(
        Sample(_field_value(item), {"reason": _THROTTLE_FIELDS[item.fieldId]})
        for item in items
        if item.nvmlReturn == nv.NVML_SUCCESS
    )


def _links(handle: Any, ask: Callable[[Any, int], tuple[Sample, ...]]) -> tuple[Sample, ...]:
    found: list[Sample] = []
    for link in range(nv.NVML_NVLINK_MAX_LINKS):
        try:
            found += ask(handle, link)
        except (nv.NVMLError_NotSupported, nv.NVMLError_InvalidArgument):
            break  # links are numbered without holes: past the last one the driver says so
    return tuple(found)


def _nvlink_active(handle: Any) -> tuple[Sample, ...]:
    return _links(
        handle,
        lambda h, link: (Sample(float(nv.nvmlDeviceGetNvLinkState(h, link)), {"link": str(link)}),),
    )


def _nvlink_errors(handle: Any) -> tuple[Sample, ...]:
    def ask(h: Any, link: int) -> tuple[Sample, ...]:
        return tuple(
            Sample(
                float(nv.nvmlDeviceGetNvLinkErrorCounter(h, link, number)),
                {"link": str(link), "kind": kind},
            )
            for number, kind in _LINK_COUNTERS.items()
        )

    return _links(handle, ask)


def _process_memory(handle: Any) -> tuple[Sample, ...]:
    processes = nv.nvmlDeviceGetComputeRunningProcesses(handle)
    return tuple(
        Sample(float(p.usedGpuMemory), {"pid": str(p.pid)})
        for p in processes
        if p.usedGpuMemory is not None
    )


READERS: Mapping[str, Reader] = {
    "sm_clock_mhz": lambda h: _one(nv.nvmlDeviceGetClockInfo(h, nv.NVML_CLOCK_SM)),
    "sm_clock_max_mhz": lambda h: _one(nv.nvmlDeviceGetMaxClockInfo(h, nv.NVML_CLOCK_SM)),
    "mem_clock_mhz": lambda h: _one(nv.nvmlDeviceGetClockInfo(h, nv.NVML_CLOCK_MEM)),
    "gpu_temp_c": lambda h: _one(nv.nvmlDeviceGetTemperature(h, nv.NVML_TEMPERATURE_GPU)),
    "memory_temp_c": lambda h: _field(h, nv.NVML_FI_DEV_MEMORY_TEMP),
    "power_w": lambda h: _one(nv.nvmlDeviceGetPowerUsage(h) / 1000),
    "power_limit_w": lambda h: _one(nv.nvmlDeviceGetEnforcedPowerLimit(h) / 1000),
    "energy_mj": lambda h: _one(nv.nvmlDeviceGetTotalEnergyConsumption(h)),
    "pcie_replays": lambda h: _one(nv.nvmlDeviceGetPcieReplayCounter(h)),
    "gpu_util": lambda h: _one(nv.nvmlDeviceGetUtilizationRates(h).gpu),
    "mem_copy_util": lambda h: _one(nv.nvmlDeviceGetUtilizationRates(h).memory),
    "encoder_util": lambda h: _one(nv.nvmlDeviceGetEncoderUtilization(h)[0]),
    "decoder_util": lambda h: _one(nv.nvmlDeviceGetDecoderUtilization(h)[0]),
    "fb_free_mib": lambda h: _one(_memory(h).free / _MIB),
    "fb_used_mib": _fb_used,
    "fb_reserved_mib": lambda h: _one(_memory(h).reserved / _MIB),
    "remapped_correctable": _rows(0),
    "remapped_uncorrectable": _rows(1),
    "remap_pending": _rows(2),
    "remap_failure": _rows(3),
    "ecc_sbe_volatile": _ecc(nv.NVML_MEMORY_ERROR_TYPE_CORRECTED, nv.NVML_VOLATILE_ECC),
    "ecc_dbe_volatile": _ecc(nv.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, nv.NVML_VOLATILE_ECC),
    "ecc_sbe_aggregate": _ecc(nv.NVML_MEMORY_ERROR_TYPE_CORRECTED, nv.NVML_AGGREGATE_ECC),
    "ecc_dbe_aggregate": _ecc(nv.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, nv.NVML_AGGREGATE_ECC),
    "recovery_action": lambda h: _field(h, nv.NVML_FI_DEV_GET_GPU_RECOVERY_ACTION),
    "throttle_reasons": lambda h: _one(nv.nvmlDeviceGetCurrentClocksEventReasons(h)),
    "throttle_ns": _throttle_ns,
    "pcie_generation": lambda h: _one(nv.nvmlDeviceGetCurrPcieLinkGeneration(h)),
    "pcie_generation_max": lambda h: _one(nv.nvmlDeviceGetMaxPcieLinkGeneration(h)),
    "pcie_width": lambda h: _one(nv.nvmlDeviceGetCurrPcieLinkWidth(h)),
    "pcie_width_max": lambda h: _one(nv.nvmlDeviceGetMaxPcieLinkWidth(h)),
    "nvlink_active": _nvlink_active,
    "nvlink_errors": _nvlink_errors,
    "process_memory_bytes": _process_memory,
}
