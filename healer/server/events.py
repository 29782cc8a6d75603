"""What happens, as it happens: server-sent events from the audit log, resumable by its numbers.

Every change of an incident or a plan is an audit entry, so the log's own sequence is the stream:
nothing is missed between two connections, and any replica can serve any of them.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from healer.errors import Temporary
from healer.ports import Store
from healer.server.given import Deps, MayRead
from healer.server.problems import Refusal, responses

POLL_S, HEARTBEAT_S = 1.0, 15.0
LASTS_S = 900.0
"""Then a client connects again, and its token is looked at again."""
MOST_CLIENTS = 32
MOST_AT_ONCE = 200
_LAST = 2**53
"""As `after` has it; no log comes near."""
_FORM = "text/event-stream"

router = APIRouter(prefix="/api/v1", tags=["report"], dependencies=[MayRead])


@router.get(
    "/events",
    responses=responses(401, 403, 422, 503)
    | {200: {"content": {_FORM: {"schema": {"type": "string"}}}, "description": "Events"}},
    response_class=Response,
    operation_id="stream_events",
)
async def events(
    request: Request,
    deps: Deps,
    after: Annotated[int | None, Query(ge=0, le=2**53)] = None,
    last_event_id: Annotated[str, Header(max_length=20)] = "",
) -> Response:
    """Changes of incidents and plans, oldest first: `id` is the audit's number, `event` its kind.

    A client that accepts `text/event-stream`, as browsers' EventSource does, is kept up to date;
    any other gets what there is and the end. `Last-Event-ID` or `after` resumes behind that
    number; without either a stream begins now, and a plain answer at the beginning.
    """
    follows = _FORM in request.headers.get("accept", "")
    start = min(int(last_event_id), _LAST) if last_event_id.isdecimal() else after
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    if not follows:
        text, _ = await run_in_threadpool(_slice, deps.store, start or 0)
        return Response(text, media_type=_FORM, headers=headers)
    state = request.app.state
    if state.streams >= MOST_CLIENTS:
        raise Refusal(503, f"{MOST_CLIENTS} clients listen already", headers={"Retry-After": "30"})
    if start is None:
        start = await run_in_threadpool(newest, deps.store)
    stream = _follow(state, deps.store, start)
    lasts_s = state.stream_lasts_s + HEARTBEAT_S
    return _Bounded(lasts_s, stream, media_type=_FORM, headers=headers)


class _Bounded(StreamingResponse):
    """Ends when its time is over, even where the client has stopped reading: sending to it would
    otherwise wait for ever, and keep its place."""

    def __init__(self, lasts_s: float, stream: AsyncGenerator[str, None], **more: Any) -> None:
        super().__init__(stream, **more)
        self._lasts_s, self._stream = lasts_s, stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with asyncio.timeout(self._lasts_s):
                await super().__call__(scope, receive, send)
        except TimeoutError:
            return
        finally:
            await self._stream.aclose()


async def _follow(state: Any, store: Store, after: int) -> AsyncGenerator[str, None]:
    """Until the client goes (which cancels this), or its time is over."""
    state.streams += 1
    try:
        began = beat = time.monotonic()
        yield "retry: 2000\n\n"
        while True:
            try:
                text, after = await run_in_threadpool(_slice, store, after)
            except Temporary:
                text = ""
            if text:
                yield text
            elif time.monotonic() - beat >= HEARTBEAT_S:
                beat = time.monotonic()
                yield ": still here\n\n"
            if time.monotonic() - began >= state.stream_lasts_s:
                return  # never without a look: what there was is told, however slow the machine
            if not text:
                await asyncio.sleep(state.stream_poll_s)
    finally:
        state.streams -= 1


def _slice(store: Store, after: int) -> tuple[str, int]:
    """(events as they go over the wire, number of the last)."""
    parts = []
    for number, entry in store.audit(after=after, limit=MOST_AT_ONCE):
        data = {
            "at": entry.at.isoformat().replace("+00:00", "Z"),
            "kind": entry.kind,
            "actor": entry.actor,
            "incident_id": entry.incident_id,
            "intent_id": entry.intent_id,
            "target": entry.target,
            "message": entry.message,
        }
        kind = entry.kind.replace("\n", " ").replace("\r", " ")
        # One line of JSON: a newline inside a message is escaped, and forges no event.
        parts.append(f"id: {number}\nevent: {kind}\ndata: {json.dumps(data)}\n\n")
        after = number
    return "".join(parts), after


def newest(store: Store) -> int:
    """Number of the last audit entry, found by halving: the log has no gaps and is never cut."""
    low, high = 0, 1
    while store.audit(after=high - 1, limit=1):
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        if store.audit(after=middle - 1, limit=1):
            low = middle
        else:
            high = middle
    return low
