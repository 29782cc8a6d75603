"""Reading and acting are two identities: what changes something is sent as another user."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from healer.adapters.clocks import SystemClock
from healer.adapters.kubernetes import connect
from healer.adapters.kubernetes.permissions import Permissions
from healer.app import open_world
from healer.settings import (
    Arming,
    KubernetesSettings,
    RemediationSettings,
    Settings,
    StoreSettings,
)

ACTOR = "system:serviceaccount:watch:healer-act"
Asked = tuple[str, str | None]
"""Path, and the user that is impersonated."""


@pytest.fixture
def asked() -> Iterator[tuple[str, list[Asked]]]:
    """An API server that answers everything with {}, its URL, and what it was asked."""
    seen: list[Asked] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append((self.path.partition("?")[0], self.headers.get("Impersonate-User")))
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", seen
    server.shutdown()
    thread.join()
    server.server_close()


def settings_for(url: str, act_as: str) -> Settings:
    return Settings(
        kubernetes=KubernetesSettings(url=url, act_as=act_as),
        remediation=RemediationSettings(arm={"restart_pod": Arming(namespaces=("serving", "*"))}),
        store=StoreSettings("sqlite://"),
    )


def test_the_cluster_is_read_as_ourselves_and_permissions_are_asked_as_who_acts(
    asked: tuple[str, list[Asked]],
) -> None:
    url, seen = asked
    world = open_world(settings_for(url, ACTOR))
    world.cluster.view()
    reviews = {user for what, user in seen if "selfsubjectaccessreviews" in what}
    assert reviews == {ACTOR}
    assert {user for what, user in seen if "selfsubjectaccessreviews" not in what} == {None}
    world.store.close()


def test_without_an_actor_everything_is_asked_as_ourselves(
    asked: tuple[str, list[Asked]],
) -> None:
    url, seen = asked
    world = open_world(settings_for(url, ""))
    world.cluster.denied()
    assert {user for _, user in seen} == {None}
    world.store.close()


def test_permissions_count_where_they_are_bound_in_every_armed_namespace(
    asked: tuple[str, list[Asked]],
) -> None:
    """The answers deny everywhere; each verb is asked for the cluster, then for the namespace."""
    url, seen = asked
    world = open_world(settings_for(url, ""))
    denied = world.cluster.denied()
    alone = len(seen)
    assert denied["evict_pod"] == "get pods"
    seen.clear()
    Permissions(connect(KubernetesSettings(url=url)), SystemClock()).denied()
    assert alone == 2 * len(seen)
    world.store.close()
