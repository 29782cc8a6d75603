"""As nobody, without a capability, on a read-only root file system: what is still shown."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from gpu_exporter import until
from gpu_node import GpuNode, uuid_of
from gpu_page import read

CHECKOUT = Path(__file__).resolve().parents[2]
NOBODY = 65534
TOOLS = ("unshare", "mount", "setpriv")


def closed_to_others(path: Path) -> Path | None:
    """The first folder on the way that only its owner may enter."""
    for folder in reversed([path, *path.parents]):
        if not folder.stat().st_mode & stat.S_IXOTH:
            return folder
    return None


def opening(scratch: Path) -> list[str]:
    """Shell lines: what the interpreter needs below a closed folder is put into an open one. They
    run in a mount namespace of their own."""
    needed = {Path(sys.base_prefix).resolve(), CHECKOUT}
    lines = []
    for at, path in enumerate(sorted(needed)):
        if (closed := closed_to_others(path)) is not None:
            kept = scratch / f"kept-{at}"
            lines += [f"mkdir {kept}", f"mount --bind {path} {kept}"]
            lines += [f"mount -t tmpfs -o mode=755 none {closed}", f"mkdir -p {path}"]
            lines += [f"mount --bind {kept} {path}"]
    return lines


@pytest.fixture
def open_folder(stub_library: Path) -> Iterator[Path]:
    """A folder that everybody may read, with the stub in it; pytest's own are closed."""
    with tempfile.TemporaryDirectory(prefix="unprivileged-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        mask = os.umask(0o022)
        shutil.copy(stub_library, folder / stub_library.name)
        (folder / stub_library.name).chmod(0o755)
        yield folder
        os.umask(mask)


@contextmanager
def as_nobody(
    folder: Path, environment: dict[str, str], options: dict[str, object]
) -> Iterator[tuple[str, int]]:
    """The address of the page, and the number of the process."""
    lines = [
        "set -e",
        "mount --make-rprivate /",
        *opening(folder),
        "mount -o remount,bind,ro /",
        "if touch /unprivileged-probe 2>/dev/null; then echo writable >&2; exit 9; fi",
        f"exec setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups --inh-caps=-all "
        '--bounding-set=-all --no-new-privs "$@"',
    ]
    with subprocess.Popen(
        [
            *("unshare", "-m", "sh", "-c", "\n".join(lines), "sh"),
            *(sys.executable, "-m", "exporters", json.dumps(options)),
        ],
        cwd=CHECKOUT,
        env={**os.environ, **environment, "HOME": "/nonexistent", "NODE_NAME": "node-7"},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            line = process.stderr.readline()
            if "http://" not in line:
                said = line + process.stderr.read()
                if said.startswith(("unshare:", "mount:", "setpriv:")):  # a container, mostly
                    pytest.skip(f"no mounts to be had here: {said.strip()}")
                raise AssertionError(said)
            yield "http://" + line.split("http://")[1].strip(), process.pid
        finally:
            process.terminate()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in TOOLS), reason=f"needs {', '.join(TOOLS)}"
)
def test_nobody_sees_all_but_what_the_documentation_says(open_folder: Path) -> None:
    node = GpuNode(open_folder, open_folder / "libnvidia-ml.so.1").with_gpus(2)
    for gpu in (0, 1):
        node.put(gpu, "code:sram_exceeded", 4)  # what the driver tells root alone
    log, pods = open_folder / "kmsg", open_folder / "pod-resources"
    log.write_text("4,1,9000000,-;NVRM: Xid (PCI:0000:18:00): 79, pid=1, GPU has fallen\n")
    log.chmod(0o600)
    pods.mkdir(mode=0o750)
    options: dict[str, object] = {"port": 0, "every_s": 0.1, "kernel_log": str(log)}
    options |= {"pod_resources": str(pods / "kubelet.sock"), "host_signals": True}
    with as_nobody(open_folder, node.environment, options) as (url, process):
        status = Path(f"/proc/{process}/status").read_text()
        assert f"Uid:\t{NOBODY}\t{NOBODY}" in status
        assert f"CapEff:\t{0:016x}\n" in status
        until(lambda: 'source="nvml"' in requests.get(url, timeout=60).text)
        page = read(requests.get(url, timeout=60).text)
        assert requests.get(url.replace("metrics", "livez"), timeout=60).status_code == 200
    assert page.value("healer_gpu_present") == 2
    assert page.value("DCGM_FI_DEV_GPU_TEMP", UUID=uuid_of(0)) == 41
    assert page.value("healer_gpu_recovery_action", UUID=uuid_of(0)) == 0
    assert page.value("healer_gpu_xid_source_up", source="nvml") == 1
    assert page.value("healer_host_memory_total_bytes") > 1e6
    # What the table in docs/exporter.md says is missing.
    assert page.value("healer_gpu_xid_source_up", source="kernel_log") == 0
    assert page.value("healer_gpu_kubelet_up") == 0
    assert "healer_gpu_sram_threshold_exceeded" not in page
    assert "healer_gpu_xid_errors_total" not in page
