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
from smi_fields import FIELDS, differences

pytestmark = pytest.mark.gpu

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
        [program, "-q", "-x"], capture_output=True, text=True, timeout=300, check=False
    )
    if done.returncode:
        pytest.skip(f"nvidia-smi finds no GPU: {(done.stderr or done.stdout).strip()}")
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
        timeout=300,
        check=True,
    )
    return read(done.stdout)


def test_every_gpu_of_nvidia_smi_is_on_the_page_and_ok(smi: ET.Element, page: Page) -> None:
    uuids = {gpu.findtext("uuid", "").strip() for gpu in smi.iter("gpu")}
    well = {ls["UUID"] for ls, v in page["healer_gpu_state"] if ls["state"] == "ok" and v == 1}
    assert well == uuids
    assert page.value("healer_gpu_present") == len(uuids)


def test_names_and_versions_are_those_of_nvidia_smi(smi: ET.Element, page: Page) -> None:
    info = {ls["UUID"]: ls for ls, _ in page["healer_gpu_info"]}
    for gpu in smi.iter("gpu"):
        own = info[gpu.findtext("uuid", "").strip()]
        assert own["modelName"] == gpu.findtext("product_name", "").strip()
        assert own["DCGM_FI_DRIVER_VERSION"] == smi.findtext("driver_version", "").strip()
        assert own["pci_bus_id"].lower() == gpu.findtext("pci/pci_bus_id", "").strip().lower()
        vbios = gpu.findtext("vbios_version", "").strip()
        assert own.get("vbios_version", "N/A") == vbios


@pytest.mark.parametrize("name", sorted({name for name, _ in FIELDS}))
def test_a_value_is_the_one_of_nvidia_smi(smi: ET.Element, page: Page, name: str) -> None:
    found = [line for gpu in smi.iter("gpu") for line in differences(gpu, page)]
    assert [line for line in found if f" {name}" in line] == []


def test_instances_and_processes_are_those_of_nvidia_smi(smi: ET.Element, page: Page) -> None:
    found = [line for gpu in smi.iter("gpu") for line in differences(gpu, page)]
    assert [line for line in found if " of instance " in line or " process " in line] == []
