"""One NVML device during one sweep: each question is asked once, fields in one batch.

Several metrics come out of one answer (memory, utilization, remapped rows), and a call into the
driver costs a lock that serving shares.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pynvml as nv

_MEMBERS = {0: "dVal", 1: "uiVal", 2: "ulVal", 3: "ullVal", 4: "sllVal", 5: "siVal", 6: "usVal"}
"""Member of NVML's union by the value type that the item names."""
_BLANK = {"uiVal": 2**32 - 1, "ulVal": 2**64 - 1, "ullVal": 2**64 - 1}
"""What the driver writes where it has no value."""


CANNOT = (
    nv.NVMLError_NotSupported,
    nv.NVMLError_NoPermission,
    nv.NVMLError_FunctionNotFound,
    nv.NVMLError_ArgumentVersionMismatch,
    # A constant or structure that this driver does not know yet, or no longer.
    nv.NVMLError_InvalidArgument,
    nv.NVMLError_Deprecated,
    nv.NVMLLibraryMismatchError,
)
"""Failures that are none: the card, the driver or our rights have no such thing."""


class Probe:
    """Raises NVMLError as the driver does, the same again when a question is repeated."""

    def __init__(self, handle: Any, fields: Sequence[int]) -> None:
        self.handle = handle
        self._fields = tuple(fields)
        self._answers: dict[tuple[object, ...], Any] = {}

    def ask(self, call: Callable[..., Any], *args: object) -> Any:
        key = (call, *args)
        if key not in self._answers:
            try:
                self._answers[key] = call(self.handle, *args)
            except nv.NVMLError as error:
                self._answers[key] = error
        answer = self._answers[key]
        if isinstance(answer, nv.NVMLError):
            raise answer
        return answer

    def first(self, *calls: Callable[..., Any]) -> Any:
        """The first of several spellings of one call that this driver knows."""
        for call in calls[:-1]:
            try:
                return self.ask(call)
            except (nv.NVMLError_FunctionNotFound, nv.NVMLError_ArgumentVersionMismatch):
                continue
        return self.ask(calls[-1])

    def field(self, number: int) -> float:
        """A field of the device, from the one batch of this sweep."""
        return value_of(self.ask(self._batch)[number])

    def scoped_fields(self, wanted: Sequence[tuple[int, int]]) -> Any:
        """Items of pairs of field and link, in their order, from one call: see `value_of`."""
        return self.ask(_scoped, tuple(wanted))

    def _batch(self, handle: Any) -> dict[int, Any]:
        items = nv.nvmlDeviceGetFieldValues(handle, list(self._fields))
        return {int(item.fieldId): item for item in items}


def value_of(item: Any) -> float:
    """Each item carries its own return code. A field that this driver does not know is a
    capability it lacks. Raises NVMLError."""
    code = item.nvmlReturn
    if code == nv.NVML_ERROR_INVALID_ARGUMENT:
        code = nv.NVML_ERROR_NOT_SUPPORTED
    if code != nv.NVML_SUCCESS:
        raise nv.NVMLError(code)
    member = _MEMBERS.get(item.valueType, "ullVal")
    value = getattr(item.value, member)
    if value == _BLANK.get(member):
        raise nv.NVMLError(nv.NVML_ERROR_NOT_SUPPORTED)
    return float(value)


def _scoped(handle: Any, numbers: Sequence[tuple[int, int]]) -> Any:
    return nv.nvmlDeviceGetFieldValues(handle, list(numbers))


def text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def or_empty(call: Any, handle: Any) -> str:
    """A failing card may have noise in its memory for names."""
    try:
        return text(call(handle))
    except (nv.NVMLError, UnicodeDecodeError):
        return ""
