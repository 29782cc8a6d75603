"""What is known → metric families. Each scrape asks what is known now; nothing is held."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from exporters import cgroups
from exporters.device import (
    DRIVER_STATES,
    STATES,
    SXID_FATAL,
    XID,
    Reading,
    Sweep,
    Switch,
    bus_key,
)
from exporters.exposition import Family
from exporters.naming import Naming
from exporters.pods import Allotted
from exporters.readers import INSTANCE_READERS
from exporters.rows import Row
from exporters.watch import Seen
from healer import __version__

LAST_XID = "DCGM_FI_DEV_XID_ERRORS"


@dataclass(frozen=True, slots=True)
class Exposition:
    """`collect()` is one page."""

    rows: tuple[Row, ...]
    seen: Callable[[], Seen]
    allotted: Callable[[], tuple[Allotted, bool]]
    hostname: str
    extras_only: bool = False
    uid_of: Callable[[int], str] = cgroups.pod_uid
    command_of: Callable[[int], str] = cgroups.command
    on_bus: Callable[[], frozenset[str]] = frozenset

    def collect(self) -> Iterator[Family]:
        seen = self.seen()
        allotted, kubelet_answers = self.allotted()
        sweep = seen.sweep or Sweep(())
        naming = Naming(self.hostname, sweep.driver_version, allotted.holders, self.uid_of)
        # Values from before the driver stopped answering would pass for fresh ones.
        fresh = () if seen.blocked_s else sweep.readings
        for row in self.rows:
            if row.extra or not self.extras_only:
                if row.read == "dcgm_nvswitch":
                    yield _of_switches(row, () if seen.blocked_s else sweep.switches, self.hostname)
                else:
                    yield _of_row(row, fresh, naming, self._of_process)
        if sweep.dcgm is not None:
            yield from _dcgm(sweep, naming, self.hostname)
        yield from self._xids(seen, sweep, naming)
        yield from _devices(seen, sweep, naming)
        yield from self._node(seen, sweep, len(allotted.allocatable), self.on_bus())
        kubelet = Family(
            "healer_gpu_kubelet_up", "gauge", "Whether the kubelet answered who holds which GPU."
        )
        kubelet.add(float(kubelet_answers), {"Hostname": self.hostname})
        yield kubelet

    def _xids(self, seen: Seen, sweep: Sweep, naming: Naming) -> Iterator[Family]:
        by_bus = {bus_key(r.pci_bus_id): r for r in sweep.readings}
        if not self.extras_only:
            newest = Family(LAST_XID, "gauge", "Value of the last XID error encountered.")
            for bus, reading in by_bus.items():
                code = seen.last_codes.get(bus, 0)
                newest.add(float(code), naming.device(reading) | {"err_code": str(code)})
            yield newest
        total = Family("healer_gpu_xid_errors_total", "counter", "Xids by code since boot.")
        bursts = Family(
            "healer_gpu_xid_bursts_total", "counter", "Xids, repeats within 3 minutes as one."
        )
        last = Family(
            "healer_gpu_xid_last_seen_timestamp_seconds", "gauge", "When the Xid was last seen."
        )
        switch = Family(
            "healer_gpu_nvswitch_errors_total", "counter", "SXids of NVSwitches by code since boot."
        )
        for xid in seen.xids:
            if xid.kind != XID:
                labels = {"pci_bus_id": xid.bus, "Hostname": self.hostname, "sxid": str(xid.code)}
                fatal = str(xid.kind == SXID_FATAL).lower()
                switch.add(xid.count, labels | {"fatal": fatal})
                continue
            known = by_bus.get(xid.bus)
            # A device that nobody ever saw alive has no UUID, only a place.
            where = {"pci_bus_id": xid.bus, "Hostname": self.hostname}
            labels = (naming.device(known) if known else where) | {"xid": str(xid.code)}
            total.add(xid.count, labels)
            bursts.add(xid.bursts, labels)
            last.add(xid.last_s, labels)
        yield from (total, bursts, last, switch)

    def _of_process(self, labels: Mapping[str, str]) -> Mapping[str, str]:
        """Whose process it is, where that can be seen: who took the memory of a shared GPU."""
        pid = int(labels["pid"])
        more = {"command": self.command_of(pid), "pod_uid": self.uid_of(pid)}
        return {**labels, **{name: text for name, text in more.items() if text}}

    def _node(
        self, seen: Seen, sweep: Sweep, allocatable: int, on_bus: frozenset[str]
    ) -> Iterator[Family]:
        host = {"Hostname": self.hostname}
        silent = Family(
            "healer_gpu_silent", "gauge", "1 for a GPU on the bus that the driver does not list."
        )
        values: list[tuple[str, str, float]] = [
            (
                "healer_gpu_driver_blocked",
                "Seconds that a driver call has not come back; 0 while the driver answers.",
                seen.blocked_s,
            ),
        ]
        if seen.sweep is not None:
            values.append(("healer_gpu_sweep_age_seconds", "Age of this page.", seen.age_s))
            values.append(("healer_gpu_sweep_seconds", "How long the driver took.", seen.took_s))
            if not seen.blocked_s:
                listed = {bus_key(reading.pci_bus_id) for reading in sweep.readings}
                for bus in sorted(on_bus - listed):
                    silent.add(1.0, {"pci_bus_id": bus, **host})
                present = sum(reading.answers for reading in sweep.readings)
                values.append(("healer_gpu_present", "GPUs that answer now.", present))
        if seen.sweep is not None or allocatable or on_bus:
            values.append(
                (
                    "healer_gpu_expected",
                    "The most GPUs seen since start, that the kubelet may give, or on the bus.",
                    max(seen.most_gpus, allocatable, len(on_bus)),
                )
            )
        for name, text, value in values:
            family = Family(name, "gauge", text)
            family.add(value, host)
            yield family
        if seen.sweep is not None:
            state = Family("healer_gpu_driver_state", "gauge", "1 for the state of the driver.")
            for name in DRIVER_STATES:
                state.add(float(sweep.state == name), host | {"state": name})
            yield state
        yield silent
        sweeps = Family("healer_gpu_sweeps_total", "counter", "How often the driver was asked.")
        sweeps.add(float(seen.sweeps), host)
        yield sweeps
        built = Family("healer_gpu_exporter_info", "gauge", "Version of the exporter, as a label.")
        built.add(1.0, host | {"version": __version__})
        yield built
        source = Family(
            "healer_gpu_xid_source_up", "gauge", "Whether a source of Xids can be listened to."
        )
        for name, up in seen.sources.items():
            source.add(float(up), host | {"source": name})
        yield source


def _of_row(
    row: Row,
    readings: Iterable[Reading],
    naming: Naming,
    of_process: Callable[[Mapping[str, str]], Mapping[str, str]],
) -> Family:
    family = Family(row.name, row.type, row.help)
    for reading in readings:
        # With instances the device's own value would count the same memory twice.
        if reading.instances and row.read in INSTANCE_READERS:
            for part, base in naming.instances(reading):
                for sample in part.samples.get(row.read, ()):
                    family.add(sample.value, base)
            continue
        base = naming.device(reading)
        # What DCGM says of the metric stands before what NVML says.
        for sample in reading.samples.get(row.name, reading.samples.get(row.read, ())):
            own = of_process(sample.labels) if "pid" in sample.labels else sample.labels
            family.add(sample.value, {**base, **own} if own else base)
    return family


def _of_switches(row: Row, switches: Iterable[Switch], hostname: str) -> Family:
    family = Family(row.name, row.type, row.help)
    for switch in switches:
        labels = {"nvswitch": f"nvswitch{switch.number}", "Hostname": hostname}
        for sample in switch.samples.get(row.name, ()):
            family.add(sample.value, labels)
    return family


def _dcgm(sweep: Sweep, naming: Naming, hostname: str) -> Iterator[Family]:
    up = Family("healer_gpu_dcgm_up", "gauge", "Whether DCGM's host engine answers.")
    up.add(float(bool(sweep.dcgm)), {"Hostname": hostname})
    health = Family(
        "healer_gpu_dcgm_health", "gauge", "What DCGM's watches find wrong: 10 warning, 20 failure."
    )
    devices = {reading.uuid: naming.device(reading) for reading in sweep.readings}
    worst: dict[tuple[str, str, str], int] = {}
    for each in sweep.health:
        key = each.kind, each.entity, each.system
        worst[key] = max(each.result, worst.get(key, 0))
    for (kind, entity, system), result in worst.items():
        labels = devices.get(entity, {kind: entity, "Hostname": hostname})
        health.add(float(result), labels | {"system": system})
    yield from (up, health)


def _devices(seen: Seen, sweep: Sweep, naming: Naming) -> Iterator[Family]:
    state = Family("healer_gpu_state", "gauge", "1 for the state the device is in.")
    info = Family("healer_gpu_info", "gauge", "Versions, as labels.")
    held = Family("healer_gpu_holder", "gauge", "1 for every container that holds the GPU.")
    answered = Family(
        "healer_gpu_last_answer_timestamp_seconds", "gauge", "When the GPU last answered well."
    )
    for reading in sweep.readings:
        labels = naming.device(reading)
        now = "blocked" if seen.blocked_s else reading.state
        for name in STATES:
            state.add(float(now == name), labels | {"state": name})
        versions = {"nvml_version": sweep.library_version, "vbios_version": reading.vbios}
        info.add(1.0, labels | {name: value for name, value in versions.items() if value})
        for base, holder in naming.held(reading):
            held.add(1.0, base | holder.labels)
        if reading.uuid in seen.answered_s:
            answered.add(seen.answered_s[reading.uuid], labels)
    yield from (state, info, held, answered)
