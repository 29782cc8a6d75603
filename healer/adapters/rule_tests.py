"""Reads rule tests from YAML files. Raises BadInput naming file, test and what was expected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from healer.errors import BadInput
from healer.stages.rehearse import RuleTest
from healer.values import Span, build, read_yaml


@dataclass(frozen=True, slots=True)
class _Interval:
    interval: Span = timedelta(seconds=15)


@dataclass(frozen=True, slots=True)
class RuleTestFile:
    """The tests of one file, and the interval of their series."""

    tests: tuple[RuleTest, ...]
    interval: timedelta
    rule_folders: tuple[Path, ...] = ()
    """Folders with rules beside ours that these tests are about, relative to the file."""


def load_tests(file: Path) -> RuleTestFile:
    """One file of tests. `topology` and `background` of the file hold for all its tests."""
    data = read_yaml(file)
    known = {"interval", "topology", "background", "tests", "rule_folders", "shapes"}
    if not isinstance(data, Mapping) or set(data) - known or "tests" not in data:
        raise BadInput(f"a mapping with `tests:`, and of {', '.join(sorted(known))}", file=file)
    interval = build(_Interval, {k: data[k] for k in ("interval",) if k in data}, file=file)
    tests = []
    for number, given in enumerate(data["tests"] or ()):
        if not isinstance(given, Mapping):
            raise BadInput("a mapping", file=file, path=f"tests[{number}]")
        path = f"tests.{given.get('name', number)}"
        tests.append(build(RuleTest, _whole(given, data, file), path=path, file=file))
    folders = tuple(file.parent / str(name) for name in data.get("rule_folders") or ())
    return RuleTestFile(tuple(tests), interval.interval, folders)


def _whole(given: Mapping[str, Any], data: Mapping[str, Any], file: Path) -> dict[str, Any]:
    """A test laid over what its file says for all."""
    series = [*(data.get("background") or ()), *(given.get("input_series") or ())]
    whole = {**given, "input_series": series, "file": str(file)}
    whole.setdefault("topology", data.get("topology") or {})
    return whole
