"""One request to the API server, and one taxonomy for all that can become of it.

No answer to a read is `Temporary`. No answer to a write is `Temporary` only where the request
provably never left; otherwise it is `UnknownOutcome`, and the world has to be read back.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kubernetes.client import ApiClient
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    LocationValueError,
    NewConnectionError,
    SSLError,
)

from healer.errors import Temporary, UnknownOutcome

Obj = dict[str, Any]
Query = Sequence[tuple[str, str]]

TIMEOUT_S = (3.0, 10.0)
"""To connect, and to wait for an answer."""

_NEVER_SENT = (NewConnectionError, ConnectTimeoutError, SSLError, LocationValueError)


@dataclass(frozen=True, slots=True)
class Answer:
    code: int
    body: Obj
    headers: Mapping[str, str] = field(default_factory=dict)
    """Lower-case names."""

    @property
    def ok(self) -> bool:
        return self.code < 300

    @property
    def message(self) -> str:
        """What the server says, in one line."""
        return str(self.body.get("message") or f"HTTP {self.code}")

    @property
    def retry_after_s(self) -> float | None:
        try:
            return float(self.headers["retry-after"])
        except (KeyError, ValueError):
            return None

    def causes(self) -> Iterator[Mapping[str, str]]:
        yield from (self.body.get("details") or {}).get("causes") or ()


def read(
    api: ApiClient, path: str, query: Query = (), timeout_s: tuple[float, float] = TIMEOUT_S
) -> Answer:
    """GET. Raises Temporary when no answer came."""
    return _send(api, "GET", path, query, None, "", timeout_s)


def write(
    api: ApiClient,
    method: str,
    path: str,
    body: Obj | list[Obj],
    *,
    content_type: str = "application/json",
    dry_run: bool = False,
    timeout_s: tuple[float, float] = TIMEOUT_S,
) -> Answer:
    """One mutation, sent once. Raises Temporary when it was never sent, UnknownOutcome when it
    may have been; a dry run is Temporary either way, for it changes nothing."""
    query = (("dryRun", "All"),) if dry_run else ()
    if dry_run and method == "DELETE" and isinstance(body, dict):
        # With a body, the server takes the options from there alone: it would really delete.
        body = body | {"dryRun": ["All"]}
    try:
        answer = _send(api, method, path, query, body, content_type, timeout_s)
    except UnknownOutcome as error:
        if dry_run:
            raise Temporary(str(error)) from error
        raise
    if answer.code >= 500 and not dry_run and not _refused(answer):
        raise UnknownOutcome(f"{method} {path}: {answer.code}: {answer.message}")
    return answer


def _refused(answer: Answer) -> bool:
    """A 5xx by which the server says that it did nothing."""
    return "PodDisruptionBudget" in answer.message


def opened(api: ApiClient, path: str, query: Query, timeout_s: tuple[float, float]) -> Any:
    """GET whose body is still to come: a watch. Raises Temporary when no answer came."""
    return _asked(api, "GET", path, query, None, "", timeout_s).response


def decode(raw: bytes, code: int) -> Obj:
    try:
        decoded = json.loads(raw) if raw else {}
    except ValueError:
        # A proxy in between answers in plain text or HTML.
        return {"message": f"HTTP {code}: {raw[:200].decode(errors='replace')}"}
    return decoded if isinstance(decoded, dict) else {"items": decoded}


def _send(
    api: ApiClient,
    method: str,
    path: str,
    query: Query,
    body: Obj | list[Obj] | None,
    content_type: str,
    timeout_s: tuple[float, float],
) -> Answer:
    response = _asked(api, method, path, query, body, content_type, timeout_s)
    try:
        raw = response.read() or b""
    except (HTTPError, OSError) as error:
        raise _unanswered(method, path, error) from error
    return Answer(
        response.status,
        decode(raw, response.status),
        {k.lower(): v for k, v in response.getheaders().items()},
    )


def _asked(
    api: ApiClient,
    method: str,
    path: str,
    query: Query,
    body: Obj | list[Obj] | None,
    content_type: str,
    timeout_s: tuple[float, float],
) -> Any:
    headers = {"Accept": "application/json"}
    if content_type:
        headers["Content-Type"] = content_type
    try:
        request = api.param_serialize(
            method, path, query_params=list(query), header_params=headers, body=body,
            auth_settings=["BearerToken"],
        )  # fmt: skip
    except (ConfigException, OSError) as error:
        raise Temporary(f"the token for Kubernetes cannot be read: {_told(error)}") from error
    try:
        return api.call_api(*request, _request_timeout=timeout_s)
    except (*_NEVER_SENT, ApiException) as error:
        raise Temporary(f"Kubernetes is out of reach: {_told(error)}") from error
    except (HTTPError, OSError) as error:
        raise _unanswered(method, path, error) from error


def _unanswered(method: str, path: str, error: Exception) -> Temporary:
    if method == "GET":
        return Temporary(f"no answer from Kubernetes: {_told(error)}")
    return UnknownOutcome(f"{method} {path}: no answer: {_told(error)}")


def _told(error: Exception) -> str:
    first = str(error).strip().splitlines()
    return f"{type(error).__name__}: {first[0][:200] if first else ''}".rstrip(": ")
