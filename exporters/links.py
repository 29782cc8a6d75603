"""NVLinks, link by link. NVLink 5 has its error counters as fields, older ones have a call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

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

Told = tuple[Sample, ...]


def _of_links(ask: Callable[[Probe, Sequence[int]], list[Sample]]) -> Callable[..., Told]:
    """Samples of all links that answer. Raises NotSupported where there are none."""

    def read(probe: Probe) -> Told:
        links = _links(probe)
        found = ask(probe, links) if links else []
        if not found:
            raise nv.NVMLError(nv.NVML_ERROR_NOT_SUPPORTED)
        return tuple(found)

    return read


def _links(probe: Probe) -> list[int]:
    found = []
    for link in range(nv.NVML_NVLINK_MAX_LINKS):
        try:
            probe.ask(nv.nvmlDeviceGetNvLinkState, link)
        except nv.NVMLError_InvalidArgument:
            break  # past the last link of this card
        except nv.NVMLError_NotSupported:
            continue
        found.append(link)
    return found


def _active(probe: Probe, links: Sequence[int]) -> list[Sample]:
    return [
        Sample(float(probe.ask(nv.nvmlDeviceGetNvLinkState, link)), {"link": str(link)})
        for link in links
    ]


def _errors(probe: Probe, links: Sequence[int]) -> list[Sample]:
    found = _fields(probe, links, _FIELDS, "kind")
    for link in links:
        for number, kind in _COUNTERS.items():
            try:
                count = probe.ask(nv.nvmlDeviceGetNvLinkErrorCounter, link, number)
            except (nv.NVMLError_NotSupported, nv.NVMLError_FunctionNotFound):
                continue
            found.append(Sample(float(count), {"link": str(link), "kind": kind}))
    return found


def _bytes(probe: Probe, links: Sequence[int]) -> list[Sample]:
    return [
        Sample(sample.value * _KIB, sample.labels)
        for sample in _fields(probe, links, _TRAFFIC, "direction")
    ]


def _fields(
    probe: Probe, links: Sequence[int], names: Mapping[int, str], label: str
) -> list[Sample]:
    found: list[Sample] = []
    wanted = [(number, link) for link in links for number in names]
    for (number, link), item in zip(wanted, probe.scoped_fields(wanted), strict=True):
        try:
            value = value_of(item)
        except nv.NVMLError_NotSupported:
            continue
        found.append(Sample(value, {"link": str(link), label: names[number]}))
    return found


LINK_READERS = {
    "nvlink_active": _of_links(_active),
    "nvlink_errors": _of_links(_errors),
    "nvlink_bytes": _of_links(_bytes),
}
