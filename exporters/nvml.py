"""NVIDIA's driver through the genuine nvidia-ml-py.

What a call's failure means (nvml.h): NotSupported, NoPermission and FunctionNotFound are
capabilities, remembered and never counted; GpuIsLost and ResetRequired are states of the device;
a library that does not match the driver is a state of the node. NVMLLibraryMismatchError is no
NVMLError.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pynvml as nv

from exporters.device import Fault, Instance, Reading, Sample, Sweep, bus_key
from exporters.nvml_events import NvmlEvents
from exporters.probe import Probe
from exporters.readers import FIELDS, INSTANCE_READERS, READERS, running_pids

_CANNOT = (
    nv.NVMLError_NotSupported,
    nv.NVMLError_NoPermission,
    nv.NVMLError_FunctionNotFound,
    nv.NVMLError_ArgumentVersionMismatch,
    nv.NVMLLibraryMismatchError,
)
_DEVICE_STATES = {
    nv.NVML_ERROR_GPU_IS_LOST: "lost",
    nv.NVML_ERROR_RESET_REQUIRED: "reset_required",
}


@dataclass(frozen=True, slots=True)
class _Identity:
    """What a device is called. It is kept, for a lost device no longer says who it is."""

    uuid: str
    index: int
    pci_bus_id: str
    model: str
    vbios: str
    minor: str

    def reading(self, state: str, detail: str = "") -> Reading:
        return Reading(
            uuid=self.uuid,
            index=self.index,
            pci_bus_id=self.pci_bus_id,
            model=self.model,
            state=state,
            detail=detail,
            vbios=self.vbios,
            minor=self.minor,
        )


class Nvml:
    """One library, opened once; handles afresh each sweep, for they die when MIG changes.

    `sweep` and `wait_faults` are for one thread each. The library is closed by the sweep alone,
    and only while no thread waits for events in it.
    """

    def __init__(self, readers: Sequence[str] = tuple(READERS)) -> None:
        self._readers = tuple(readers)
        self._cannot: set[tuple[str, str]] = set()
        self._mig_of: dict[str, tuple[str, ...]] = {}
        self._by_index: dict[int, _Identity] = {}
        """Only while the library is open: the order may be another afterwards."""
        self._ever: dict[str, _Identity] = {}
        self._events = NvmlEvents()
        self._opened = threading.Event()
        self._in_use = threading.Lock()

    def sweep(self) -> Sweep:
        try:
            self._ensure_open()
            found = [self._device(at) for at in range(nv.nvmlDeviceGetCount())]
            readings = [reading for reading in found if reading is not None]
            listed = {reading.uuid for reading in readings}
            readings += [
                known.reading("gone") for known in self._ever.values() if known.uuid not in listed
            ]
            return Sweep(
                readings=tuple(readings),
                driver_version=_text(nv.nvmlSystemGetDriverVersion()),
                library_version=_text(nv.nvmlSystemGetNVMLVersion()),
            )
        except nv.NVMLError as error:
            self._close()
            return self._silent(_node_state(error), str(error))
        except nv.NVMLLibraryMismatchError as error:
            self._close()
            return self._silent("mismatch", str(error))

    def wait_faults(self, timeout_ms: int) -> tuple[Fault, ...]:
        """Raises NVMLError where the driver has no events; an empty answer is the time-out."""
        if not self._opened.wait(timeout_ms / 1000):
            return ()
        with self._in_use:
            return self._events.wait(timeout_ms) if self._opened.is_set() else ()

    def _ensure_open(self) -> None:
        if not self._opened.is_set():
            nv.nvmlInit()
            self._opened.set()

    def _close(self) -> None:
        """The next sweep starts anew. What was known of the devices' abilities is forgotten."""
        was_open = self._opened.is_set()
        self._opened.clear()
        self._by_index.clear()
        self._cannot.clear()
        with self._in_use, contextlib.suppress(nv.NVMLError):
            self._events.close()
            if was_open:
                nv.nvmlShutdown()

    def _silent(self, state: str, detail: str) -> Sweep:
        """Devices that were there are still expected: they do not vanish with the driver."""
        readings = tuple(known.reading("error", detail) for known in self._ever.values())
        return Sweep(readings, state=state, detail=detail)

    def _device(self, at: int) -> Reading | None:
        """None for a device that fails before it ever said who it is: it counts as missing."""
        try:
            handle = nv.nvmlDeviceGetHandleByIndex(at)
            identity = self._identify(at, handle)
        except nv.NVMLError as error:
            known = self._by_index.get(at)
            if known is None:
                return None
            return known.reading(_DEVICE_STATES.get(error.value, "error"), str(error))
        return self._read(identity, handle)

    def _identify(self, at: int, handle: Any) -> _Identity:
        uuid = _text(nv.nvmlDeviceGetUUID(handle))
        known = self._by_index.get(at)
        if known is None or known.uuid != uuid:
            known = _Identity(
                uuid,
                at,
                _text(nv.nvmlDeviceGetPciInfo(handle).busId),
                _or_empty(nv.nvmlDeviceGetName, handle),
                _or_empty(nv.nvmlDeviceGetVbiosVersion, handle),
                _or_empty(nv.nvmlDeviceGetMinorNumber, handle),
            )
            self._by_index[at] = self._ever[uuid] = known
            self._events.knows(handle, bus_key(known.pci_bus_id))
        return known

    def _read(self, identity: _Identity, handle: Any) -> Reading:
        probe = Probe(handle, FIELDS)
        uuid = identity.uuid
        mig, parts = _mig(handle)
        split = tuple(_text(nv.nvmlDeviceGetUUID(part)) for part in parts)
        if self._mig_of.get(uuid, split) != split:
            # What a device can tell depends on how it is split.
            self._cannot = {key for key in self._cannot if key[0] != uuid}
        self._mig_of[uuid] = split
        samples, failed = self._ask(uuid, probe, self._readers)
        state = "ok" if failed is None else _DEVICE_STATES.get(failed.value, "error")
        if state in _DEVICE_STATES.values():
            return identity.reading(state, str(failed))
        return replace(
            identity.reading(state, "" if failed is None else str(failed)),
            samples=samples,
            mig=mig,
            instances=tuple(self._instance(part) for part in parts),
            pids=_pids(probe),
        )

    def _ask(
        self, uuid: str, probe: Probe, readers: Sequence[str]
    ) -> tuple[dict[str, tuple[Sample, ...]], nv.NVMLError | None]:
        """What the readers found, and the failure that says most about the device."""
        samples: dict[str, tuple[Sample, ...]] = {}
        failed: nv.NVMLError | None = None
        for name in readers:
            if (uuid, name) in self._cannot:
                continue
            try:
                samples[name] = READERS[name](probe)
            except _CANNOT:
                self._cannot.add((uuid, name))
            except nv.NVMLError as error:
                failed = error
                if error.value in _DEVICE_STATES:
                    break
        return samples, failed

    def _instance(self, part: Any) -> Instance:
        uuid = _text(nv.nvmlDeviceGetUUID(part))
        wanted = [name for name in INSTANCE_READERS if name in self._readers]
        samples, _ = self._ask(uuid, Probe(part, FIELDS), wanted)
        number = _or_empty(nv.nvmlDeviceGetGpuInstanceId, part)
        name = _or_empty(nv.nvmlDeviceGetName, part)
        return Instance(uuid, number, name.partition(" MIG ")[2], samples)


def _node_state(error: nv.NVMLError) -> str:
    if error.value in (nv.NVML_ERROR_LIBRARY_NOT_FOUND, nv.NVML_ERROR_DRIVER_NOT_LOADED):
        return "no_driver"
    return "mismatch" if error.value == nv.NVML_ERROR_LIB_RM_VERSION_MISMATCH else "error"


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _or_empty(call: Any, handle: Any) -> str:
    try:
        return _text(call(handle))
    except nv.NVMLError:
        return ""


def _pids(probe: Probe) -> tuple[int, ...]:
    try:
        return running_pids(probe)
    except nv.NVMLError:
        return ()


def _mig(handle: Any) -> tuple[bool, list[Any]]:
    """Whether the device is split, and the handles of its instances."""
    found: list[Any] = []
    try:
        if nv.nvmlDeviceGetMigMode(handle)[0] != nv.NVML_DEVICE_MIG_ENABLE:
            return False, found
        for at in range(nv.nvmlDeviceGetMaxMigDeviceCount(handle)):
            with contextlib.suppress(nv.NVMLError_NotFound, nv.NVMLError_InvalidArgument):
                found.append(nv.nvmlDeviceGetMigDeviceHandleByIndex(handle, at))
    except nv.NVMLError:
        return bool(found), found
    return True, found
