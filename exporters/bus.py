"""Which GPUs the PCI bus has, whatever the driver's library says.

A card that was lost before the exporter came is in no answer of the library, and the kubelet counts
healthy ones only. The kernel still has it bound to the driver.
"""

from __future__ import annotations

from pathlib import Path

from exporters.device import bus_key

BOUND = Path("/sys/bus/pci/drivers/nvidia")
_DISPLAY = "0x03"
"""PCI class of GPUs; NVSwitches and audio functions have others."""


def gpus(bound: Path = BOUND) -> frozenset[str]:
    """Places of `bus_key`; none where there is no such driver or /sys may not be read.

    Only what the kernel has in memory is asked: a dead card does not block the reading.
    """
    try:
        entries = [entry for entry in bound.iterdir() if ":" in entry.name]
    except OSError:
        return frozenset()
    return frozenset(bus_key(entry.name) for entry in entries if _is_gpu(entry))


def _is_gpu(device: Path) -> bool:
    try:
        return (device / "class").read_text(errors="replace").startswith(_DISPLAY)
    except OSError:
        return False
