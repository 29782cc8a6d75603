"""A row of the metric table: which metric is read by which reader."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SHIPPED = Path(__file__).parent / "metrics.yaml"

DCGM_ONLY = ("dcgm", "dcgm_nvswitch")
"""What NVML cannot read: a field of DCGM with the metric's name, of a GPU or of an NVSwitch."""


@dataclass(frozen=True, slots=True)
class Row:
    name: str
    type: str
    help: str
    read: str
    """Name of a reader, or one of DCGM_ONLY."""
    extra: bool = False
    """Not shown by dcgm-exporter as it is shipped."""
