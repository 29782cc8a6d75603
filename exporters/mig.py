"""How a card is split."""

from __future__ import annotations

import contextlib
import re
from typing import Any

import pynvml as nv

from exporters.probe import text

_COMPUTE = re.compile(r"^\d+c\.")
"""Of `1c.3g.40gb`: several compute instances share the memory of one GPU instance."""


def profile(name: str) -> str:
    """Of the GPU instance, out of a part's name: `NVIDIA H100 MIG 1c.3g.40gb` gives `3g.40gb`."""
    return _COMPUTE.sub("", name.partition(" MIG ")[2])


def parts(
    handle: Any,
) -> tuple[list[tuple[str, Any]] | None, Exception | None]:
    """UUIDs and handles of the instances, None for a device that is not split; or why that is not
    known. Instances may come and go while they are asked."""
    found: dict[str, Any] = {}
    try:
        if nv.nvmlDeviceGetMigMode(handle)[0] != nv.NVML_DEVICE_MIG_ENABLE:
            return None, None
        for at in range(nv.nvmlDeviceGetMaxMigDeviceCount(handle)):
            with contextlib.suppress(nv.NVMLError_NotFound, nv.NVMLError_InvalidArgument):
                part = nv.nvmlDeviceGetMigDeviceHandleByIndex(handle, at)
                found[text(nv.nvmlDeviceGetUUID(part))] = part
    except (nv.NVMLError, nv.NVMLLibraryMismatchError) as error:
        return None, error
    return list(found.items()), None
