"""What endpoints ask for in their signatures: the deps, the body, a scope."""

from __future__ import annotations

import difflib
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Request
from starlette.concurrency import run_in_threadpool

from healer.server.auth import Gate
from healer.server.deps import ServerDeps
from healer.server.problems import Fault, Refusal, short


def _deps(request: Request) -> ServerDeps:
    found: ServerDeps = request.app.state.deps
    return found


def _gate(request: Request) -> Gate:
    found: Gate = request.app.state.gate
    return found


Deps = Annotated[ServerDeps, Depends(_deps)]
TheGate = Annotated[Gate, Depends(_gate)]


def may_read(request: Request, deps: Deps, gate: TheGate) -> None:
    """Raises Refusal 401 or 403, and 422 for a parameter that the endpoint does not know.

    A misspelt filter that is silently ignored shows everything and looks like an answer.
    """
    gate.check(request, "read", deps.clock.now())
    route = request.scope["route"]
    known = [p.alias for p in getattr(route.dependant, "query_params", ())]
    for given in request.query_params:
        if given not in known:
            close = difflib.get_close_matches(given, known, n=1)
            hint = (
                f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known) or 'none'}"
            )
            fault = Fault(path=f"query.{given[:60]}", expected=f"a known parameter; {hint}")
            raise Refusal(422, f"{fault.path}: expected {fault.expected}", errors=[fault])


MayRead = Depends(may_read)


async def _ingested(request: Request, deps: Deps, gate: TheGate) -> AsyncIterator[bytes]:
    if gate.slow:
        await run_in_threadpool(gate.check, request, "ingest", deps.clock.now())
    else:  # a look at a file's date, no more: that is quicker than another thread
        gate.check(request, "ingest", deps.clock.now())
    state = request.app.state
    if state.pending >= deps.settings.max_pending:
        # Senders try again after a 5xx. What waited here would cost memory and time out anyway.
        raise Refusal(503, "too many webhooks at once", headers={"Retry-After": "2"})
    state.pending += 1
    try:
        yield await _json_body(request, deps.settings.max_body_bytes)
    finally:
        state.pending -= 1


async def _approved(request: Request, deps: Deps, gate: TheGate) -> bytes:
    await run_in_threadpool(gate.check, request, "approve", deps.clock.now())
    return await _json_body(request, 65_536)


Ingested = Annotated[bytes, Depends(_ingested)]
"""The raw body of a webhook; token, kind and size are checked before it is read."""
Approved = Annotated[bytes, Depends(_approved)]
"""The raw body of an answer to a plan, likewise."""


async def _json_body(request: Request, most_bytes: int) -> bytes:
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip()
    coding = request.headers.get("content-encoding", "identity").strip().lower()
    if kind.lower() != "application/json" or coding != "identity":
        raise Refusal(415, f"expected application/json as it is, not {short(kind)} {coding[:20]}")
    return await read_body(request, most_bytes)


async def read_body(request: Request, most_bytes: int) -> bytes:
    """The body, given up as soon as it is over the limit. Raises Refusal 413."""
    declared = request.headers.get("content-length", "0")
    chunks, size = [], int(declared) if declared.isdecimal() else 0
    if size <= most_bytes:
        size = 0
        async for chunk in request.stream():
            size += len(chunk)
            if size > most_bytes:
                break
            chunks.append(chunk)
    if size > most_bytes:
        # The rest is not read, so the connection cannot be used again.
        raise Refusal(413, f"expected at most {most_bytes} bytes", headers={"Connection": "close"})
    return b"".join(chunks)
