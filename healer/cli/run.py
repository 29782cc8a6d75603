"""`healer run`: the daemon, which follows its settings file and keeps the last good one."""

from __future__ import annotations

import signal
import threading
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import structlog

from healer.adapters import logs
from healer.app import App, open_world
from healer.cli.common import ConfigOption, settings_of
from healer.cli.config import examine
from healer.daemon import Daemon
from healer.errors import BadInput, HealerError
from healer.settings import Settings

LOOK_EVERY_S = 1.0

log = structlog.get_logger("healer")


def run(config: ConfigOption = None) -> None:
    """Watch, explain and, where it is armed, repair, until SIGTERM.

    A changed settings file, or SIGHUP, starts the work afresh with the new settings; settings
    that cannot be used are said in the log, and the last good ones stay in force.
    """
    settings = settings_of(config)
    logs.configure(settings.log_level, settings.log_format)
    wishes = _Wishes(config)
    wishes.listen()
    good = settings
    while True:
        try:
            following = _serve(settings, wishes)
        except (HealerError, RuntimeError) as error:
            if settings is good:
                raise
            log.warning("settings not usable: back to the last good ones", error=str(error))
            settings = good
            continue
        if following is None:
            return
        good, settings = settings, following
        logs.configure(settings.log_level, settings.log_format)


def _serve(settings: Settings, wishes: _Wishes) -> Settings | None:
    """Until it is asked to stop (None), or there are other settings that can be used."""
    with Daemon(App(settings, open_world(settings))) as daemon:
        log.info("started", url=daemon.url, mode=settings.remediation.mode.value)
        while not wishes.stop.wait(LOOK_EVERY_S) and daemon.serving:
            following = wishes.changed(settings)
            if following is not None:
                log.info("settings changed: starting afresh")
                return following
        log.info("stopping")
    return None


@dataclass(slots=True)
class _Wishes:
    """What signals and the settings file ask for."""

    file: Path | None
    stop: threading.Event = field(default_factory=threading.Event)
    _again: threading.Event = field(default_factory=threading.Event)
    _seen: tuple[int, int, int] | None = None
    """The file as it was when it was read last."""
    _looked: tuple[int, int, int] | None = None
    """The file as it was at the last look."""

    def listen(self) -> None:
        def ask_to_stop(_number: int, _frame: FrameType | None) -> None:
            self.stop.set()

        def ask_again(_number: int, _frame: FrameType | None) -> None:
            self._again.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, ask_to_stop)
        signal.signal(signal.SIGHUP, ask_again)
        self._seen = self._stamp()

    def changed(self, current: Settings) -> Settings | None:
        """Settings other than `current`, read whole and examined; None when there are none.

        A file that is being written can be read in any part, and half of one often is settings
        too, with a limit or a namespace missing. It counts once it has stood still for a look.
        """
        asked, stamp = self._again.is_set(), self._stamp()
        still, self._looked = stamp == self._looked, stamp
        if not asked and (stamp == self._seen or not still):
            return None
        error: BadInput | None = None
        try:
            found = settings_of(self.file)
            examine(found)
        except BadInput as unusable:
            error = unusable
        if self._stamp() != stamp:
            return None
        self._again.clear()
        self._seen = stamp
        if error is not None:
            log.warning("settings not usable: the last good ones stay", error=str(error))
            return None
        # Rules and templates are files of their own: a signal means them, too.
        return found if asked or found != current else None

    def _stamp(self) -> tuple[int, int, int] | None:
        """Mounted ConfigMaps change by another target of a link, editors by another file."""
        if self.file is None:
            return None
        try:
            found = self.file.stat()
        except OSError:
            return self._seen
        return found.st_mtime_ns, found.st_size, found.st_ino
