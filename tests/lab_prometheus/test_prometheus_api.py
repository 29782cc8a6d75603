"""The lab's HTTP API: the shapes of answers and refusals, beside those of a genuine server."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest
import requests
from lab_prometheus.samples import END_S, START_S

from healer.lab.prometheus import PrometheusApi
from healer.lab.tsdb import Tsdb
from healer.lab.web import Request, Response

Pairs = list[tuple[str, str]]


def get(api: PrometheusApi, path: str, form: Pairs | None = None) -> tuple[int, Any]:
    return _read(api.handle(Request("GET", path, tuple(form or ()))))


def _read(response: Response) -> tuple[int, Any]:
    assert isinstance(response.body, bytes)
    if not response.headers["Content-Type"].startswith("application/json"):
        return response.status, response.body.decode()
    return response.status, json.loads(response.body)


def genuine_get(url: str, path: str, form: Pairs | None = None) -> tuple[int, Any]:
    answer = requests.get(url + path, params=form, timeout=60)
    is_json = answer.headers["Content-Type"].startswith("application/json")
    return answer.status_code, answer.json() if is_json else answer.text


SPAN = [("start", str(START_S)), ("end", str(END_S))]

SAME: list[tuple[str, Pairs]] = [
    ("/api/v1/query", [("query", "level"), ("time", str(START_S + 1807))]),
    ("/api/v1/query", [("query", "level"), ("time", "2026-03-04T05:10:00Z")]),
    ("/api/v1/query", [("query", "level"), ("time", "2026-03-04T05:10:00.5+01:00")]),
    ("/api/v1/query", [("query", "odd"), ("time", str(START_S + 605))]),
    ("/api/v1/query", [("query", "1e-7"), ("time", "1.5")]),
    ("/api/v1/query", [("query", "1e21"), ("time", "1")]),
    ("/api/v1/query", [("query", "123456789012345680000"), ("time", "1")]),
    ("/api/v1/query", [("query", "0.000001"), ("time", "1")]),
    ("/api/v1/query", [("query", "-1/0"), ("time", "1")]),
    ("/api/v1/query", [("query", "huge"), ("time", str(START_S + 605))]),
    ("/api/v1/query_range", [("query", "level"), *SPAN, ("step", "1m")]),
    ("/api/v1/query_range", [("query", "level"), *SPAN, ("step", "60.5")]),
    ("/api/v1/query_range", [("query", "missing"), *SPAN, ("step", "60")]),
    ("/api/v1/query_range", [("query", "5"), *SPAN, ("step", "600")]),
    ("/api/v1/query_range", [("query", "level"), *SPAN[:1], ("end", str(START_S)), ("step", "1")]),
    ("/api/v1/series", [("match[]", "level"), *SPAN]),
    ("/api/v1/series", [("match[]", "level"), ("match[]", '{kind="flat"}'), *SPAN]),
    ("/api/v1/series", [("match[]", "missing"), *SPAN]),
    ("/api/v1/labels", SPAN),
    ("/api/v1/labels", [("match[]", "temperature"), *SPAN]),
    ("/api/v1/label/__name__/values", SPAN),
    ("/api/v1/label/pod/values", [("match[]", "latency_bucket"), *SPAN]),
    ("/api/v1/label/nothing/values", SPAN),
    ("/api/v1/alerts", []),
    ("/-/healthy", []),
    ("/-/ready", []),
]
"""Answered with the very same text."""


def _sorted(answer: Any) -> Any:
    """Series of a vector and of /series have no order."""
    data = answer.get("data") if isinstance(answer, dict) else None
    if isinstance(data, dict) and isinstance(data.get("result"), list):
        if data["resultType"] in ("vector", "matrix"):
            data["result"].sort(key=lambda each: sorted(each["metric"].items()))
    elif isinstance(data, list) and data and isinstance(data[0], dict):
        data.sort(key=lambda each: sorted(each.items()))
    return answer


@pytest.mark.server
@pytest.mark.parametrize(("path", "form"), SAME, ids=str)
def test_an_answer_is_the_same_json(
    path: str, form: Pairs, api: PrometheusApi, genuine: str
) -> None:
    status, ours = get(api, path, form)
    expected_status, expected = genuine_get(genuine, path, form)
    assert status == expected_status
    assert _sorted(ours) == _sorted(expected)


REFUSED: list[tuple[str, Pairs]] = [
    ("/api/v1/query", []),
    ("/api/v1/query", [("query", "level"), ("time", "yesterday")]),
    ("/api/v1/query", [("query", "level"), ("time", "2026-03-04T05:10:00")]),
    ("/api/v1/query", [("query", "sum(")]),
    ("/api/v1/query_range", [("query", "level")]),
    ("/api/v1/query_range", [("query", "level"), *SPAN]),
    ("/api/v1/query_range", [("query", "level"), *SPAN, ("step", "0")]),
    ("/api/v1/query_range", [("query", "level"), *SPAN, ("step", "-1")]),
    ("/api/v1/query_range", [("query", "level"), *SPAN, ("step", "often")]),
    ("/api/v1/query_range", [("query", "level"), ("start", "2"), ("end", "1"), ("step", "1")]),
    ("/api/v1/query_range", [("query", "level"), ("start", "0"), ("end", "11001"), ("step", "1")]),
    ("/api/v1/query_range", [("query", "level[5m]"), *SPAN, ("step", "60")]),
    ("/api/v1/series", []),
    ("/api/v1/series", [("match[]", "{")]),
    ("/api/v1/series", [("match[]", "level[5m]")]),
    ("/api/v1/label/bad-name/values", []),
    ("/api/v1/labels", [("start", "never")]),
]


@pytest.mark.server
@pytest.mark.parametrize(("path", "form"), REFUSED, ids=str)
def test_a_refusal_has_the_same_shape(
    path: str, form: Pairs, api: PrometheusApi, genuine: str
) -> None:
    status, ours = get(api, path, form)
    expected_status, expected = genuine_get(genuine, path, form)
    assert status == expected_status
    assert ours.keys() == expected.keys() == {"status", "errorType", "error"}
    assert ours["errorType"] == expected["errorType"]
    if "parse error" not in expected["error"] and "unexpected" not in expected["error"]:
        assert ours["error"] == expected["error"]


def test_exactly_eleven_thousand_steps_are_answered(api: PrometheusApi) -> None:
    form = [("query", "vector(1)"), ("start", "0"), ("end", "11000"), ("step", "1")]
    status, answer = get(api, "/api/v1/query_range", form)
    assert status == 200
    assert len(answer["data"]["result"][0]["values"]) == 11_001


def test_a_form_in_the_body_is_read(api: PrometheusApi) -> None:
    body = urlencode({"query": 'level{kind="flat"}', "time": str(START_S + 60)}).encode()
    answer = _read(api.handle(Request("POST", "/api/v1/query", (), {}, body)))[1]
    assert [each["value"][1] for each in answer["data"]["result"]] == ["7"]


def test_samples_of_the_future_do_not_exist_yet(api: PrometheusApi, rows: list[Any]) -> None:
    tsdb = Tsdb()
    now = [100.0]
    young = PrometheusApi(tsdb, lambda: now[0])
    handle = tsdb.handle({"__name__": "m"})
    for at_s in (50.0, 90.0, 130.0):
        tsdb.append(at_s, [handle], [at_s])  # type: ignore[arg-type]
    asked = [("query", "m"), ("time", "200")]
    assert get(young, "/api/v1/query", asked)[1]["data"]["result"][0]["value"] == [200, "90"]
    now[0] = 130.0
    assert get(young, "/api/v1/query", asked)[1]["data"]["result"][0]["value"] == [200, "130"]
    assert get(young, "/api/v1/query", asked[:1])[1]["data"]["result"][0]["value"] == [130, "130"]


def test_alerts_are_those_it_was_given() -> None:
    alert = {"labels": {"alertname": "Hot"}, "annotations": {}, "state": "firing"}
    api = PrometheusApi(Tsdb(), lambda: 0.0, lambda: [alert])
    assert get(api, "/api/v1/alerts")[1]["data"] == {"alerts": [alert]}


def test_an_outage_answers_503_to_everything_until_it_is_over(api: PrometheusApi) -> None:
    down = PrometheusApi(Tsdb(), lambda: 0.0)
    down.outage = True
    for path in ("/api/v1/query", "/-/ready", "/api/v1/labels"):
        assert get(down, path)[0] == 503
    down.outage = False
    assert get(down, "/-/ready")[0] == 200


def test_what_is_not_there_is_not_found(api: PrometheusApi) -> None:
    assert get(api, "/api/v1/nothing") == (404, "404 page not found\n")
    assert api.handle(Request("DELETE", "/api/v1/query")).status == 405


def test_the_build_names_its_version(api: PrometheusApi) -> None:
    answer = get(api, "/api/v1/status/buildinfo")[1]
    assert answer["data"]["version"].startswith("2.")
