"""A handler mounted in process behaves as it does behind a socket."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
import urllib3
from kubernetes.client import ApiClient, Configuration

from healer.lab.mount import MountedAdapter, MountedPool
from healer.lab.web import Request, Response, Server

Get = Callable[..., requests.Response]


def handler(request: Request) -> Response:
    """Answers what it was asked, or misbehaves on purpose."""
    match request.path:
        case "/drop":
            return Response(200, drop=True)
        case "/stream":
            return Response(200, (b"%d\n" % number for number in range(4)))
        case "/teapot":
            return Response(
                418, b'{"short": true}', {"Content-Type": "application/json", "X-A": "b"}
            )
    told = {
        "method": request.method,
        "path": request.path,
        "query": request.query,
        "body": request.body.decode(),
        "type": request.headers.get("content-type", ""),
    }
    return Response(200, json.dumps(told).encode())


@pytest.fixture(scope="module")
def socket_url() -> Iterator[str]:
    with Server(handler) as server:
        yield server.url


@pytest.fixture(params=["mounted", "socket"])
def ask(request: pytest.FixtureRequest, socket_url: str) -> Iterator[Get]:
    with requests.Session() as session:
        url = socket_url
        if request.param == "mounted":
            url = "http://lab"
            session.mount(url, MountedAdapter(handler))

        def call(method: str, path: str, **given: Any) -> requests.Response:
            return session.request(method, url + path, timeout=60, **given)

        yield call


def test_a_request_arrives_whole(ask: Get) -> None:
    answer = ask("GET", "/a b/c", params=[("m", "x y"), ("m", "ü&=")])
    told = answer.json()
    assert told["query"] == [["m", "x y"], ["m", "ü&="]]
    assert told["path"] == "/a%20b/c"


def test_a_form_and_a_json_body_arrive(ask: Get) -> None:
    form = ask("POST", "/", data={"query": "up == 1"}).json()
    assert (form["body"], form["type"]) == (
        "query=up+%3D%3D+1",
        "application/x-www-form-urlencoded",
    )
    assert json.loads(ask("PUT", "/", json={"a": [1]}).json()["body"]) == {"a": [1]}


def test_status_and_headers_come_back(ask: Get) -> None:
    answer = ask("GET", "/teapot")
    assert (answer.status_code, answer.headers["x-a"]) == (418, "b")
    assert answer.json() == {"short": True}


def test_a_dropped_connection_is_an_error(ask: Get) -> None:
    with pytest.raises(requests.ConnectionError):
        ask("GET", "/drop")


def test_a_stream_is_read_whole_or_line_by_line(ask: Get) -> None:
    assert ask("GET", "/stream").content == b"0\n1\n2\n3\n"
    with ask("GET", "/stream", stream=True) as answer:
        assert list(answer.iter_lines()) == [b"0", b"1", b"2", b"3"]


def test_a_stream_is_handed_on_as_it_comes() -> None:
    """A watch has no end: nobody may wait for it."""
    sent: list[int] = []

    def events() -> Iterator[bytes]:
        for number in range(1000):
            sent.append(number)
            yield b"%d\n" % number

    pool = MountedPool(lambda _: Response(200, events()))
    answer = pool.request("GET", "http://lab/watch", preload_content=False)
    lines = answer.stream(amt=None, decode_content=False)
    assert [next(lines), next(lines)] == [b"0\n", b"1\n"]
    assert len(sent) <= 3
    answer.close()
    assert list(lines) == []


def test_closing_a_stream_ends_its_generator() -> None:
    ended = []

    def events() -> Iterator[bytes]:
        try:
            while True:
                yield b"x\n"
        finally:
            ended.append(True)

    answer = MountedPool(lambda _: Response(200, events())).request(
        "GET", "http://lab/watch", preload_content=False
    )
    next(answer.stream())
    answer.close()
    assert ended == [True]


@pytest.fixture
def client() -> ApiClient:
    configuration = Configuration()
    configuration.host = "http://lab"
    api = ApiClient(configuration)
    api.rest_client.pool_manager = MountedPool(handler)
    return api


def call(client: ApiClient, method: str, path: str, **given: Any) -> Any:
    return client.call_api(
        *client.param_serialize(method, path, header_params={"Accept": "application/json"}, **given)
    )


def test_a_kubernetes_client_works_on_it(client: ApiClient) -> None:
    answer = call(client, "GET", "/api/v1/pods", query_params=[("limit", 5), ("limit", 6)])
    told = json.loads(answer.read())
    assert told["path"] == "/api/v1/pods"
    assert told["query"] == [["limit", "5"], ["limit", "6"]]


def test_a_patch_of_a_kubernetes_client_keeps_its_content_type(client: ApiClient) -> None:
    kind = "application/merge-patch+json"
    sent = client.param_serialize(
        "PATCH", "/x", header_params={"Content-Type": kind}, body={"spec": {"replicas": 2}}
    )
    told = json.loads(client.call_api(*sent).read())
    assert told["type"] == kind
    assert json.loads(told["body"]) == {"spec": {"replicas": 2}}


def test_a_kubernetes_client_sees_a_dropped_connection_as_urllib3_does(client: ApiClient) -> None:
    with pytest.raises(urllib3.exceptions.ProtocolError):
        call(client, "POST", "/drop")
