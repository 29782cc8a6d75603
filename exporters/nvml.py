"""NVIDIA's driver through the genuine nvidia-ml-py.

What a call's failure means (nvml.h): NotSupported, NoPermission and FunctionNotFound are
capabilities, remembered and never counted; GpuIsLost and ResetRequired are states of the device;
a library that does not match the driver is a state of the node. NVMLLibraryMismatchError is no
NVMLError.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import pynvml as nv

from exporters.device import Fault, Reading, Sample, Sweep
from exporters.readers import READERS

_CANNOT = (
    nv.NVMLError_NotSupported,
    nv.NVMLError_NoPermission,
    nv.NVMLError_FunctionNotFound,
    nv.NVMLError_InvalidArgument,
)
_DEVICE_STATES = {
    nv.NVML_ERROR_GPU_IS_LOST: "lost",
    nv.NVML_ERROR_RESET_REQUIRED: "reset_required",
}
_FAULT_EVENTS = nv.nvmlEventTypeXidCriticalError


class Nvml:
    """One library, opened once; handles afresh each sweep, for they die when MIG changes."""

    def __init__(self, readers: Sequence[str] = tuple(READERS)) -> None:
        self._readers = tuple(readers)
        self._cannot: set[tuple[str, str]] = set()
        self._open = False
        self._events: Any = None
        self._registered: dict[str, str] = {}

    def sweep(self) -> Sweep:
        try:
            self._ensure_open()
            count = nv.nvmlDeviceGetCount()
            return Sweep(
                readings=tuple(
                    found for at in range(count) if (found := self._read(at)) is not None
                ),
                driver_version=_text(nv.nvmlSystemGetDriverVersion()),
                library_version=_text(nv.nvmlSystemGetNVMLVersion()),
            )
        except nv.NVMLError as error:
            self._close()
            return Sweep((), state=_node_state(error), detail=str(error))
        except nv.NVMLLibraryMismatchError as error:
            self._close()
            return Sweep((), state="mismatch", detail=str(error))

    def wait_faults(self, timeout_ms: int) -> tuple[Fault, ...]:
        """Raises NVMLError where the driver has no events; an empty answer is the time-out."""
        self._ensure_open()
        self._register()
        try:
            data = nv.nvmlEventSetWait_v2(self._events, timeout_ms)
        except nv.NVMLError_Timeout:
            return ()
        return (Fault(_text(nv.nvmlDeviceGetUUID(data.device)), int(data.eventData)),)

    def _ensure_open(self) -> None:
        if not self._open:
            nv.nvmlInit()
            self._open = True

    def _close(self) -> None:
        self._open, self._events = False, None
        self._registered.clear()
        with contextlib.suppress(nv.NVMLError):
            nv.nvmlShutdown()

    def _register(self) -> None:
        """Every device there is now, once each; a device that cannot is skipped."""
        if self._events is None:
            self._events = nv.nvmlEventSetCreate()
        for at in range(nv.nvmlDeviceGetCount()):
            with contextlib.suppress(nv.NVMLError):
                handle = nv.nvmlDeviceGetHandleByIndex(at)
                uuid = _text(nv.nvmlDeviceGetUUID(handle))
                if uuid not in self._registered:
                    supported = nv.nvmlDeviceGetSupportedEventTypes(handle)
                    nv.nvmlDeviceRegisterEvents(handle, _FAULT_EVENTS & supported, self._events)
                    self._registered[uuid] = uuid

    def _read(self, at: int) -> Reading | None:
        try:
            handle = nv.nvmlDeviceGetHandleByIndex(at)
            uuid = _text(nv.nvmlDeviceGetUUID(handle))
        except nv.NVMLError:
            return None  # gone: its series vanish and the count drops
        samples: dict[str, tuple[Sample, ...]] = {}
        state = "ok"
        for name in self._readers:
            if (uuid, name) in self._cannot:
                continue
            try:
                samples[name] = READERS[name](handle)
            except _CANNOT:
                self._cannot.add((uuid, name))
            except nv.NVMLError as error:
                state = _DEVICE_STATES.get(error.value, "error")
                if state in _DEVICE_STATES.values():
                    break
        return Reading(
            uuid=uuid,
            index=at,
            pci_bus_id=_pci(handle),
            model=_or_empty(nv.nvmlDeviceGetName, handle),
            samples=samples if state in {"ok", "error"} else {},
            state=state,
            mig=_mig(handle),
            pids=tuple(int(s.labels["pid"]) for s in samples.get("process_memory_bytes", ())),
        )


def _node_state(error: nv.NVMLError) -> str:
    if error.value in (nv.NVML_ERROR_LIBRARY_NOT_FOUND, nv.NVML_ERROR_DRIVER_NOT_LOADED):
        return "no_driver"
    return "mismatch" if error.value == nv.NVML_ERROR_LIB_RM_VERSION_MISMATCH else "error"


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _or_empty(call: Any, handle: Any) -> str:
    try:
        return _text(call(handle))
    except nv.NVMLError:
        return ""


def _pci(handle: Any) -> str:
    try:
        return _text(nv.nvmlDeviceGetPciInfo(handle).busId)
    except nv.NVMLError:
        return ""


def _mig(handle: Any) -> tuple[str, ...]:
    found: list[str] = []
    try:
        if nv.nvmlDeviceGetMigMode(handle)[0] != nv.NVML_DEVICE_MIG_ENABLE:
            return ()
        for at in range(nv.nvmlDeviceGetMaxMigDeviceCount(handle)):
            with contextlib.suppress(nv.NVMLError_NotFound, nv.NVMLError_InvalidArgument):
                found.append(
                    _text(nv.nvmlDeviceGetUUID(nv.nvmlDeviceGetMigDeviceHandleByIndex(handle, at)))
                )
    except nv.NVMLError:
        return tuple(found)
    return tuple(found)
