"""What is known → metric families. Each scrape asks what is known now; nothing is held."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from exporters.device import Reading, Sweep
from exporters.exposition import Family
from exporters.pods import Holder
from exporters.table import Row
from exporters.watch import Seen

STATES = ("ok", "lost", "reset_required", "error")


@dataclass(frozen=True, slots=True)
class Exposition:
    """`collect()` is one page."""

    rows: tuple[Row, ...]
    seen: Callable[[], Seen]
    holders: Callable[[], Mapping[str, Holder]]
    hostname: str
    extras_only: bool = False

    def collect(self) -> Iterable[Family]:
        seen = self.seen()
        sweep = seen.sweep or Sweep(())
        held = self.holders()
        for row in self.rows:
            if row.extra or not self.extras_only:
                family = Family(row.name, row.type, row.help)
                for reading in sweep.readings:
                    base = self._labels(reading, sweep, held)
                    for sample in reading.samples.get(row.read, ()):
                        family.add(sample.value, base | dict(sample.labels))
                if family.samples:
                    yield family
        yield from self._states(sweep, held)
        yield from self._faults(seen, sweep, held)
        yield from self._node(seen, sweep)

    def _labels(self, reading: Reading, sweep: Sweep, held: Mapping[str, Holder]) -> dict[str, str]:
        labels = {
            "gpu": str(reading.index),
            "UUID": reading.uuid,
            "pci_bus_id": reading.pci_bus_id,
            "device": f"nvidia{reading.index}",
            "modelName": reading.model,
            "Hostname": self.hostname,
            "DCGM_FI_DRIVER_VERSION": sweep.driver_version,
        }
        for identity in (reading.uuid, *reading.mig):
            if holder := held.get(identity):
                return labels | {
                    "namespace": holder.namespace,
                    "pod": holder.pod,
                    "container": holder.container,
                }
        return labels

    def _states(self, sweep: Sweep, held: Mapping[str, Holder]) -> Iterable[Family]:
        family = Family("healer_gpu_state", "gauge", "1 for the state the device is in.")
        for reading in sweep.readings:
            for state in STATES:
                labels = self._labels(reading, sweep, held) | {"state": state}
                family.add(float(reading.state == state), labels)
        yield family

    def _faults(self, seen: Seen, sweep: Sweep, held: Mapping[str, Holder]) -> Iterable[Family]:
        total = Family("healer_gpu_xid_errors_total", "counter", "Xid errors by code since start.")
        last = Family(
            "healer_gpu_xid_last_seen_timestamp_seconds", "gauge", "When the Xid was last seen."
        )
        known = {reading.uuid: reading for reading in sweep.readings}
        for (uuid, code), count in seen.faults.items():
            reading = known.get(uuid)
            base = (
                self._labels(reading, sweep, held)
                if reading
                else {
                    "UUID": uuid,
                    "Hostname": self.hostname,
                }
            )
            labels = base | {"xid": str(code)}
            total.add(count, labels)
            last.add(seen.fault_at[uuid, code], labels)
        yield total
        yield last

    def _node(self, seen: Seen, sweep: Sweep) -> Iterable[Family]:
        host = {"Hostname": self.hostname}
        for name, text, value in (
            (
                "healer_gpu_present",
                "GPUs that answer now.",
                sum(r.state in ("ok", "error") for r in sweep.readings),
            ),
            ("healer_gpu_expected", "The most GPUs seen since start.", seen.most_gpus),
            (
                "healer_gpu_driver_blocked",
                "Seconds a driver call has been blocked; 0 if it answers.",
                seen.blocked_s,
            ),
            ("healer_gpu_sweep_age_seconds", "Age of the values on this page.", seen.age_s),
        ):
            family = Family(name, "gauge", text)
            family.add(float(value), host)
            yield family
        state = Family("healer_gpu_driver_state", "gauge", "1 for the state of the driver.")
        for name in ("ok", "no_driver", "mismatch", "error"):
            state.add(float(sweep.state == name), host | {"state": name})
        yield state
