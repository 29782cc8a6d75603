"""What is wrong with a rule's question before anybody asks it.

`faults` finds what can never work: unknown functions and relations, wrong arguments.
`complaints` needs to know the signals, and finds what can never be true.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping

from healer.model.expression import (
    And,
    Call,
    Compare,
    Expression,
    Not,
    On,
    Or,
    Text,
    Within,
    walk,
)
from healer.model.target import Kind
from healer.stages.evidence.functions import ARITY, OF_RELATION, OF_SIGNAL
from healer.stages.evidence.relations import KINDS, RELATIONS

EVENT_KINDS = frozenset(
    {
        "xid", "alert", "kubernetes", "rollout", "scaled", "pod_failed", "pod_created",
        "pod_deleted", "node_not_ready", "node_cordoned", "gpu_lost", "gpus_withheld", "changed",
    }
)  # fmt: skip


def faults(test: Expression) -> Iterator[str]:
    """What makes `test` unusable, in words."""
    yield from _faults(test)
    for part in walk(test):
        if isinstance(part, Compare) and part.op == "~" and isinstance(part.right, Text):
            try:
                re.compile(part.right.value)
            except re.error as error:
                yield f"expected a regular expression ({error}), not {part.right.value!r}"


def _faults(test: Expression) -> Iterator[str]:
    match test:
        case Call(name=name, args=args):
            yield from _of_call(name, args)
        case And(parts=parts) | Or(parts=parts):
            for part in parts:
                yield from _faults(part)
        case Not(inner=inner) | Within(inner=inner):
            yield from _faults(inner)
        case On(inner=inner, relation=relation):
            if relation not in RELATIONS:
                yield f"no such relation as {relation!r}{_hint(relation, RELATIONS)}"
            yield from _faults(inner)
        case Compare(left=left, op=op, right=right):
            yield from _faults(left)
            if op != "in" and not (isinstance(right, Call) and right.args is None):
                yield from _faults(right)
        case _:
            return


def _of_call(name: str, args: tuple[Expression, ...] | None) -> Iterator[str]:
    if name not in ARITY:
        if args is not None:
            yield f"no such function as {name!r}{_hint(name, ARITY)}"
        return
    least, most = ARITY[name]
    given = len(args or ())
    if not least <= given <= most:
        wanted = str(least) if least == most else f"{least} to {most}"
        yield f"{name} takes {wanted} arguments, not {given}"
        return
    if name in OF_SIGNAL and not _is_name(args):
        yield f"{name} takes the name of a signal"
    if name in OF_RELATION and args:
        yield from _of_relation(name, args)
    if name == "newer_revision_only" and args:
        yield from _faults(args[0])


def _of_relation(name: str, args: tuple[Expression, ...]) -> Iterator[str]:
    first = args[0]
    if not isinstance(first, Call) or first.args is not None or first.name not in RELATIONS:
        said = first.name if isinstance(first, Call) else "this"
        yield f"{name} takes a relation first, not {said!r}{_hint(said, RELATIONS)}"
    if name == "growth":
        if not _is_name(args[1:]):
            yield "growth takes the name of a signal second"
        return
    for test in args[1:]:
        yield from _faults(test)


def _is_name(args: tuple[Expression, ...] | None) -> bool:
    return bool(args) and isinstance(args[0], Call) and args[0].args is None if args else False


def complaints(
    test: Expression, scope: tuple[Kind, ...], signals: Mapping[str, Kind]
) -> Iterator[str]:
    """What can never be true, given which signals there are and of what kind of target."""
    yield from dict.fromkeys(_reach(test, frozenset(scope), signals))


def _reach(test: Expression, kinds: frozenset[Kind], signals: Mapping[str, Kind]) -> Iterator[str]:
    match test:
        case Call(name=name, args=args):
            yield from _of_function(name, args, kinds, signals)
        case On(inner=inner, relation=relation):
            yield from _reach(inner, _led(relation, kinds), signals)
        case And(parts=parts) | Or(parts=parts):
            for part in parts:
                yield from _reach(part, kinds, signals)
        case Not(inner=inner) | Within(inner=inner):
            yield from _reach(inner, kinds, signals)
        case Compare(left=left, op=op, right=right):
            yield from _reach(left, kinds, signals)
            if op != "in" and isinstance(right, Call) and right.args is not None:
                yield from _reach(right, kinds, signals)
        case _:
            return


def _of_function(
    name: str,
    args: tuple[Expression, ...] | None,
    kinds: frozenset[Kind],
    signals: Mapping[str, Kind],
) -> Iterator[str]:
    first = args[0].name if args and isinstance(args[0], Call) else ""
    if name not in ARITY:
        yield from _of_signal(name, signals.get(name), kinds, signals)
    elif name in OF_SIGNAL:
        of = Kind.WORKLOAD if name == "worse_than_previous" else signals.get(first)
        yield from _of_signal(first, of, kinds, signals)
    elif name == "growth" and args:
        second = args[1].name if isinstance(args[1], Call) else ""
        yield from _of_signal(second, signals.get(second), _led(first, kinds), signals)
    elif name in OF_RELATION:
        for inner in (args or ())[1:]:
            yield from _reach(inner, _led(first, kinds), signals)
    elif name == "newer_revision_only" and args:
        yield from _reach(args[0], frozenset({Kind.POD}), signals)
    elif name == "event" and args:
        yield from _of_event(args)


def _led(relation: str, kinds: frozenset[Kind]) -> frozenset[Kind]:
    return frozenset({KINDS[relation]}) if relation in KINDS else kinds


def _of_signal(
    signal: str, of: Kind | None, kinds: frozenset[Kind], signals: Mapping[str, Kind]
) -> Iterator[str]:
    if signal not in signals:
        yield f"unknown signal {signal!r}{_hint(signal, signals)}"
    elif of is not None and kinds and of not in kinds:
        asked = ", ".join(sorted(kinds))
        yield f"{signal} is a signal of a {of}, asked of a {asked}: use `on {_PLURAL.get(of, of)}`"


_PLURAL = {Kind.POD: "pods", Kind.GPU: "gpus"}


def _of_event(args: tuple[Expression, ...]) -> Iterator[str]:
    first = args[0]
    name = first.name if isinstance(first, Call) else ""
    if isinstance(first, Compare) and isinstance(first.left, Call):
        name = first.left.name
    if name not in EVENT_KINDS:
        yield f"unknown event kind {name!r}{_hint(name, EVENT_KINDS)}"


def _hint(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, sorted(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
