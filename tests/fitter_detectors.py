"""Detectors whose fits behave badly, for tests of where fits run."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from healer.model.finding import Finding
from healer.model.frame import Frame
from healer.ports import Baseline, Detector


@dataclass(frozen=True)
class Patient(Detector):
    """Its first fit leaves its process number and waits to be killed; its second is done."""

    marker: str

    def fit(self, frame: Frame) -> Baseline | None:
        marker = Path(self.marker)
        if not marker.exists():
            marker.write_text(str(os.getpid()))
            time.sleep(300)
        return Baseline("patient", frame.signal.name, 1, frame.end)

    def detect(self, frame: Frame, baseline: Baseline | None) -> Iterator[Finding]:
        yield from ()


@dataclass(frozen=True)
class Deadly(Detector):
    """Its fit kills the process that it runs in, as running out of memory would."""

    def fit(self, frame: Frame) -> Baseline | None:
        os.kill(os.getpid(), signal.SIGKILL)
        return None

    def detect(self, frame: Frame, baseline: Baseline | None) -> Iterator[Finding]:
        yield from ()


@dataclass(frozen=True)
class Slow(Detector):
    """Its fit takes longer than anybody waits."""

    def fit(self, frame: Frame) -> Baseline | None:
        time.sleep(600)
        return None

    def detect(self, frame: Frame, baseline: Baseline | None) -> Iterator[Finding]:
        yield from ()
