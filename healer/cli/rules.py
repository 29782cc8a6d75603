"""For rule authors: find mistakes, run rule tests, see why a case ends as it does."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from healer import plugins
from healer.adapters.rule_tests import RuleTestFile, load_tests
from healer.adapters.rulebook import load_rules
from healer.adapters.signal_catalogue import load_signals
from healer.cli.common import ConfigOption, err, out, settings_of
from healer.errors import BadInput
from healer.model.hypothesis import Diagnosis, Hypothesis
from healer.model.rule import RuleBook
from healer.model.signal import Signal
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
    signals = {name: signal.scope for name, signal in _signals(mine).items()}
    remedies = {n for p in settings.remediation.packages for n in plugins.names(p)}
    given = [load_tests(file) for path in tests or () for file in _yaml_files(path)]
    wrong = list(lint(book, signals, remedies, [t for f in given for t in f.tests]))
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
    file: Annotated[Path, typer.Argument(help="A file of rule tests.")],
    case: Annotated[str, typer.Argument(help="Part of the name of one of its tests.")] = "",
    folder: Annotated[list[Path] | None, typer.Option(help="Rule folder beside ours.")] = None,
    config: ConfigOption = None,
) -> None:
    """Show every term of a case's leader with its value, its rivals, and why they lost."""
    found = [r for _, r in _rehearsals([file], folder, config) if case in r.test.name]
    if not found:
        raise BadInput("a part of a test's name", file=file, value=case)
    for each in found:
        out().print(f"[bold]{each.test.name}[/bold]")
        if not each.diagnoses:
            out().print("no incident")
        for diagnosis in each.diagnoses:
            show_diagnosis(diagnosis)


def show_diagnosis(diagnosis: Diagnosis) -> None:
    """One diagnosis on one screen: the leader term by term, its rivals line by line."""
    leader = diagnosis.leader
    if leader is None:
        out().print("no hypothesis")
        return
    out().print(
        f"{leader.cause} on {leader.target}, confidence {leader.confidence:.2f}, "
        f"log-odds {leader.log_odds:+.1f}, since {leader.onset:%H:%M:%S}"
    )
    if diagnosis.abstained:
        out().print(f"abstains: {diagnosis.abstained}; would decide: {diagnosis.would_decide}")
    table = Table("weight", "side", "family", "asked", "seen", box=None, pad_edge=False)
    for term in leader.terms:
        table.add_row(f"{term.weight:+.2f}", term.side, term.family, term.asked, term.seen)
    out().print(table)
    rivals = Table("rival", "confidence", "why it lost", box=None, pad_edge=False)
    for rival in diagnosis.hypotheses[1:]:
        rivals.add_row(_named(rival), f"{rival.confidence:.2f}", rival.why_not)
    out().print(rivals)


def _named(hypothesis: Hypothesis) -> str:
    return f"{hypothesis.cause} on {hypothesis.target}"


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
