"""What the node and its pods wait for, read from trees like the kernel's."""

from __future__ import annotations

from pathlib import Path

import pytest
from gpu_page import Page, read

from exporters import host
from exporters.exposition import render

UID = "6a4c2f0e-1b7d-4c1e-9a55-0d6f1c2b3a4d"
STALL = (
    "some avg10=1.53 avg60=0.87 avg300=0.73 total={some}\n"
    "full avg10=0.00 avg60=0.00 avg300=0.00 total={full}\n"
)


def page(pressure: Path, groups: Path) -> Page:
    return read(render(host.collect("node-1", pressure=pressure, groups=groups)))


def write(folder: Path, suffix: str, some_us: int, full_us: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for resource in ("cpu", "memory", "io"):
        (folder / f"{resource}{suffix}").write_text(STALL.format(some=some_us, full=full_us))


@pytest.mark.parametrize(
    "group",
    [
        f"kubepods/burstable/pod{UID}",
        f"kubepods/pod{UID}",
        "kubepods.slice/kubepods-besteffort.slice/"
        f"kubepods-besteffort-pod{UID.replace('-', '_')}.slice",
    ],
)
def test_pressure_is_told_of_the_node_and_of_each_pod(tmp_path: Path, group: str) -> None:
    write(tmp_path / "pressure", "", 5_000_000, 250_000)
    write(tmp_path / "cgroup" / group, ".pressure", 2_000_000, 0)
    seen = page(tmp_path / "pressure", tmp_path / "cgroup")
    of_node = "healer_host_pressure_seconds_total"
    assert seen.value(of_node, resource="io", share="some") == 5
    assert seen.value(of_node, resource="memory", share="full") == 0.25
    of_pod = "healer_pod_pressure_seconds_total"
    assert seen.value(of_pod, pod_uid=UID, resource="io", share="some") == 2
    assert len(seen[of_pod]) == 6


def test_a_kernel_without_pressure_and_a_node_without_pods_have_no_series(tmp_path: Path) -> None:
    seen = page(tmp_path / "absent", tmp_path / "absent")
    assert not [name for name in seen.samples if "pressure" in name]
    assert seen.value("healer_host_cpus") >= 1


def test_noise_in_a_pressure_file_is_left_out(tmp_path: Path) -> None:
    write(tmp_path / "pressure", "", 1_000_000, 0)
    (tmp_path / "pressure" / "io").write_text("some avg10=\x00 total=many\n\nfull\n")
    seen = page(tmp_path / "pressure", tmp_path / "absent")
    resources = {labels["resource"] for labels, _ in seen["healer_host_pressure_seconds_total"]}
    assert resources == {"cpu", "memory"}
