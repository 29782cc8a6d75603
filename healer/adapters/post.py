"""Sends chat messages over HTTPS, and mails over SMTP; lets no token into an error or a log."""

from __future__ import annotations

import time
from urllib.parse import urlsplit

import requests

from healer.adapters.mail import PORTS, send_mail
from healer.errors import Temporary
from healer.ports import PostRequest

MOST_ANSWER_BYTES = 65_536
"""Providers answer with a few hundred bytes; a proxy's error page may be anything."""


class RequestsPost:
    """The Post port. Redirects are not followed: a signed body is for one address only."""

    def __init__(self, connect_timeout_s: float = 3.0, read_timeout_s: float = 10.0) -> None:
        self._timeout = (connect_timeout_s, read_timeout_s)
        self._session = requests.Session()

    def send(self, request: PostRequest) -> tuple[int, str]:
        """Status and body of the answer. Raises Temporary when none came."""
        if urlsplit(request.url).scheme in PORTS:
            status, said = send_mail(request, self._timeout[1])
            return status, blot(said, request)
        try:
            with self._session.post(
                request.url,
                data=request.body,
                headers=dict(request.headers),
                timeout=self._timeout,
                allow_redirects=False,
                stream=True,
            ) as answer:
                body = self._read(answer)
                return answer.status_code, blot(body.decode("utf-8", "replace"), request)
        except (requests.RequestException, OSError, ValueError) as error:
            # The exception's own text repeats the URL, and with it the token.
            host = urlsplit(request.url).hostname or "no host"
            raise Temporary(f"post to {host}: {type(error).__name__}") from None

    def _read(self, answer: requests.Response) -> bytes:
        """At most so many bytes, for at most so long: a dripping answer must not hold the queue."""
        body, until = b"", time.monotonic() + 2 * self._timeout[1]
        for chunk in answer.iter_content(8192):
            body += chunk
            if len(body) >= MOST_ANSWER_BYTES or time.monotonic() > until:
                break
        return body[:MOST_ANSWER_BYTES]

    def close(self) -> None:
        self._session.close()


def blot(text: str, request: PostRequest) -> str:
    """`text` without the request's secrets, should a provider repeat them."""
    for part in request.secret_parts:
        if part:
            text = text.replace(part, "***")
    return text
