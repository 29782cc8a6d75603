"""A stand-in for nvidia-smi: the document of `-q -x` for a node of the NVML stub, in the shape of
the 580 driver."""

from __future__ import annotations

import stat
from collections.abc import Callable, Mapping
from pathlib import Path

from gpu_node import GpuNode

_RECOVERY = ("None", "Reset", "Reboot", "Drain P2P", "Drain and Reset")
_FABRIC = ("N/A", "Not Started", "In Progress", "Completed")
Facts = Mapping[str, object]


def _unit(key: str, unit: str, per: float = 1.0, digits: int = 0) -> Callable[[Facts], str]:
    def text(facts: Facts) -> str:
        value = facts.get(key)
        return "N/A" if value is None else f"{int(str(value)) / per:.{digits}f}{unit}"

    return text


def _word(key: str, *words: str) -> Callable[[Facts], str]:
    return lambda facts: words[int(str(facts[key]))] if key in facts else "N/A"


def _reason(bit: int) -> Callable[[Facts], str]:
    def text(facts: Facts) -> str:
        mask = facts.get("throttle_reasons")
        return "N/A" if mask is None else "Active" if int(str(mask)) & bit else "Not Active"

    return text


_ON = ("Disabled", "Enabled")
_YES = ("No", "Yes")
_LINK = "pci/pci_gpu_link_info"
_REASON = "clocks_event_reasons/clocks_event_reason_"
_COUNTER = "clocks_event_reasons_counters/clocks_event_reasons_counters_"
TOLD: Mapping[str, Callable[[Facts], str]] = {
    "product_name": lambda facts: str(facts["name"]),
    "uuid": lambda facts: str(facts["uuid"]),
    "vbios_version": lambda facts: str(facts.get("vbios", "N/A")),
    "persistence_mode": _word("persistence", *_ON),
    "gpu_recovery_action": _word("field:230", *_RECOVERY),
    "pci/pci_bus_id": lambda facts: str(facts["pci"]),
    f"{_LINK}/pcie_gen/max_link_gen": _unit("pcie_gen_max", ""),
    f"{_LINK}/pcie_gen/current_link_gen": _unit("pcie_gen", ""),
    f"{_LINK}/link_widths/max_link_width": _unit("pcie_width_max", "x"),
    f"{_LINK}/link_widths/current_link_width": _unit("pcie_width", "x"),
    "pci/replay_counter": _unit("pcie_replays", ""),
    "performance_state": lambda facts: f"P{facts['pstate']}" if "pstate" in facts else "N/A",
    f"{_REASON}gpu_idle": _reason(1),
    f"{_REASON}sw_power_cap": _reason(4),
    f"{_REASON}hw_slowdown": _reason(8),
    f"{_REASON}hw_thermal_slowdown": _reason(0x40),
    f"{_REASON}hw_power_brake_slowdown": _reason(0x80),
    f"{_REASON}sw_thermal_slowdown": _reason(0x20),
    f"{_COUNTER}sw_power_cap": _unit("field:74", " us", 1000),
    f"{_COUNTER}sw_therm_slowdown": _unit("field:270", " us", 1000),
    f"{_COUNTER}hw_therm_slowdown": _unit("field:269", " us", 1000),
    f"{_COUNTER}hw_power_brake": _unit("field:271", " us", 1000),
    "fb_memory_usage/reserved": _unit("reserved_mib", " MiB"),
    "fb_memory_usage/used": _unit("used_mib", " MiB"),
    "fb_memory_usage/free": _unit("free_mib", " MiB"),
    "bar1_memory_usage/total": _unit("bar1_total_mib", " MiB"),
    "bar1_memory_usage/used": _unit("bar1_used_mib", " MiB"),
    "utilization/gpu_util": _unit("util", " %"),
    "utilization/memory_util": _unit("mem_util", " %"),
    "utilization/encoder_util": _unit("encoder", " %"),
    "utilization/decoder_util": _unit("decoder", " %"),
    "ecc_mode/current_ecc": _word("ecc_mode", *_ON),
    "ecc_errors/volatile/dram_correctable": _unit("ecc_sbe_vol", ""),
    "ecc_errors/volatile/dram_uncorrectable": _unit("ecc_dbe_vol", ""),
    "ecc_errors/aggregate/dram_correctable": _unit("ecc_sbe_agg", ""),
    "ecc_errors/aggregate/dram_uncorrectable": _unit("ecc_dbe_agg", ""),
    "ecc_errors/aggregate/sram_threshold_exceeded": _word("sram_exceeded", *_YES),
    "ecc_errors/channel_repair_pending": _word("repair_channel", *_YES),
    "ecc_errors/tpc_repair_pending": _word("repair_tpc", *_YES),
    "remapped_rows/remapped_row_corr": _unit("rows_corrected", ""),
    "remapped_rows/remapped_row_unc": _unit("rows_uncorrected", ""),
    "remapped_rows/remapped_row_pending": _word("rows_pending", *_YES),
    "remapped_rows/remapped_row_failure": _word("rows_failed", *_YES),
    "temperature/gpu_temp": _unit("temperature", " C"),
    "temperature/gpu_temp_tlimit": _unit("margin", " C"),
    "temperature/memory_temp": _unit("field:82", " C"),
    "gpu_power_readings/average_power_draw": _unit("power_mw", " W", 1000, 2),
    "gpu_power_readings/instant_power_draw": _unit("field:186", " W", 1000, 2),
    "gpu_power_readings/current_power_limit": _unit("power_limit_mw", " W", 1000, 2),
    "gpu_power_readings/requested_power_limit": _unit("power_cap_mw", " W", 1000, 2),
    "module_power_readings/average_power_draw": lambda _: "N/A",
    "clocks/sm_clock": _unit("sm_clock", " MHz"),
    "clocks/mem_clock": _unit("mem_clock", " MHz"),
    "max_clocks/sm_clock": _unit("sm_clock_max", " MHz"),
    "fabric/state": _word("fabric_state", *_FABRIC),
}
"""Place in the document → what a node's facts make of it."""


def install(node: GpuNode, folder: Path, driver: str = "570.86.15") -> Path:
    """An `nvidia-smi` that tells of this node as it is now; the folder for PATH."""
    folder.mkdir(exist_ok=True)
    program = folder / "nvidia-smi"
    gpus = "".join(_gpu(facts) for facts in node.gpus.values())
    document = (
        '<?xml version="1.0" ?>\n<!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_v13.dtd">\n'
        f"<nvidia_smi_log><driver_version>{driver}</driver_version>{gpus}</nvidia_smi_log>"
    )
    program.write_text(f'#!/bin/sh\n[ "$*" = "-q -x" ] || exit 2\ncat <<"END"\n{document}\nEND\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return folder


def _gpu(facts: Facts) -> str:
    nested: dict[str, object] = {}
    for path, tell in TOLD.items():
        *folders, last = path.split("/")
        inside = nested
        for folder in folders:
            inside = inside.setdefault(folder, {})  # type: ignore[assignment]
        inside[last] = tell(facts)
    memory = nested["fb_memory_usage"]
    assert isinstance(memory, dict)
    amounts = [int(str(facts.get(f"{name}_mib", 0))) for name in ("used", "free", "reserved")]
    memory["total"] = f"{sum(amounts)} MiB" if "used_mib" in facts else "N/A"
    parts = facts.get("mig")
    return f"<gpu>{_xml(nested)}{_parts(parts if isinstance(parts, list) else [])}</gpu>\n"


def _xml(inside: Mapping[str, object]) -> str:
    return "".join(
        f"<{name}>{_xml(value) if isinstance(value, dict) else value}</{name}>"
        for name, value in inside.items()
    )


def _parts(lines: list[str]) -> str:
    """Of `INDEX UUID INSTANCE PROFILE USED FREE` lines, as the stub has them."""
    if not lines:
        return "<mig_devices>\n\tNone\n</mig_devices>"
    made = ""
    for line in lines:
        index, _, instance, _, used, free = line.split()
        memory = {
            "total": f"{int(used) + int(free)} MiB",
            "used": f"{used} MiB",
            "free": f"{free} MiB",
        }
        inside = {"index": index, "gpu_instance_id": instance, "fb_memory_usage": memory}
        made += f"<mig_device>{_xml(inside)}</mig_device>"
    return f"<mig_devices>{made}</mig_devices>"
