"""The little of protobuf's wire format that reading and writing a message by field number needs.

No generated stub has to follow the sender's version. Raises ValueError on what is no protobuf.
"""

from __future__ import annotations

from collections.abc import Iterator


def messages(message: bytes, number: int) -> Iterator[bytes]:
    """The length-delimited fields of that number, in order."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        match key & 7:
            case 0:
                _, at = _varint(message, at)
            case 1:
                at += 8
            case 2:
                size, at = _varint(message, at)
                if key >> 3 == number:
                    yield message[at : at + size]
                at += size
            case 5:
                at += 4
            case wire:
                raise ValueError(f"wire type {wire} is no protobuf")
        if at > len(message):
            raise ValueError("the message is cut short")


def text(message: bytes, number: int) -> str:
    """The first such field, or nothing. Raises ValueError if it is no UTF-8."""
    return next((m.decode() for m in messages(message, number)), "")


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(message) and shift < 64:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, at
        shift += 7
    raise ValueError("the message is cut short")


def field(number: int, content: bytes) -> bytes:
    """A length-delimited field, as it is written."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(value: int) -> bytes:
    """value: not negative."""
    done = bytearray()
    while value > 0x7F:
        done.append(value & 0x7F | 0x80)
        value >>= 7
    done.append(value)
    return bytes(done)
