"""Answers a rule's question at a place: yes, no, or cannot be seen, citing what was seen.

Three-valued throughout (Kleene): what is unknown never turns into a no.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np

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
)
from healer.model.target import Target
from healer.stages.evidence.many import truths
from healer.stages.evidence.reading import read, show
from healer.stages.evidence.relations import related
from healer.stages.evidence.sight import Scene


@dataclass(frozen=True, slots=True)
class Place:
    """Where a question is asked: of which targets, and how far from the onset."""

    scene: Scene
    targets: tuple[Target, ...]
    span: timedelta | None = None
    after_onset: bool = False

    def at(self, target: Target) -> Place:
        """The same question asked of one target."""
        return Place(self.scene, (target,), self.span, self.after_onset)


@dataclass(frozen=True, slots=True)
class Seen:
    """An answer and its citation. `value` is a number or text where one was asked for."""

    truth: bool | None
    said: str = ""
    value: float | str | None = None
    since: datetime | None = None
    dated: bool = False
    """Whether `since` is the moment of an event, exact to a scrape, not a smeared onset."""
    source: str = ""
    target: Target | None = None
    most: float | None = None
    """What `value` may be instead, where some of those counted cannot be seen."""

    def judged(self, truth: bool | None) -> Seen:  # noqa: FBT001  the answer itself
        """The same citation with another answer; far cheaper than `dataclasses.replace`."""
        said, value, since, dated = self.said, self.value, self.since, self.dated
        return Seen(truth, said, value, since, dated, self.source, self.target, self.most)


UNKNOWN = Seen(None, "not known")

Function = Callable[[Place, tuple[Expression, ...]], Seen]

_COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def look(expression: Expression, place: Place, functions: Mapping[str, Function]) -> Seen:
    """What `expression` says at `place`."""
    match expression:
        case Call(name=name, args=args):
            return _each(expression, place, lambda one: _call(name, args, one, functions))
        case Compare():
            return _each(expression, place, lambda one: _compare(expression, one, functions))
        case And(parts=parts):
            return _both(look(part, place, functions) for part in parts)
        case Or(parts=parts):
            return _either([look(part, place, functions) for part in parts])
        case Not(inner=inner):
            seen = look(inner, place, functions)
            return seen.judged(None if seen.truth is None else not seen.truth)
        case On(inner=inner, relation=relation, every=every):
            targets = related(place.scene, relation, place.targets)
            return _over(inner, replace(place, targets=targets), functions, relation, every)
        case Within(inner=inner, span=span, after_onset=after):
            return look(inner, replace(place, span=span, after_onset=after), functions)
        case Number() | Text() | Listing():
            return _itself(expression)


def _itself(given: Number | Text | Listing) -> Seen:
    match given:
        case Number(value=value, text=text):
            return Seen(bool(value), text, value)
        case Text(value=text):
            return Seen(bool(text), text, text)
        case Listing(values=values):
            return Seen(bool(values), ", ".join(values))


def _call(
    name: str, args: tuple[Expression, ...] | None, place: Place, functions: Mapping[str, Function]
) -> Seen:
    if name in functions:
        return functions[name](place, args or ())
    return number_of(name, place)


def number_of(signal: str, place: Place) -> Seen:
    """The newest value of `signal` here."""
    target = place.targets[0]
    reading = read(place.scene, signal, target)
    if reading.now is None:
        return Seen(None, f"{signal} {reading}", source=signal, target=target)
    said = f"{signal} {reading}"
    return Seen(bool(reading.now), said, reading.now, reading.since, source=signal, target=target)


def _compare(test: Compare, place: Place, functions: Mapping[str, Function]) -> Seen:
    left = look(test.left, place, functions)
    if left.value is None or (left.truth is None and left.most is None):
        return left.judged(None)
    if isinstance(test.right, Listing):
        return left.judged(plain(left.value) in test.right.values)
    right: float | str | None
    if isinstance(test.right, Number):
        right = test.right.value
    else:
        right = _right(test.right, left, place, functions).value
    if right is None:
        return left.judged(None)
    if test.op == "~":
        return left.judged(re.search(str(right), str(left.value)) is not None)
    if isinstance(left.value, str) or isinstance(right, str):
        same = plain(left.value) == plain(right)
        return left.judged({"==": same, "!=": not same}.get(test.op))
    return left.judged(_between(test.op, left.value, left.most, right))


def _between(op: str, least: float, most: float | None, right: float) -> bool | None:
    """What `op` says of a number that lies between `least` and `most`."""
    low = _COMPARE[op](least, right)
    if most is None or most == least:
        return low
    if op in ("==", "!="):
        return None if least <= right <= most else low
    return low if _COMPARE[op](most, right) == low else None


def _right(test: Expression, left: Seen, place: Place, functions: Mapping[str, Function]) -> Seen:
    """A bare name compared with a text is a text: `fact(reason) == CrashLoopBackOff`."""
    if isinstance(left.value, str) and isinstance(test, Call) and test.args is None:
        return Seen(True, test.name, test.name)
    return look(test, place, functions)


def plain(value: float | str) -> str:
    """79.0 and `79` are the same thing."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


OF_ALL = frozenset({"share", "count", "growth", "changed"})
"""Functions that look at what is related to all targets together."""


def _each(test: Expression, place: Place, ask: Callable[[Place], Seen]) -> Seen:
    """A question to several targets at once holds when it holds for any."""
    if not place.targets:
        return Seen(None, "nothing there to ask")
    asked = test.left if isinstance(test, Compare) else test
    together = isinstance(asked, Call) and asked.name in OF_ALL
    if len(place.targets) == 1 or together:
        return ask(place)
    return _either([ask(place.at(target)) for target in place.targets])


def _over(
    inner: Expression,
    place: Place,
    functions: Mapping[str, Function],
    relation: str,
    every: bool,  # noqa: FBT001  mirrors the syntax: `any` or `all`
) -> Seen:
    if not place.targets:
        return Seen(None, f"no {relation} known")
    if len(place.targets) == 1:
        return look(inner, place, functions)
    held = truths(
        inner,
        place.scene,
        place.targets,
        functions.keys(),
        lambda part, target: look(part, place.at(target), functions).truth,
    )
    # Only those that decide the answer are cited, so only they are looked at closely.
    cited = np.flatnonzero(held == 0)[:1] if every else np.flatnonzero(held == 1)
    if not len(cited):
        untold = np.flatnonzero(np.isnan(held))[:1]
        cited = untold if len(untold) else np.arange(len(held) if every else 1)
    answers = [look(inner, place.at(place.targets[i]), functions) for i in cited]
    seen = _both(answers) if every else _either(answers)
    yes = int((held == 1).sum())
    return replace(seen, said=f"{seen.said} ({yes} of {len(held)} {relation})")


def _both(given: Iterable[Seen]) -> Seen:
    """Cites what failed, else everything that held; dated by the earliest. A no ends it."""
    answers = []
    for each in given:
        if each.truth is False:
            return each
        answers.append(each)
    if found := next((a for a in answers if a.truth is None), None):
        return found
    first = answers[0]
    said = "; ".join(dict.fromkeys(a.said for a in answers[:3] if a.said))
    return _dated(replace(first, said=said, value=None), answers)


def _either(answers: list[Seen]) -> Seen:
    """Cites what held; dated by the earliest of those."""
    held = [answer for answer in answers if answer.truth]
    if held:
        return _dated(held[0], held)
    return next((a for a in answers if a.truth is None), answers[0])


def _dated(seen: Seen, answers: list[Seen]) -> Seen:
    """`seen`, since the earliest of `answers`; of two at once, the exact one."""
    moments = [(a.since, not a.dated) for a in answers if a.since is not None]
    if not moments:
        return seen
    since, smeared = min(moments)
    return replace(seen, since=since, dated=not smeared)


def name_of(argument: Expression) -> str:
    """A bare name or text given as an argument."""
    match argument:
        case Call(name=name, args=None):
            return name
        case Text(value=value):
            return value
        case Number(text=text):
            return text
        case _:
            raise ValueError("expected a name")


def figure(value: float, unit: str = "") -> str:
    return show(value, unit)
