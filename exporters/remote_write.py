"""Prometheus' remote write 1.0: families as one request body.

A series that is no longer on the page gets a staleness marker, as it would from a scrape; else its
last value would stand for five more minutes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping

from exporters.exposition import Family
from exporters.protobuf import field, varint

Labels = tuple[tuple[str, str], ...]
"""Sorted by name, `__name__` among them: what a series is."""

_STALE = struct.pack("<Q", 0x7FF0000000000002)
"""One particular NaN."""

HEADERS = {
    "Content-Encoding": "snappy",
    "Content-Type": "application/x-protobuf",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
    "User-Agent": "healer-exporter",
}


def series(families: Iterable[Family], common: Mapping[str, str]) -> dict[Labels, float]:
    """common: labels of every series; those of the sample itself stand before them."""
    found: dict[Labels, float] = {}
    for family in families:
        for labels, value in family.samples:
            named = {**common, **labels, "__name__": family.name}
            # The protocol has no empty labels.
            key = tuple(sorted((name, text) for name, text in named.items() if text))
            found[key] = value
    return found


def request(now: Mapping[Labels, float], gone: Iterable[Labels], at_ms: int) -> bytes:
    """A WriteRequest, not yet compressed. gone: series that were there the time before."""
    stamp = b"\x10" + varint(at_ms)
    body = [_series(labels, struct.pack("<d", value) + stamp) for labels, value in now.items()]
    body += [_series(labels, _STALE + stamp) for labels in gone]
    return b"".join(body)


def _series(labels: Labels, sample: bytes) -> bytes:
    names = b"".join(
        field(1, field(1, name.encode()) + field(2, value.encode())) for name, value in labels
    )
    return field(1, names + field(2, b"\x09" + sample))
