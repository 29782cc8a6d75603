"""The seam between vendors: what the exporter asks of an accelerator.

NVIDIA's fulfilment is `exporters.nvml`. A second vendor is one more file with a `Driver`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of a metric; `labels` beyond those of the device, such as `link` or `reason`."""

    value: float
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reading:
    """One device at one moment. Absent is absent: a field without an answer has no entry."""

    uuid: str
    index: int
    pci_bus_id: str
    model: str
    samples: Mapping[str, tuple[Sample, ...]]
    """By name of the reader."""
    state: str = "ok"
    """`ok`, `lost`, `reset_required` or `error`."""
    mig: tuple[str, ...] = ()
    """UUIDs of its MIG instances."""
    pids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Sweep:
    """All devices of a node at one moment."""

    readings: tuple[Reading, ...]
    driver_version: str = ""
    library_version: str = ""
    state: str = "ok"
    """`ok`, `no_driver`, `mismatch` (driver and library differ) or `error`."""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Fault:
    """An edge the driver reported: an Xid on a device."""

    uuid: str
    code: int


class Driver(Protocol):
    """A vendor's library. Calls may block for ever: they are made in a watched worker only."""

    def sweep(self) -> Sweep: ...

    def wait_faults(self, timeout_ms: int) -> tuple[Fault, ...]:
        """Faults since the last call, or none after the time-out. Has a thread of its own."""
        ...
