"""Containers of this machine, through the Docker Engine's API on its socket.

Two calls are used, both as old as the API itself, so no version is asked for: inspect, and
restart. Whoever may write to the socket is root on the machine; see docs/one-machine.md.
"""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from healer.adapters.machine.supervisor import Service
from healer.errors import Permanent, Temporary, UnknownOutcome

CONNECT_S = 3.0
READ_S = 5.0
STOP_S = 10
"""Given to a container to end by itself, as `docker restart` does."""
_PHASES = {
    "created": "Pending",
    "restarting": "Pending",
    "running": "Running",
    "paused": "Running",
    "removing": "Failed",
    "exited": "Failed",
    "dead": "Failed",
}


@dataclass(frozen=True, slots=True)
class Docker:
    """Fulfils `Supervisor`."""

    socket: Path
    names: tuple[str, ...]
    kind: str = "container"

    def look(self, name: str) -> Service | None:
        status, body = self._ask("GET", f"/containers/{quote(name, safe='')}/json", READ_S)
        if status == 404:
            return None
        if status != 200:
            raise Temporary(f"docker: inspect {name}: {status} {_message(body)}")
        try:
            return service_of(name, json.loads(body))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Temporary(f"docker: inspect {name}: an answer of another shape") from error

    def restart(self, name: str) -> None:
        path = f"/containers/{quote(name, safe='')}/restart?t={STOP_S}"
        status, body = self._ask("POST", path, STOP_S + 20.0, sends=True)
        if status >= 500:
            raise UnknownOutcome(f"docker: restart {name}: {status} {_message(body)}")
        if status not in (204, 200):
            raise Permanent(f"docker: restart {name}: {status} {_message(body)}")

    def _ask(
        self, method: str, path: str, read_s: float, *, sends: bool = False
    ) -> tuple[int, bytes]:
        connection = _OnSocket(self.socket, read_s)
        try:
            connection.connect()
        except OSError as error:
            connection.close()
            raise Temporary(f"docker: {self.socket}: {error.strerror or error}") from error
        try:
            connection.request(method, path, headers={"Host": "docker"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            said = f"docker: {method} {path.partition('?')[0]}: {type(error).__name__}"
            raise (UnknownOutcome(said) if sends else Temporary(said)) from error
        finally:
            connection.close()


class _OnSocket(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, file: Path, read_s: float) -> None:
        super().__init__("docker", timeout=read_s)
        self._file, self._read_s = file, read_s

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(CONNECT_S)
        self.sock.connect(str(self._file))
        self.sock.settimeout(self._read_s)


def service_of(name: str, found: Mapping[str, Any]) -> Service:
    """What `inspect` says. Raises KeyError, TypeError or ValueError for another shape."""
    state = found["State"]
    status, health = str(state["Status"]), (state.get("Health") or {}).get("Status", "none")
    ended = status in ("exited", "dead", "restarting")
    image = (found.get("Config") or {}).get("Image", "")
    restarts = int(found.get("RestartCount") or 0)
    return Service(
        name=name,
        run=f"{str(found['Id'])[:12]}.{state['StartedAt']}",
        ready=status == "running" and health in ("none", "healthy"),
        phase=_PHASES.get(status, "Pending"),
        changing=status in ("restarting", "removing"),
        restarts=restarts,
        reason=_reason(state, ended=ended, health=health),
        started_at=_moment(str(state["StartedAt"])),
        facts={
            "containers": [
                {
                    "name": name,
                    "image": image,
                    "ready": status == "running" and health in ("none", "healthy"),
                    "restarts": restarts,
                }
            ]
        },
    )


def _reason(state: Mapping[str, Any], *, ended: bool, health: str) -> str:
    if state.get("OOMKilled"):
        return "OOMKilled"
    if ended and state.get("ExitCode"):
        return f"exit code {state['ExitCode']}"
    return "unhealthy" if health == "unhealthy" else ""


def _moment(text: str) -> datetime | None:
    """Docker writes nanoseconds, and the year 1 for never."""
    whole, _, rest = text.removesuffix("Z").partition(".")
    try:
        moment = datetime.fromisoformat(f"{whole}.{rest[:6]:0<6}+00:00")
    except ValueError:
        return None
    return moment if moment.year > 1 else None


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body)["message"])[:200]
    except (ValueError, KeyError, TypeError):
        return body[:200].decode("utf-8", "replace")
