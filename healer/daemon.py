"""The App with its threads: the jobs on their schedule, and the server in the same process."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from datetime import timedelta
from types import TracebackType

import structlog
import uvicorn

from healer.adapters.garbage import Garbage
from healer.adapters.lease import LeaseElector
from healer.adapters.scheduler import Jobs
from healer.app import App
from healer.server import create_app
from healer.server.deps import Health, ServerDeps
from healer.server.punctual import Punctual

log = structlog.get_logger("healer")

LOOK_FOR_FITS_EVERY = timedelta(seconds=30)
POST_EVERY = timedelta(seconds=2)
RECONCILE_EVERY = timedelta(minutes=1)
SILENCE_EVERY = timedelta(seconds=5)
FORGET_EVERY = timedelta(hours=6)


class WebServer:
    """uvicorn in a thread of its own; the main thread keeps the signals."""

    def __init__(self, deps: ServerDeps) -> None:
        config = uvicorn.Config(
            create_app(deps),
            host=deps.settings.host,
            port=deps.settings.port,
            log_config=None,
            access_log=False,
            http=Punctual,
            timeout_graceful_shutdown=5,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, name="server", daemon=True)

    def start(self) -> None:
        """Returns once it listens. Raises RuntimeError when the port cannot be had."""
        self._thread.start()
        while not self._server.started:
            if not self._thread.is_alive():
                raise RuntimeError("the server could not start: is its port taken?")
            self._thread.join(0.02)

    @property
    def url(self) -> str:
        host, port = self._server.servers[0].sockets[0].getsockname()[:2]
        return f"http://{host}:{port}"

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(10)


class Daemon:
    """`with Daemon(app) as daemon: …` runs until it is left; every job ends before it is."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._jobs = Jobs(self._failed)
        self._garbage = Garbage(app.world.clock)
        self._term = threading.Lock()
        self._asked = threading.Event()
        self._ticking = False
        for name, every, job in (
            ("tick", app.settings.loop.interval, self._tick),
            ("learn", LOOK_FOR_FITS_EVERY, app.learn),
            ("post", POST_EVERY, app.post),
            ("forget", FORGET_EVERY, app.forget),
            ("reconcile", RECONCILE_EVERY, app.reconcile),
            ("silence", SILENCE_EVERY, app.silence),
        ):
            self._jobs.every(name, every, self._if_in_office(job))
        self._server = WebServer(
            dataclasses.replace(app.server_deps(), health=self.health, on_alerts=self._nudge)
        )

    @property
    def url(self) -> str:
        return self._server.url

    @property
    def serving(self) -> bool:
        return self._server.running

    def health(self) -> Health:
        return dataclasses.replace(self._app.health(), scheduler_alive=self._jobs.alive)

    def __enter__(self) -> Daemon:
        self._server.start()  # intake first: alerts are taken in before anything else works
        for each in self._app.world.background:
            each.start()
        self._garbage.start()
        self._jobs.start()
        if isinstance(self._app.world.leading, LeaseElector):
            self._app.world.leading.changed = self._elected
            self._app.world.leading.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._jobs.stop()  # nothing of ours is under way any more: now the lease may go
        if isinstance(self._app.world.leading, LeaseElector):
            self._app.world.leading.stop()
        for each in self._app.world.background:
            each.stop()
        self._server.stop()
        self._app.close()
        self._garbage.stop()

    def _if_in_office(self, job: Callable[[], object]) -> Callable[[], None]:
        """Every replica takes in alerts and serves pages; the rest is for the one that leads."""

        def run() -> None:
            with self._term:
                led = self._app.in_office()
            if led:
                job()

        return run

    def _elected(self, epoch: str) -> None:
        if epoch:
            self._nudge()

    def _nudge(self) -> None:
        self._asked.set()
        if not self._ticking:
            self._jobs.nudge("tick")

    def _tick(self) -> None:
        """What was asked for while a tick ran is seen to by one more, and not a turn later."""
        self._asked.clear()
        self._ticking = True
        try:
            self._app.tick()
        finally:
            self._ticking = False
        self._garbage.sweep(pressed=self._asked.is_set())
        if self._asked.is_set():
            self._jobs.nudge("tick")

    def _failed(self, job: str, reason: str, error: BaseException | None) -> None:
        self._app.telemetry.job_failed(job, reason)
        if reason == "overrun":  # the first tick reads the most, and a busy machine catches up
            log.warning("job still runs when it is due again", job=job)
            return
        log.error("job failed", job=job, reason=reason, error=repr(error) if error else "")
