"""For rule authors: find mistakes, run rule tests, see why a case ends as it does."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from healer import plugins
from healer.adapters.rule_tests import RuleTestFile, load_tests
from healer.adapters.rulebook import load_rules
from healer.adapters.signal_catalogue import load_signals
from healer.cli.common import (
    ConfigOption,
    Form,
    FormOption,
    err,
    operator,
    out,
    settings_of,
    show,
    store_of,
)
from healer.errors import BadInput
from healer.model.hypothesis import Diagnosis
from healer.model.rule import Rule, RuleBook
from healer.model.signal import Signal
from healer.opinions import judge
from healer.stages.explain import LINES, screen
from healer.stages.rehearse import Rehearsed, RuleTest, rehearse
from healer.stages.rule_lint import lint

rules = typer.Typer(no_args_is_help=True, help="Write, check and test rules.")

FoldersArgument = Annotated[
    list[Path] | None, typer.Argument(help="Rule folders beside ours, with `causes/`.")
]
FilesArgument = Annotated[list[Path], typer.Argument(help="Files of rule tests (YAML).")]


@rules.command("lint")
def lint_rules(
    folders: FoldersArgument = None,
    tests: Annotated[
        list[Path] | None, typer.Option(help="Files or folders of rule tests.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Load the rules and say what can never work; exit status 1 when anything is wrong."""
    settings = settings_of(config)
    mine = (*settings.rules.folders, *(folders or ()))
    book = load_rules(mine)
    catalogue = _signals(mine)
    signals = {name: signal.scope for name, signal in catalogue.items()}
    units = {name: signal.unit for name, signal in catalogue.items()}
    # Whoever lints rules of their own tests those, and not ours besides.
    tested = {r.id for r in book.rules if any(Path(r.file).is_relative_to(f) for f in mine)}
    remedies = {n for p in settings.remediation.packages for n in plugins.names(p)}
    given = [load_tests(file) for path in tests or () for file in _yaml_files(path)]
    cases = [test_case for each in given for test_case in each.tests]
    wrong = list(lint(book, signals, remedies, cases, units=units, tested=tested or None))
    for line in wrong:
        sys.stdout.write(line + "\n")
    sys.stdout.write(f"{len(book.rules)} rules, {len(wrong)} complaints\n")
    if wrong:
        raise typer.Exit(1)


@rules.command("test")
def run_tests(
    files: FilesArgument,
    folder: Annotated[list[Path] | None, typer.Option(help="Rule folder beside ours.")] = None,
    config: ConfigOption = None,
) -> None:
    """Run rule tests; exit status 1 when one does not end as expected."""
    failed = ran = 0
    for file, each in _rehearsals(files, folder, config):
        ran += 1
        for line in each.differs:
            err().print(f"{file}: {each.test.name}: {line}", markup=False, highlight=False)
        failed += bool(each.differs)
    sys.stdout.write(f"{ran} tests, {failed} failed\n")
    if failed or not ran:
        raise typer.Exit(1)


@rules.command("explain")
def explain(
    what: Annotated[str, typer.Argument(help="A file of rule tests, or the id of an incident.")],
    case: Annotated[str, typer.Argument(help="Part of the name of one of its tests.")] = "",
    folder: Annotated[list[Path] | None, typer.Option(help="Rule folder beside ours.")] = None,
    config: ConfigOption = None,
) -> None:
    """Show every term of a diagnosis' leader with its value, its rivals, and why they lost."""
    file = Path(what)
    if not file.exists():
        stored = store_of(config).incident(what)
        if stored is None:
            raise BadInput("expected a file of rule tests, or the id of an incident", value=what)
        # What was acted on is what people ask about; later rankings see our own doing.
        told = stored.acted_on or stored.diagnosis
        show_diagnoses(stored.title, (told,) if told else ())
        return
    found = [r for _, r in _rehearsals([file], folder, config) if case in r.test.name]
    if not found:
        raise BadInput("a part of a test's name", file=file, value=case)
    for each in found:
        show_diagnoses(each.test.name, each.diagnoses)


def show_diagnoses(title: str, diagnoses: Sequence[Diagnosis]) -> None:
    """Each diagnosis on one screen, the title among its lines."""
    out().print(title, style="bold", markup=False, no_wrap=True, overflow="ellipsis")
    if not diagnoses:
        sys.stdout.write("no diagnosis\n")
    for diagnosis in diagnoses:
        for line in screen(diagnosis, lines=LINES - 1):
            sys.stdout.write(line + "\n")


class Word(StrEnum):
    RIGHT = "right"
    WRONG = "wrong"


@rules.command("verdict")
def verdict(
    incident_id: str,
    word: Annotated[Word, typer.Argument(help="Whether the leading cause was right.")],
    note: Annotated[str, typer.Option(help="Why; kept in the audit.")] = "",
    who: Annotated[str, typer.Option("--as", help="Who says so; you, if absent.")] = "",
    config: ConfigOption = None,
) -> None:
    """Say whether an incident's diagnosis was right: that makes the standing of its rule."""
    store = store_of(config)
    found = store.incident(incident_id)
    if found is None:
        raise BadInput("expected the id of a stored incident", path="incident", value=incident_id)
    name = who or operator()
    now = datetime.now(UTC)
    said = judge(store, found, right=word is Word.RIGHT, who=name, now=now, note=note)
    right, wrong = store.standings()[said.cause]
    sys.stdout.write(f"{said.cause}: {right} right, {wrong} wrong\n")


@rules.command("list")
def list_rules(config: ConfigOption = None, output: FormOption = Form.TABLE) -> None:
    """All rules in force: what each proposes, what people said of it, whether it is in shadow."""
    settings, standings = settings_of(config), store_of(config).standings()
    given = settings.rules
    book = load_rules(given.folders, given.disabled, shadow_until=given.shadow_until)
    rows = [_standing(rule, *standings.get(rule.id, (0, 0))) for rule in book.rules]
    show(rows, ("id", "scope", "mode", "right", "wrong", "proposes", "file"), output)


def _standing(rule: Rule, right: int, wrong: int) -> dict[str, object]:
    mode = "shadow" if rule.is_shadow((right, wrong)) else "active"
    if rule.earns and mode == "shadow" and not rule.shadow:
        mode = f"shadow until {rule.earns} right"
    return {
        "id": rule.id,
        "scope": ", ".join(rule.scope) or "incident",
        "mode": mode,
        "right": right,
        "wrong": wrong,
        "proposes": ", ".join(rule.proposes),
        "file": f"{rule.file}:{rule.line}",
    }


def _rehearsals(
    files: list[Path], folder: list[Path] | None, config: Path | None
) -> Iterator[tuple[Path, Rehearsed]]:
    settings = settings_of(config)
    for path in files:
        for file in _yaml_files(path):
            given: RuleTestFile = load_tests(file)
            mine = (*settings.rules.folders, *(folder or ()), *given.rule_folders)
            book: RuleBook = load_rules(mine, settings.rules.disabled)
            signals = _signals(mine)
            for test_case in given.tests:
                yield file, _rehearse(test_case, book, signals, given, file)


def _rehearse(
    test_case: RuleTest,
    book: RuleBook,
    signals: Mapping[str, Signal],
    given: RuleTestFile,
    file: Path,
) -> Rehearsed:
    try:
        return rehearse(test_case, book, signals, given.interval)
    except BadInput as error:
        path = error.path or test_case.name
        raise BadInput(error.expected, file=file, path=path, value=error.value) from error


def _signals(folders: tuple[Path, ...]) -> dict[str, Signal]:
    found: dict[str, Signal] = {}
    for signal in load_signals(folders):
        found.setdefault(signal.name, signal)
    return found


def _yaml_files(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(path.glob("*.yaml"))
    return [path]
