"""A node whose GPUs stand in a text file, driven through the genuine nvidia-ml-py."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pynvml
import pytest
from gpu_node import GpuNode

SOURCE = Path(__file__).with_name("nvml_stub.c")


@pytest.fixture(scope="session")
def stub_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stub as `libnvidia-ml.so.1`, compiled; its folder goes into LD_LIBRARY_PATH."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        if os.environ.get("CI") == "true":
            pytest.fail("no C compiler for the NVML stub: install gcc", pytrace=False)
        pytest.skip("no C compiler for the NVML stub: install gcc")
    made = tmp_path_factory.mktemp("nvml") / "libnvidia-ml.so.1"
    subprocess.run(
        [
            *(compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-fvisibility=hidden"),
            *("-Wl,-soname,libnvidia-ml.so.1", "-o", str(made), str(SOURCE), "-lpthread"),
        ],
        check=True,
        timeout=300,
    )
    return made


@pytest.fixture
def node(stub_library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GpuNode]:
    """A node without GPUs; the binding of this process finds the stub by its name."""
    ctypes.CDLL(str(stub_library), mode=ctypes.RTLD_GLOBAL)
    made = GpuNode(tmp_path, stub_library)
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    yield made
    made.clear()
    while pynvml._nvmlLib_refcount:
        pynvml.nvmlShutdown()
