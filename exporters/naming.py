"""Who is meant: the labels of a device, and of the pod that holds it.

Identity is the UUID. The pod comes and goes, so series change when it does: join on `UUID`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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

    def instance(self, reading: Reading, part: Instance) -> dict[str, str]:
        labels = self._base(reading) | self._part(part)
        return labels | _only(self.holders.get(part.uuid, ()))

    def held(self, reading: Reading) -> list[tuple[dict[str, str], Holder]]:
        """Every holder of the device or of a part of it, with the labels of what it holds."""
        base = self._base(reading)
        own = [(base, holder) for holder in self._holders_of(reading)]
        return own + [
            (base | self._part(part), holder)
            for part in reading.instances
            for holder in self.holders.get(part.uuid, ())
        ]

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
        """By UUID; a claim names the device by the number of its device file."""
        found = self.holders.get(reading.uuid, ())
        if not found and reading.minor:
            found = self.holders.get(f"gpu-{reading.minor}", ())
        return found

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
