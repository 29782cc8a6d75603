"""One machine without a cluster: its Docker containers and systemd units stand for pods."""

from __future__ import annotations

import socket

from healer.adapters.machine.docker import Docker
from healer.adapters.machine.machine import Machine
from healer.adapters.machine.supervisor import Supervisor
from healer.adapters.machine.systemd import Systemd
from healer.ports import Clock
from healer.settings import MachineSettings

__all__ = ["Machine", "open_machine"]


def open_machine(settings: MachineSettings, clock: Clock) -> Machine | None:
    """The services that the settings name; None where they name none."""
    supervisors: list[Supervisor] = []
    if settings.containers:
        supervisors.append(Docker(settings.docker_socket, settings.containers))
    if settings.units:
        supervisors.append(Systemd(settings.units))
    if not supervisors:
        return None
    return Machine(settings.node or socket.gethostname(), tuple(supervisors), clock)
