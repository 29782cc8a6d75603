"""One GPU: utilisation, power, clocks and temperature follow from the work of its engine.

`GPU_UTIL` is the share of time a kernel ran, whatever it did. Power and tensor activity follow
the work done: an engine whose ranks wait for one another is busy to the driver at little more
than idle power.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from healer.lab.engine import Work
from healer.lab.scenario import GpuSpec

SPIN_W_SHARE = 0.06
"""Power above idle of a kernel that only waits, as a share of the range."""


def signature(prefill: Any, decode: Any, batch: Any, spinning: Any) -> tuple[Any, Any, Any, Any]:
    """(utilisation in percent, tensor activity, DRAM activity, share of the power range).

    Takes numbers or arrays: what work looks like is the same in history and in the live part.
    """
    util = 100.0 * np.minimum(1.0, np.maximum(prefill + decode, spinning))
    tensor = 0.55 * prefill + 0.12 * decode * batch
    dram = 0.25 * prefill + 0.65 * decode * np.sqrt(np.maximum(batch, 0.0))
    load = np.minimum(1.0, 0.95 * prefill + decode * (0.3 + 0.45 * batch))
    return util, tensor, dram, np.maximum(load, SPIN_W_SHARE * spinning)


@dataclass(slots=True)
class Gpu:
    spec: GpuSpec
    uuid: str
    index: int
    node: str
    pci_bus_id: str
    holder: tuple[str, str, str] | None = None
    """namespace, pod, container."""
    present: bool = True
    ambient_c: float = 30.0
    temp_c: float = 45.0
    power_w: float = 75.0
    clock: float = 1.0
    """Share of the full clock."""
    brake: bool = False
    """The power supply asks for half the clock."""
    util: float = 0.0
    tensor: float = 0.0
    dram: float = 0.0
    used_mib: float = 0.0
    energy_mj: float = 0.0
    thermal_ns: float = 0.0
    brake_ns: float = 0.0
    replays: float = 0.0
    xids: dict[int, int] = field(default_factory=dict)
    last_xid: int = 0
    dbe: int = 0
    remap_pending: int = 0
    remap_failure: int = 0
    nvlink_errors: float = 0.0
    nvlink_errors_per_s: float = 0.0
    nvlinks_down: int = 0
    dead: bool = False
    """The process on it has died while its pod goes on: it is idle and its memory is free."""
    link_speed: float = 1.0
    """Share of the speed that is left where links fail and traffic goes round them."""

    def step(self, dt_s: float, work: Work | None) -> None:
        work = None if self.dead else work
        busy = Work() if work is None else work
        found = signature(busy.prefill, busy.decode, busy.batch, busy.spinning)
        self.util, self.tensor, self.dram, load = (float(each) for each in found)
        span_w = self.spec.limit_w - self.spec.idle_w
        self.power_w = self.spec.idle_w + load * span_w * self.clock**1.5
        settled = self.ambient_c + self.spec.c_per_w * self.power_w
        self.temp_c += (settled - self.temp_c) * (1 - math.exp(-dt_s / self.spec.thermal_s))
        self._throttle(dt_s)
        self.energy_mj += self.power_w * dt_s * 1000.0
        self.used_mib = 0.0 if work is None else 0.9 * self.spec.memory_mib
        self.nvlink_errors += self.nvlink_errors_per_s * dt_s

    def _throttle(self, dt_s: float) -> None:
        """Clocks fall while it is too hot and rise again slowly; a power brake halves them."""
        if self.temp_c > self.spec.slowdown_c:
            self.clock = max(0.35, self.clock - 0.02 * dt_s)
        elif self.clock < 1.0:
            self.clock = min(1.0, self.clock + 0.004 * dt_s)
        if self.clock < 0.99:
            self.thermal_ns += dt_s * 1e9
        if self.brake:
            self.brake_ns += dt_s * 1e9

    @property
    def clock_share(self) -> float:
        return self.clock * (0.5 if self.brake else 1.0)

    @property
    def speed(self) -> float:
        return self.clock_share * self.link_speed

    def xid(self, code: int) -> None:
        self.xids[code] = self.xids.get(code, 0) + 1
        self.last_xid = code
