"""Reads the signals: YAML stanzas, ours and the user's, into checked `Signal` values.

A file is named after the engine or exporter it reads; a stanza says one concept's query
there. `like: vllm` takes unit, scope, direction, titles and detectors from the stanza of
the same name in `vllm.yaml`, so that an engine adds its queries and nothing else.
Everything is checked here, at start, and never on the tick.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import promql_parser

from healer import plugins
from healer.errors import BadInput
from healer.model.signal import EventRule, Signal, Worse
from healer.model.target import Kind
from healer.ports import Detector
from healer.values import build, read_yaml


@dataclass(frozen=True, slots=True)
class Event:
    """How edges of a signal become events; see `healer.model.signal.EventRule`."""

    kind: str
    attribute: str
    when: Literal["increase", "change"] = "increase"


@dataclass(frozen=True, slots=True)
class Stanza:
    """One entry of a signal file. Without `like`, unit, scope, worse and matters are required."""

    name: str
    query: str
    like: str = ""
    """Source whose stanza of this name fills in what is not said here."""
    unit: str | None = None
    scope: Kind | None = None
    worse: Worse | None = None
    matters: float | None = None
    title: str | None = None
    title_zh: str | None = None
    metrics: tuple[str, ...] | None = None
    """Default: the metric names the query spells out."""
    detect: dict[str, dict[str, Any]] | None = None
    event: Event | None = None
    keep: tuple[str, ...] | None = None


_REQUIRED = ("unit", "scope", "worse", "matters")
_AGREE = ("unit", "scope", "worse")


@dataclass(frozen=True, slots=True)
class _Entry:
    source: str
    file: Path
    stanza: Stanza
    given: frozenset[str] = field(default_factory=frozenset)

    def bad(self, key: str, value: object, expected: str) -> BadInput:
        return BadInput(expected, file=self.file, path=f"{self.stanza.name}.{key}", value=value)


def shipped() -> Path:
    """The folder of the signals that come with Healer."""
    return Path(str(files("rules"))) / "signals"


def load_signals(
    folders: Sequence[Path] = (),
    disabled: Collection[str] = (),
    detector_packages: Sequence[str] = ("detectors",),
) -> tuple[Signal, ...]:
    """Shipped signals, then those in `signals/` of each folder; of one name and source, the last.

    disabled: signal names, sources, or `source.name`. Raises BadInput.
    """
    found: dict[tuple[str, str], _Entry] = {}
    for folder in (shipped(), *(each / "signals" for each in folders)):
        for entry in _read_folder(folder):
            found[entry.source, entry.stanza.name] = entry
    whole = [_filled(entry, found) for entry in found.values()]
    _check_agreement(whole)
    for entry in whole:
        _check_detectors(entry, detector_packages)
    signals = [_signal(entry) for entry in whole]
    off = set(disabled)
    return tuple(s for s in signals if off.isdisjoint({s.name, s.source, f"{s.source}.{s.name}"}))


def _read_folder(folder: Path) -> Iterable[_Entry]:
    for file in sorted(folder.glob("*.yaml")):
        yield from _read_file(file)


def _read_file(file: Path) -> Iterable[_Entry]:
    content = read_yaml(file)
    if not isinstance(content, list):
        raise BadInput("expected a list of signals", file=file, value=content)
    seen: set[str] = set()
    for at, item in enumerate(content):
        if not isinstance(item, Mapping):
            raise BadInput("expected a signal", file=file, path=f"[{at}]", value=item)
        name = item.get("name")
        stanza = build(Stanza, item, path=name if isinstance(name, str) else f"[{at}]", file=file)
        if stanza.name in seen:
            raise BadInput("named twice in this file", file=file, path=stanza.name)
        seen.add(stanza.name)
        yield _Entry(file.stem, file, stanza, frozenset(item))


def _filled(entry: _Entry, known: Mapping[tuple[str, str], _Entry]) -> _Entry:
    """`entry` with what it takes from the stanza it is like."""
    stanza = entry.stanza
    if stanza.like:
        model = known.get((stanza.like, stanza.name))
        if model is None or model.stanza.like:
            sources = [s for s, n in known if n == stanza.name and not known[s, n].stanza.like]
            close = difflib.get_close_matches(stanza.like, sources, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(sources)}"
            raise entry.bad("like", stanza.like, f"no source that defines {stanza.name}; {hint}")
        taken = {
            f.name: getattr(model.stanza, f.name)
            for f in fields(Stanza)
            if f.name not in entry.given and f.name not in ("like", "metrics", "query")
        }
        stanza = replace(stanza, **taken)
    for key in _REQUIRED:
        if getattr(stanza, key) is None:
            raise entry.bad(key, None, "required and missing")
    return replace(entry, stanza=stanza)


def _check_agreement(entries: Iterable[_Entry]) -> None:
    """Rows of one name land in one frame, so they must mean the same."""
    first: dict[str, _Entry] = {}
    for entry in entries:
        other = first.setdefault(entry.stanza.name, entry)
        for key in _AGREE:
            value, expected = getattr(entry.stanza, key), getattr(other.stanza, key)
            if value != expected:
                raise entry.bad(key, str(value), f"expected {str(expected)!r} as in {other.file}")


def _check_detectors(entry: _Entry, packages: Sequence[str]) -> None:
    for name, options in (entry.stanza.detect or {}).items():
        path = f"detect.{name}"
        try:
            plugins.make(packages, name, options, Detector, path=path)
        except BadInput as error:
            raise entry.bad(error.path or path, error.value, error.expected) from error


def _signal(entry: _Entry) -> Signal:
    stanza = entry.stanza
    assert stanza.unit is not None
    assert stanza.scope is not None
    assert stanza.worse is not None
    assert stanza.matters is not None
    named = _metrics(entry)
    event = stanza.event
    return Signal(
        name=stanza.name,
        source=entry.source,
        query=" ".join(stanza.query.split()),
        unit=stanza.unit,
        scope=stanza.scope,
        worse=stanza.worse,
        matters=stanza.matters,
        title=stanza.title or stanza.name.replace("_", " "),
        title_zh=stanza.title_zh or "",
        metrics=named if stanza.metrics is None else stanza.metrics,
        detect=stanza.detect or {},
        event=EventRule(event.kind, event.attribute, event.when) if event else None,
        keep=stanza.keep or (),
    )


def _metrics(entry: _Entry) -> tuple[str, ...]:
    """Metric names in the query, in order. Raises BadInput when it is no instant-vector PromQL."""
    query = entry.stanza.query
    try:
        tree = promql_parser.parse(query)
    except ValueError as error:
        raise entry.bad("query", query, f"expected PromQL ({error})") from error
    if isinstance(tree, _NOT_VECTORS):
        raise entry.bad("query", query, "expected PromQL that gives an instant vector")
    found: dict[str, None] = {}

    def visit(node: promql_parser.Expr) -> bool:
        if isinstance(node, promql_parser.VectorSelector) and node.name:
            found[node.name] = None
        return True

    promql_parser.walk(tree, visit)
    return tuple(found)


_NOT_VECTORS = (
    promql_parser.MatrixSelector,
    promql_parser.SubqueryExpr,
    promql_parser.NumberLiteral,
    promql_parser.StringLiteral,
)
