"""NVIDIA's DCGM as a second source, through the Python bindings that come with its host engine.

It gives what NVML does not: profiling fields, health watches, NVSwitches. A metric keeps its name
and unit whichever of the two it comes from, for the names are DCGM's own. Where the engine does not
answer, NVML's values stand, and the page says so. MIG instances are read from NVML alone.
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from exporters.device import Driver, Fault, Health, Sample, Sweep, Switch
from healer.errors import BadInput

BINDINGS: tuple[Path, ...] = (
    Path("/usr/share/datacenter-gpu-manager-4/bindings/python3"),
    Path("/usr/local/dcgm/bindings/python3"),
    Path("/usr/local/dcgm/bindings"),
)
"""Where DCGM's packages put them, newest first."""

PREFIX = "DCGM_FI_"
_KEEP_S = 60.0
_WATCH = "DCGM_HEALTH_WATCH_"


def bindings(folder: Path | None) -> Path:
    """The folder with `pydcgm.py`. Raises BadInput where there is none."""
    candidates = BINDINGS if folder is None else (folder,)
    for each in candidates:
        if (each / "pydcgm.py").is_file():
            return each
    raise BadInput(
        "expected the folder of DCGM's Python bindings (it has pydcgm.py)",
        value=", ".join(map(str, candidates)),
    )


class Dcgm:
    """What `under` reads, with the values of DCGM's fields where its engine answers.

    Called from the sweeping thread alone: DCGM's calls may block as the driver's do.
    """

    def __init__(
        self, under: Driver, names: Sequence[str], folder: Path, address: str, every_s: float
    ) -> None:
        """names: of metrics; those that are DCGM's fields are asked of it."""
        self._under = under
        self._names = tuple(name for name in names if name.startswith(PREFIX))
        self._folder, self._address, self._every_s = folder, address, every_s
        self._engine: _Engine | None = None

    def sweep(self) -> Sweep:
        seen = self._under.sweep()
        try:
            if self._engine is None:
                self._engine = _Engine(self._folder, self._address, self._names, self._every_s)
            values, switches = self._engine.latest()
            health = self._engine.health()
        except Exception as error:  # noqa: BLE001  # the bindings raise what they like
            if self._engine is not None:
                self._engine.close()
                self._engine = None
            return replace(seen, dcgm=False, dcgm_detail=f"{type(error).__name__}: {error}")
        readings = tuple(
            replace(each, samples={**each.samples, **values.get(each.uuid, {})})
            if each.answers
            else each
            for each in seen.readings
        )
        return replace(seen, readings=readings, dcgm=True, switches=switches, health=health)

    def wait_faults(self, timeout_ms: int) -> tuple[Fault, ...]:
        return self._under.wait_faults(timeout_ms)


class _Engine:
    """One connection; thrown away on the first failure."""

    def __init__(self, folder: Path, address: str, names: Iterable[str], every_s: float) -> None:
        pydcgm, self._fields, structs = _import(folder)
        asked = {name: getattr(self._fields, name, None) for name in names}
        self._names = {number: name for name, number in asked.items() if isinstance(number, int)}
        self._systems = _systems(structs)
        self._kinds = {self._fields.DCGM_FE_GPU: "gpu", self._fields.DCGM_FE_SWITCH: "nvswitch"}
        self._handle = pydcgm.DcgmHandle(ipAddress=address, opMode=structs.DCGM_OPERATION_MODE_AUTO)
        try:
            self._watch(pydcgm, structs, every_s)
        except Exception:
            self.close()
            raise

    def _watch(self, pydcgm: ModuleType, structs: ModuleType, every_s: float) -> None:
        system = self._handle.GetSystem()
        # Names are the engine's, not ours alone, and an earlier connection may linger.
        own = f"healer_{os.getpid()}_{next(_SERIAL)}"
        self._group = system.GetEmptyGroup(own)
        self._uuids: dict[int, str] = {}
        for kind in self._kinds:
            for entity in system.discovery.GetEntityGroupEntities(kind, True):
                self._group.AddEntity(kind, entity)
                if kind == self._fields.DCGM_FE_GPU:
                    attributes = system.discovery.GetGpuAttributes(entity)
                    self._uuids[entity] = _text(attributes.identifiers.uuid)
        self._watched = pydcgm.DcgmFieldGroup(self._handle, own, list(self._names))
        self._group.samples.WatchFields(self._watched, int(every_s * 1e6), _KEEP_S, 0)
        self._group.health.Set(structs.DCGM_HEALTH_WATCH_ALL)
        self._handle.UpdateAllFields(True)

    def latest(self) -> tuple[Mapping[str, Mapping[str, tuple[Sample, ...]]], tuple[Switch, ...]]:
        """Values by GPU and metric name, and the switches."""
        values = self._group.samples.GetLatest_v2(self._watched).values
        gpus = {
            self._uuids[entity]: self._named(fields)
            for entity, fields in values.get(self._fields.DCGM_FE_GPU, {}).items()
            if entity in self._uuids
        }
        switches = tuple(
            Switch(entity, self._named(fields))
            for entity, fields in sorted(values.get(self._fields.DCGM_FE_SWITCH, {}).items())
        )
        return gpus, switches

    def health(self) -> tuple[Health, ...]:
        """What the engine's own watches find wrong now."""
        answer = self._group.health.Check()
        found = []
        for at in range(answer.incidentCount):
            incident = answer.incidents[at]
            kind, entity = incident.entityInfo.entityGroupId, incident.entityInfo.entityId
            found.append(
                Health(
                    system=self._systems.get(incident.system, str(incident.system)),
                    result=int(incident.health),
                    kind=self._kinds.get(kind, "other"),
                    entity=self._uuids.get(entity, "")
                    if kind == self._fields.DCGM_FE_GPU
                    else str(entity),
                )
            )
        return tuple(found)

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self._handle.Shutdown()

    def _named(self, fields: Mapping[int, Sequence[Any]]) -> dict[str, tuple[Sample, ...]]:
        """A blank value is no value."""
        found: dict[str, tuple[Sample, ...]] = {}
        for number, series in fields.items():
            newest = series[-1]
            if number in self._names and not newest.isBlank:
                with contextlib.suppress(TypeError, ValueError):
                    found[self._names[number]] = (Sample(float(newest.value)),)
        return found


_SERIAL = itertools.count()


def _import(folder: Path) -> tuple[ModuleType, ModuleType, ModuleType]:
    """The bindings are plain modules that import one another by name."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    pydcgm, fields, structs = map(
        importlib.import_module, ("pydcgm", "dcgm_fields", "dcgm_structs")
    )
    return pydcgm, fields, structs


def _systems(structs: ModuleType) -> dict[int, str]:
    """Bit of a health watch → its name in lower case, such as `nvlink`."""
    found: dict[int, str] = {}
    for name in dir(structs):
        value = getattr(structs, name)
        if name.startswith(_WATCH) and isinstance(value, int) and value.bit_count() == 1:
            found.setdefault(value, name.removeprefix(_WATCH).lower())
    return found


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
