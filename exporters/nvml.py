"""NVIDIA's driver through the genuine nvidia-ml-py.

What a call's failure means (nvml.h): NotSupported, NoPermission and FunctionNotFound are
capabilities, remembered for a while and never counted; GpuIsLost and ResetRequired are states of
the device; a library that does not match the driver is a state of the node.
NVMLLibraryMismatchError is no NVMLError.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pynvml as nv

from exporters import mig
from exporters.device import Fault, Instance, Reading, Sample, Sweep, bus_key
from exporters.nvml_events import NvmlEvents
from exporters.probe import CANNOT, Probe, or_empty, text
from exporters.readers import FIELDS, INSTANCE_READERS, READERS, running_pids

_NODE_STATES = {
    nv.NVML_ERROR_LIBRARY_NOT_FOUND: "no_driver",
    nv.NVML_ERROR_DRIVER_NOT_LOADED: "no_driver",
    nv.NVML_ERROR_LIB_RM_VERSION_MISMATCH: "mismatch",
    nv.NVML_ERROR_UNINITIALIZED: "error",
}
"""What a call on a device may say too, when the driver was replaced under it."""
_ASK_AGAIN_S = 600.0
"""A card that is waking, or a licence that comes late, says NotSupported for a while only."""
_OPEN_AGAIN_S = 300.0
"""Where no device answers any more: a driver that was reloaded is found by opening it anew."""
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

    def __init__(
        self,
        readers: Sequence[str] = tuple(READERS),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._readers, self._clock = tuple(readers), clock
        self._cannot: dict[str, dict[str, float]] = {}
        """By UUID and reader: when it said that it cannot."""
        self._mig_of: dict[str, tuple[str, ...] | None] = {}
        """UUIDs of the instances; None for a device that is not split."""
        self._named: dict[str, tuple[str, str]] = {}
        """Number and profile of each instance."""
        self._opened_s = 0.0
        self._versions = "", ""
        """Of the driver and of the library, while it is open."""
        self._by_index: dict[int, _Identity] = {}
        """Only while the library is open: the order may be another afterwards."""
        self._ever: dict[str, _Identity] = {}
        self._events = NvmlEvents()
        self._opened = threading.Event()
        self._in_use = threading.Lock()

    def sweep(self) -> Sweep:
        try:
            self._ensure_open()
            readings, unnamed = _told_once(
                self._device(at) for at in range(nv.nvmlDeviceGetCount())
            )
            readings += self._unlisted({each.uuid for each in readings}, unnamed)
            if self._clock() - self._opened_s >= _OPEN_AGAIN_S and not any(
                reading.answers for reading in readings
            ):
                self._close()
            return Sweep(tuple(readings), *self._versions)
        except nv.NVMLError as error:
            self._close()
            return self._silent(_NODE_STATES.get(error.value, "error"), str(error))
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
        if self._opened.is_set():
            return
        nv.nvmlInit()
        self._opened.set()
        self._opened_s = self._clock()
        driver, library = nv.nvmlSystemGetDriverVersion(), nv.nvmlSystemGetNVMLVersion()
        self._versions = text(driver), text(library)

    def _close(self) -> None:
        """The next sweep starts anew. What was known of the devices' abilities is forgotten."""
        was_open = self._opened.is_set()
        self._opened.clear()
        self._by_index.clear()
        self._cannot.clear()
        with self._in_use:
            with contextlib.suppress(nv.NVMLError):
                self._events.close()
            if was_open:
                with contextlib.suppress(nv.NVMLError):
                    nv.nvmlShutdown()

    def _silent(self, state: str, detail: str) -> Sweep:
        """Devices that were there are still expected: they do not vanish with the driver."""
        readings = tuple(known.reading("error", detail) for known in self._ever.values())
        return Sweep(readings, state=state, detail=detail)

    def _unlisted(self, listed: set[str], states: list[str]) -> Iterator[Reading]:
        """Devices seen before. states: of those now listed that do not say who they are."""
        for known in self._ever.values():
            if known.uuid not in listed:
                yield known.reading(states.pop() if states else "gone")

    def _device(self, at: int) -> Reading | str:
        """Its state alone, for a device that fails before it ever said who it is."""
        try:
            handle = nv.nvmlDeviceGetHandleByIndex(at)
            identity = self._identify(at, handle)
        except (nv.NVMLError, UnicodeDecodeError) as error:
            _raise_if_of_the_node(error)
            known = self._by_index.get(at)
            state = _state_of(error)
            return state if known is None else known.reading(state, str(error))
        return self._read(identity, handle)

    def _identify(self, at: int, handle: Any) -> _Identity:
        uuid = text(nv.nvmlDeviceGetUUID(handle))
        known = self._by_index.get(at)
        if known is None or known.uuid != uuid or not (known.model and known.vbios and known.minor):
            known = _Identity(
                uuid,
                at,
                text(nv.nvmlDeviceGetPciInfo(handle).busId),
                or_empty(nv.nvmlDeviceGetName, handle),
                or_empty(nv.nvmlDeviceGetVbiosVersion, handle),
                or_empty(nv.nvmlDeviceGetMinorNumber, handle),
            )
            self._by_index[at] = self._ever[uuid] = known
            self._events.knows(handle, bus_key(known.pci_bus_id))
        return known

    def _read(self, identity: _Identity, handle: Any) -> Reading:
        uuid, probe = identity.uuid, Probe(handle, FIELDS)
        parts, failed = mig.parts(handle)
        if isinstance(failed, CANNOT) and self._mig_of.get(uuid) is None:
            failed = None
        readers = self._readers
        if failed is None:
            self._note_split(uuid, None if parts is None else tuple(part for part, _ in parts))
        split = self._mig_of.get(uuid) is not None
        if failed is not None and split:
            # Whose memory it would be is not known now.
            readers = tuple(name for name in readers if name not in INSTANCE_READERS)
        samples, unread = self._ask(uuid, probe, readers)
        failed = unread or failed
        state = "ok" if failed is None else _state_of(failed)
        detail = "" if failed is None else str(failed)
        if state in _DEVICE_STATES.values():
            return identity.reading(state, detail)
        return replace(
            identity.reading(state, detail),
            samples=samples,
            mig=split,
            instances=tuple(self._instance(part, its) for part, its in parts or ()),
            pids=_pids(probe),
        )

    def _note_split(self, device: str, parts: tuple[str, ...] | None) -> None:
        """What a device can tell depends on how it is split."""
        before = self._mig_of.get(device, parts)
        self._mig_of[device] = parts
        if before != parts:
            for uuid in (device, *(before or ())):
                self._cannot.pop(uuid, None)
                self._named.pop(uuid, None)

    def _ask(
        self, uuid: str, probe: Probe, readers: Sequence[str]
    ) -> tuple[dict[str, tuple[Sample, ...]], Exception | None]:
        """What the readers found, and the failure that says most about the device."""
        samples: dict[str, tuple[Sample, ...]] = {}
        failed: Exception | None = None
        cannot, now_s = self._cannot.setdefault(uuid, {}), self._clock()
        for name in readers:
            if now_s - cannot.get(name, -_ASK_AGAIN_S) < _ASK_AGAIN_S:
                continue
            try:
                samples[name] = READERS[name](probe)
            except CANNOT:
                cannot[name] = now_s
            except Exception as error:  # noqa: BLE001  # garbage too costs its own value alone
                _raise_if_of_the_node(error)
                failed = error
                if _state_of(error) != "error":
                    break
        return samples, failed

    def _instance(self, uuid: str, part: Any) -> Instance:
        wanted = [name for name in INSTANCE_READERS if name in self._readers]
        samples, _ = self._ask(uuid, Probe(part, FIELDS), wanted)
        if not all(self._named.get(uuid, ("", ""))):
            name = or_empty(nv.nvmlDeviceGetName, part)
            number = or_empty(nv.nvmlDeviceGetGpuInstanceId, part)
            self._named[uuid] = number, mig.profile(name)
        return Instance(uuid, *self._named[uuid], samples)


def _told_once(found: Iterable[Reading | str]) -> tuple[list[Reading], list[str]]:
    """Each device once, and the states of those that do not say who they are.

    A device that comes or goes during the sweep shifts the others: one may be met at two
    indices, or be taken for another that now fails where it was. Whichever answers is the one.
    """
    once: dict[str, Reading] = {}
    unnamed = []
    for each in found:
        if isinstance(each, str):
            unnamed.append(each)
            continue
        met = once.get(each.uuid)
        if met is None or (each.answers and not met.answers):
            once[each.uuid] = each
        if met is not None and not (each.answers and met.answers):
            unnamed.append(met.state if each.answers else each.state)
    return list(once.values()), unnamed


def _state_of(error: Exception) -> str:
    """Of the device whose call ended so: one of STATES."""
    return _DEVICE_STATES.get(getattr(error, "value", None), "error")


def _raise_if_of_the_node(error: Exception) -> None:
    if isinstance(error, nv.NVMLError) and error.value in _NODE_STATES:
        raise error


def _pids(probe: Probe) -> tuple[int, ...]:
    try:
        return running_pids(probe)
    except nv.NVMLError:
        return ()
