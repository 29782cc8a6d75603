"""Xids from the kernel's log: history since boot, those that NVML never reported, and the errors
of NVSwitches, which are nowhere else without DCGM.

/dev/kmsg gives one record a read: `priority,sequence,microseconds,flags;text`. Lines as dmesg
prints them are understood too. Whatever is no such line, binary noise included, is passed over.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from exporters.device import SXID_FATAL, SXID_OTHER, XID, Fault, bus_key

KMSG = Path("/dev/kmsg")
_RECORD_BYTES = 8192
"""The kernel refuses to hand a record to a smaller buffer."""
_PLACE = r"\((?:PCI:)?(?P<bus>[0-9a-fA-F]{4,8}:[0-9a-fA-F]{2}:[0-9a-fA-F]{2})(?:\.\d)?\): "
_XID = re.compile(rf"NVRM: Xid {_PLACE}(?P<code>\d{{1,5}})\b")
_SXID = re.compile(
    rf"nvidia-nvswitch\d+: SXid {_PLACE}(?P<code>\d{{1,6}}), (?P<fatal>Fatal|Non-fatal)\b"
)
"""The lines that follow one, with its severity and data, have no such word."""
_KMSG = re.compile(r"(?P<priority>\d+),\d+,(?P<us>\d+),[^;]*;")


@dataclass(frozen=True, slots=True)
class Line:
    """A record's text, and its age on the kernel's clock where the record says it."""

    text: str
    since_boot_s: float | None = None
    by_kernel: bool = True
    """Programs may write into the log too, and are not believed."""


def parse_record(raw: bytes) -> Line:
    text = raw.decode("utf-8", errors="replace")
    head = _KMSG.match(text)
    if head is None:
        return Line(text)
    # The upper bits of the priority are the facility; the kernel's is 0.
    return Line(text[head.end() :], int(head["us"]) / 1e6, int(head["priority"]) < 8)


def fault_of(line: Line, booted_s: float) -> Fault | None:
    """booted_s: when the kernel's clock was zero, in seconds since the epoch."""
    if not line.by_kernel:
        return None
    kind = XID
    found = _XID.search(line.text)
    if found is None:
        found = _SXID.search(line.text)
        if found is None:
            return None
        kind = SXID_FATAL if found["fatal"] == "Fatal" else SXID_OTHER
    at = None if line.since_boot_s is None else booted_s + line.since_boot_s
    return Fault(bus_key(found["bus"]), int(found["code"]), at, kind)


class KernelLog:
    """Raises OSError on opening where it may not be read (root, or CAP_SYSLOG)."""

    def __init__(self, path: Path = KMSG) -> None:
        self._file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self._booted_s = time.time() - time.monotonic()
        self._rest = b""
        self._caught_up = False

    def faults(self) -> Iterator[Fault]:
        """Those since the last call; the first call tells the history. Raises OSError.

        Only history is dated by the kernel's clock: nothing corrects that one, so after months of
        uptime it is minutes off, and what is news would look old.
        """
        for raw in self._records():
            fault = fault_of(parse_record(raw), self._booted_s)
            if fault is not None:
                yield replace(fault, at_s=None) if self._caught_up else fault
        self._caught_up = True

    def close(self) -> None:
        os.close(self._file)

    def _records(self) -> Iterator[bytes]:
        """A read is one record of /dev/kmsg, or a piece of a plain file."""
        while True:
            try:
                chunk = os.read(self._file, _RECORD_BYTES)
            except BlockingIOError:
                return
            except BrokenPipeError:
                continue  # records were overwritten before we came; the next read goes on
            if not chunk:
                return
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            yield from lines
