"""`healer run`: the daemon."""

from __future__ import annotations

import signal
import threading
from types import FrameType

import structlog

from healer.adapters import logs
from healer.app import App, open_world
from healer.cli.common import ConfigOption, settings_of
from healer.daemon import Daemon


def run(config: ConfigOption = None) -> None:
    """Watch, explain and, where it is armed, repair, until SIGTERM."""
    settings = settings_of(config)
    logs.configure(settings.log_level, settings.log_format)
    log = structlog.get_logger("healer")
    stop = threading.Event()

    def ask_to_stop(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask_to_stop)
    with Daemon(App(settings, open_world(settings))) as daemon:
        log.info("started", url=daemon.url, mode=settings.remediation.mode.value)
        while not stop.wait(1.0) and daemon.serving:
            pass
        log.info("stopping")
