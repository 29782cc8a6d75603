"""The comparison with nvidia-smi finds what differs, and runs as it stands on cards of today."""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import smi_log
from gpu_node import GpuNode
from gpu_page import Page, page_of
from smi_fields import FIELDS, differences, number

from exporters.nvml import Nvml
from exporters.watch import Watch

CHECKOUT = Path(__file__).resolve().parents[2]
H200 = {
    "name": "NVIDIA H200",
    "used_mib": 120_000,
    "free_mib": 23_156,
    "reserved_mib": 615,
    "field:29": None,
    "field:30": None,
    "field:31": None,
    "repair_channel": None,
    "repair_tpc": None,
}
B200 = {
    **H200,
    "name": "NVIDIA B200",
    "used_mib": 0,
    "free_mib": 182_632,
    "reserved_mib": 728,
    "power_limit_mw": 1_000_000,
    "power_cap_mw": 1_000_000,
    "repair_channel": 0,
    "repair_tpc": 1,
    "mem_clock": 3996,
}
NOT_OF_A_VGPU = [
    *("temperature", "margin", "field:82", "power_mw", "field:186", "power_limit_mw"),
    *("power_cap_mw", "encoder", "decoder", "pcie_gen", "pcie_gen_max", "pcie_width"),
    *("pcie_width_max", "pcie_replays", "pstate", "ecc_mode", "sm_clock_max", "mem_clock"),
    *("rows_corrected", "rows_uncorrected", "rows_pending", "rows_failed", "fabric_state"),
    *("field:230", "bar1_total_mib", "bar1_used_mib", "throttle_reasons", "sram_exceeded"),
    *("persistence", "slowdown_temp", "shutdown_temp"),
]
VGPU = {**dict.fromkeys(NOT_OF_A_VGPU), "name": "NVIDIA H100XM-80C"}
PARTS = ["0 MIG-aaaa 7 1g.18gb 4000 13000", "1 MIG-bbbb 2 3g.71gb 30000 40000"]
REFUSED = dict.fromkeys(("rows_corrected", "rows_uncorrected", "rows_pending", "rows_failed"))
"""While there are instances."""
SPLIT = {**H200, **REFUSED, "mig_mode": 1, "mig": PARTS, "util": None, "mem_util": None}


def changed(node: GpuNode, gpu: int, facts: dict[str, object]) -> None:
    for key, value in facts.items():
        node.put(gpu, key, value)


def both(node: GpuNode, folder: Path) -> tuple[list[ET.Element], Page]:
    program = smi_log.install(node, folder) / "nvidia-smi"
    said = subprocess.run([str(program), "-q", "-x"], capture_output=True, check=True, timeout=60)
    watch = Watch(Nvml())
    watch.sweep_once()
    return list(ET.fromstring(said.stdout).iter("gpu")), page_of(watch)


@pytest.mark.parametrize("card", ["H200", "B200", "vGPU", "split"])
def test_cards_of_today_and_their_missing_values_compare_equal(
    node: GpuNode, tmp_path: Path, card: str
) -> None:
    node.with_gpus(2)
    facts = {"H200": H200, "B200": B200, "vGPU": VGPU, "split": SPLIT}[card]
    changed(node, 1, facts)
    gpus, page = both(node, tmp_path / "bin")
    assert [line for gpu in gpus for line in differences(gpu, page)] == []
    told = [name for name, field in FIELDS if field.reads(gpus[1]) is not None]
    assert len(told) > (10 if card == "vGPU" else 35)


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("temperature", 60, "DCGM_FI_DEV_GPU_TEMP"),
        ("field:82", None, "DCGM_FI_DEV_MEMORY_TEMP: 0 series"),
        ("rows_pending", 1, "DCGM_FI_DEV_ROW_REMAP_PENDING"),
        ("throttle_reasons", 0x40, "DCGM_FI_DEV_CLOCKS_EVENT_REASONS"),
        ("field:230", 4, "healer_gpu_recovery_action"),
        ("repair_tpc", 0, "healer_gpu_repair_pending"),
        ("mig", ["0 MIG-aaaa 7 1g.18gb 9000 13000"], "of instance 7"),
    ],
)
def test_what_differs_is_found_and_named(
    node: GpuNode, tmp_path: Path, key: str, value: object, named: str
) -> None:
    node.with_gpus(1)
    if key == "mig":
        changed(node, 0, {**REFUSED, "mig_mode": 1, "mig": PARTS[:1]})
    gpus, page = both(node, tmp_path / "bin")
    assert differences(gpus[0], page) == []
    node.put(0, key, value)
    watch = Watch(Nvml())
    watch.sweep_once()
    assert [line for line in differences(gpus[0], page_of(watch)) if named in line]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("41 C", 41),
        ("195.68 W", 195.68),
        ("16x", 16),
        ("P8", 8),
        ("770461242 us", 770461242),
        ("Yes", 1),
        ("Not Active", 0),
        ("N/A", None),
        ("GPU is lost", None),
        ("Insufficient Permissions", None),
        ("Requested functionality has been deprecated", None),
        ("", None),
    ],
)
def test_words_of_nvidia_smi_are_read(text: str, value: float | None) -> None:
    assert number(text) == value


def test_the_tests_for_a_real_gpu_run_and_pass_where_there_is_one(
    node: GpuNode, tmp_path: Path
) -> None:
    node.with_gpus(2)
    changed(node, 0, H200)
    changed(node, 1, B200)
    folder = smi_log.install(node, tmp_path / "bin")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-m", "gpu", "-p", "no:cacheprovider"),
            "tests/exporters/test_real_gpu.py",
        ],
        cwd=CHECKOUT,
        env={**os.environ, **node.environment, "PATH": f"{folder}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "skipped" not in done.stdout
    assert f"{len({name for name, _ in FIELDS}) + 3} passed" in done.stdout
