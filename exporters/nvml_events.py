"""Xids as NVML reports them: each once, those before registration never.

A device that fell off the bus has an event and then no name, so its place on the bus is kept from
the time it was well.
"""

from __future__ import annotations

import ctypes
import time
from typing import Any

import pynvml as nv

from exporters.device import Fault

_MASK = nv.nvmlEventTypeXidCriticalError
_LOOK_AGAIN_S = 5.0
"""How often devices that have come are looked for: registering costs driver calls."""
_AT_ONCE = 256
"""Most events taken in one go, so that a storm is counted while it lasts."""


class NvmlEvents:
    """One event set. Its operations are not thread-safe: only `wait` and `close` use it, and the
    caller keeps them apart."""

    def __init__(self) -> None:
        self._set: Any = None
        self._registered: set[str] = set()
        self._bus_of: dict[int, str] = {}
        self._looked_at = 0.0

    def knows(self, handle: Any, bus: str) -> None:
        """The device with this handle is there. Safe from another thread."""
        self._bus_of[_address(handle)] = bus

    def wait(self, timeout_ms: int) -> tuple[Fault, ...]:
        """Raises NVMLError where the driver has no events."""
        if time.monotonic() - self._looked_at >= _LOOK_AGAIN_S or not self._registered:
            self._register()
        found: list[Fault] = []
        while len(found) < _AT_ONCE:
            try:
                data = nv.nvmlEventSetWait_v2(self._set, 0 if found else timeout_ms)
            except nv.NVMLError_Timeout:
                break
            # Some drivers report the class of the event too; only Xids carry a code.
            if data.eventType == _MASK:
                bus = self._bus_of.get(_address(data.device), "")
                found.append(Fault(bus, int(data.eventData)))
        return tuple(found)

    def close(self) -> None:
        """Raises NVMLError."""
        used, self._set = self._set, None
        self._registered.clear()
        self._bus_of.clear()
        if used is not None:
            nv.nvmlEventSetFree(used)

    def _register(self) -> None:
        """Every device there is now, once each; one that cannot is skipped. Raises NVMLError
        where none can."""
        self._looked_at = time.monotonic()
        if self._set is None:
            self._set = nv.nvmlEventSetCreate()
        refused: nv.NVMLError | None = None
        for at in range(nv.nvmlDeviceGetCount()):
            try:
                handle = nv.nvmlDeviceGetHandleByIndex(at)
                uuid = nv.nvmlDeviceGetUUID(handle)
                if uuid in self._registered:
                    continue
                # Refused by the driver where the device has no such events.
                nv.nvmlDeviceRegisterEvents(handle, _MASK, self._set)
                self._registered.add(uuid)
            except nv.NVMLError as error:
                refused = error
        if refused is not None and not self._registered:
            raise refused


def _address(handle: Any) -> int:
    """Handles are pointers that stay the same while the library is open."""
    return ctypes.cast(handle, ctypes.c_void_p).value or 0
