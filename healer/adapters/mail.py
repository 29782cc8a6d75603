"""Hands mails to a mail server, with TLS, and answers with its code and words."""

from __future__ import annotations

import smtplib
import ssl
from urllib.parse import unquote, urlsplit

from healer.errors import Temporary
from healer.ports import PostRequest

PORTS = {"smtp": 587, "smtps": 465}
LOCAL = frozenset({"127.0.0.1", "::1", "localhost"})


def send_mail(request: PostRequest, timeout_s: float) -> tuple[int, str]:
    """(code, text) of the server's last word. Raises Temporary when it gave none.

    Everybody has to be accepted: a mail that some get and others do not is sent again to all.
    """
    parts = urlsplit(request.url)
    host = parts.hostname or "localhost"
    try:
        with _connect(parts.scheme, host, parts.port, timeout_s) as server:
            if parts.username:
                server.login(unquote(parts.username), unquote(parts.password or ""))
            to = [each.strip() for each in request.headers["To"].split(",")]
            refused = server.sendmail(request.headers["From"], to, request.body)
    except smtplib.SMTPRecipientsRefused as error:
        return _worst(error.recipients)
    except smtplib.SMTPNotSupportedError as error:
        return 538, str(error)  # RFC 4954: what was asked for needs encryption or is not there
    except smtplib.SMTPResponseException as error:
        return error.smtp_code, _text(error.smtp_error)
    except (smtplib.SMTPException, OSError) as error:
        raise Temporary(f"mail to {host}: {type(error).__name__}") from None
    return _worst(refused) if refused else (250, "ok")


def _connect(scheme: str, host: str, port: int | None, timeout_s: float) -> smtplib.SMTP:
    """Encrypted, but for a relay on this very machine."""
    context = ssl.create_default_context()
    place = port or PORTS[scheme]
    if scheme == "smtps":
        return smtplib.SMTP_SSL(host, place, timeout=timeout_s, context=context)
    server = smtplib.SMTP(host, place, timeout=timeout_s)
    try:
        server.ehlo()
        if host not in LOCAL or server.has_extn("starttls"):
            server.starttls(context=context)
    except BaseException:
        server.close()
        raise
    return server


def _worst(refused: dict[str, tuple[int, bytes]]) -> tuple[int, str]:
    code, text = max(refused.values())
    return code, _text(text)


def _text(said: bytes | str) -> str:
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else said
