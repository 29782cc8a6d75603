"""What a person finds in the log of the exporter's pod: each change once, as one line."""

from __future__ import annotations

import sys
from collections.abc import Callable

from exporters.device import Fault, Sweep


class Journal:
    """For the threads of one watch; a line is written whole."""

    def __init__(self, write: Callable[[str], object] = sys.stderr.write) -> None:
        self._write = write
        self._driver = ""
        self._states: dict[str, str] = {}

    def sweep(self, sweep: Sweep) -> None:
        driver = f"driver {sweep.state}"
        if sweep.state == "ok":
            driver += f", version {sweep.driver_version}"
        if driver != self._driver:
            self._driver = driver
            self._say(driver, sweep.detail)
        for reading in sweep.readings:
            if self._states.get(reading.uuid, "ok") != reading.state:
                self._say(f"{reading.uuid} at {reading.pci_bus_id} {reading.state}", reading.detail)
            self._states[reading.uuid] = reading.state

    def burst(self, fault: Fault) -> None:
        """An error after silence; its repeats are on the page."""
        self._say(f"{fault.kind} {fault.code} at {fault.bus or 'an unknown place'}", "")

    def _say(self, what: str, detail: str) -> None:
        self._write(f"exporter: {what}{': ' if detail else ''}{detail}\n")
