"""`healer check`: what is reachable, which signals have data, which permissions are missing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import typer

from healer.adapters import logs
from healer.adapters.store import SqlStore
from healer.app import App, World, open_world
from healer.cli.common import ConfigOption, Form, FormOption, err, settings_of, show
from healer.errors import HealerError
from healer.model.snapshot import Snapshot
from healer.settings import Mode, Settings

Line = dict[str, Any]


def check(config: ConfigOption = None, output: FormOption = Form.TABLE) -> None:
    """Look at everything once, change nothing. Exit status 1 when something needs a hand."""
    settings = settings_of(config)
    logs.configure("error", settings.log_format)
    world = open_world(settings)
    app = App(settings, world)
    with err().status("looking at Prometheus and the cluster …"):
        snapshot = app.observer.snapshot(app.clock.now())
        lines = [*_reach(settings, world, snapshot), *_signals(app, snapshot), *_rights(app)]
    show(lines, ("what", "state", "detail"), output)
    app.close()
    if any(line["state"] == "failed" for line in lines):
        raise typer.Exit(1)


def _reach(settings: Settings, world: World, snapshot: Snapshot) -> Iterator[Line]:
    why = {p.where: p.what for p in snapshot.problems}
    yield _line("store", _ping(world.store), settings.store.url.split("@")[-1])
    prometheus = why.get("prometheus", settings.prometheus.url)
    yield _line("prometheus", snapshot.metrics_ok, prometheus)
    if not settings.kubernetes.enabled:
        yield {"what": "kubernetes", "state": "off", "detail": "kubernetes.enabled is false"}
    else:
        found = f"{len(snapshot.topology.entities)} objects"
        detail = next((p.what for p in snapshot.problems if p.where.startswith("kube")), found)
        yield _line("kubernetes", snapshot.cluster_ok, detail)
    for problem in snapshot.problems:
        if problem.where.startswith("signal."):
            yield {"what": problem.where, "state": "failed", "detail": problem.what}


def _signals(app: App, snapshot: Snapshot) -> Iterator[Line]:
    known = {signal.name for signal in app.signals}
    for name in sorted(known):
        frame = snapshot.frames.get(name)
        if frame is None or not len(frame):
            yield {"what": f"signal {name}", "state": "no data", "detail": ""}
            continue
        age = snapshot.age(name) or timedelta(0)
        detail = f"{len(frame)} rows, newest {age.total_seconds():.0f} s old"
        yield {"what": f"signal {name}", "state": "ok", "detail": detail}


def _rights(app: App) -> Iterator[Line]:
    armed = app.settings.remediation.mode is Mode.ENFORCE
    for verb, lacks in sorted(app.world.cluster.denied().items()):
        state = "failed" if armed else "not granted"
        yield {"what": f"permission {verb}", "state": state, "detail": lacks}


def _ping(store: SqlStore) -> bool:
    try:
        store.ping()
    except HealerError:
        return False
    return True


def _line(what: str, good: bool, detail: str) -> Line:
    return {"what": what, "state": "ok" if good else "failed", "detail": detail}
