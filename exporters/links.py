"""NVLinks, link by link. NVLink 5 has its error counters as fields, older ones have a call."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pynvml as nv

from exporters.device import Sample
from exporters.probe import Probe, value_of

_COUNTERS: Mapping[int, str] = {
    nv.NVML_NVLINK_ERROR_DL_REPLAY: "replay",
    nv.NVML_NVLINK_ERROR_DL_RECOVERY: "recovery",
    nv.NVML_NVLINK_ERROR_DL_CRC_FLIT: "crc_flit",
    nv.NVML_NVLINK_ERROR_DL_CRC_DATA: "crc_data",
}
_FIELDS: Mapping[int, str] = {
    nv.NVML_FI_DEV_NVLINK_COUNT_MALFORMED_PACKET_ERRORS: "malformed_packet",
    nv.NVML_FI_DEV_NVLINK_COUNT_BUFFER_OVERRUN_ERRORS: "buffer_overrun",
    nv.NVML_FI_DEV_NVLINK_COUNT_RCV_ERRORS: "receive",
    nv.NVML_FI_DEV_NVLINK_COUNT_LOCAL_LINK_INTEGRITY_ERRORS: "link_integrity",
    nv.NVML_FI_DEV_NVLINK_COUNT_LINK_RECOVERY_EVENTS: "link_recovery",
}
"""Symbol errors are left out: forward error correction mends them, and they are many."""
_TRAFFIC: Mapping[int, str] = {
    nv.NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_TX: "transmitted",
    nv.NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_RX: "received",
}
_KIB = 1024


def _each_link(ask: Callable[[Probe, int], list[Sample]]) -> Callable[..., tuple[Sample, ...]]:
    """Samples of all links that answer. Raises NotSupported where there are none."""

    def read(probe: Probe) -> tuple[Sample, ...]:
        found: list[Sample] = []
        for link in range(nv.NVML_NVLINK_MAX_LINKS):
            try:
                found += ask(probe, link)
            except nv.NVMLError_InvalidArgument:
                break  # past the last link of this card
            except nv.NVMLError_NotSupported:
                continue
        if not found:
            raise nv.NVMLError(nv.NVML_ERROR_NOT_SUPPORTED)
        return tuple(found)

    return read


def _active(probe: Probe, link: int) -> list[Sample]:
    return [Sample(float(probe.ask(nv.nvmlDeviceGetNvLinkState, link)), {"link": str(link)})]


def _errors(probe: Probe, link: int) -> list[Sample]:
    probe.ask(nv.nvmlDeviceGetNvLinkState, link)  # raises past the last link
    found = _fields(probe, link, _FIELDS, "kind")
    for number, kind in _COUNTERS.items():
        try:
            count = probe.ask(nv.nvmlDeviceGetNvLinkErrorCounter, link, number)
        except (nv.NVMLError_NotSupported, nv.NVMLError_FunctionNotFound):
            continue
        found.append(Sample(float(count), {"link": str(link), "kind": kind}))
    return found


def _bytes(probe: Probe, link: int) -> list[Sample]:
    probe.ask(nv.nvmlDeviceGetNvLinkState, link)
    return [
        Sample(sample.value * _KIB, sample.labels)
        for sample in _fields(probe, link, _TRAFFIC, "direction")
    ]


def _fields(probe: Probe, link: int, names: Mapping[int, str], label: str) -> list[Sample]:
    found: list[Sample] = []
    for item in probe.link_fields(tuple(names), link):
        try:
            value = value_of(item)
        except nv.NVMLError_NotSupported:
            continue
        found.append(Sample(value, {"link": str(link), label: names[int(item.fieldId)]}))
    return found


LINK_READERS = {
    "nvlink_active": _each_link(_active),
    "nvlink_errors": _each_link(_errors),
    "nvlink_bytes": _each_link(_bytes),
}
