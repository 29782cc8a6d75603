"""What can break, by name. Each fault changes the world once, and its signature follows from that.

A fault is a frozen dataclass: its fields are its options. `begin` breaks something, `end` lets go
of it, `healed` is the truth about it, for scoring only.
"""

from __future__ import annotations

from collections.abc import Mapping

from healer.lab.faults import around, cluster, errors, hardware, releases, serving
from healer.lab.faults.base import Fault

KINDS: Mapping[str, type[Fault]] = {
    "engine_hang": serving.EngineHang,
    "traffic_surge": serving.TrafficSurge,
    "long_prompts": serving.LongPrompts,
    "bad_revision": serving.BadRevision,
    "batch_load": serving.BatchLoad,
    "gpu_off_bus": hardware.GpuOffBus,
    "ecc_uncontained": hardware.EccUncontained,
    "thermal_throttle": hardware.ThermalThrottle,
    "power_brake": hardware.PowerBrake,
    "xid_benign": hardware.XidBenign,
    "telemetry_loss": cluster.TelemetryLoss,
    "node_down": cluster.NodeDown,
    "bad_image": cluster.BadImage,
    "admin_drain": cluster.AdminDrain,
    "slow_model_store": cluster.SlowModelStore,
    "unrelated_change": cluster.UnrelatedChange,
    "ecc_contained": errors.EccContained,
    "gpu_degrading": errors.GpuDegrading,
    "nvlink_errors": errors.NvlinkErrors,
    "gpu_flaky": errors.GpuFlaky,
    "config_change": releases.ConfigChange,
    "crashing_revision": releases.CrashingRevision,
    "memory_leak": releases.MemoryLeak,
    "rank_death": releases.RankDeath,
    "driver_change": releases.DriverChange,
    "no_capacity": around.NoCapacity,
    "device_plugin": around.DevicePlugin,
    "routing_skew": around.RoutingSkew,
    "slow_gateway": around.SlowGateway,
    "misled_exporter": around.MisledExporter,
    "garbage_output": around.GarbageOutput,
}
