"""Reads `causes/*.yaml`, `xid.yaml` and `incidents.yaml` into a RuleBook.

Our own folder comes first, then those of the settings; a rule of a later folder replaces ours
of the same id. A file that cannot be used raises BadInput with file, line and reason, and
whoever reloads keeps the book in force.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field

from healer.errors import BadInput
from healer.model.expression import parse
from healer.model.incident import Severity
from healer.model.rule import Evidence, Opening, Rule, RuleBook, Xid
from healer.model.target import Kind
from healer.stages.evidence.check import faults
from healer.stages.evidence.relations import RELATIONS
from healer.values import build, read_yaml

OWN = Path(str(files("rules")))
"""The package is data: found by name, never imported."""

INCIDENT = "incident"
"""The scope of causes that concern an incident as a whole."""

XID_ACTIONS = frozenset(
    {"ignore", "follow", "restart", "reset", "reboot", "nvlink", "hardware", "investigate"}
)


@dataclass(frozen=True, slots=True)
class _Term:
    """One line under `evidence`, with the names of the file."""

    test: Annotated[str, Field(alias="if")]
    weight: Annotated[float, Field(alias="for", ge=0, le=5)] = 0.0
    against: Annotated[float, Field(ge=-5, le=0)] = 0.0
    missing: Annotated[float, Field(ge=0, le=0)] = 0.0
    """Always 0: what cannot be seen is no evidence. Accepted so that a rule may say so."""
    family: str = ""
    decisive: bool | str = False
    """A question: decisive while it holds."""
    says: str = ""
    says_zh: str = ""


@dataclass(frozen=True, slots=True)
class _Action:
    propose: tuple[str, ...] = ()
    min_confidence: Annotated[float, Field(ge=0, le=1)] = 1.0


@dataclass(frozen=True, slots=True)
class _Rule:
    """A stanza as a person writes it."""

    id: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_.]*$")]
    scope: str | tuple[str, ...]
    prior: Annotated[float, Field(gt=0, lt=1)]
    title: str
    title_zh: str = ""
    require: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    evidence: tuple[_Term, ...] = ()
    explains: tuple[str, ...] = ()
    via: tuple[str, ...] = ()
    change: bool = False
    action: _Action = field(default_factory=_Action)
    reference: str = ""
    mode: Annotated[str, Field(pattern=r"^(active|shadow)?$")] = ""
    """Empty: ours are active, those of other folders have to earn it."""


@dataclass(frozen=True, slots=True)
class _Incidents:
    """`incidents.yaml`: events that open an incident on their own."""

    opens: tuple[Opening, ...] = ()
    opens_on_xid: tuple[str, ...] = ()
    """Action classes of the Xid table whose events do."""


@dataclass(frozen=True, slots=True)
class _Xids:
    """`xid.yaml`: the table, and where this site decides otherwise."""

    xids: tuple[Xid, ...] = ()
    override: Mapping[int, str] = field(default_factory=dict)
    """Xid → action class, for the cases the field disagrees on."""


def load_rules(
    folders: Sequence[Path] = (),
    disabled: Sequence[str] = (),
    *,
    own: Path = OWN,
    shadow_until: int = 0,
) -> RuleBook:
    """The rules of `own` and then of each folder, without the disabled ones. Raises BadInput.

    disabled: ids of rules; names of signals stand in the same setting, so others are ignored.
    shadow_until: right verdicts that a rule of `folders` needs before it proposes anything, unless
    it says itself in which mode it is.
    """
    rules: dict[str, Rule] = {}
    xids: dict[int, Xid] = {}
    openings: list[Opening] = []
    for folder in (own, *folders):
        if not folder.is_dir():
            raise BadInput("a folder with `causes/`", path="rules.folders", value=str(folder))
        earns = 0 if folder is own else shadow_until
        rules.update(_of_folder(folder, earns))
        xids.update(_xids(folder / "xid.yaml", xids))
        openings = [*_openings(folder / "incidents.yaml", xids), *openings]
    kept = tuple(rule for rule in rules.values() if rule.id not in disabled)
    return RuleBook(kept, xids, tuple(openings))


def load_file(file: Path, earns: int = 0) -> tuple[Rule, ...]:
    """The rules of one file. Raises BadInput naming the line of the stanza that is wrong.

    earns: right verdicts that a rule without a mode needs.
    """
    data = read_yaml(file)
    if not isinstance(data, Mapping) or set(data) - {"rules", "theme"}:
        raise BadInput("a mapping with `rules:`", file=file)
    stanzas = data.get("rules") or []
    if not isinstance(stanzas, list):
        raise BadInput("a list of rules", file=file, path="rules")
    lines = _Lines(file)
    found: dict[str, Rule] = {}
    for number, stanza in enumerate(stanzas):
        path = f"rules[{number}]"
        if not isinstance(stanza, Mapping):
            raise BadInput("a mapping", file=file, path=path, line=lines.of(number))
        name = stanza.get("id")
        path = f"rules.{name}" if isinstance(name, str) else path
        try:
            given = build(_Rule, stanza, path=path, file=file)
            rule = _rule(given, file, path, lines.of(number), earns)
        except BadInput as error:
            raise _placed(error, lines, number, path) from error
        if rule.id in found:
            line = lines.of(number)
            raise BadInput(
                "a rule id of its own; it is there twice", file=file, path=path, line=line
            )
        found[rule.id] = rule
    return tuple(found.values())


def _of_folder(folder: Path, earns: int) -> dict[str, Rule]:
    found: dict[str, Rule] = {}
    for file in sorted((folder / "causes").glob("*.yaml")):
        for rule in load_file(file, earns):
            if rule.id in found:
                where = f"{found[rule.id].file}:{found[rule.id].line}"
                raise BadInput(
                    f"a rule id of its own; {where} has it too",
                    file=file,
                    path=rule.path,
                    line=rule.line,
                )
            found[rule.id] = rule
    return found


def _rule(given: _Rule, file: Path, path: str, line: int, earns: int) -> Rule:
    scopes = (given.scope,) if isinstance(given.scope, str) else given.scope
    kinds = tuple(_kind(scope, path) for scope in scopes if scope != INCIDENT)
    if not kinds and given.action.propose:
        raise BadInput("a scope to act on", path=f"{path}.scope", value=INCIDENT)
    for relation in given.via:
        if relation not in RELATIONS:
            raise BadInput(
                f"no such relation{_hint(relation, RELATIONS)}", path=f"{path}.via", value=relation
            )
    return Rule(
        id=given.id,
        scope=kinds,
        prior=given.prior,
        title=given.title,
        title_zh=given.title_zh,
        require=_plain(given.require, f"{path}.require"),
        exclude=_plain(given.exclude, f"{path}.exclude"),
        evidence=_weighted(given.evidence, f"{path}.evidence"),
        explains=given.explains,
        via=given.via,
        change=given.change,
        proposes=given.action.propose,
        min_confidence=given.action.min_confidence,
        reference=given.reference,
        shadow=given.mode == "shadow",
        file=str(file),
        path=path,
        line=line,
        earns=0 if given.mode else earns,
    )


def _plain(texts: Iterable[str], path: str) -> tuple[Evidence, ...]:
    return tuple(_question(text, f"{path}[{i}]") for i, text in enumerate(texts))


def _weighted(terms: Iterable[_Term], path: str) -> tuple[Evidence, ...]:
    found = []
    for i, term in enumerate(terms):
        where = f"{path}[{i}]"
        if not term.weight and not term.against:
            raise BadInput("a weight: `for`, `against` or both", path=where, value=term.test)
        plain = _question(term.test, f"{where}.if")
        asked = isinstance(term.decisive, str)
        proof = _question(str(term.decisive), f"{where}.decisive").test if asked else None
        found.append(
            Evidence(
                plain.text,
                plain.test,
                term.weight,
                term.against,
                term.family,
                bool(term.decisive),
                proof,
                term.says,
                term.says_zh,
            )
        )
    return tuple(found)


def _question(text: str, path: str) -> Evidence:
    try:
        test = parse(text)
    except BadInput as error:
        raise BadInput(error.expected, path=path, value=error.value) from error
    for fault in faults(test):
        raise BadInput(fault, path=path, value=text)
    return Evidence(" ".join(text.split()), test, 0.0)


def _kind(scope: str, path: str) -> Kind:
    try:
        return Kind(scope)
    except ValueError as error:
        known = [*(kind.value for kind in Kind), INCIDENT]
        raise BadInput(
            f"a scope{_hint(scope, known)}", path=f"{path}.scope", value=scope
        ) from error


def _hint(name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(names)}"


def _xids(file: Path, before: Mapping[int, Xid]) -> dict[int, Xid]:
    if not file.is_file():
        return {}
    table = build(_Xids, _mapping(file), file=file)
    found = {xid.id: xid for xid in table.xids}
    for xid in found.values():
        _known_action(xid.action, file, f"xids.{xid.id}")
    everything = {**before, **found}
    for number, action in table.override.items():
        _known_action(action, file, f"override.{number}")
        if number not in everything:
            raise BadInput("an Xid of the table", file=file, path="override", value=number)
        old = everything[number]
        found[number] = Xid(old.id, old.name, action, old.note)
    return found


def _known_action(action: str, file: Path, path: str) -> None:
    if action not in XID_ACTIONS:
        raise BadInput(
            f"an action class{_hint(action, XID_ACTIONS)}", file=file, path=path, value=action
        )


def _openings(file: Path, xids: Mapping[int, Xid]) -> list[Opening]:
    if not file.is_file():
        return []
    given = build(_Incidents, _mapping(file), file=file)
    for action in given.opens_on_xid:
        _known_action(action, file, "opens_on_xid")
    numbers = tuple(str(x.id) for x in xids.values() if x.action in given.opens_on_xid)
    by_xid = [Opening("xid", Severity.CRITICAL, {"xid": numbers})] if numbers else []
    return [*given.opens, *by_xid]


def _mapping(file: Path) -> Mapping[str, Any]:
    data = read_yaml(file)
    if not isinstance(data, Mapping):
        raise BadInput("a mapping", file=file)
    return data


def _placed(error: BadInput, lines: _Lines, number: int, path: str) -> BadInput:
    """The same error with the file and the line of what it is about."""
    inside = error.path.removeprefix(path).strip(".")
    return BadInput(
        error.expected,
        file=lines.file,
        path=error.path or path,
        value=error.value,
        line=lines.of(number, inside),
    )


class _Lines:
    """Which line of a rule file something stands on, from YAML's own marks."""

    def __init__(self, file: Path) -> None:
        self.file = file
        node = yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
        self._stanzas: list[yaml.Node] = []
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == "rules" and isinstance(value, yaml.SequenceNode):
                    self._stanzas = list(value.value)

    def of(self, number: int, path: str = "") -> int:
        """Line of stanza `number`, or of the key or item that `path` leads to inside it."""
        node = self._stanzas[number]
        for part in path.replace("[", ".").replace("]", "").split("."):
            inner = _inside(node, part)
            if inner is None:
                break
            node = inner
        return int(node.start_mark.line) + 1


def _inside(node: yaml.Node, part: str) -> yaml.Node | None:
    if isinstance(node, yaml.SequenceNode):
        return node.value[int(part)] if part.isdigit() and int(part) < len(node.value) else None
    if isinstance(node, yaml.MappingNode):
        return next((value for key, value in node.value if key.value == part), None)
    return None
