"""On a machine with an NVIDIA driver: our page beside what nvidia-smi says."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from gpu_page import Page, read

pytestmark = pytest.mark.gpu

FIELDS: dict[str, tuple[str, float]] = {
    "DCGM_FI_DEV_GPU_TEMP": ("temperature/gpu_temp", 5),
    "DCGM_FI_DEV_MEMORY_TEMP": ("temperature/memory_temp", 5),
    "DCGM_FI_DEV_SM_CLOCK": ("clocks/sm_clock", 400),
    "DCGM_FI_DEV_MEM_CLOCK": ("clocks/mem_clock", 400),
    "healer_gpu_sm_clock_max_mhz": ("max_clocks/sm_clock", 0),
    "DCGM_FI_DEV_FB_USED": ("fb_memory_usage/used", 64),
    "DCGM_FI_DEV_FB_FREE": ("fb_memory_usage/free", 64),
    "DCGM_FI_DEV_FB_RESERVED": ("fb_memory_usage/reserved", 8),
    "DCGM_FI_DEV_PCIE_REPLAY_COUNTER": ("pci/replay_counter", 0),
    "healer_gpu_pcie_link_width": ("pci/pci_gpu_link_info/link_widths/current_link_width", 0),
    "healer_gpu_pcie_link_width_max": ("pci/pci_gpu_link_info/link_widths/max_link_width", 0),
}
"""Metric → where nvidia-smi's XML has it, and how far the two may be apart."""

ONCE = """
import sys
from exporters.collector import Exposition
from exporters.exposition import render
from exporters.nvml import Nvml
from exporters.pods import Allotted
from exporters.table import load_table
from exporters.watch import Watch
watch = Watch(Nvml())
watch.sweep_once()
page = Exposition(load_table(), watch.seen, lambda: (Allotted(), False), "here")
sys.stdout.write(render(page.collect()))
"""


@pytest.fixture(scope="module")
def smi() -> ET.Element:
    program = shutil.which("nvidia-smi")
    if program is None:
        pytest.skip("no nvidia-smi: this machine has no NVIDIA driver")
    done = subprocess.run(
        [program, "-q", "-x"], capture_output=True, text=True, timeout=60, check=True
    )
    return ET.fromstring(done.stdout)


@pytest.fixture(scope="module")
def page(smi: ET.Element) -> Page:
    """In a process of its own, where no stub is loaded."""
    done = subprocess.run(
        [sys.executable, "-c", ONCE],
        env=dict(os.environ),
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return read(done.stdout)


def test_every_gpu_of_nvidia_smi_is_on_the_page_and_ok(smi: ET.Element, page: Page) -> None:
    uuids = {gpu.findtext("uuid", "") for gpu in smi.iter("gpu")}
    well = {ls["UUID"] for ls, v in page["healer_gpu_state"] if ls["state"] == "ok" and v == 1}
    assert well == uuids
    assert page.value("healer_gpu_present") == len(uuids)


@pytest.mark.parametrize("name", sorted(FIELDS))
def test_a_value_is_the_one_of_nvidia_smi(smi: ET.Element, page: Page, name: str) -> None:
    path, apart = FIELDS[name]
    for gpu in smi.iter("gpu"):
        text = (gpu.findtext(path) or "N/A").split()[0].rstrip("x")
        shown = [v for ls, v in page[name] if ls["UUID"] == gpu.findtext("uuid")]
        if text in {"N/A", "Unknown", "[N/A]"}:
            assert shown == []
        else:
            assert shown
            assert abs(shown[0] - float(text)) <= apart
