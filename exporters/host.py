"""The node itself, for nodes without a node exporter: off unless asked for.

The names are our own, so that nothing is counted twice should a node exporter come later.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import psutil

from exporters import cgroups
from exporters.exposition import Family

PRESSURE = Path("/proc/pressure")
_MICRO = 1e6


def collect(
    hostname: str,
    pressure: Path = PRESSURE,
    root: Path = Path("/"),
    groups: Path = cgroups.ROOT,
) -> Iterator[Family]:
    """What cannot be read is left out."""
    base = {"Hostname": hostname}
    yield from _cpu(base)
    yield from _memory(base)
    yield from _disk(base, root)
    yield from _network(base)
    yield from _pressure(base, pressure, groups)


def _pressure(base: dict[str, str], pressure: Path, groups: Path) -> Iterator[Family]:
    """Pressure stall totals; kernels before 4.20, or with it off, have none."""
    node = Family("healer_host_pressure_seconds_total", "counter", "Time some or all tasks waited.")
    pods = Family(
        "healer_pod_pressure_seconds_total", "counter", "Time some or all tasks of a pod waited."
    )
    for resource in ("cpu", "memory", "io"):
        for share, seconds in _stalls(pressure / resource):
            node.add(seconds, base | {"resource": resource, "share": share})
    for uid, group in cgroups.pods(groups):
        for resource in ("cpu", "memory", "io"):
            for share, seconds in _stalls(group / f"{resource}.pressure"):
                labels = {"pod_uid": uid, "resource": resource, "share": share}
                pods.add(seconds, base | labels)
    yield from (node, pods)


def _stalls(file: Path) -> Iterator[tuple[str, float]]:
    """(`some` or `full`, seconds) of a pressure file; nothing of what cannot be read."""
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        share, _, rest = line.partition(" ")
        total = rest.rpartition("total=")[2]
        if total.isdigit():
            yield share, int(total) / _MICRO


def _cpu(base: dict[str, str]) -> Iterator[Family]:
    seconds = Family("healer_host_cpu_seconds_total", "counter", "CPU time by mode.")
    for mode, value in psutil.cpu_times()._asdict().items():
        seconds.add(value, base | {"mode": mode})
    load = Family("healer_host_load1", "gauge", "Tasks running or waiting, over a minute.")
    load.add(os.getloadavg()[0], base)
    count = Family("healer_host_cpus", "gauge", "Logical CPUs.")
    count.add(float(psutil.cpu_count() or 0), base)
    yield from (seconds, load, count)


def _memory(base: dict[str, str]) -> Iterator[Family]:
    memory = psutil.virtual_memory()
    for name, value in (("total", memory.total), ("available", memory.available)):
        family = Family(f"healer_host_memory_{name}_bytes", "gauge", f"Memory {name}.")
        family.add(float(value), base)
        yield family


def _disk(base: dict[str, str], root: Path) -> Iterator[Family]:
    usage = psutil.disk_usage(str(root))
    for name, value in (("size", usage.total), ("free", usage.free)):
        family = Family(f"healer_host_disk_{name}_bytes", "gauge", f"Root file system {name}.")
        family.add(float(value), base)
        yield family
    busy = Family("healer_host_disk_io_seconds_total", "counter", "Time the disk was busy.")
    for device, counters in (psutil.disk_io_counters(perdisk=True) or {}).items():
        milliseconds = getattr(counters, "busy_time", None)
        if milliseconds is not None:
            busy.add(milliseconds / 1000, base | {"disk": device})
    yield busy


def _network(base: dict[str, str]) -> Iterator[Family]:
    sent = Family("healer_host_network_sent_bytes_total", "counter", "Bytes sent.")
    received = Family("healer_host_network_received_bytes_total", "counter", "Bytes received.")
    errors = Family("healer_host_network_errors_total", "counter", "Packets in error or dropped.")
    for card, c in psutil.net_io_counters(pernic=True).items():
        labels = base | {"interface": card}
        sent.add(float(c.bytes_sent), labels)
        received.add(float(c.bytes_recv), labels)
        errors.add(float(c.errin + c.errout + c.dropin + c.dropout), labels)
    yield from (sent, received, errors)
