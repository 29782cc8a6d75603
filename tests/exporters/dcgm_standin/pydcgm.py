"""Stands in for DCGM's Python bindings: the calls that the exporter makes, on a world kept here.

`WORLD` is the host engine. Names, arguments and shapes of the answers are those of the bindings.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import dcgm_fields


class DCGMError(Exception):
    """What the bindings raise."""


@dataclass
class World:
    up: bool = True
    address: str = "localhost:5555"
    uuids: dict[int, str] = field(default_factory=dict)
    gpu_values: dict[int, dict[str, Any]] = field(default_factory=dict)
    switch_values: dict[int, dict[str, Any]] = field(default_factory=dict)
    incidents: list[SimpleNamespace] = field(default_factory=list)
    groups: set[str] = field(default_factory=set)
    connections: int = 0
    watched_us: int = 0

    def check(self) -> None:
        if not self.up:
            raise DCGMError("The connection to the host engine is not valid any longer")


WORLD = World()


class DcgmHandle:
    def __init__(self, handle: Any = None, ipAddress: str | None = None, opMode: int = 1) -> None:
        if ipAddress != WORLD.address:
            raise DCGMError("Host engine connection invalid/disconnected")
        WORLD.check()
        WORLD.connections += 1
        self.groups: set[str] = set()

    def GetSystem(self) -> Any:
        return DcgmSystem(self)

    def UpdateAllFields(self, waitForUpdate: bool) -> None:
        WORLD.check()

    def Shutdown(self) -> None:
        WORLD.connections -= 1
        WORLD.groups -= self.groups

    def own(self, name: str) -> None:
        WORLD.check()
        if name in WORLD.groups:
            raise DCGMError("Duplicate Key passed to function")
        WORLD.groups.add(name)
        self.groups.add(name)


class DcgmSystem:
    def __init__(self, handle: DcgmHandle) -> None:
        self._handle = handle
        self.discovery = self

    def GetEntityGroupEntities(self, entityGroupId: int, onlyActive: bool) -> list[int]:
        WORLD.check()
        return list(
            WORLD.uuids if entityGroupId == dcgm_fields.DCGM_FE_GPU else WORLD.switch_values
        )

    def GetGpuAttributes(self, gpuId: int) -> Any:
        return SimpleNamespace(identifiers=SimpleNamespace(uuid=WORLD.uuids[gpuId]))

    def GetEmptyGroup(self, groupName: str) -> Any:
        self._handle.own(f"group {groupName}")
        return DcgmGroup()


class DcgmFieldGroup:
    def __init__(self, dcgmHandle: DcgmHandle, name: str, fieldIds: list[int]) -> None:
        dcgmHandle.own(f"fields {name}")
        self.fieldIds = fieldIds


class DcgmGroup:
    def __init__(self) -> None:
        self.samples = self.health = self
        self._members: set[tuple[int, int]] = set()

    def AddEntity(self, entityGroupId: int, entityId: int) -> None:
        self._members.add((entityGroupId, entityId))

    def WatchFields(
        self, fieldGroup: DcgmFieldGroup, updateFreq: int, maxKeepAge: float, maxKeepSamples: int
    ) -> None:
        WORLD.watched_us = updateFreq

    def GetLatest_v2(self, fieldGroup: DcgmFieldGroup) -> Any:
        WORLD.check()
        found: dict[int, dict[int, dict[int, list[Any]]]] = {}
        for kind, values in (
            (dcgm_fields.DCGM_FE_GPU, WORLD.gpu_values),
            (dcgm_fields.DCGM_FE_SWITCH, WORLD.switch_values),
        ):
            for entity, named in values.items():
                if (kind, entity) in self._members:
                    found.setdefault(kind, {})[entity] = {
                        number: [SimpleNamespace(value=named.get(name), isBlank=name not in named)]
                        for name, number in vars(dcgm_fields).items()
                        if number in fieldGroup.fieldIds and name.startswith("DCGM_FI_")
                    }
        return SimpleNamespace(values=found)

    def Set(self, systems: int) -> None:
        WORLD.check()

    def Check(self) -> Any:
        WORLD.check()
        return SimpleNamespace(incidentCount=len(WORLD.incidents), incidents=WORLD.incidents)
