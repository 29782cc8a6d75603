"""Every answer is what the OpenAPI document promises, whatever is asked and by whom.

Schemathesis makes the requests from the document: valid ones, ones at the edges of each schema,
and ones that break it. A few of a kind here; `schemathesis run` against a daemon tries thousands.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hypothesis
import pytest
import schemathesis
from builders import incident, intent
from schemathesis import GenerationMode

from healer.server.reference import render_reference

TOKENS = ("", "read-token", "ingest-token", "approve-token")
ID = "inc-1"
EXAMPLES = 3
"""A kind of request to an operation."""


@pytest.fixture
def described(site: Any) -> Any:
    """The document, loaded from the server in this process; one incident waits for an answer."""
    site.store.put_incident(incident(ID))
    site.store.claim_intent(intent())
    return schemathesis.openapi.from_asgi("/api/v1/openapi.json", site.client.app)


@pytest.mark.parametrize("token", TOKENS)
def test_every_answer_keeps_what_the_document_promises(described: Any, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    tried = [
        _conforms(operation.ok(), headers, mode)
        for operation in described.get_all_operations()
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    ]
    assert sum(tried) >= 15 * EXAMPLES


def test_the_written_reference_is_the_document(described: Any) -> None:
    """`healer openapi --output markdown > docs/api-reference.md` makes it again."""
    file = Path(__file__).resolve().parents[2] / "docs" / "api-reference.md"
    assert file.read_text(encoding="utf-8") == render_reference(described.raw_schema)


def _conforms(operation: Any, headers: dict[str, str], mode: GenerationMode) -> int:
    """How many requests were made. Raises with the request that was answered otherwise."""
    tried = 0

    @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
    @hypothesis.settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    def run(case: Any) -> None:
        nonlocal tried
        if "incident_id" in (case.path_parameters or {}) and mode is GenerationMode.POSITIVE:
            case.path_parameters["incident_id"] = ID
        case.call_and_validate(headers=headers)
        tried += 1

    try:
        run()
    except hypothesis.errors.Unsatisfiable:
        return 0  # an operation without a parameter has nothing that could be broken
    return tried
