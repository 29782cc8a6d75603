"""Connections that dribble: a request has to be there whole within a while, or is hung up on.

uvicorn waits for ever for the rest of a header or a body. Whoever opens connections and sends a
byte now and then holds them, and with a token also the few places there are for webhooks.
"""

from __future__ import annotations

import asyncio
from typing import ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

_COMING = (h11.IDLE, h11.SEND_BODY)


class Punctual(H11Protocol):
    """The time runs from the first byte of a request to its last; answers may take any time."""

    within_s: ClassVar[float] = 30.0

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._late = self.loop.call_later(self.within_s, self._hang_up)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        waits = self.conn.their_state is h11.IDLE and not self.conn.trailing_data[0]
        if waits or self.conn.their_state not in _COMING:
            self._in_time()  # between two requests uvicorn's own patience counts
        elif self._late is None:
            self._late = self.loop.call_later(self.within_s, self._hang_up)

    def connection_lost(self, exc: Exception | None) -> None:
        self._in_time()
        super().connection_lost(exc)

    def _in_time(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _hang_up(self) -> None:
        self._late = None
        if not self.transport.is_closing():
            self.transport.close()
