"""What can never work in rules that load: for `healer rules lint` and for whoever reviews them."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence

from healer.model.rule import Rule, RuleBook
from healer.model.target import Kind
from healer.stages.evidence.check import EVENT_KINDS, complaints
from healer.stages.evidence.reach import dead
from healer.stages.rehearse import RuleTest


def lint(
    book: RuleBook,
    signals: Mapping[str, Kind],
    remediations: Collection[str],
    tests: Sequence[RuleTest] = (),
    *,
    units: Mapping[str, str] | None = None,
    tested: Collection[str] | None = None,
) -> Iterator[str]:
    """What can never work in rules that load, one line each with file and line.

    signals: name → the kind of target it is of. units: name → its unit, which bounds what it can
    be. tests: when given, every rule must be expected by one, and be wrong in another.
    tested: ids of the rules that `tests` are about; all, if absent.
    """
    causes = {rule.id for rule in book.rules}
    known = {*signals, *EVENT_KINDS, *causes, "*"}
    for rule in book.rules:
        where = f"{rule.file}:{rule.line}: {rule.path}"
        for evidence in (*rule.require, *rule.exclude, *rule.evidence):
            for test in (evidence.test, evidence.proof):
                for said in complaints(test, rule.scope, signals) if test else ():
                    yield f"{where}: {evidence.text}: {said}"
        yield from (f"{where}: {said}" for said in dead(rule, units or {}))
        for name in rule.explains:
            if name not in known:
                hint = _hint(name, known)
                yield f"{where}.explains: unknown signal, event or cause {name!r}{hint}"
        for name in rule.proposes:
            if name not in remediations:
                yield f"{where}.action: unknown remediation {name!r}{_hint(name, remediations)}"
        if not rule.reference:
            yield f"{where}: lacks a reference"
        if not rule.is_null and not rule.explains:
            yield f"{where}: explains nothing"
        if tests and (tested is None or rule.id in tested):
            yield from (f"{where}: {said}" for said in _untested(rule, tests))


def _untested(rule: Rule, tests: Sequence[RuleTest]) -> Iterator[str]:
    if rule.id == "unknown":
        return
    if not any(test.expect.top1 == rule.id for test in tests):
        yield "no test expects it"
    if not any(rule.id in test.expect.not_top1 for test in tests):
        yield "no test expects something else where it might be taken for the cause"


def _hint(name: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(name, sorted(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
