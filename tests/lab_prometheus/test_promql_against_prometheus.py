"""Every expression is asked of the lab and of a genuine Prometheus holding the same samples."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import pytest
import requests
from lab_prometheus import expressions
from lab_prometheus.samples import END_S, START_S

from healer.lab.prometheus import PrometheusApi
from healer.lab.web import Request

pytestmark = pytest.mark.server

Form = Mapping[str, str]
Points = list[tuple[float, float]]

MOMENTS_S = (START_S + 900.5, START_S + 1807, START_S + 3333)
RANGE_STEP_S = 37
"""No multiple of the scrape interval: every window falls differently."""


def _asks(query: str) -> list[tuple[str, Form]]:
    instants = [("query", {"query": query, "time": str(each)}) for each in MOMENTS_S]
    span = {"start": str(START_S - 120), "end": str(END_S + 400), "step": str(RANGE_STEP_S)}
    return [*instants, ("query_range", {"query": query, **span})]


def _lab(api: PrometheusApi, path: str, form: Form) -> tuple[int, dict[str, Any]]:
    response = api.handle(Request("GET", f"/api/v1/{path}", tuple(form.items())))
    assert isinstance(response.body, bytes)
    return response.status, json.loads(response.body)


def _genuine(url: str, path: str, form: Form) -> tuple[int, dict[str, Any]]:
    response = requests.get(f"{url}/api/v1/{path}", params=form, timeout=60)
    return response.status_code, response.json()


def _points(answer: Mapping[str, Any]) -> dict[frozenset[tuple[str, str]], Points]:
    """Series → its points, whatever the kind of the result."""
    data = answer["data"]
    if data["resultType"] in ("scalar", "string"):
        return {frozenset(): [_point(data["result"])]}
    found = {
        frozenset(each["metric"].items()): [
            _point(point) for point in (each["values"] if "values" in each else [each["value"]])
        ]
        for each in data["result"]
    }
    assert len(found) == len(data["result"]), "a label set twice"
    return found


def _point(pair: list[Any]) -> tuple[float, float]:
    return float(pair[0]), float(pair[1])


def _alike(ours: Points, theirs: Points) -> bool:
    """Equal within 1e-9; what cancels out to nearly nothing is measured by the whole series."""
    scale = max((abs(v) for _, v in theirs if math.isfinite(v)), default=0.0)
    close = {"rel_tol": 1e-9, "abs_tol": 1e-13 * scale}
    return len(ours) == len(theirs) and all(
        t == u and (v == w or math.isclose(v, w, **close) or (math.isnan(v) and math.isnan(w)))
        for (t, v), (u, w) in zip(ours, theirs, strict=True)
    )


@pytest.mark.parametrize("query", expressions.EVERYTHING)
def test_an_expression_answers_as_prometheus_does(
    query: str, api: PrometheusApi, genuine: str
) -> None:
    for path, form in _asks(query):
        theirs_status, theirs = _genuine(genuine, path, form)
        status, ours = _lab(api, path, form)
        assert status == theirs_status, (ours, theirs)
        if status != 200:
            assert ours["errorType"] == theirs["errorType"]
            continue
        assert ours["data"]["resultType"] == theirs["data"]["resultType"]
        expected, found = _points(theirs), _points(ours)
        assert found.keys() == expected.keys(), path
        for labels, points in expected.items():
            assert _alike(found[labels], points), (path, form, dict(labels))


@pytest.mark.parametrize(
    "query",
    [
        "sort(temperature)",
        "sort_desc(temperature)",
        'sort(odd{kind=~"nan|always"})',
        "topk(4, temperature)",
        "bottomk(4, temperature)",
        "-sort(temperature)",
    ],
)
def test_an_instant_answer_keeps_the_order(query: str, api: PrometheusApi, genuine: str) -> None:
    for path, form in _asks(query)[:3]:
        ours, theirs = _lab(api, path, form)[1], _genuine(genuine, path, form)[1]
        pods = [
            [m["metric"].get("pod") or m["metric"].get("kind") for m in one["data"]["result"]]
            for one in (ours, theirs)
        ]
        assert pods[0] == pods[1]


@pytest.mark.parametrize(
    "query",
    [
        "level[3m]",
        "gappy[20m]",
        "level[3m] offset 10m",
        "level[3m] @ 1772602000",
        "temperature[1m]",
        "rate(requests_total[2m])[5m:1m]",
        "level[5m:] offset 1m",
    ],
)
def test_a_range_vector_gives_its_raw_samples(query: str, api: PrometheusApi, genuine: str) -> None:
    for path, form in _asks(query)[:3]:
        found = _points(_lab(api, path, form)[1])
        expected = _points(_genuine(genuine, path, form)[1])
        assert found.keys() == expected.keys()
        for labels, points in expected.items():
            assert _alike(found[labels], points), (form, dict(labels))


LAST_BEFORE_GAP_S = START_S + 59 * 15


@pytest.mark.parametrize("after_s", [0, 299.999, 300, 300.001])
@pytest.mark.parametrize(
    "query",
    [
        'gappy{kind="gap"}',
        'count_over_time(gappy{kind="gap"}[5m])',
        'rate(gappy{kind="gap"}[315s])',
        'absent(gappy{kind="gap"})',
        'last_over_time(gappy{kind="gap"}[5m:1m])',
    ],
)
def test_an_edge_falls_on_the_same_side(
    query: str, after_s: float, api: PrometheusApi, genuine: str
) -> None:
    form = {"query": query, "time": f"{LAST_BEFORE_GAP_S + after_s:.3f}"}
    found = _points(_lab(api, "query", form)[1])
    expected = _points(_genuine(genuine, "query", form)[1])
    assert found.keys() == expected.keys()
    for labels, points in expected.items():
        assert _alike(found[labels], points)


def test_a_string_is_answered_as_a_string(api: PrometheusApi, genuine: str) -> None:
    form = {"query": '"a string"', "time": "1772602000.5"}
    assert _lab(api, "query", form) == _genuine(genuine, "query", form)


@pytest.mark.parametrize(
    "query",
    [
        "level[5m]",
        '"text"',
        "sum(",
        "",
        "level{",
        "rate(level)",
        "no_such_function(level)",
        "level[0s]",
        'level{kind=~"("}',
        "{}",
        '{kind=""}',
        "1 == 2",
        "sum(1)",
        "temperature * on (namespace) info",
        'label_replace(level, "bad-name", "x", "kind", ".*")',
        'label_replace(level, "to", "x", "kind", "(")',
        'label_join(level, "bad-name", "x", "kind")',
        'count_values("bad-name", level)',
    ],
)
def test_a_refusal_is_of_the_same_kind(query: str, api: PrometheusApi, genuine: str) -> None:
    for path, form in _asks(query)[2:]:
        theirs_status, theirs = _genuine(genuine, path, form)
        status, ours = _lab(api, path, form)
        assert (status, ours["status"]) == (theirs_status, theirs["status"]), (ours, theirs)
        assert ours.get("errorType") == theirs.get("errorType"), (ours, theirs)


@pytest.mark.parametrize(
    "query",
    [
        "one_of * on (same) one_of",
        "requests_total / on (pod) requests_total",
        "temperature * on (namespace) group_left info",
        'abs({__name__=~"level|odd", kind=~"walk|nan"} * 0 + 1) + on () level',
    ],
)
def test_an_ambiguity_is_told_in_the_same_words(
    query: str, api: PrometheusApi, genuine: str
) -> None:
    form = {"query": query, "time": str(MOMENTS_S[1])}
    theirs = _genuine(genuine, "query", form)[1]
    ours = _lab(api, "query", form)[1]
    assert (
        ours.get("error", "").split(" on the ")[0] == theirs.get("error", "").split(" on the ")[0]
    )
