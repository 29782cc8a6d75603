"""Samples into a genuine Prometheus by remote write, bit by bit.

Backfilled blocks cannot hold staleness markers. The message is small enough to encode by hand:
protobuf's wire format, in snappy's framing without any compression.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence

import requests

Row = tuple[Mapping[str, str], Sequence[tuple[int, float]]]
"""Labels, and (milliseconds, value) in order."""

MOST_SAMPLES = 50_000


def write(url: str, rows: Iterable[Row]) -> None:
    """All series at once: Prometheus wants a new sample to be the newest of its series."""
    body = b"".join(_field(1, _series(labels, samples)) for labels, samples in rows)
    answer = requests.post(
        f"{url}/api/v1/write",
        data=_snappy(body),
        headers={
            "Content-Encoding": "snappy",
            "Content-Type": "application/x-protobuf",
            "X-Prometheus-Remote-Write-Version": "0.1.0",
        },
        timeout=300,
    )
    assert answer.status_code == 204, answer.text


def _series(labels: Mapping[str, str], samples: Sequence[tuple[int, float]]) -> bytes:
    names = b"".join(
        _field(1, _field(1, name.encode()) + _field(2, value.encode()))
        for name, value in sorted(labels.items())
        if value
    )
    return names + b"".join(
        _field(2, b"\x09" + struct.pack("<d", value) + b"\x10" + _varint(at_ms))
        for at_ms, value in samples
    )


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    done = bytearray()
    while number > 0x7F:
        done.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*done, number])


def _snappy(body: bytes) -> bytes:
    """Literals only."""
    pieces = [body[at : at + 65536] for at in range(0, len(body), 65536)]
    framed = (b"\xf4" + struct.pack("<H", len(each) - 1) + each for each in pieces)
    return _varint(len(body)) + b"".join(framed)
