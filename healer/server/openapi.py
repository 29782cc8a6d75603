"""The OpenAPI 3.1 document: what FastAPI works out, with the raw bodies and problems added."""

from __future__ import annotations

import warnings
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from healer import __version__
from healer.server.problems import ProblemDocument

_REF = "#/components/schemas/{model}"


def request_body(model: type[BaseModel]) -> dict[str, Any]:
    """For endpoints that read their body raw: what it has to be."""
    schema = {"$ref": _REF.format(model=model.__name__)}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def describe(app: FastAPI, models: tuple[type[BaseModel], ...]) -> dict[str, Any]:
    """The document, made once. models: bodies that `request_body` refers to."""
    if app.openapi_schema is None:
        with warnings.catch_warnings():
            # One endpoint of two verbs has one id until `_mend` tells them apart.
            warnings.filterwarnings("ignore", "Duplicate Operation ID")
            made = get_openapi(
                title="Healer",
                version=__version__,
                description="Incidents, evidence, actions and their record. Read-only but for the "
                "intake of alerts, the answer to a plan and the verdict on a diagnosis, which take "
                "tokens of other scopes.",
                routes=app.routes,
            )
        wanted = [(model, "validation") for model in (*models, ProblemDocument)]
        _, extra = models_json_schema(wanted, ref_template=_REF)  # type: ignore[arg-type]
        components = made.setdefault("components", {})
        components.setdefault("schemas", {}).update(extra.get("$defs", {}))
        for unused in ("HTTPValidationError", "ValidationError"):
            components["schemas"].pop(unused, None)
        components["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer"},
            "basic": {"type": "http", "scheme": "basic"},
        }
        made["security"] = [{"bearer": []}, {"basic": []}]
        for path in made["paths"].values():
            for verb, operation in path.items():
                _mend(operation)
                if len(path) > 1:
                    operation["operationId"] += f"_{verb}"
        app.openapi_schema = made
    return app.openapi_schema


def _mend(operation: dict[str, Any]) -> None:
    """FastAPI announces its own shape of 422; ours is a problem document."""
    answer = operation.get("responses", {}).get("422")
    if answer and "application/json" in answer.get("content", {}):
        answer["content"].pop("application/json")
        answer["content"].setdefault(
            "application/problem+json", {"schema": {"$ref": _REF.format(model="ProblemDocument")}}
        )
