"""Label matchers and Prometheus' regular expressions.

Prometheus uses RE2 and anchors at both ends. Python's `re` is close; what differs in syntax is
translated here, what differs in power (look-around, back references) is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

import promql_parser

_POSIX = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "ascii": r"\x00-\x7F",
    "blank": r"\t ",
    "cntrl": r"\x00-\x1F\x7F",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": r"!-/:-@\[-`{-~",
    "space": r"\t\n\v\f\r ",
    "upper": "A-Z",
    "word": "0-9A-Za-z_",
    "xdigit": "0-9A-Fa-f",
}
_NAMED_CLASS = re.compile(r"\[:(\w+):\]")
_FLAGS_INSIDE = re.compile(r"(?<!^)\(\?[ims]+\)")


@dataclass(frozen=True, slots=True)
class Matcher:
    name: str
    op: str
    """One of `=`, `!=`, `=~`, `!~`."""
    value: str

    def accepts(self, text: str) -> bool:
        """A label that a series lacks is the empty text."""
        match self.op:
            case "=":
                return text == self.value
            case "!=":
                return text != self.value
            case "=~":
                return compiled(self.value).fullmatch(text) is not None
            case "!~":
                return compiled(self.value).fullmatch(text) is None
            case _:
                raise ValueError(f"{self.op!r}: expected =, !=, =~ or !~")


@lru_cache(maxsize=1024)
def compiled(pattern: str) -> re.Pattern[str]:
    """For `fullmatch`. Raises ValueError where RE2 would refuse the pattern."""
    quoted = pattern.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    # The parser's engine has RE2's syntax, so it refuses what only Python understands.
    promql_parser.parse(f'x{{y=~"{quoted}"}}')
    text = _NAMED_CLASS.sub(lambda found: _POSIX.get(found[1], found[0]), pattern)
    text = text.replace(r"\z", r"\Z").replace("(?U)", "")
    if _FLAGS_INSIDE.search(text):
        raise ValueError(f"flags inside the expression are not supported: {pattern}")
    try:
        return re.compile(text, re.ASCII)
    except re.error as error:
        raise ValueError(f"error parsing regexp: {error}: `{pattern}`") from error
