"""What becomes of everything that can go wrong between Healer and Prometheus."""

from __future__ import annotations

import json
import logging
import socket
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from healer.adapters.prometheus import PrometheusMetrics
from healer.errors import BadInput, Permanent, Temporary
from healer.lab.mount import MountedAdapter
from healer.lab.web import Handler, Request, Response, Server
from healer.settings import PrometheusSettings

START = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
STEP = timedelta(seconds=15)
SECRET = "s3cret-token"


def on(handler: Handler, **settings: Any) -> PrometheusMetrics:
    session = requests.Session()
    session.mount("http://prom", MountedAdapter(handler))
    return PrometheusMetrics(PrometheusSettings(url="http://prom/", **settings), session)


def answering(status: int, body: Any) -> PrometheusMetrics:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return on(lambda _: Response(status, text))


def success(result: list[Any], kind: str = "matrix", **more: Any) -> dict[str, Any]:
    return {"status": "success", "data": {"resultType": kind, "result": result}, **more}


def error(kind: str) -> dict[str, Any]:
    return {"status": "error", "errorType": kind, "error": "because"}


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (400, error("bad_data"), Permanent),
        (422, error("execution"), Permanent),
        (422, b"plain words", Permanent),
        (401, b"Unauthorized", Permanent),
        (403, error("forbidden"), Permanent),
        (404, b"404 page not found", Permanent),
        (408, b"", Temporary),
        (429, error("too_many_requests"), Temporary),
        (500, error("internal"), Temporary),
        (502, b"<html>Bad Gateway</html>", Temporary),
        (503, error("timeout"), Temporary),
        (503, error("unavailable"), Temporary),
        (504, b"", Temporary),
        (200, b"<html>Please log in</html>", Temporary),
        (200, b"", Temporary),
        (200, [], Temporary),
        (200, {"status": "success"}, Temporary),
        (200, {"status": "success", "data": {"resultType": "matrix"}}, Temporary),
        (200, {"status": "success", "data": {"resultType": "matrix", "result": [1]}}, Temporary),
        (200, success([{"metric": {}, "values": [[1, "x"]]}]), Temporary),
        (200, success([{"metric": {}, "values": [[1]]}]), Temporary),
        (200, success([{"metric": {}, "values": 7}]), Temporary),
        (200, success([], "vector"), Permanent),
        (200, error("bad_data"), Permanent),
        (200, error("timeout"), Temporary),
    ],
)
def test_every_answer_has_its_error(status: int, body: Any, expected: type[Exception]) -> None:
    with pytest.raises(expected) as caught:
        answering(status, body).range("up", START, START, STEP)
    assert caught.type is expected
    assert "query_range" in str(caught.value)
    assert "up" in str(caught.value)


@pytest.mark.parametrize("body", [b"no", {"status": "success", "data": {}}, error("internal")])
def test_names_that_are_no_list_are_temporary(body: Any) -> None:
    with pytest.raises(Temporary):
        answering(200, body).names()


def test_nobody_listening_is_temporary() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))  # bound and never listened on: nobody else gets it
        port = sock.getsockname()[1]
        metrics = PrometheusMetrics(PrometheusSettings(url=f"http://127.0.0.1:{port}"))
        with pytest.raises(Temporary, match="no answer"):
            metrics.names()


def test_a_name_that_does_not_resolve_is_temporary() -> None:
    metrics = PrometheusMetrics(PrometheusSettings(url="http://prometheus.invalid:9090"))
    with pytest.raises(Temporary, match="no answer"):
        metrics.names()


def test_a_server_that_never_answers_is_given_up_on() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        settings = PrometheusSettings(
            url=f"http://127.0.0.1:{silent.getsockname()[1]}",
            read_timeout=timedelta(milliseconds=100),
        )
        with pytest.raises(Temporary, match=r"within 0\.1 s"):
            PrometheusMetrics(settings).names()


def test_a_connection_cut_before_or_in_the_answer_is_temporary() -> None:
    def cut() -> Iterator[bytes]:
        yield b'{"status": "succ'
        raise ConnectionResetError

    with pytest.raises(Temporary):
        on(lambda _: Response(200, drop=True)).names()
    for response in (Response(200, drop=True), Response(200, cut())):
        with Server(lambda _, given=response: given) as server, pytest.raises(Temporary):
            PrometheusMetrics(PrometheusSettings(url=server.url)).names()


def test_each_failure_is_asked_once_only() -> None:
    """Retrying behind the tick's back would hold it up for seconds."""
    asked: list[str] = []

    def handler(request: Request) -> Response:
        asked.append(request.path)
        return Response(503, b"")

    with pytest.raises(Temporary):
        on(handler).names()
    with Server(handler) as server, pytest.raises(Temporary):
        PrometheusMetrics(PrometheusSettings(url=server.url)).names()
    assert len(asked) == 2


def test_a_redirect_loop_is_permanent() -> None:
    with pytest.raises(Permanent, match="redirects"):
        on(lambda _: Response(302, b"", {"Location": "http://prom/again"})).names()


# ------------------------------------------------------------------------- credentials


def recorded(seen: list[Request]) -> Callable[[Request], Response]:
    def handler(request: Request) -> Response:
        seen.append(request)
        return Response(200, json.dumps({"status": "success", "data": []}).encode())

    return handler


def test_a_renewed_token_is_sent_from_the_next_request_on(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("first\n")
    seen: list[Request] = []
    metrics = on(recorded(seen), token_file=file)
    metrics.names()
    file.write_text("second")
    metrics.names()
    assert [each.headers["authorization"] for each in seen] == ["Bearer first", "Bearer second"]


def test_headers_from_the_settings_are_sent() -> None:
    seen: list[Request] = []
    on(recorded(seen), headers={"X-Scope-OrgID": "team"}).names()
    assert seen[0].headers["x-scope-orgid"] == "team"


def test_a_missing_token_file_is_permanent_and_named(tmp_path: Path) -> None:
    with pytest.raises(Permanent, match=r"no-such-token: prometheus\.token_file"):
        on(recorded([]), token_file=tmp_path / "no-such-token").names()


def test_credentials_show_in_no_error_and_no_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "token"
    file.write_text(SECRET)
    caplog.set_level(logging.DEBUG)
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        url = f"http://user:{SECRET}@127.0.0.1:{sock.getsockname()[1]}"
        settings = PrometheusSettings(url=url, token_file=file, headers={"X-Key": SECRET})
        with pytest.raises(Temporary) as caught:
            PrometheusMetrics(settings).instant("up")
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert SECRET not in caplog.text


@pytest.mark.parametrize("url", ["prometheus:9090", "ftp://x", "http://", "", f"u:{SECRET}@host"])
def test_an_address_that_is_none_is_bad_input(url: str) -> None:
    with pytest.raises(BadInput, match=r"prometheus\.url") as caught:
        PrometheusMetrics(PrometheusSettings(url=url))
    assert SECRET not in str(caught.value)


def test_a_missing_ca_file_is_permanent(tmp_path: Path) -> None:
    settings = PrometheusSettings(url="https://127.0.0.1:1", ca_file=tmp_path / "no-ca.pem")
    with pytest.raises(Permanent, match=r"no-ca\.pem"):
        PrometheusMetrics(settings).names()


# ----------------------------------------------------------------------------- dialects


def test_warnings_are_kept_once_each() -> None:
    metrics = answering(200, success([], warnings=["store a is gone"], infos=["a hint"]))
    long = metrics.range("up", START, START + 25_000 * STEP, STEP)
    assert long.warnings == ("store a is gone",)
    assert answering(200, success([], "vector", warnings=["w"])).instant("up").warnings == ("w",)


def test_a_partial_answer_of_victoriametrics_is_a_warning() -> None:
    found = answering(200, success([], isPartial=True)).range("up", START, START, STEP)
    assert "partial" in found.warnings[0]


def test_native_histograms_are_left_out_with_a_warning() -> None:
    start_s = START.timestamp()
    rows = [
        {"metric": {"a": "1"}, "values": [[start_s, "5"]]},
        {"metric": {"a": "2"}, "histograms": [[start_s, {"count": "1", "sum": "2"}]]},
    ]
    found = answering(200, success(rows)).range("h", START, START, STEP)
    assert (found.labels, found.values.tolist()) == (({"a": "1"},), [[5.0]])
    assert "native histogram" in found.warnings[0]


def test_labels_named_value_and_timestamp_are_only_labels() -> None:
    labels = {"value": "v", "timestamp": "t", "__name__": "m"}
    rows = [{"metric": labels, "value": [START.timestamp(), "1"]}]
    assert answering(200, success(rows, "vector")).instant("m").labels == (labels,)


def test_times_a_little_off_the_grid_belong_to_the_nearest_step() -> None:
    start_s = START.timestamp()
    rows = [{"metric": {}, "values": [[start_s + 0.001, "1"], [start_s + 30.2, "3"]]}]
    found = answering(200, success(rows)).range("m", START, START + 3 * STEP, STEP)
    np.testing.assert_array_equal(found.values, [[1, np.nan, 3, np.nan]])


def test_pieces_of_a_long_range_meet_by_their_labels() -> None:
    def handler(request: Request) -> Response:
        start_s = float(request.param("start"))
        first = start_s == START.timestamp()
        rows = [
            {"metric": {"pod": "stays"}, "values": [[start_s, "1"]]},
            {"metric": {"pod": "old" if first else "new"}, "values": [[start_s, "2"]]},
        ]
        return Response(200, json.dumps(success(rows)).encode())

    found = on(handler).range("m", START, START + 10_000 * STEP, STEP)
    assert [each["pod"] for each in found.labels] == ["stays", "old", "new"]
    assert found.values.shape == (3, 10_001)
    np.testing.assert_array_equal(found.values[:, 0], [1, 2, np.nan])
    np.testing.assert_array_equal(found.values[:, 10_000], [1, np.nan, 2])


def test_a_short_query_is_a_get_and_a_long_one_a_form() -> None:
    """Proxies cut long URLs, and some let only GET through."""
    seen: list[Request] = []

    def handler(request: Request) -> Response:
        seen.append(request)
        return Response(200, json.dumps(success([], "vector")).encode())

    metrics = on(handler)
    metrics.instant("up")
    metrics.instant("up + " * 2000 + "up")
    short, long = seen
    assert (short.method, short.param("query"), short.body) == ("GET", "up", b"")
    assert (long.method, long.query) == ("POST", ())
    assert long.body.startswith(b"query=up+%2B+up")


def test_the_path_of_the_address_is_kept() -> None:
    """Mimir lives under /prometheus."""
    seen: list[Request] = []
    session = requests.Session()
    session.mount("http://mimir", MountedAdapter(recorded(seen)))
    PrometheusMetrics(PrometheusSettings(url="http://mimir/prometheus/"), session).names()
    assert seen[0].path == "/prometheus/api/v1/label/__name__/values"
