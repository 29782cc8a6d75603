"""The seam between vendors: what the exporter asks of an accelerator.

NVIDIA's fulfilment is `exporters.nvml`. A second vendor is one more file with a `Driver`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

STATES = ("ok", "lost", "reset_required", "error", "gone", "blocked")
"""`lost`: off the bus. `error`: a call failed in a way that is no capability. `gone`: seen
before, no longer listed. `blocked`: nobody knows, the driver does not come back."""

DRIVER_STATES = ("ok", "no_driver", "mismatch", "error")
"""`mismatch`: library and kernel driver are of different versions."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of a metric; `labels` beyond those of the device, such as `link` or `reason`."""

    value: float
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Instance:
    """A MIG instance, as dcgm-exporter labels it."""

    uuid: str
    number: str
    profile: str
    samples: Mapping[str, tuple[Sample, ...]]


@dataclass(frozen=True, slots=True)
class Reading:
    """One device at one moment. Absent is absent: a field without an answer has no entry."""

    uuid: str
    index: int
    """The order may change at a reboot: a label for people, never identity."""
    pci_bus_id: str
    model: str
    samples: Mapping[str, tuple[Sample, ...]] = field(default_factory=dict)
    """By name of the reader."""
    state: str = "ok"
    """One of STATES."""
    detail: str = ""
    """What the driver said where the state is not `ok`."""
    vbios: str = ""
    minor: str = ""
    """Number of its device file, by which claims name it; nothing where it is unknown."""
    mig: bool = False
    """Whether it is split; then its instances hold the pods, not the device."""
    instances: tuple[Instance, ...] = ()
    pids: tuple[int, ...] = ()

    @property
    def answers(self) -> bool:
        return bool(self.samples)


@dataclass(frozen=True, slots=True)
class Switch:
    """An NVSwitch, by its number."""

    number: int
    samples: Mapping[str, tuple[Sample, ...]]
    """By name of the metric."""


@dataclass(frozen=True, slots=True)
class Health:
    """Something that DCGM's own watches find wrong."""

    system: str
    """`pcie`, `nvlink`, `mem`, `thermal`, …"""
    result: int
    """DCGM's number: 10 warning, 20 failure."""
    kind: str
    """`gpu`, `nvswitch` or `other`."""
    entity: str
    """UUID of a GPU, number of anything else."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """All devices of a node at one moment."""

    readings: tuple[Reading, ...]
    driver_version: str = ""
    library_version: str = ""
    state: str = "ok"
    """One of DRIVER_STATES."""
    detail: str = ""
    dcgm: bool | None = None
    """Whether DCGM's host engine answers; None where it is not asked."""
    dcgm_detail: str = ""
    switches: tuple[Switch, ...] = ()
    health: tuple[Health, ...] = ()


XID, SXID_FATAL, SXID_OTHER = "Xid", "fatal SXid", "SXid"
"""Errors of GPUs, and of NVSwitches: a fatal one ends what runs over the fabric."""


@dataclass(frozen=True, slots=True)
class Fault:
    """An error that one source reported by its number."""

    bus: str
    """Where the device is, of `bus_key`: the kernel log knows no UUIDs."""
    code: int
    at_s: float | None = None
    """Seconds since the epoch, where the source says when; otherwise it is now."""
    kind: str = XID


class Driver(Protocol):
    """A vendor's library. Calls may block for ever: they are made in a watched worker only."""

    def sweep(self) -> Sweep: ...

    def wait_faults(self, timeout_ms: int) -> tuple[Fault, ...]:
        """Faults since the last call, or none after the time-out. Has a thread of its own.

        Raises anything where the driver has no events."""
        ...


def bus_key(pci_bus_id: str) -> str:
    """`00000000:9B:00.0` and `0000:9b:00` → `0000:9b:00`; other text as it is, in lower case."""
    domain, _, rest = pci_bus_id.lower().partition(":")
    try:
        return f"{int(domain, 16):04x}:{rest.split('.')[0]}"
    except ValueError:
        return pci_bus_id.lower()
