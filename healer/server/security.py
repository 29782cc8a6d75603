"""Headers of every answer: no script at all, nothing from elsewhere, nothing framed."""

from __future__ import annotations

import base64
import hashlib

from healer.server.look import stylesheet

COMMON = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)


def style_hash() -> str:
    """Of the stylesheet as a self-contained report carries it inside."""
    digest = hashlib.sha256(stylesheet().encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def report_policy() -> str:
    return f"default-src 'none'; style-src {style_hash()}; img-src data:; base-uri 'none'"


def report_headers() -> dict[str, str]:
    return {
        "Content-Security-Policy": f"{report_policy()}; frame-ancestors 'none'",
        "Cache-Control": "no-store",
    }
