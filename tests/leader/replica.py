"""One replica of the daemon, for tests that kill it: PROMETHEUS KUBERNETES STORE IDENTITY PORT."""

from __future__ import annotations

import dataclasses
import signal
import sys
import threading
from datetime import timedelta
from pathlib import Path

from healer.adapters import logs
from healer.app import App, open_world
from healer.cli.simulation import lab_settings
from healer.daemon import Daemon
from healer.settings import LeaseSettings


def main() -> None:
    prometheus, kubernetes, store, identity, port = sys.argv[1:]
    logs.configure("info", "text")
    token = Path(f"{identity}.token")
    token.write_text("give\n")
    given = lab_settings(store, prometheus, kubernetes)
    settings = dataclasses.replace(
        given,
        lease=LeaseSettings(namespace="serving", identity=identity),
        loop=dataclasses.replace(given.loop, interval=timedelta(seconds=1)),
        remediation=dataclasses.replace(given.remediation, settle_for=timedelta(seconds=1)),
        server=dataclasses.replace(given.server, port=int(port), ingest_token_file=token),
    )
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with Daemon(App(settings, open_world(settings))):
        stop.wait()


if __name__ == "__main__":
    main()
