"""`healer check`: what is reachable, which signals have data, which permissions are missing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import typer

from healer.adapters import logs
from healer.adapters.channels import open_notifier
from healer.adapters.store import SqlStore
from healer.app import App, World, open_world
from healer.cli.common import ConfigOption, Form, FormOption, err, settings_of, show
from healer.errors import BadInput, HealerError
from healer.model.snapshot import Snapshot
from healer.server.auth import TokenFile
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
        lines = [
            *_reach(settings, world, snapshot),
            *_around(settings),
            *_signals(app, snapshot),
            *_rights(app),
        ]
    show(lines, ("what", "state", "detail", "fix"), output)
    app.close()
    if any(line["state"] == "failed" for line in lines):
        raise typer.Exit(1)


def _reach(settings: Settings, world: World, snapshot: Snapshot) -> Iterator[Line]:
    why = {p.where: p.what for p in snapshot.problems}
    yield _line(
        "store",
        _ping(world.store),
        settings.store.url.split("@")[-1],
        "see that store.url names a folder that can be written, or a PostgreSQL that answers",
    )
    prometheus = why.get("prometheus", settings.prometheus.url)
    yield _line(
        "prometheus",
        snapshot.metrics_ok,
        prometheus,
        "see that prometheus.url/-/ready answers from here; set prometheus.token_file, ca_file",
    )
    if not settings.kubernetes.enabled:
        yield {"what": "kubernetes", "state": "off", "detail": "kubernetes.enabled is false"}
        yield from _machine(settings, snapshot)
    else:
        found = f"{len(snapshot.topology.entities)} objects"
        detail = next((p.what for p in snapshot.problems if p.where.startswith("kube")), found)
        yield _line(
            "kubernetes",
            snapshot.cluster_ok,
            detail,
            "kubectl auth can-i list pods -A as Healer's service account; or set "
            "kubernetes.kubeconfig",
        )
    for problem in snapshot.problems:
        if problem.where.startswith("signal."):
            name = problem.where.removeprefix("signal.")
            fix = f"try its query in Prometheus (healer signals list); or disable it: {name}"
            yield {"what": problem.where, "state": "failed", "detail": problem.what, "fix": fix}


def _machine(settings: Settings, snapshot: Snapshot) -> Iterator[Line]:
    named = (*settings.machine.containers, *settings.machine.units)
    troubles = [p.what for p in snapshot.problems if p.where == "machine"]
    if named:
        yield _line(
            "machine",
            not troubles,
            "; ".join(troubles) or f"{', '.join(named)}: found",
            "see machine.containers, machine.units, and who may use machine.docker_socket",
        )


def _around(settings: Settings) -> Iterator[Line]:
    """Tokens, channels and links: what is missed only when it is needed."""
    server = settings.server
    files = {"read": server.read_token_file, "ingest": server.ingest_token_file,
             "approve": server.approve_token_file}  # fmt: skip
    for scope, file in files.items():
        if file is None and scope == "read" and server.anonymous_read:
            yield {"what": "token read", "state": "off", "detail": "server.anonymous_read is true"}
            continue
        lives = TokenFile(file).tokens()
        made = f"openssl rand -hex 32 > FILE, and name it in server.{scope}_token_file"
        detail = str(file) if file is not None else f"no server.{scope}_token_file: closed"
        if file is None:
            yield {"what": f"token {scope}", "state": "off", "detail": detail, "fix": made}
        else:
            many = f"{detail}: {len(lives)} live"
            yield _line(f"token {scope}", bool(lives), many if lives else detail, made)
    for name, channel in settings.notify.channels.items():
        path = f"notify.channels.{name}"
        try:
            open_notifier(channel, settings.notify, path)
        except BadInput as error:
            yield _line(f"channel {name}", False, str(error), f"mend {path} in the settings")
        else:
            fix = f"healer notify test {name} sends one message"
            yield {"what": f"channel {name}", "state": "ok", "detail": channel.notifier, "fix": fix}
    if settings.notify.channels and not server.public_url:
        yield {"what": "links", "state": "off", "detail": "server.public_url is empty",
               "fix": "set server.public_url, or messages carry no links"}  # fmt: skip


def _signals(app: App, snapshot: Snapshot) -> Iterator[Line]:
    known = {signal.name for signal in app.signals}
    for name in sorted(known):
        frame = snapshot.frames.get(name)
        if frame is None or not len(frame):
            fix = "no exporter that is scraped has it" if snapshot.metrics_ok else ""
            yield {"what": f"signal {name}", "state": "no data", "detail": "", "fix": fix}
            continue
        age = snapshot.age(name) or timedelta(0)
        detail = f"{len(frame)} rows, newest {age.total_seconds():.0f} s old"
        yield {"what": f"signal {name}", "state": "ok", "detail": detail}


def _rights(app: App) -> Iterator[Line]:
    if not app.settings.kubernetes.enabled:
        return  # what cannot be done on one machine is no right that somebody could give
    armed = app.settings.remediation.mode is Mode.ENFORCE
    for verb, lacks in sorted(app.world.cluster.denied().items()):
        state = "failed" if armed else "not granted"
        fix = f"helm upgrade with the remediation that needs {verb} switched on"
        yield {"what": f"permission {verb}", "state": state, "detail": lacks, "fix": fix}


def _ping(store: SqlStore) -> bool:
    try:
        store.ping()
    except HealerError:
        return False
    return True


def _line(what: str, good: bool, detail: str, fix: str) -> Line:
    state = "ok" if good else "failed"
    return {"what": what, "state": state, "detail": detail, "fix": "" if good else fix}
