"""How channels write bold, quotes and links, and how what others wrote is made harmless.

Alert labels, pod names and annotations come from anywhere. In a message they must not become a
mention of everybody, a link, a heading or a second line. Providers differ in which backslash
escapes they honour, so the characters themselves are exchanged for their full-width twins,
which read the same and mean nothing to any renderer.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from healer.redaction import redact

MOST_CHARACTERS = 300
"""Of one value. A label may be a megabyte."""

_TWINS = str.maketrans({c: chr(ord(c) + 0xFEE0) for c in "@[]<>*`|~\\"})
"""To the full-width forms, which stand 0xFEE0 after ASCII."""
_WIDE_UNDERSCORE, _WIDE_COLON = "\uff3f", "\uff1a"
_LEADING = re.compile(r"^[#>+\-=]+(?=\s|$)|^(\d+)\.(?=\s)")
_UNDERSCORES = re.compile(r"(?<!\w)_+|_+(?!\w)|__+")


def plain(text: str, most: int = MOST_CHARACTERS) -> str:
    """One line without control, direction or zero-width characters, at most `most` long."""
    kept = "".join(
        " " if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c
        for c in redact(text[: 4 * most])
        if unicodedata.category(c) not in ("Cf", "Cs", "Co", "Cn")
    )
    line = " ".join(kept.split())
    return line if len(line) <= most else line[: most - 1] + "…"


def harmless(text: str, most: int = MOST_CHARACTERS) -> str:
    """`plain`, with everything that any channel would read as markup exchanged for its twin."""
    line = plain(text, most).translate(_TWINS)
    line = _UNDERSCORES.sub(lambda m: _WIDE_UNDERSCORE * len(m.group()), line)
    line = line.replace("://", f"{_WIDE_COLON}//")
    return _LEADING.sub(lambda m: f"{m.group(1)}." if m.group(1) else "·", line)


@dataclass(frozen=True, slots=True)
class Markup:
    """One dialect. Each is a format string around text that is harmless already."""

    heading: str = "{}"
    bold: str = "{}"
    code: str = "{}"
    quote: str = "{}"
    bullet: str = "· {}"
    link: str = "{}: {}"
    paragraph: str = ""
    """Put at the end of a line, where the dialect joins lines that have none."""


TEXT = Markup()
DINGTALK = Markup("### {}", "**{}**", "{}", "> {}", "- {}", "[{}]({})", "  ")
WECOM = Markup("### {}", "**{}**", "`{}`", "> {}", "> {}", "[{}]({})")
WECOM_V2 = Markup("### {}", "**{}**", "`{}`", "> {}", "- {}", "[{}]({})")
LARK = Markup("**{}**", "**{}**", "{}", "{}", "- {}", "[{}]({})")
SLACK = Markup("*{}*", "*{}*", "`{}`", "> {}", "• {}", "<{1}|{0}>")
TEAMS = Markup("**{}**", "**{}**", "{}", "_{}_", "- {}", "[{}]({})")
