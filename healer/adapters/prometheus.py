"""Prometheus, Thanos, Mimir or VictoriaMetrics as the `Metrics` port.

A thin layer over `prometheus-api-client`: its connection without its retries, with timeouts, a
token that is read afresh, our two kinds of error, the server's warnings, and answers parsed
straight into arrays on the grid that was asked for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import numpy as np
import requests
from prometheus_api_client import PrometheusConnect
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase

from healer.adapters.prometheus_answers import (
    Answer,
    failure,
    joined,
    matrix,
    read,
    texts,
    vector,
)
from healer.errors import BadInput, Permanent, Temporary
from healer.ports import Matrix
from healer.settings import PrometheusSettings

T = TypeVar("T")

MAX_POINTS = 10_000
"""Of one request. Servers refuse more than 11,000."""

LONG_QUERY = 1500
"""Characters; beyond it a query goes in a form, since proxies cut long URLs. Short ones stay
GET, which is all that a read-only proxy may allow."""

_PASSING = frozenset({408, 425, 429})
"""Client errors that pass by themselves."""


class PrometheusMetrics:
    """`Metrics` over HTTP. Safe to use from several threads."""

    def __init__(
        self, settings: PrometheusSettings, session: requests.Session | None = None
    ) -> None:
        """session: one with its own transport, which is kept. Raises BadInput."""
        self._connection = _Connection(settings, session)

    def range(self, query: str, start: datetime, end: datetime, step: timedelta) -> Matrix:
        """Values at start, start + step, … up to end, however many requests that takes."""
        step_ms = step // timedelta(milliseconds=1)
        if step_ms <= 0 or end < start:
            raise Permanent(f"a range from {start} to {end} in steps of {step} has no points")
        grid_ms = np.arange(_ms(start), _ms(end) + 1, step_ms, dtype=np.int64)
        parts = []
        for begin in range(0, len(grid_ms), MAX_POINTS):
            piece = grid_ms[begin : begin + MAX_POINTS]
            given = {
                "query": query,
                "start": _seconds(int(piece[0])),
                "end": _seconds(int(piece[-1])),
                "step": _seconds(step_ms),
                # VictoriaMetrics otherwise moves start and end to multiples of the step.
                "nocache": "1",
            }
            parts.append(self._connection.ask("query_range", given, partial(matrix, grid_ms=piece)))
        found = joined(parts)
        return Matrix(grid_ms / 1000, found.values, found.labels, found.warnings)

    def instant(self, query: str, at: datetime | None = None) -> Matrix:
        """At the server's own time where none is given."""
        given = {"query": query} | ({} if at is None else {"time": _seconds(_ms(at))})
        at_s, found = self._connection.ask("query", given, vector)
        if at is not None:
            at_s = _ms(at) / 1000
        times = np.array([time.time() if at_s is None else at_s])
        return Matrix(times, found.values, found.labels, found.warnings)

    def names(self) -> frozenset[str]:
        return frozenset(self._connection.ask("label/__name__/values", {}, texts))


class BearerFile(AuthBase):
    """A token from a file that somebody else renews, read for every request."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        try:
            token = self._file.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise Permanent(f"{self._file}: prometheus.token_file cannot be read") from error
        request.headers["Authorization"] = f"Bearer {token}"
        return request


class _Connection(PrometheusConnect):  # type: ignore[misc]  # the package is untyped
    """The client's session, URL, headers and authentication; requests and errors are ours.

    Its own methods drop the warnings and the error's type, put even a POST's query into the
    URL, and retry for six seconds behind the caller's back.
    """

    def __init__(self, settings: PrometheusSettings, session: requests.Session | None) -> None:
        url = _checked(settings.url)
        own = session or requests.Session()
        transport = own.get_adapter(url) if session else HTTPAdapter(pool_maxsize=16)
        super().__init__(
            url=url,
            headers={"User-Agent": "healer", **settings.headers},
            auth=None if settings.token_file is None else BearerFile(settings.token_file),
            session=own,
            timeout=(
                settings.connect_timeout.total_seconds(),
                settings.read_timeout.total_seconds(),
            ),
        )
        own.mount(url, transport)  # in place of the one with the retries
        self._verify = own.verify if settings.ca_file is None else str(settings.ca_file)

    def ask(self, path: str, given: Mapping[str, str], parse: Callable[[Answer], T]) -> T:
        """One request. Raises Temporary or Permanent, without URL or credentials in the text."""
        try:
            return parse(self._answer(self._send(path, given)))
        except (Temporary, Permanent) as error:
            shown = f" ({_short(given['query'])})" if "query" in given else ""
            raise type(error)(f"Prometheus {path}: {error}{shown}") from error

    def _send(self, path: str, given: Mapping[str, str]) -> requests.Response:
        long = len(given.get("query", "")) > LONG_QUERY
        try:
            response: requests.Response = self._session.request(
                "POST" if long else "GET",
                f"{self.url}/api/v1/{path}",
                **({"data": given} if long else {"params": given}),
                headers=self.headers,
                auth=self.auth,
                timeout=self._timeout,
                verify=self._verify,
            )
            return response  # noqa: TRY300 - beside the call it belongs to
        except requests.exceptions.SSLError as error:
            raise Permanent("its certificate is not accepted") from error
        except requests.TooManyRedirects as error:
            raise Permanent("it redirects for ever") from error
        except requests.Timeout as error:
            raise Temporary(f"no answer within {self._timeout[1]:g} s") from error
        except requests.RequestException as error:
            raise Temporary(f"no answer ({type(error).__name__})") from error
        except OSError as error:  # an unreadable CA file
            raise Permanent(str(error)) from error

    def _answer(self, response: requests.Response) -> Answer:
        status = response.status_code
        try:
            document: Any = response.json()
        except ValueError:
            document = None
        if status == requests.codes.ok:
            return read(document)
        told = f"HTTP {status}"
        if isinstance(document, Mapping) and document.get("error"):
            told = f"{told}, {failure(document)}"
        passing = status >= 500 or status in _PASSING
        raise Temporary(told) if passing else Permanent(told)


def _checked(url: str) -> str:
    """Without a slash at the end. Raises BadInput, showing no credentials."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname)
        shown = url.rpartition("@")[2]
    except ValueError:
        usable, shown = False, url.rpartition("@")[2]
    if not usable:
        raise BadInput("an http:// or https:// address", path="prometheus.url", value=shown)
    return url.rstrip("/")


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def _seconds(ms: int) -> str:
    return f"{ms // 1000}.{ms % 1000:03d}" if ms % 1000 else str(ms // 1000)


def _short(query: str, limit: int = 120) -> str:
    return query if len(query) <= limit else f"{query[: limit - 1]}…"
