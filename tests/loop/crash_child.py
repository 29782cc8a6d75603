"""A Healer that is killed: ticks against the lab whose addresses it is given, a tick a line read.

Run as a program: PROMETHEUS_URL KUBERNETES_URL STORE_URL. Reads a moment (ISO 8601) a line,
ticks at it, and answers `ok`.
"""

from __future__ import annotations

import sys
from datetime import datetime

from healer.adapters import logs
from healer.adapters.clocks import SteppedClock
from healer.app import App, open_world
from healer.cli.simulation import lab_settings


def main() -> None:
    prometheus, kubernetes, store = sys.argv[1:4]
    logs.configure("error", "text")
    clock = SteppedClock(datetime.fromisoformat(sys.stdin.readline().strip()))
    settings = lab_settings(store, prometheus, kubernetes)
    app = App(settings, open_world(settings, clock))
    app.begin()
    app.tick()
    app.learn()
    sys.stdout.write("ok\n")
    sys.stdout.flush()
    for line in sys.stdin:
        clock.move_to(datetime.fromisoformat(line.strip()))
        app.tick()
        sys.stdout.write("ok\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
