"""Prometheus' HTTP API over the lab's samples: same paths, same JSON, same refusals."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl

import promql_parser
from pydantic_core import to_json

from healer.lab.matchers import Matcher
from healer.lab.promql import Evaluator, PromqlError, Vector
from healer.lab.promql.evaluator import Answer, parsed
from healer.lab.promql.numbers import show_number, show_sample
from healer.lab.promql.selectors import matchers_of
from healer.lab.tsdb import Labels, Tsdb
from healer.lab.web import Request, Response

MAX_POINTS = 11_000
LONG_AGO_S, FAR_AHEAD_S = -1e12, 1e12
_STATUS = {"bad_data": 400, "execution": 422, "unavailable": 503}
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_LABEL_VALUES = re.compile(r"/api/v1/label/([^/]+)/values")
_PLAIN = {"Content-Type": "text/plain; charset=utf-8"}

Form = tuple[tuple[str, str], ...]


class PrometheusApi:
    """`handle` answers requests; `outage` makes it unavailable."""

    def __init__(
        self,
        tsdb: Tsdb,
        now: Callable[[], float],
        alerts: Callable[[], list[dict[str, Any]]] = list,
    ) -> None:
        """now: seconds; samples after it do not exist yet. alerts: as /api/v1/alerts has them."""
        self._tsdb, self._now, self._alerts = tsdb, now, alerts
        self._evaluator = Evaluator(tsdb)
        self.outage = False
        self._paths: Mapping[str, Callable[[Form], Any]] = {
            "/api/v1/query": self._query,
            "/api/v1/query_range": self._query_range,
            "/api/v1/series": self._series,
            "/api/v1/labels": self._labels,
            "/api/v1/alerts": lambda _: {"alerts": self._alerts()},
            "/api/v1/rules": lambda _: {"groups": []},
            "/api/v1/metadata": lambda _: {},
            "/api/v1/status/buildinfo": lambda _: BUILD,
        }

    def handle(self, request: Request) -> Response:
        if self.outage:
            return Response(503, b"Service Unavailable\n", _PLAIN)
        if request.path in ("/-/healthy", "/-/ready"):
            told = "Healthy" if request.path.endswith("healthy") else "Ready"
            return Response(200, f"Prometheus Server is {told}.\n".encode(), _PLAIN)
        answer = self._paths.get(request.path)
        values = _LABEL_VALUES.fullmatch(request.path)
        if answer is None and values is None:
            return Response(404, b"404 page not found\n", _PLAIN)
        if request.method not in ("GET", "POST"):
            return Response(405, b"Method Not Allowed\n", _PLAIN)
        form = _form(request)
        try:
            data = answer(form) if answer is not None else self._label_values(values, form)
        except PromqlError as error:
            body = {"status": "error", "errorType": error.kind, "error": str(error)}
            return Response(_STATUS[error.kind], json.dumps(body).encode())
        return Response(200, to_json({"status": "success", "data": data}))

    # ------------------------------------------------------------------- queries

    def _query(self, form: Form) -> Any:
        at_s = _time(form, "time", self._now())
        with _Naming("query"):
            answer = self._evaluator.instant(_first(form, "query"), at_s, self._now())
        return {"resultType": answer.kind, "result": _rendered(answer)}

    def _query_range(self, form: Form) -> Any:
        start_s, end_s = _time(form, "start"), _time(form, "end")
        if end_s < start_s:
            raise _bad("end", "end timestamp must not be before start time")
        step_s = _step(_first(form, "step"))
        if (end_s - start_s) / step_s > MAX_POINTS:
            raise PromqlError(
                "bad_data",
                "exceeded maximum resolution of 11,000 points per timeseries. "
                "Try decreasing the query resolution (?step=XX)",
            )
        with _Naming("query"):
            answer = self._evaluator.range(
                _first(form, "query"), start_s, end_s, step_s, self._now()
            )
        return {"resultType": "matrix", "result": _rendered(answer)}

    # ------------------------------------------------------------------ metadata

    def _series(self, form: Form) -> Any:
        if not any(name == "match[]" for name, _ in form):
            raise PromqlError("bad_data", "no match[] parameter provided")
        return [dict(each) for each in self._matching(form)]

    def _labels(self, form: Form) -> Any:
        return sorted({name for each in self._matching(form) for name, _ in each})

    def _label_values(self, path: re.Match[str] | None, form: Form) -> Any:
        name = path[1] if path else ""
        if not _LABEL_NAME.fullmatch(name):
            raise PromqlError("bad_data", f'invalid label name: "{name}"')
        return sorted(
            {value for each in self._matching(form) for key, value in each if key == name}
        )

    def _matching(self, form: Form) -> list[Labels]:
        """Series with samples between start and end, of any `match[]`, or all of them."""
        start_s = _time(form, "start", LONG_AGO_S)
        end_s = min(_time(form, "end", FAR_AHEAD_S), self._now())
        selections = [_selection(text) for name, text in form if name == "match[]"]
        found: dict[Labels, None] = {}
        for matchers in selections or [()]:
            found |= dict.fromkeys(self._tsdb.series(matchers, start_s, end_s))
        return list(found)


BUILD = {
    "version": "2.42.0",
    "revision": "simulated",
    "branch": "",
    "buildUser": "",
    "buildDate": "",
    "goVersion": "",
}
"""The version whose answers the tests compare with."""


@dataclass(frozen=True, slots=True)
class _Naming:
    """Names the request's parameter in an error of its syntax."""

    parameter: str

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if isinstance(error, PromqlError) and str(error).startswith("parse error"):
            raise _bad(self.parameter, str(error)) from error


def _bad(parameter: str, told: str) -> PromqlError:
    return PromqlError("bad_data", f'invalid parameter "{parameter}": {told}')


def _form(request: Request) -> Form:
    """A form in the body counts before the query string, as in Go."""
    if request.method == "POST" and request.body:
        return (*parse_qsl(request.body.decode(), keep_blank_values=True), *request.query)
    return request.query


def _first(form: Form, name: str) -> str:
    return next((value for key, value in form if key == name), "")


def _time(form: Form, name: str, default: float | None = None) -> float:
    text = _first(form, name)
    if not text and default is not None:
        return default
    try:
        return float(text)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        told = f'cannot parse "{text}" to a valid timestamp'
        optional = default is not None
        raise _bad(name, f"Invalid time value for '{name}': {told}" if optional else told)
    return moment.timestamp()


def _step(text: str) -> float:
    try:
        step_s = float(text)
    except ValueError:
        try:
            step_s = promql_parser.parse_duration(text).total_seconds()
        except ValueError as error:
            raise _bad("step", f'cannot parse "{text}" to a valid duration') from error
    if step_s <= 0:
        raise _bad(
            "step", "zero or negative query resolution step widths are not accepted. "
            "Try a positive integer",
        )  # fmt: skip
    return step_s


def _selection(text: str) -> tuple[Matcher, ...]:
    node = parsed(text)
    if not isinstance(node, promql_parser.VectorSelector):
        raise PromqlError("bad_data", f"invalid selector: {text}")
    return matchers_of(node)


# --------------------------------------------------------------------------- rendering


def _rendered(answer: Answer) -> Any:
    value = answer.value
    times = [_seconds(ms) for ms in answer.times_ms.tolist()]
    if isinstance(value, str):
        return [times[0], value]
    if isinstance(value, list):
        return [
            {
                "metric": dict(each.labels),
                "values": [
                    [_seconds(ms), show_sample(number)]
                    for ms, number in zip(each.times_ms.tolist(), each.values.tolist(), strict=True)
                ],
            }
            for each in value
        ]
    if not isinstance(value, Vector):
        return [times[0], show_number(float(value[0]))]
    if answer.kind == "vector":
        return [
            {"metric": dict(labels), "value": [times[0], show_sample(float(row[0]))]}
            for labels, row in zip(value.labels, value.values, strict=True)
        ]
    return [
        {
            "metric": dict(labels),
            "values": [
                [at, show_sample(number)]
                for at, number, there in zip(times, row, alive, strict=True)
                if there
            ],
        }
        for labels, row, alive in zip(
            value.labels, value.values.tolist(), value.present.tolist(), strict=True
        )
    ]


def _seconds(ms: int) -> int | float:
    return ms // 1000 if ms % 1000 == 0 else ms / 1000
