"""List and watch against the simulated API server over a real socket."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from kube_world import NAMESPACE, World
from kubernetes.client import ApiClient

from healer.adapters.clocks import SystemClock
from healer.adapters.kubernetes import KubernetesCluster, connect
from healer.adapters.kubernetes import watching as module
from healer.adapters.kubernetes.listing import SOURCES, Source, slim
from healer.adapters.kubernetes.watching import Mirror
from healer.errors import Permanent, Temporary
from healer.lab.web import Request, Response, Server
from healer.model.target import Kind
from healer.settings import KubernetesSettings

PODS = next(source for source in SOURCES if source.kind == "Pod")


class Line:
    """The way to the world: it counts what is asked, and can be cut or answer otherwise."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.asked: list[tuple[str, bool]] = []
        self.instead: Callable[[Request], Response | None] = lambda _: None

    def handle(self, request: Request) -> Response:
        self.asked.append((request.path, request.param("watch") == "1"))
        return self.instead(request) or self.world.server.handle(request)

    def lists(self) -> int:
        return sum(path == PODS.path and not watch for path, watch in self.asked)

    def watches(self) -> int:
        return sum(path == PODS.path and watch for path, watch in self.asked)


@pytest.fixture
def line() -> Line:
    world = World()
    for name in ("gpu-a", "gpu-b", "gpu-c"):
        world.node(name)
    world.deployment()
    world.step(3)
    return Line(world)


@pytest.fixture
def api(line: Line) -> Iterator[ApiClient]:
    with Server(line.handle) as server:
        client = connect(KubernetesSettings(url=server.url))
        yield client
        client.rest_client.pool_manager.clear()


@pytest.fixture
def mirror(api: ApiClient, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror[str]]:
    monkeypatch.setattr(module, "RELIST_AFTER_S", (0.01, 0.02))
    made = Mirror(api, PODS, SystemClock(), (30.0, 60.0), lambda obj: str(obj["metadata"]["name"]))
    yield made
    made.stop()


def eventually(what: str, holds: Callable[[], bool], within_s: float = 120.0) -> None:
    ends = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < ends, f"never: {what}"
        time.sleep(0.01)


def names(line: Line) -> set[str]:
    return {pod["metadata"]["name"] for pod in line.world.pods()}


def in_step(mirror: Mirror[str], line: Line) -> Callable[[], bool]:
    return lambda: set(mirror.objects() or ()) == names(line)


def test_nothing_is_known_before_the_first_list(mirror: Mirror[str]) -> None:
    assert mirror.objects() is None


def test_changes_come_by_themselves_after_one_list(mirror: Mirror[str], line: Line) -> None:
    mirror.start()
    eventually("the first list", in_step(mirror, line))
    gone = line.world.pods()[0]["metadata"]["name"]
    line.world.store.delete("pods", NAMESPACE, gone)
    line.world.step(2)
    assert gone not in names(line)
    eventually("the change", in_step(mirror, line))
    assert line.lists() == 1


@pytest.mark.parametrize(
    "gone",
    [
        Response(200, [b'{"type":"ERROR","object":{"kind":"Status","code":410}}\n']),
        Response(410, b'{"kind":"Status","code":410,"reason":"Expired"}'),
    ],
)
def test_a_version_that_is_forgotten_is_listed_anew(
    mirror: Mirror[str], line: Line, gone: Response
) -> None:
    line.instead = lambda r: gone if r.param("watch") and line.lists() == 1 else None
    mirror.start()
    eventually("a second list", lambda: line.lists() == 2)
    line.world.store.delete("pods", NAMESPACE, line.world.pods()[0]["metadata"]["name"])
    line.world.step(2)
    eventually("in step again", in_step(mirror, line))
    assert line.lists() == 2


def test_a_stream_that_ends_is_taken_up_where_it_ended(
    mirror: Mirror[str], line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STREAM_S", (1.1, 1.2))
    mirror.start()
    eventually("several streams", lambda: line.watches() >= 3)
    line.world.store.delete("pods", NAMESPACE, line.world.pods()[0]["metadata"]["name"])
    line.world.step(2)
    eventually("the change", in_step(mirror, line))
    assert line.lists() == 1


def test_a_refused_watch_is_no_hot_loop(mirror: Mirror[str], line: Line) -> None:
    line.world.server.access.deny("watch", "pods")
    mirror.start()
    eventually("the refusal", lambda: line.watches() >= 1)
    time.sleep(1.0)
    assert line.watches() <= 3


def test_lines_that_come_in_pieces_are_put_together(mirror: Mirror[str], line: Line) -> None:
    pieces = [b'{"type":"ADDED","obj', b'ect":{"metadata":{"name":"x","namespace":"n",',
              b'"resourceVersion":"9999"}}}\n{"type":"BOOKMARK","object":{"metadata":',
              b'{"resourceVersion":"10000"}}}\n']  # fmt: skip
    line.instead = lambda r: Response(200, iter(pieces)) if r.param("watch") else None
    mirror.round()
    assert "x" in (mirror.objects() or ())
    assert mirror._version == "10000"


@pytest.mark.parametrize(
    ("told", "error"),
    [
        (b'{"type":"ERROR","object":{"code":500,"message":"etcd"}}\n', Temporary),
        (b"<html>\n", Permanent),
    ],
)
def test_a_stream_that_tells_of_an_error_ends_the_round(
    mirror: Mirror[str], line: Line, told: bytes, error: type[Exception]
) -> None:
    line.instead = lambda r: Response(200, iter([told])) if r.param("watch") else None
    with pytest.raises(error):
        mirror.round()


def test_a_stop_while_a_stream_is_being_opened_is_heard(
    mirror: Mirror[str], line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = module.errors.opened

    def stopped_meanwhile(*given: Any) -> Any:
        response = opened(*given)
        mirror._stop.set()
        return response

    monkeypatch.setattr(module.errors, "opened", stopped_meanwhile)
    follower = threading.Thread(target=mirror.round, daemon=True)
    follower.start()
    follower.join(60)
    assert not follower.is_alive()


def test_a_stream_that_has_been_silent_for_long_is_not_trusted(line: Line, api: ApiClient) -> None:
    made = Mirror(api, PODS, line.world.clock, (2.0, 5.0), lambda obj: obj)
    made._list()
    assert made.objects() is not None
    line.world.clock.move(timedelta(seconds=module.QUIET_FOR_S + 1))
    assert made.objects() is None


def test_the_managers_of_a_template_outlive_the_managed_fields() -> None:
    fields = [{"manager": "argocd-controller", "fieldsV1": {"f:spec": {"f:template": {}}}}]
    kept = slim({"metadata": {"name": "x", "managedFields": fields}})
    assert kept["metadata"] == {"name": "x", "managers": ["argocd-controller"]}


def test_a_cluster_that_watches_shows_what_one_that_lists_would(line: Line, api: ApiClient) -> None:
    settings = KubernetesSettings(url="http://unused")
    follows = KubernetesCluster(api, settings, SystemClock())
    lists = KubernetesCluster(api, settings, SystemClock())
    follows.start()
    try:
        eventually("the first lists", lambda: not {
            s.kind for s in SOURCES if not s.optional and follows.mirrors[s.kind].objects() is None
        })  # fmt: skip
        eventually("a look for each add-on", lambda: {
            s.path for s in SOURCES if s.optional
        } <= {path for path, _ in line.asked})  # fmt: skip
        line.world.set_image("vllm:2")
        line.world.step(6)
        wanted = lists.view().topology

        def same() -> bool:
            return follows.view().topology.entities.keys() == wanted.entities.keys()

        eventually("the rollout", same)
        line.asked.clear()
        view = follows.view()
        assert view.ok
        assert view.topology.of(Kind.POD)
        assert [path for path, watch in line.asked if not watch] == []
    finally:
        follows.stop()


def test_what_cannot_be_watched_is_listed(line: Line, api: ApiClient) -> None:
    line.world.server.access.deny("watch", "*")
    cluster = KubernetesCluster(api, KubernetesSettings(url="http://unused"), SystemClock())
    cluster.start()
    try:
        assert cluster.view().ok
        assert len(cluster.view().topology.of(Kind.POD)) == 3
    finally:
        cluster.stop()


def test_an_add_on_that_is_not_installed_is_no_problem(line: Line, api: ApiClient) -> None:
    rollouts = next(s for s in SOURCES if s.kind == "Rollout")
    assert isinstance(rollouts, Source)
    absent = Response(404, b'{"kind":"Status","code":404,"message":"not found"}')
    line.instead = lambda r: absent if r.path == rollouts.path else None
    cluster = KubernetesCluster(api, KubernetesSettings(url="http://unused"), SystemClock())
    for _ in range(3):
        assert cluster.view().problems == ()
    assert [path for path, _ in line.asked].count(rollouts.path) == 1
