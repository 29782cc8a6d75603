"""Prints what was done in a scenario, out of the audit log and the API server's own log.

Within one simulated moment the API server's lines come first.

    python tools/transcripts.py engine_hang

The transcripts in docs/remediations/ are its output.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from healer.adapters import logs
from healer.cli.simulation import Simulation, lab_settings
from healer.lab.apiserver import Write
from healer.lab.lab import Lab
from healer.lab.scenario import find_scenario, load_scenario

TOLD = ("plan.", "step.", "intent.", "incident.opened", "incident.diagnosed", "incident.resolved")
WIDTH = 118


def transcript(name: str) -> list[str]:
    lab = Lab(load_scenario(find_scenario(name)))
    with Simulation(lab, lab_settings("sqlite://")) as story:
        story.run()
        audit = [entry for _, entry in story.app.store.audit(limit=100_000)]
    rows = [
        (entry.at, 1, f"healer  {entry.kind:20} {entry.message}")
        for entry in audit
        if entry.kind.startswith(TOLD)
    ]
    rows += [(write.at, 0, f"api     {_request(write)}") for write in lab.write_log]
    began = lab.scenario.start
    return [
        f"{(at - began).total_seconds() / 60:5.2f}m {text}"[:WIDTH].rstrip()
        for at, _, text in sorted(rows, key=lambda row: row[:2])
    ]


def _request(write: Write) -> str:
    tail = "/".join(write.path.split("/")[-4:])
    dry = " (dry run)" if write.dry_run else ""
    return f"{write.method} …/{tail} {write.status}{dry} {json.dumps(_brief(write.body))}"


def _brief(body: Any) -> Any:
    """Without what fills pages: a pod template."""
    if isinstance(body, list):
        return [_brief(each) for each in body]
    if isinstance(body, dict):
        return {
            key: "…" if key == "value" and isinstance(value, dict) else _brief(value)
            for key, value in body.items()
            if key not in ("apiVersion", "kind")
        }
    return body


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("scenario")
    given = asked.parse_args()
    logs.configure("error", "text")
    sys.stdout.write("\n".join(transcript(given.scenario)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
