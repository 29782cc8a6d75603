"""Who is meant: the labels of a device, and of the pod that holds it.

Identity is the UUID. The pod comes and goes, so series change when it does: join on `UUID`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from exporters.device import Instance, Reading
from exporters.pods import Holder


@dataclass(slots=True)
class Naming:
    """The labels of one page."""

    hostname: str
    driver_version: str
    holders: Mapping[str, tuple[Holder, ...]]
    uid_of: Callable[[int], str]
    """Process → UID of its pod, or nothing."""
    _made: dict[str, dict[str, str]] = field(default_factory=dict)

    def device(self, reading: Reading) -> dict[str, str]:
        """Do not change what is returned."""
        if reading.uuid not in self._made:
            self._made[reading.uuid] = self._base(reading) | self._pod(reading)
        return self._made[reading.uuid]

    def instances(self, reading: Reading) -> Iterator[tuple[Instance, dict[str, str]]]:
        """Each GPU instance once, with its labels: what several pods share is no one's."""
        by_number: dict[str, list[Instance]] = {}
        for part in reading.instances:
            by_number.setdefault(part.number or part.uuid, []).append(part)
        for parts in by_number.values():
            held = {h for part in parts for h in self._holders_of_part(reading, part)}
            yield parts[0], self._base(reading) | self._part(parts[0]) | _only(tuple(held))

    def held(self, reading: Reading) -> list[tuple[dict[str, str], Holder]]:
        """Every holder of the device or of a part of it, with the labels of what it holds."""
        base = self._base(reading)
        own = [(base, holder) for holder in self._holders_of(reading)]
        parts = {
            (part.number, holder): (base | self._part(part), holder)
            for part in reading.instances
            for holder in self._holders_of_part(reading, part)
        }
        return own + list(parts.values())

    def _base(self, reading: Reading) -> dict[str, str]:
        return {
            "gpu": str(reading.index),
            "UUID": reading.uuid,
            "pci_bus_id": reading.pci_bus_id,
            "device": f"nvidia{reading.index}",
            "modelName": reading.model,
            "Hostname": self.hostname,
            "DCGM_FI_DRIVER_VERSION": self.driver_version,
        }

    @staticmethod
    def _part(part: Instance) -> dict[str, str]:
        return {"GPU_I_PROFILE": part.profile, "GPU_I_ID": part.number}

    def _holders_of(self, reading: Reading) -> tuple[Holder, ...]:
        """By UUID; a claim and Google's device plugin name the device by its file's number."""
        names = (reading.uuid, f"gpu-{reading.minor}", f"nvidia{reading.minor}")
        return self._first(*names[: 3 if reading.minor else 1])

    def _holders_of_part(self, reading: Reading, part: Instance) -> tuple[Holder, ...]:
        return self._first(part.uuid, f"nvidia{reading.minor}/gi{part.number}")

    def _first(self, *names: str) -> tuple[Holder, ...]:
        return next((self.holders[name] for name in names if name in self.holders), ())

    def _pod(self, reading: Reading) -> dict[str, str]:
        """A GPU that several pods share has no pod label: any one of them would be a lie."""
        if reading.mig:
            return {}
        holders = self._holders_of(reading)
        if holders:
            return _only(holders)
        uids = {uid for pid in reading.pids if (uid := self.uid_of(pid))}
        return {"pod_uid": uids.pop()} if len(uids) == 1 else {}


def _only(holders: tuple[Holder, ...]) -> dict[str, str]:
    return holders[0].labels if len(holders) == 1 else {}
