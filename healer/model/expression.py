"""The little language in which rules ask their questions, parsed into values.

    test        = both { "or" both }
    both        = single { "and" single }
    single      = "not" single | bounded
    bounded     = basic { "on" RELATION [ "any" | "all" ] | "within" DURATION [ "after onset" ] }
    basic       = "(" test ")" | sum [ comparator sum | "in" list ]
    comparator  = "==" | "!=" | "<" | "<=" | ">" | ">="
    sum         = NUMBER | DURATION | "TEXT" | NAME | NAME "(" [ argument { "," argument } ] ")"
    argument    = test

Nothing is ever evaluated as Python; what a name or a function means is decided where the
evidence is looked at. `on` and `within` bind to the nearest comparison, call or bracket.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from healer.errors import BadInput
from healer.values import parse_span


@dataclass(frozen=True, slots=True)
class Number:
    value: float
    text: str


@dataclass(frozen=True, slots=True)
class Text:
    value: str


@dataclass(frozen=True, slots=True)
class Listing:
    """`[79, 95]`: what `in` compares with."""

    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """A function, or a bare name when `args` is None: `ready`, `high(ttft_p95)`."""

    name: str
    args: tuple[Expression, ...] | None
    column: int = 0


@dataclass(frozen=True, slots=True)
class Compare:
    left: Expression
    op: str
    right: Expression


@dataclass(frozen=True, slots=True)
class Not:
    inner: Expression


@dataclass(frozen=True, slots=True)
class And:
    parts: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Or:
    parts: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class On:
    """Asked of related targets instead of the hypothesis' own."""

    inner: Expression
    relation: str
    every: bool


@dataclass(frozen=True, slots=True)
class Within:
    """Limits how far from the incident's onset an event or change may lie."""

    inner: Expression
    span: timedelta
    after_onset: bool = False


Expression = Number | Text | Listing | Call | Compare | Not | And | Or | On | Within

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<span>\d+(?:\.\d+)?(?:ms|[smhdw])(?![A-Za-z0-9_]))
    | (?P<number>-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?(?![A-Za-z0-9_]))
    | (?P<text>"[^"]*"|'[^']*')
    | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<op>==|!=|<=|>=|~|<|>|[(),\[\]])
    )""",
    re.VERBOSE,
)
_WORDS = frozenset({"and", "or", "not", "on", "within", "in", "any", "all", "after"})
_COMPARATORS = frozenset({"==", "!=", "<", "<=", ">", ">=", "~"})
_DEEPEST = 40
"""Brackets in brackets; nobody writes more, and the parser is recursive."""


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    column: int


def parse(text: str) -> Expression:
    """The expression in `text`. Raises BadInput naming the column and what was expected."""
    reader = _Reader(text, tuple(_tokens(text)))
    found = reader.test()
    reader.end()
    return found


def walk(expression: Expression) -> Iterator[Expression]:
    """`expression` and everything inside it, outermost first."""
    yield expression
    match expression:
        case Call(args=args):
            inner: tuple[Expression, ...] = args or ()
        case Compare(left=left, right=right):
            inner = (left, right)
        case Not(inner=one) | On(inner=one) | Within(inner=one):
            inner = (one,)
        case And(parts=parts) | Or(parts=parts):
            inner = parts
        case _:
            inner = ()
    for part in inner:
        yield from walk(part)


def _tokens(text: str) -> Iterator[_Token]:
    at = 0
    while at < len(text.rstrip()):
        found = _TOKEN.match(text, at)
        if found is None or found.lastgroup is None:
            column = at + len(text[at:]) - len(text[at:].lstrip())
            raise _wrong(text, column, "a name, number, text, bracket or comparator")
        yield _Token(found.lastgroup, found[found.lastgroup], found.start(found.lastgroup))
        at = found.end()
    yield _Token("end", "the end", len(text))


def _wrong(text: str, column: int, expected: str) -> BadInput:
    return BadInput(f"at column {column + 1}: expected {expected}", value=text)


class _Reader:
    """Recursive descent over the tokens; one method a line of the grammar."""

    def __init__(self, text: str, tokens: tuple[_Token, ...]) -> None:
        self._text, self._tokens, self._at, self._depth = text, tokens, 0, 0

    def test(self) -> Expression:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._expected(f"at most {_DEEPEST} brackets inside each other")
        parts = [self._both()]
        while self._takes("or"):
            parts.append(self._both())
        self._depth -= 1
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def end(self) -> None:
        if self._next.kind != "end":
            raise self._expected("`and`, `or`, `on`, `within` or the end")

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _takes(self, text: str) -> bool:
        if self._next.kind in ("name", "op") and self._next.text == text:
            self._at += 1
            return True
        return False

    def _needs(self, text: str) -> None:
        if not self._takes(text):
            raise self._expected(f"`{text}`")

    def _expected(self, what: str) -> BadInput:
        return _wrong(self._text, self._next.column, f"{what}, not {self._next.text!r}")

    def _both(self) -> Expression:
        parts = [self._single()]
        while self._takes("and"):
            parts.append(self._single())
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _single(self) -> Expression:
        if self._takes("not"):
            return Not(self._single())
        found = self._basic()
        while True:
            if self._takes("on"):
                relation = self._name("a relation such as pods, gpus, node or siblings")
                every = self._takes("all")
                if not every:
                    self._takes("any")
                found = On(found, relation, every)
            elif self._takes("within"):
                found = self._within(found)
            else:
                return found

    def _within(self, inner: Expression) -> Expression:
        if self._next.kind != "span":
            raise self._expected("a duration such as 10m")
        span = parse_span(self._next.text)
        assert isinstance(span, timedelta)
        self._at += 1
        after = self._takes("after")
        if after:
            self._needs("onset")
        return Within(inner, span, after)

    def _basic(self) -> Expression:
        if self._takes("("):
            inner = self.test()
            self._needs(")")
            return inner
        left = self._value()
        if self._next.text in _COMPARATORS and self._next.kind == "op":
            op = self._next.text
            self._at += 1
            return Compare(left, op, self._value())
        if self._takes("in"):
            return Compare(left, "in", self._listing())
        return left

    def _value(self) -> Expression:
        token = self._next
        match token.kind:
            case "number":
                self._at += 1
                return Number(float(token.text), token.text)
            case "span":
                self._at += 1
                span = parse_span(token.text)
                assert isinstance(span, timedelta)
                return Number(span.total_seconds(), token.text)
            case "text":
                self._at += 1
                return Text(token.text[1:-1])
            case "name" if token.text not in _WORDS:
                return self._call()
            case _:
                raise self._expected("a name, a number, a text or `(`")

    def _call(self) -> Expression:
        token = self._next
        self._at += 1
        if not self._takes("("):
            return Call(token.text, None, token.column)
        args: list[Expression] = []
        if not self._takes(")"):
            args.append(self.test())
            while self._takes(","):
                args.append(self.test())
            self._needs(")")
        return Call(token.text, tuple(args), token.column)

    def _listing(self) -> Listing:
        self._needs("[")
        values = [self._item()]
        while self._takes(","):
            values.append(self._item())
        self._needs("]")
        return Listing(tuple(values))

    def _item(self) -> str:
        token = self._next
        if token.kind not in ("name", "number", "text"):
            raise self._expected("a name, number or text of the list")
        self._at += 1
        return token.text[1:-1] if token.kind == "text" else token.text

    def _name(self, what: str) -> str:
        token = self._next
        if token.kind != "name" or token.text in _WORDS:
            raise self._expected(what)
        self._at += 1
        return token.text
