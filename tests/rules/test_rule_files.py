"""Every rule test in YAML beside this file, each a case of its own."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from healer.adapters.rule_tests import RuleTestFile, load_tests
from healer.adapters.rulebook import load_rules
from healer.adapters.signal_catalogue import load_signals
from healer.model.rule import RuleBook
from healer.model.signal import Signal
from healer.stages.rehearse import RuleTest, rehearse

HERE = Path(__file__).parent


@cache
def book() -> RuleBook:
    return load_rules()


@cache
def signals() -> dict[str, Signal]:
    found: dict[str, Signal] = {}
    for signal in load_signals():
        found.setdefault(signal.name, signal)
    return found


def cases() -> list[tuple[RuleTestFile, RuleTest]]:
    files = [load_tests(path) for path in sorted(HERE.glob("*.yaml"))]
    return [(file, test) for file in files for test in file.tests]


@pytest.mark.parametrize(("file", "test"), cases(), ids=lambda value: getattr(value, "name", ""))
def test_the_rules_conclude(file: RuleTestFile, test: RuleTest) -> None:
    found = rehearse(test, book(), signals(), file.interval)

    assert not found.differs, "\n".join(found.differs)
