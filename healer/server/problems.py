"""Errors as RFC 9457 problem documents, with stable types and the request's id."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from healer.redaction import redact

MEDIA_TYPE = "application/problem+json"

TITLES = {
    400: "The request cannot be read",
    401: "A token is needed",
    403: "This token may not do that",
    404: "Nothing is there",
    405: "This cannot be done here",
    409: "It is no longer as you saw it",
    413: "The body is too large",
    415: "Only JSON is understood",
    422: "The content cannot be used",
    500: "Healer made a mistake",
    503: "The store does not answer",
}


class Fault(BaseModel):
    """One thing wrong with what was sent."""

    path: str
    """Where: `alerts.0.startsAt`, `query.limit`."""
    expected: str
    value: str = ""


class ProblemDocument(BaseModel):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str = ""
    instance: str
    """Id of the request: quote it when asking for help."""
    errors: list[Fault] = []


class Refusal(Exception):
    """Raised by an endpoint; becomes a problem document, or a page for a browser."""

    def __init__(
        self,
        status: int,
        detail: str = "",
        *,
        errors: Sequence[Fault] = (),
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.errors = status, detail, tuple(errors)
        self.headers = headers or {}


def request_id(request: Request) -> str:
    found: str = request.scope.get("healer_request_id", "")
    return f"urn:healer:request:{found}"


def document(request: Request, refusal: Refusal) -> JSONResponse:
    body = ProblemDocument(
        type=f"urn:healer:problem:{refusal.status}",
        title=TITLES.get(refusal.status, "That did not work"),
        status=refusal.status,
        detail=refusal.detail,
        instance=request_id(request),
        errors=list(refusal.errors),
    )
    content = body.model_dump(exclude_defaults=True) | {"detail": body.detail}
    return JSONResponse(content, refusal.status, headers=refusal.headers, media_type=MEDIA_TYPE)


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For the OpenAPI document: which problems an endpoint may answer with."""
    return {
        status: {
            "description": TITLES[status],
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}},
        }
        for status in statuses
    }


def short(value: object, most: int = 80) -> str:
    """What was sent, as far as an error message repeats it."""
    text = redact(repr(value)[:2000])
    return text if len(text) <= most else text[: most - 1] + "…"


def expectation(kind: str, message: str) -> str:
    """What pydantic expected, without its preambles."""
    if kind in ("model_type", "dict_type", "model_attributes_type"):
        return "a JSON object"
    return message.removeprefix("Input should be ").removeprefix("Value error, ")
