"""What `nvidia-smi -q -x` says of a GPU, beside the metrics that say the same.

The document changed its shape over the drivers (550 to 595 and cards from T4 to GB300 were looked
at): a value may stand in several places, and words stand for numbers that are not to be had.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gpu_page import Page

_WORDS = {
    **dict.fromkeys(("Yes", "Enabled", "Active", "True"), 1.0),
    **dict.fromkeys(("No", "Disabled", "Not Active", "False"), 0.0),
}
_FABRIC = {"Not Started": 1.0, "In Progress": 2.0, "Completed": 3.0}
_RECOVERY = {"None": 0.0, "Reset": 1.0, "Reboot": 2.0, "Drain P2P": 3.0, "Drain and Reset": 4.0}
_REASONS = {
    "hw_slowdown": 0x8,
    "sw_thermal_slowdown": 0x20,
    "hw_thermal_slowdown": 0x40,
    "hw_power_brake_slowdown": 0x80,
}
"""Those that do not come and go with every request."""

Reads = Callable[[ET.Element], float | None]


def number(text: str) -> float | None:
    """`41 C`, `16x`, `P8`, `Yes`; None for `N/A`, `GPU is lost` and all that is no value."""
    if text in _WORDS:
        return _WORDS[text]
    first = (text.split() or [""])[0].removeprefix("P").rstrip("x")
    try:
        return float(first)
    except ValueError:
        return None


def at(*paths: str, times: float = 1.0) -> Reads:
    """The value at the first of these places that the document has."""

    def read(gpu: ET.Element) -> float | None:
        for path in paths:
            text = gpu.findtext(path)
            if text is not None:
                value = number(text.strip())
                return None if value is None else value * times
        return None

    return read


def word(path: str, words: Mapping[str, float]) -> Reads:
    return lambda gpu: words.get((gpu.findtext(path) or "").strip())


def total(*reads: Reads) -> Reads:
    """Of those that have a value."""

    def read(gpu: ET.Element) -> float | None:
        values = [value for each in reads if (value := each(gpu)) is not None]
        return sum(values) if values else None

    return read


def _reasons(gpu: ET.Element) -> float | None:
    folder, stem = "clocks_event_reasons", "clocks_event_reason_"
    if gpu.find(folder) is None:
        folder, stem = "clocks_throttle_reasons", "clocks_throttle_reason_"
    found = {
        bit: number(gpu.findtext(f"{folder}/{stem}{name}", "")) for name, bit in _REASONS.items()
    }
    return sum(bit for bit, on in found.items() if on) if None not in found.values() else None


def _uncorrected(since: str) -> Reads:
    place = f"ecc_errors/{since}"
    return total(
        at(f"{place}/dram_uncorrectable"),
        at(f"{place}/sram_uncorrectable"),
        at(f"{place}/sram_uncorrectable_parity"),
        at(f"{place}/sram_uncorrectable_secded"),
    )


def _corrected(since: str) -> Reads:
    place = f"ecc_errors/{since}"
    return total(at(f"{place}/dram_correctable"), at(f"{place}/sram_correctable"))


@dataclass(frozen=True)
class Field:
    reads: Reads
    apart: float = 0.0
    """How far the two may be from one another: they are read one after the other."""
    share: float = 0.0
    """The same, as a share of the value."""
    silent: bool = True
    """Whether we have no series where nvidia-smi has no value."""
    labels: Mapping[str, str] | None = None
    bits: int = 0
    """Compare these bits alone."""


_PCI = "pci/pci_gpu_link_info"
_COUNTERS = "clocks_event_reasons_counters/clocks_event_reasons_counters_"
_POWER = "gpu_power_readings"
_OLD_POWER = "power_readings"
_FIVE_S = 5e9
_MARGIN = at("temperature/gpu_temp_tlimit")

FIELDS: tuple[tuple[str, Field], ...] = (
    ("DCGM_FI_DEV_GPU_TEMP", Field(at("temperature/gpu_temp"), 5)),
    ("DCGM_FI_DEV_MEMORY_TEMP", Field(at("temperature/memory_temp"), 5)),
    ("DCGM_FI_DEV_GPU_TEMP_LIMIT", Field(at("temperature/gpu_temp_tlimit"), 5, silent=False)),
    (
        "healer_gpu_thermal_margin_celsius",
        Field(at("temperature/gpu_temp_tlimit"), 5, silent=False),
    ),
    ("DCGM_FI_DEV_SLOWDOWN_TEMP", Field(at("temperature/gpu_temp_slow_threshold"), silent=False)),
    ("DCGM_FI_DEV_SHUTDOWN_TEMP", Field(at("temperature/gpu_temp_max_threshold"), silent=False)),
    ("DCGM_FI_DEV_SM_CLOCK", Field(at("clocks/sm_clock"), 400, 0.5)),
    ("DCGM_FI_DEV_MEM_CLOCK", Field(at("clocks/mem_clock"), 400, 0.5)),
    ("healer_gpu_sm_clock_max_mhz", Field(at("max_clocks/sm_clock"))),
    (
        "DCGM_FI_DEV_POWER_USAGE",
        Field(
            at(f"{_POWER}/average_power_draw", f"{_POWER}/power_draw", f"{_OLD_POWER}/power_draw"),
            60,
            0.5,
            silent=False,
        ),
    ),
    (
        "DCGM_FI_DEV_POWER_USAGE_INSTANT",
        Field(at(f"{_POWER}/instant_power_draw"), 60, 0.5, silent=False),
    ),
    (
        "healer_gpu_power_limit_watts",
        Field(at(f"{_POWER}/current_power_limit", f"{_OLD_POWER}/enforced_power_limit"), 1),
    ),
    (
        "DCGM_FI_DEV_POWER_MGMT_LIMIT",
        Field(at(f"{_POWER}/requested_power_limit", f"{_OLD_POWER}/power_limit"), 1),
    ),
    ("DCGM_FI_DEV_FB_TOTAL", Field(at("fb_memory_usage/total"), 2)),
    ("DCGM_FI_DEV_FB_USED", Field(at("fb_memory_usage/used"), 256)),
    ("DCGM_FI_DEV_FB_FREE", Field(at("fb_memory_usage/free"), 256)),
    ("DCGM_FI_DEV_FB_RESERVED", Field(at("fb_memory_usage/reserved"), 8)),
    ("DCGM_FI_DEV_BAR1_TOTAL", Field(at("bar1_memory_usage/total"), 1)),
    ("DCGM_FI_DEV_BAR1_USED", Field(at("bar1_memory_usage/used"), 64)),
    ("DCGM_FI_DEV_GPU_UTIL", Field(at("utilization/gpu_util"), 100)),
    ("DCGM_FI_DEV_MEM_COPY_UTIL", Field(at("utilization/memory_util"), 100)),
    ("DCGM_FI_DEV_ENC_UTIL", Field(at("utilization/encoder_util"), 100)),
    ("DCGM_FI_DEV_DEC_UTIL", Field(at("utilization/decoder_util"), 100)),
    ("DCGM_FI_DEV_PSTATE", Field(at("performance_state"), 15)),
    ("DCGM_FI_DEV_PERSISTENCE_MODE", Field(at("persistence_mode"))),
    ("DCGM_FI_DEV_ECC_CURRENT", Field(at("ecc_mode/current_ecc"))),
    ("DCGM_FI_DEV_PCIE_REPLAY_COUNTER", Field(at("pci/replay_counter"), 10)),
    ("DCGM_FI_DEV_PCIE_LINK_GEN", Field(at(f"{_PCI}/pcie_gen/current_link_gen"), 5)),
    ("healer_gpu_pcie_link_generation_max", Field(at(f"{_PCI}/pcie_gen/max_link_gen"))),
    ("DCGM_FI_DEV_PCIE_LINK_WIDTH", Field(at(f"{_PCI}/link_widths/current_link_width"))),
    ("healer_gpu_pcie_link_width_max", Field(at(f"{_PCI}/link_widths/max_link_width"))),
    ("DCGM_FI_DEV_CORRECTABLE_REMAPPED_ROWS", Field(at("remapped_rows/remapped_row_corr"))),
    ("DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS", Field(at("remapped_rows/remapped_row_unc"))),
    ("DCGM_FI_DEV_ROW_REMAP_PENDING", Field(at("remapped_rows/remapped_row_pending"))),
    ("DCGM_FI_DEV_ROW_REMAP_FAILURE", Field(at("remapped_rows/remapped_row_failure"))),
    ("DCGM_FI_DEV_ECC_SBE_VOL_TOTAL", Field(_corrected("volatile"), silent=False)),
    ("DCGM_FI_DEV_ECC_DBE_VOL_TOTAL", Field(_uncorrected("volatile"), silent=False)),
    ("DCGM_FI_DEV_ECC_SBE_AGG_TOTAL", Field(_corrected("aggregate"), silent=False)),
    ("DCGM_FI_DEV_ECC_DBE_AGG_TOTAL", Field(_uncorrected("aggregate"), silent=False)),
    (
        "healer_gpu_sram_threshold_exceeded",
        Field(at("ecc_errors/aggregate/sram_threshold_exceeded"), silent=False),
    ),
    (
        "healer_gpu_repair_pending",
        Field(
            at("ecc_errors/channel_repair_pending"), silent=False, labels={"part": "memory_channel"}
        ),
    ),
    (
        "healer_gpu_repair_pending",
        Field(at("ecc_errors/tpc_repair_pending"), silent=False, labels={"part": "tpc"}),
    ),
    (
        "DCGM_FI_DEV_RETIRED_SBE",
        Field(at("retired_pages/multiple_single_bit_retirement/retired_count"), silent=False),
    ),
    (
        "DCGM_FI_DEV_RETIRED_DBE",
        Field(at("retired_pages/double_bit_retirement/retired_count"), silent=False),
    ),
    (
        "DCGM_FI_DEV_RETIRED_PENDING",
        Field(
            at("retired_pages/pending_retirement", "retired_pages/pending_blacklist"), silent=False
        ),
    ),
    ("healer_gpu_recovery_action", Field(word("gpu_recovery_action", _RECOVERY), silent=False)),
    ("healer_gpu_fabric_state", Field(word("fabric/state", _FABRIC))),
    ("DCGM_FI_DEV_CLOCKS_EVENT_REASONS", Field(_reasons, bits=sum(_REASONS.values()))),
    *(
        (
            "healer_gpu_throttle_nanoseconds_total",
            Field(
                at(f"{_COUNTERS}{name}", times=1000.0),
                _FIVE_S,
                silent=False,
                labels={"reason": reason},
            ),
        )
        for name, reason in {
            "sw_power_cap": "sw_power_cap",
            "sync_boost": "sync_boost",
            "sw_therm_slowdown": "sw_thermal",
            "hw_therm_slowdown": "hw_thermal",
            "hw_power_brake": "hw_power_brake",
        }.items()
    ),
)
MEMORY = ("DCGM_FI_DEV_FB_USED", "DCGM_FI_DEV_FB_FREE", "DCGM_FI_DEV_FB_TOTAL")
"""Of a split card the instances have it."""


def differences(gpu: ET.Element, page: Page) -> list[str]:
    """Where the page is not what nvidia-smi says of this GPU; a line for each."""
    uuid = gpu.findtext("uuid", "").strip()
    split = gpu.find("mig_devices/mig_device") is not None
    found = []
    for name, field in FIELDS:
        if split and name.startswith("DCGM_FI_DEV_FB_"):
            continue
        want = {"UUID": uuid, **(field.labels or {})}
        shown = [v for ls, v in page[name] if want.items() <= ls.items()]
        told = field.reads(gpu)
        if told is None:
            if shown and field.silent:
                found.append(f"{uuid} {name}: {shown[0]}, nvidia-smi has none")
        elif len(shown) != 1:
            found.append(f"{uuid} {name}: {len(shown)} series, nvidia-smi says {told}")
        elif not _near(shown[0], told, field):
            found.append(f"{uuid} {name}: {shown[0]}, nvidia-smi says {told}")
    return found + _instances(gpu, uuid, page) + _processes(gpu, uuid, page)


def _near(shown: float, told: float, field: Field) -> bool:
    if field.bits:
        return int(shown) & field.bits == int(told) & field.bits
    return abs(shown - told) <= max(field.apart, field.share * abs(told))


def _instances(gpu: ET.Element, uuid: str, page: Page) -> list[str]:
    found = []
    for part in gpu.iterfind("mig_devices/mig_device"):
        number_of = part.findtext("gpu_instance_id", "").strip()
        for name in MEMORY:
            told = number(part.findtext(f"fb_memory_usage/{name.rpartition('_')[2].lower()}", ""))
            want = {"UUID": uuid, "GPU_I_ID": number_of}
            shown = [v for ls, v in page[name] if want.items() <= ls.items()]
            if len(shown) != 1 or told is None or abs(shown[0] - told) > 256:
                found.append(f"{uuid} {name} of instance {number_of}: {shown}, told {told}")
    return found


def _processes(gpu: ET.Element, uuid: str, page: Page) -> list[str]:
    """Those that compute and whose memory is known. They come and go between two readings, so
    only what both know is compared."""
    shown = {
        ls["pid"]: v / 2**20
        for ls, v in page["healer_gpu_process_memory_bytes"]
        if ls["UUID"] == uuid
    }
    found = []
    for process in gpu.iterfind("processes/process_info"):
        told = number(process.findtext("used_memory", ""))
        pid = process.findtext("pid", "").strip()
        if told is not None and pid in shown and abs(shown[pid] - told) > 256:
            found.append(f"{uuid} process {pid}: {shown[pid]} MiB, nvidia-smi says {told}")
    return found
