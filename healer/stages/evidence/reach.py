"""Whether a question can ever be answered yes, or no: dead thresholds and contradictions.

A question is spread into the cases in which it would hold, each a few facts that hold together
(`gpu_util above 80, gpu_power low`). Where every case contradicts itself, the range of its unit
or what is required besides, no world can answer so. Only what surely contradicts counts: what two
targets of many say, or two functions of one signal, is taken for compatible.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from healer.model.expression import (
    And,
    Call,
    Compare,
    Expression,
    Listing,
    Not,
    Number,
    On,
    Or,
    Text,
    Within,
    walk,
)
from healer.model.rule import Rule
from healer.model.target import Kind

MOST_CASES = 256
"""Beyond that a question is taken for answerable: nobody is helped by waiting for the linter."""

RANGES: Mapping[str, tuple[float, float]] = {
    "ratio": (0.0, 1.0),
    "bool": (0.0, 1.0),
    "percent": (0.0, 100.0),
    "celsius": (-273.15, math.inf),
}
"""What values of a unit can be; all others are nothing or more."""

OF_FUNCTIONS: Mapping[str, tuple[float, float]] = {
    "share": (0.0, 1.0),
    "slope": (-math.inf, math.inf),
}

SINGLE: Mapping[Kind, frozenset[str]] = {
    Kind.POD: frozenset({"node", "rack", "revision", "workload", "group"}),
    Kind.GPU: frozenset({"node", "rack"}),
    Kind.NODE: frozenset({"rack"}),
}
"""Relations that lead to one target, so that two questions along them are of the same one."""

_STATES: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {
    "high": (frozenset({"high"}), frozenset({"low", "normal"})),
    "low": (frozenset({"low"}), frozenset({"high", "normal"})),
    "normal": (frozenset({"normal"}), frozenset({"high", "low"})),
    "missing": (frozenset({"missing"}), frozenset({"high", "low", "normal", "present"})),
    "live": (frozenset({"high", "low", "normal", "present"}), frozenset({"missing"})),
}
"""Function → the states of a signal for which it says yes, and for which it says no."""

_SEEN = frozenset({"high", "low", "normal", "present"})
_OPPOSITE = {"==": "!=", "!=": "==", "<": ">=", "<=": ">", ">": "<=", ">=": "<"}


@dataclass(frozen=True, slots=True)
class Span:
    """Numbers from `low` to `high`, without the ends where they are open."""

    low: float = -math.inf
    high: float = math.inf
    low_open: bool = False
    high_open: bool = False

    def __str__(self) -> str:
        if math.isinf(self.high):
            return "any number" if math.isinf(self.low) else f"{self.low:g} or more"
        return f"between {self.low:g} and {self.high:g}"

    @property
    def is_empty(self) -> bool:
        if self.low == self.high:
            return self.low_open or self.high_open
        return self.low > self.high

    def meets(self, other: Span) -> Span:
        low, low_open = max((self.low, self.low_open), (other.low, other.low_open))
        high, closed = min((self.high, not self.high_open), (other.high, not other.high_open))
        return Span(low, high, low_open, not closed)


Fact = frozenset[str] | Span
Case = Mapping[str, Fact]
"""Facts that hold together, by what they are about; a text or state is one of a set."""


@dataclass(frozen=True, slots=True)
class _Known:
    units: Mapping[str, str]
    """Signal → unit."""
    single: frozenset[str]


def dead(rule: Rule, units: Mapping[str, str]) -> Iterator[str]:
    """What of `rule` can never decide anything, in words. units: signal → unit."""
    singles = [SINGLE.get(kind, frozenset()) | {"self"} for kind in rule.scope]
    known = _Known(units, frozenset.intersection(*singles) if singles else frozenset())
    out_of_range = {
        e.text: list(_out_of_range(e.test, units))
        for e in (*rule.require, *rule.exclude, *rule.evidence)
    }
    for text, found in out_of_range.items():
        yield from (f"{text}: {said}" for said in found)
    if not rule.scope:  # asked of all that suffers: what one target denies another may have
        return
    given: list[Case] = [{}]
    for evidence in rule.require:
        given = _together(given, _cases(evidence.test, known))
        if not given:
            yield f"{evidence.text}: can never hold beside what else is required"
            return
    sound = [e for e in (*rule.exclude, *rule.evidence) if not out_of_range[e.text]]
    for evidence in sound:
        asked_for = evidence.weight > 0 or evidence.against == 0
        if asked_for and not _together(given, _cases(evidence.test, known)):
            yield f"{evidence.text}: unreachable, it can never hold beside what is required"
        elif evidence.against and not _together(given, _cases(evidence.test, known, yes=False)):
            yield (
                f"{evidence.text}: its weight against is unreachable, "
                "it can never be false beside what is required"
            )


def _out_of_range(test: Expression, units: Mapping[str, str]) -> Iterator[str]:
    """Thresholds that nothing reaches, or that everything does."""
    for part in walk(test):
        if isinstance(part, Compare) and isinstance(part.right, Number) and part.op in _OPPOSITE:
            possible, limit = _possible(part.left, units), part.right
            between = f"{_subject(part.left)} is {possible}"
            if _span(part.op, limit.value).meets(possible).is_empty:
                yield f"unreachable threshold {part.op} {limit.text}: {between}"
            elif _span(_OPPOSITE[part.op], limit.value).meets(possible).is_empty:
                yield f"threshold {part.op} {limit.text} holds always: {between}"


def _cases(test: Expression, known: _Known, where: str = "", *, yes: bool = True) -> list[Case]:
    """All ways in which `test` is answered yes (or no); none where it never is."""
    match test:
        case And(parts=parts) | Or(parts=parts):
            spread = [_cases(part, known, where, yes=yes) for part in parts]
            return _product(spread) if isinstance(test, And) is yes else list(chain(*spread))
        case Not(inner=inner):
            return _cases(inner, known, where, yes=not yes)
        case Within(inner=inner):
            return _cases(inner, known, where, yes=yes)
        case On(inner=inner, relation=relation):
            found = _cases(inner, known, f"{where}{relation} of ", yes=yes)
            # Of several targets each may answer for another reason.
            return found if relation in known.single else [{}] * bool(found)
        case Compare():
            return _of_compare(test, known, where, yes=yes)
        case Call(name=name, args=(Call(name=signal, args=None),)) if name in _STATES:
            return [{f"state of {where}{signal}": _STATES[name][0 if yes else 1]}]
        case _:
            return [{}]


def _of_compare(test: Compare, known: _Known, where: str, *, yes: bool) -> list[Case]:
    subject = where + _subject(test.left)
    if isinstance(test.right, Number) and test.op in _OPPOSITE:
        op = test.op if yes else _OPPOSITE[test.op]
        span = _span(op, test.right.value).meets(_possible(test.left, known.units))
        if span.is_empty:
            return []
        case: dict[str, Fact] = {subject: span}
        if (signal := _signal(test.left)) is not None:
            case[f"state of {where}{signal}"] = _SEEN
        return [case]
    words = _words(test)
    if words is not None and yes and isinstance(test.left, Call) and test.left.name == "fact":
        return [{subject: words}]
    return [{}]


def _words(test: Compare) -> frozenset[str] | None:
    match test.right:
        case Listing(values=values) if test.op == "in":
            return frozenset(values)
        case Text(value=value) if test.op == "==":
            return frozenset({value})
        case Call(name=name, args=None) if test.op == "==":
            return frozenset({name})
    return None


def _signal(left: Expression) -> str | None:
    """The signal whose newest value is compared."""
    match left:
        case Call(name="value", args=(Call(name=signal, args=None),)):
            return signal
        case _:
            return None


def _possible(left: Expression, units: Mapping[str, str]) -> Span:
    """What the left side of a comparison can be."""
    match left:
        case Call(name="value" | "before", args=(Call(name=signal, args=None),)):
            return Span(*RANGES.get(units.get(signal, ""), (0.0, math.inf)))
        case Call(name=signal, args=None) if signal in units:
            return Span(*RANGES.get(units[signal], (0.0, math.inf)))
        case Call(name="count" | "growth" | "ratio" | "age" | "share" | "slope" as name):
            return Span(*OF_FUNCTIONS.get(name, (0.0, math.inf)))
        case _:
            return Span()


def _span(op: str, limit: float) -> Span:
    return {
        "==": Span(limit, limit),
        "<": Span(high=limit, high_open=True),
        "<=": Span(high=limit),
        ">": Span(low=limit, low_open=True),
        ">=": Span(low=limit),
    }.get(op, Span())


def _subject(left: Expression) -> str:
    """What is compared, the same words for the same thing."""
    match left:
        case Call(name="value", args=(Call() as signal,)):
            return _subject(signal)
        case Call(name=name, args=args):
            return f"{name}({', '.join(map(_subject, args))})" if args else name
        case _:
            return repr(_plain(left))


def _plain(value: object) -> object:
    """Without the columns at which it stood."""
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    if not dataclasses.is_dataclass(value):
        return value
    names = [each.name for each in dataclasses.fields(value) if each.name != "column"]
    return (type(value).__name__, *(_plain(getattr(value, name)) for name in names))


def _product(spread: Sequence[list[Case]]) -> list[Case]:
    found: list[Case] = [{}]
    for more in spread:
        found = _together(found, more)
    return found


def _together(some: list[Case], others: list[Case]) -> list[Case]:
    """Each case of one with each of the other, where they do not contradict each other."""
    if len(some) * len(others) > MOST_CASES:
        return [{}]
    merged = (_merged(one, other) for one in some for other in others)
    return [case for case in merged if case is not None]


def _merged(one: Case, other: Case) -> Case | None:
    found = dict(one)
    for subject, fact in other.items():
        held = found.get(subject)
        if held is None:
            found[subject] = fact
        elif isinstance(held, Span) and isinstance(fact, Span):
            found[subject] = both = held.meets(fact)
            if both.is_empty:
                return None
        elif isinstance(held, frozenset) and isinstance(fact, frozenset):
            found[subject] = held & fact
            if not held & fact:
                return None
    return found
