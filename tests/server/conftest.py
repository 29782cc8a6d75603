"""A server on a real store with a clock that is moved by hand."""

from __future__ import annotations

import socket
import threading
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import structlog
import uvicorn
from builders import NOW

from healer.adapters.clocks import SteppedClock
from healer.adapters.store import SqlStore, open_store
from healer.server import Chart, Health, ServerDeps, create_app
from healer.settings import NotifySettings, ServerSettings

with warnings.catch_warnings():
    # Starlette would rather have httpx2; its client works the same on httpx.
    warnings.simplefilter("ignore")
    from fastapi.testclient import TestClient

READ, INGEST, APPROVE = "read-token", "ingest-token", "approve-token"


@dataclass
class Site:
    """A client, what stands behind it, and what the server told the daemon."""

    client: TestClient
    store: SqlStore
    clock: SteppedClock
    folder: Path
    health: list[Health]
    charts: list[Chart] = field(default_factory=list)
    nudges: list[int] = field(default_factory=list)
    counts: list[tuple[str, str, int]] = field(default_factory=list)

    def get(self, path: str, **given: Any) -> Any:
        headers = {"Authorization": f"Bearer {READ}", **given.pop("headers", {})}
        return self.client.get(path, headers=headers, follow_redirects=False, **given)

    def send(self, path: str, body: Any, token: str = INGEST, **given: Any) -> Any:
        headers = {"Authorization": f"Bearer {token}", **given.pop("headers", {})}
        key = "content" if isinstance(body, bytes | str) else "json"
        return self.client.post(path, headers=headers, **{key: body}, **given)

    def page(self, path: str, language: str = "en", **given: Any) -> Any:
        headers = {"Accept": "text/html", "Accept-Language": language}
        return self.get(path, headers=headers | given.pop("headers", {}), **given)


def make_site(folder: Path, store: SqlStore, **changes: Any) -> Site:
    for scope, token in (("read", READ), ("ingest", INGEST), ("approve", APPROVE)):
        (folder / scope).write_text(f"{token}\n")
    settings = ServerSettings(
        **{
            "read_token_file": folder / "read",
            "ingest_token_file": folder / "ingest",
            "approve_token_file": folder / "approve",
            **changes,
        }
    )
    clock, health = SteppedClock(NOW), [Health(last_tick_at=NOW)]
    site = Site(None, store, clock, folder, health)  # type: ignore[arg-type]
    deps = ServerDeps(
        store,
        settings,
        clock,
        lambda: site.health[-1],
        series=lambda _: tuple(site.charts),
        on_alerts=lambda: site.nudges.append(1),
        received=lambda *count: site.counts.append(count),
        notify=NotifySettings(),
    )
    site.client = TestClient(create_app(deps), raise_server_exceptions=False)
    site.client.app.state.recent.wait_s = 30
    return site


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    opened = open_store(f"sqlite:///{tmp_path / 'healer.db'}")
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[Any]]:
    """What the server logs, instead of a traceback on the terminal."""
    with structlog.testing.capture_logs() as entries:
        yield entries


@pytest.fixture
def site(tmp_path: Path, store: SqlStore) -> Iterator[Site]:
    made = make_site(tmp_path, store)
    yield made
    made.client.close()


@pytest.fixture
def url(site: Site) -> Iterator[str]:
    """The same server behind a real socket."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(site.client.app, log_level="warning", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    deadline = time.monotonic() + 120
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.02)
    assert server.started
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(10)
    listener.close()


@pytest.fixture(name="make_site")
def _make_site() -> Any:
    """For a site on another store than `site` has."""
    return make_site
