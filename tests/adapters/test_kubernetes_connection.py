from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from kube_world import World

from healer.adapters.kubernetes import connect
from healer.adapters.kubernetes.errors import read, write
from healer.errors import Permanent, Temporary, UnknownOutcome
from healer.lab.kube.faults import Fault
from healer.lab.web import Request, Response, Server
from healer.settings import KubernetesSettings


def kubeconfig(folder: Path, url: str) -> Path:
    """Two contexts: `first` with a token from a file, `second` with none."""
    (folder / "token").write_text("from-the-file")
    contexts = {"first": "robot", "second": "nobody"}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "first",
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [
            {"name": "robot", "user": {"tokenFile": str(folder / "token")}},
            {"name": "nobody", "user": {}},
        ],
        "contexts": [
            {"name": name, "context": {"cluster": "c", "user": user}}
            for name, user in contexts.items()
        ],
    }
    file = folder / "config"
    file.write_text(yaml.safe_dump(config))
    return file


def test_a_kubeconfig_brings_server_and_token(tmp_path: Path) -> None:
    world = World()
    world.server.token = "from-the-file"
    with Server(world.server.handle) as server:
        file = kubeconfig(tmp_path, server.url)
        known = connect(KubernetesSettings(kubeconfig=file))
        assert read(known, "/api/v1/nodes").code == 200
        other = connect(KubernetesSettings(kubeconfig=file, context="second"))
        assert read(other, "/api/v1/nodes").code == 401
        for api in (known, other):
            api.rest_client.pool_manager.clear()


def test_without_any_credentials_the_reason_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(Permanent, match="no way to reach Kubernetes"):
        connect(KubernetesSettings(kubeconfig=tmp_path / "missing"))


def test_nothing_is_ever_sent_twice() -> None:
    seen: list[str] = []

    def drop(request: Request) -> Response:
        seen.append(request.method)
        return Response(0, drop=True)

    with Server(drop) as server:
        api = connect(KubernetesSettings(url=server.url))
        with pytest.raises(Temporary):
            read(api, "/api/v1/nodes")
        for method in ("PUT", "PATCH", "DELETE", "POST"):
            with pytest.raises(UnknownOutcome):
                write(api, method, "/api/v1/nodes/x", {}, content_type="application/json")
    assert seen == ["GET", "PUT", "PATCH", "DELETE", "POST"]


def test_a_proxy_that_answers_in_html_is_no_crash() -> None:
    def page(_: Request) -> Response:
        return Response(502, b"<html>Bad Gateway</html>", {"Content-Type": "text/html"})

    with Server(page) as server:
        api = connect(KubernetesSettings(url=server.url))
        answer = read(api, "/api/v1/nodes")
        api.rest_client.pool_manager.clear()
    assert (answer.code, "Bad Gateway" in answer.message) == (502, True)


def test_requests_say_who_sends_them_and_wait_only_so_long() -> None:
    world = World()
    world.server.faults.add(Fault("hang", method="GET", hang_s=5))
    with Server(world.server.handle) as server:
        api = connect(KubernetesSettings(url=server.url))
        with pytest.raises(Temporary, match="no answer"):
            read(api, "/api/v1/nodes", timeout_s=(1.0, 0.2))
        world.server.faults.released.set()
        write(api, "POST", "/api/v1/namespaces", {"metadata": {"name": "new"}})
        api.rest_client.pool_manager.clear()
    assert world.server.write_log[0].user_agent.startswith("healer/")
