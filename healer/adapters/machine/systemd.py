"""Units of this machine, through systemctl: `show` and `restart --no-block`.

Healer has to run on the machine itself, as somebody whom polkit lets restart these units; see
docs/one-machine.md. A restart is a job of systemd's own, and outlives us.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

from healer.adapters.machine.supervisor import Service
from healer.errors import Permanent, Temporary, UnknownOutcome

PROPERTIES = ("LoadState", "ActiveState", "SubState", "Result", "InvocationID", "NRestarts")
ASK_S = 5.0
_PHASES = {
    "active": "Running",
    "reloading": "Running",
    "activating": "Pending",
    "deactivating": "Running",
    "inactive": "Failed",
    "failed": "Failed",
}


@dataclass(frozen=True, slots=True)
class Systemd:
    """Fulfils `Supervisor`."""

    names: tuple[str, ...]
    kind: str = "unit"
    command: tuple[str, ...] = ("systemctl",)

    def look(self, name: str) -> Service | None:
        done = self._run("show", f"--property={','.join(PROPERTIES)}", name)
        if done.returncode != 0:
            raise Temporary(f"systemctl show {name}: {_said(done)}")
        pairs = (line.partition("=") for line in done.stdout.splitlines())
        return service_of(name, {key: value for key, _, value in pairs})

    def restart(self, name: str) -> None:
        try:
            done = self._run("restart", "--no-block", "--no-ask-password", name)
        except Temporary as error:
            if isinstance(error.__cause__, subprocess.TimeoutExpired):
                raise UnknownOutcome(str(error)) from error
            raise
        if done.returncode != 0:
            raise Permanent(f"systemctl restart {name}: {_said(done)}")

    def _run(self, *words: str) -> subprocess.CompletedProcess[str]:
        verb = words[0]
        try:
            return subprocess.run(  # noqa: S603  the unit's name comes from the settings
                [*self.command, *words],
                capture_output=True,
                text=True,
                check=False,
                timeout=ASK_S,
                env={"LC_ALL": "C", "PATH": "/usr/local/bin:/usr/bin:/bin"},
            )
        except subprocess.TimeoutExpired as error:
            raise Temporary(f"systemctl {verb}: no answer within {ASK_S:.0f} s") from error
        except OSError as error:
            raise Temporary(f"systemctl {verb}: {error.strerror or error}") from error


def service_of(name: str, said: Mapping[str, str]) -> Service | None:
    """From the properties of `systemctl show`; None where no such unit is loaded."""
    if said.get("LoadState") != "loaded":
        return None
    active, result = said.get("ActiveState", ""), said.get("Result", "")
    restarts = said.get("NRestarts", "")
    return Service(
        name=name,
        run=said.get("InvocationID") or "never",
        ready=active == "active" and said.get("SubState") == "running",
        phase=_PHASES.get(active, "Pending"),
        changing=active in ("activating", "deactivating", "reloading"),
        restarts=int(restarts) if restarts.isdecimal() else 0,
        reason=result if result not in ("", "success") else "",
    )


def _said(done: subprocess.CompletedProcess[str]) -> str:
    return (done.stderr.strip() or f"exit status {done.returncode}").splitlines()[-1][:200]
