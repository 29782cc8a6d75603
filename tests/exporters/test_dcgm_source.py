"""DCGM beside NVML: the same names, what only it knows, and what is left when it goes away."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from gpu_node import GpuNode, uuid_of
from gpu_page import Page, read

from exporters.exposition import render
from exporters.options import ExporterOptions
from exporters.serve import Exporter
from exporters.table import load_table
from healer.errors import BadInput

STANDIN = Path(__file__).parent / "dcgm_standin"
MODULES = ("pydcgm", "dcgm_fields", "dcgm_structs")


@pytest.fixture
def dcgm() -> Iterator[ModuleType]:
    """The bindings' stand-in with a world of its own."""
    sys.path.append(str(STANDIN))
    module = importlib.import_module("pydcgm")
    module.WORLD = module.World(uuids={0: uuid_of(0), 1: uuid_of(1)})
    yield module
    sys.path.remove(str(STANDIN))
    for name in MODULES:
        sys.modules.pop(name, None)


def exporter(tmp_path: Path, **options: Any) -> Exporter:
    given = {"dcgm": "localhost:5555", "dcgm_bindings": STANDIN, **options}
    made = Exporter(
        ExporterOptions(
            port=0, kernel_log=None, pod_resources=tmp_path / "absent.sock", every_s=5.0, **given
        ),
        load_table(),
    )
    made.http.server_close()
    return made


def page(exporter: Exporter) -> Page:
    exporter.watch.sweep_once()
    return read(render(exporter.exposition.collect()))


def test_profiling_fields_come_from_dcgm_and_its_values_stand_before_those_of_nvml(
    node: GpuNode, dcgm: ModuleType, tmp_path: Path
) -> None:
    node.with_gpus(2)
    dcgm.WORLD.gpu_values = {
        0: {"DCGM_FI_PROF_PIPE_TENSOR_ACTIVE": 0.42, "DCGM_FI_DEV_GPU_TEMP": 66},
        1: {"DCGM_FI_PROF_PIPE_TENSOR_ACTIVE": 0.0},
    }
    seen = page(exporter(tmp_path))
    assert seen.value("healer_gpu_dcgm_up") == 1
    assert seen.value("DCGM_FI_PROF_PIPE_TENSOR_ACTIVE", UUID=uuid_of(0)) == 0.42
    assert seen.value("DCGM_FI_PROF_PIPE_TENSOR_ACTIVE", UUID=uuid_of(1)) == 0
    assert seen.value("DCGM_FI_DEV_GPU_TEMP", UUID=uuid_of(0)) == 66
    # What DCGM leaves blank NVML still knows, and what neither knows is absent.
    assert seen.value("DCGM_FI_DEV_GPU_TEMP", UUID=uuid_of(1)) == 41
    assert "DCGM_FI_PROF_DRAM_ACTIVE" not in seen.samples
    assert dcgm.WORLD.watched_us == 5_000_000


def test_switches_and_health_watches_are_shown(
    node: GpuNode, dcgm: ModuleType, tmp_path: Path
) -> None:
    node.with_gpus(2)
    dcgm.WORLD.switch_values = {0: {"DCGM_FI_DEV_NVSWITCH_TEMPERATURE_CURRENT": 51}}
    sick = SimpleNamespace(entityGroupId=1, entityId=1)
    dcgm.WORLD.incidents = [
        SimpleNamespace(system=0x80, health=10, entityInfo=sick),
        SimpleNamespace(system=0x80, health=20, entityInfo=sick),
        SimpleNamespace(
            system=0x2, health=20, entityInfo=SimpleNamespace(entityGroupId=3, entityId=0)
        ),
    ]
    seen = page(exporter(tmp_path))
    assert seen.value("DCGM_FI_DEV_NVSWITCH_TEMPERATURE_CURRENT", nvswitch="nvswitch0") == 51
    assert seen.value("healer_gpu_dcgm_health", UUID=uuid_of(1), system="thermal") == 20
    assert seen.value("healer_gpu_dcgm_health", nvswitch="0", system="nvlink") == 20


def test_a_host_engine_that_goes_away_leaves_nvml_and_is_found_again(
    node: GpuNode, dcgm: ModuleType, tmp_path: Path
) -> None:
    node.with_gpus(2)
    dcgm.WORLD.gpu_values = {0: {"DCGM_FI_PROF_DRAM_ACTIVE": 0.5, "DCGM_FI_DEV_GPU_TEMP": 66}}
    source = exporter(tmp_path)
    assert page(source).value("DCGM_FI_DEV_GPU_TEMP", UUID=uuid_of(0)) == 66

    dcgm.WORLD.up = False
    for _ in range(3):
        seen = page(source)
        assert seen.value("healer_gpu_dcgm_up") == 0
        assert seen.value("DCGM_FI_DEV_GPU_TEMP", UUID=uuid_of(0)) == 41
        assert "DCGM_FI_PROF_DRAM_ACTIVE" not in seen.samples
        assert seen.value("healer_gpu_driver_state", state="ok") == 1

    dcgm.WORLD.up = True
    assert page(source).value("DCGM_FI_PROF_DRAM_ACTIVE", UUID=uuid_of(0)) == 0.5
    assert dcgm.WORLD.connections == 1
    assert len(dcgm.WORLD.groups) == 2


def test_a_lost_gpu_gets_no_values_from_dcgm_that_would_make_it_look_alive(
    node: GpuNode, dcgm: ModuleType, tmp_path: Path
) -> None:
    node.with_gpus(2)
    dcgm.WORLD.gpu_values = {1: {"DCGM_FI_DEV_GPU_TEMP": 66}}
    source = exporter(tmp_path)
    page(source)
    node.set(1, state=15)
    seen = page(source)
    assert seen.value("healer_gpu_state", UUID=uuid_of(1), state="lost") == 1
    assert all(labels["UUID"] != uuid_of(1) for labels, _ in seen["DCGM_FI_DEV_GPU_TEMP"])


def test_a_wrong_address_is_a_state_and_a_wrong_folder_is_refused(
    node: GpuNode, dcgm: ModuleType, tmp_path: Path
) -> None:
    node.with_gpus(1)
    assert page(exporter(tmp_path, dcgm="elsewhere:1")).value("healer_gpu_dcgm_up") == 0
    with pytest.raises(BadInput, match=r"pydcgm\.py"):
        exporter(tmp_path, dcgm_bindings=tmp_path)


def test_without_dcgm_nothing_is_said_of_it(node: GpuNode, tmp_path: Path) -> None:
    node.with_gpus(1)
    seen = page(exporter(tmp_path, dcgm=""))
    assert not [name for name in seen.samples if "dcgm_up" in name or "PROF" in name]
