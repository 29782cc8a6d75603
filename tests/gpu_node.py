"""What the NVML stub tells, as Python: GPUs with their facts, faults, Xids."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

H100: dict[str, object] = {
    "name": "NVIDIA H100 80GB HBM3",
    "vbios": "96.00.74.00.01",
    "sm_clock": 1755,
    "sm_clock_max": 1980,
    "mem_clock": 2619,
    "temperature": 41,
    "margin": 46,
    "power_mw": 412_345,
    "power_limit_mw": 700_000,
    "power_cap_mw": 650_000,
    "field:186": 415_000,
    "pstate": 0,
    "persistence": 1,
    "ecc_mode": 1,
    "shutdown_temp": 92,
    "slowdown_temp": 89,
    "bar1_total_mib": 131_072,
    "bar1_used_mib": 1_024,
    "energy_mj": 987_654_321,
    "pcie_replays": 3,
    "pcie_gen": 4,
    "pcie_gen_max": 5,
    "pcie_width": 16,
    "pcie_width_max": 16,
    "util": 87,
    "mem_util": 33,
    "encoder": 0,
    "decoder": 2,
    "used_mib": 70_000,
    "free_mib": 10_929,
    "reserved_mib": 630,
    "rows_corrected": 1,
    "rows_uncorrected": 2,
    "rows_pending": 0,
    "rows_failed": 0,
    "ecc_sbe_vol": 5,
    "ecc_dbe_vol": 0,
    "ecc_sbe_agg": 9,
    "ecc_dbe_agg": 1,
    "ecc_sbe_vol_at_2": 5,
    "ecc_dbe_vol_at_7": 0,
    "sram_exceeded": 0,
    "repair_channel": 0,
    "repair_tpc": 1,
    "throttle_reasons": 4,
    "fabric_state": 3,
    "fabric_mask": 170,
    "license": 0,
    "events": 0xC00F,
    "links": 2,
    "link:0": 1,
    "link:1": 0,
    "link:0.0": 7,
    "link:0.1": 1,
    "link:0.2": 0,
    "link:0.3": 0,
    "link:1.0": 0,
    "field:206": 4,
    "field:138": 1000,
    "field:139": 2000,
    "field:82": 52,
    "field:230": 0,
    "field:29": 0,
    "field:30": 0,
    "field:31": 0,
    "field:74": 123_456_789,
    "field:75": 1000,
    "field:76": 0,
    "field:77": 0,
    "field:78": 11,
    "field:79": 0,
    "field:269": 2_000_000_000,
    "field:270": 1_000_000_000,
    "field:271": 500,
    "field:173": 8,
    "field:180": 0,
    "field:38": 0,
    "field:45": 0,
    "field:52": 7,
    "field:59": 1,
}
"""A card that supports every metric of the table. Field numbers as in nvml.h."""


def uuid_of(gpu: int) -> str:
    return f"GPU-{gpu:08x}-1111-2222-3333-444444444444"


@dataclass
class GpuNode:
    """Changes are seen by the library with its next call."""

    folder: Path
    library: Path
    globals: list[str] = field(default_factory=list)
    gpus: dict[int, dict[str, object]] = field(default_factory=dict)

    @property
    def file(self) -> Path:
        return self.folder / "gpus.txt"

    @property
    def xids(self) -> Path:
        return self.folder / "xids.txt"

    @property
    def environment(self) -> dict[str, str]:
        """For a process that shall see this node."""
        self.xids.touch()
        if not self.file.exists():
            self._write()
        return {
            "NVML_STUB": str(self.file),
            "NVML_STUB_XIDS": str(self.xids),
            "LD_LIBRARY_PATH": str(self.library.parent),
        }

    def with_gpus(self, count: int) -> GpuNode:
        """H100s, all well."""
        for gpu in range(count):
            identity = {"uuid": uuid_of(gpu), "pci": f"00000000:{0x18 + gpu:02X}:00.0"}
            self.gpus[gpu] = {**identity, "minor": gpu, **H100}
        self._write()
        return self

    def set(self, gpu: int, **facts: object) -> None:
        """`set(0, temperature=90)`; None takes the fact away. `field_82` is field 82."""
        for name, value in facts.items():
            self.put(gpu, name.replace("field_", "field:"), value)

    def put(self, gpu: int, key: str, value: object) -> None:
        if value is None:
            self.gpus[gpu].pop(key, None)
        else:
            self.gpus[gpu][key] = value
        self._write()

    def say(self, *lines: str) -> None:
        """Lines about the library itself, instead of those before."""
        self.globals = list(lines)
        self._write()

    def xid(self, gpu: int, *codes: int) -> None:
        with self.xids.open("a") as file:
            file.write("".join(f"{gpu} {code}\n" for code in codes))

    def clear(self) -> None:
        self.globals, self.gpus = [], {}
        self._write()

    def _write(self) -> None:
        lines = list(self.globals)
        for gpu, facts in self.gpus.items():
            for key, value in facts.items():
                several = value if isinstance(value, list) else [value]
                lines += [f"gpu {gpu} {key} {one}" for one in several]
        part = self.file.with_suffix(".part")
        part.write_text("\n".join(lines) + "\n", errors="surrogateescape")
        os.replace(part, self.file)  # noqa: PTH105
