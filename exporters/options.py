"""What the exporter can be told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from exporters import kernel_log, pods
from exporters.rows import SHIPPED


@dataclass(frozen=True, slots=True)
class PushOptions:
    url: str
    queue: Path
    every_s: float = 15.0
    most_bytes: int = 64 * 1024 * 1024
    """On disk; the oldest go first."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Of every series beside its own; `job` and `instance` (the node's name) unless given."""
    token_file: Path | None = None
    """Bearer token, read anew for each request."""
    ca_file: Path | None = None


@dataclass(frozen=True, slots=True)
class ExporterOptions:
    host: str = "127.0.0.1"
    port: int = 9401
    extras_only: bool = False
    table: Path = SHIPPED
    pod_resources: Path = pods.SOCKET
    every_s: float = 10.0
    """How often the driver is asked."""
    deadline_s: float = 10.0
    """After how long without an answer the driver counts as blocked."""
    kernel_log: Path | None = kernel_log.KMSG
    """Second source of Xids; None does without. It may be unreadable: the page says so."""
    host_signals: bool = False
    """CPU, memory, disk, network and pressure of the node, where no node exporter runs."""
    dcgm: str = ""
    """Address of DCGM's host engine, as `localhost:5555`; empty asks NVML alone."""
    dcgm_bindings: Path | None = None
    """Folder of DCGM's Python bindings; None looks where its packages put them."""
    push: PushOptions | None = None
    """Where to send the page, for a node that nobody can scrape."""
