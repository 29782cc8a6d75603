"""Byte budgets. Providers count UTF-8 bytes, and one over means the whole message is refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any


def size(text: str) -> int:
    return len(text.encode("utf-8", "replace"))


def fit(lines: Sequence[str], most_bytes: int, tail: str, keep: Sequence[str] = ()) -> str:
    """`lines` joined by newlines in at most `most_bytes` bytes of UTF-8.

    Whole lines go, from the end; `tail`, which holds `{n}` for how many went, says so. `keep`
    (a link, a keyword) always stays at the end. A single line too long is cut between characters.
    """
    ending = "".join(f"\n{line}" for line in keep)
    whole = "\n".join(lines) + ending
    if size(whole) <= most_bytes:
        return whole
    room = most_bytes - size(ending)
    used = sum(size(line) + 1 for line in lines)
    for left in range(len(lines) - 1, 0, -1):
        used -= size(lines[left]) + 1
        gone = tail.format(n=len(lines) - left)
        if used + size(gone) <= room:
            return "\n".join((*lines[:left], gone)) + ending
    first = cut(lines[0] if lines else "", most_bytes - size(ending))
    return cut(first + ending, most_bytes)


def cut(text: str, most_bytes: int) -> str:
    """The longest beginning that fits, with an ellipsis; never half a character."""
    if size(text) <= most_bytes:
        return text
    mark = "…"
    room = most_bytes - size(mark)
    if room < 0:
        return ""
    return text.encode("utf-8", "replace")[:room].decode("utf-8", "ignore") + mark


def shrink(body: str) -> str | None:
    """A payload with its longest text halved by lines; None when nothing is left to take.

    Works on any channel's JSON, so a parcel of yesterday can be shrunk without its notice.
    """
    payload = json.loads(body)
    place = _longest(payload)
    if place is None:
        return None
    holder, key = place
    text: str = holder[key]
    if size(text) < 200:
        return None
    lines = text.split("\n")
    shorter = "\n".join([*lines[: len(lines) // 2], "…"]) if len(lines) > 3 else ""
    holder[key] = shorter if 0 < size(shorter) < size(text) else cut(text, size(text) // 2)
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":"))


def _longest(value: Any) -> tuple[Any, Any] | None:
    """(container, key) of the longest string inside `value`."""
    best: tuple[Any, Any] | None = None
    queue = [value]
    while queue:
        holder = queue.pop()
        pairs = (
            holder.items()
            if isinstance(holder, dict)
            else enumerate(holder)
            if isinstance(holder, list)
            else ()
        )
        for key, inner in pairs:
            if isinstance(inner, str):
                if best is None or size(inner) > size(best[0][best[1]]):
                    best = (holder, key)
            else:
                queue.append(inner)
    return best
