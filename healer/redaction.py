"""Blots out what must never reach logs, chat, reports or URLs: secrets and personal data.

Alert annotations and Kubernetes messages are written by others, and quote whatever they met:
tokens in URLs, keys in environment dumps, a colleague's number. Text passes here at the edges
where it comes in and goes out. A number is only blotted out where it can hardly be anything but
a person's: eleven digits that are a whole number of memory pages are a size.
"""

from __future__ import annotations

import dataclasses
import re

from healer.model.incident import Incident

BLOT = "***"

_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"(?i)\b(bearer|basic) +[A-Za-z0-9._~+/=-]{8,}"), rf"\1 {BLOT}"),
    (
        re.compile(
            r"(?i)((?:\b(?:[a-z0-9]{1,32}[_-]){0,4}(?:token|secret|passwd|password|api[_-]?key"
            r"|access[_-]?key|signature|authorization)|[?&](?:key|sign))"
            r"(?:=|%3D|\"? ?: ?\"?))"
            r"(?!(?:bearer|basic) +\*\*\*)(?![\d.,]+ ?[a-z%/]*(?:[\s,;)]|$))"
            r"(?:(?:bearer|basic) )?([^\s&\"',;}]{6,})"
        ),
        rf"\1{BLOT}",
    ),
    (
        re.compile(r"(/(?:open-apis/bot/v2/hook|services|webhookb2?|workflows)/)[^\s\"'?]+"),
        rf"\1{BLOT}",
    ),
    (re.compile(r"(://[^/\s:@]*:)[^/\s@]+@"), rf"\1{BLOT}@"),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"), BLOT),
    (re.compile(r"\b(?:sk|hf|ghp|gho|glpat|xox[abpr])[-_][A-Za-z0-9_-]{16,}"), BLOT),
    (re.compile(r"\bAKIA[A-Z0-9]{16}\b"), BLOT),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END|$)", re.DOTALL), BLOT),
    (re.compile(r"[\w.+-]{1,64}@(?:[\w-]+\.)+[A-Za-z]{2,}"), f"{BLOT}@{BLOT}"),
)
_MOBILE = re.compile(r"(?<![\d.])(?:\+?86[- ]?)?(1[3-9]\d{9})(?![\d.]\d|\d)")
_IDENTITY = re.compile(r"(?<!\d)\d{17}[\dXx](?!\d)")
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_PAGE_BYTES = 4096


def redact(text: str) -> str:
    """`text` without tokens, keys, passwords, robot addresses, e-mail addresses, mobile and
    identity numbers."""
    for pattern, put in _PATTERNS:
        text = pattern.sub(put, text)
    text = _IDENTITY.sub(lambda m: BLOT if _is_identity(m.group()) else m.group(), text)
    return _MOBILE.sub(lambda m: m.group() if int(m.group(1)) % _PAGE_BYTES == 0 else BLOT, text)


def redacted(incident: Incident) -> Incident:
    """`incident` with everything redacted in it that others wrote."""
    return dataclasses.replace(
        incident,
        title=redact(incident.title),
        findings=tuple(
            dataclasses.replace(f, summary=redact(f.summary)) for f in incident.findings
        ),
        events=tuple(
            dataclasses.replace(
                e,
                message=redact(e.message),
                attributes={name: redact(value) for name, value in e.attributes.items()},
            )
            for e in incident.events
        ),
    )


def _is_identity(number: str) -> bool:
    """By the checksum of GB 11643: ids of other things fail it ten times out of eleven."""
    total = sum(int(digit) * weight for digit, weight in zip(number, _WEIGHTS, strict=False))
    return "10X98765432"[total % 11] == number[-1].upper()
