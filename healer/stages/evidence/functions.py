"""The functions of the rule language, each with what it means and what it may be given.

`FUNCTIONS` is all of them: the evaluator looks names up here, and so does the linter.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import timedelta

import numpy as np

from healer.model.event import Event
from healer.model.expression import Call, Compare, Expression, Listing
from healer.model.target import Target
from healer.stages.evidence import changes, facts, many
from healer.stages.evidence.look import (
    Function,
    Place,
    Seen,
    figure,
    look,
    name_of,
    number_of,
)
from healer.stages.evidence.many import Truths
from healer.stages.evidence.reading import Reading, read
from healer.stages.evidence.reading import slope as slope_of
from healer.stages.evidence.relations import related

EVENTS_WITHIN = timedelta(minutes=30)
"""How long before the onset an event may lie when a rule does not say."""


def _signal(place: Place, args: tuple[Expression, ...]) -> tuple[str, Target, Reading]:
    signal, target = name_of(args[0]), place.targets[0]
    return signal, target, read(place.scene, signal, target)


def _state(*states: str) -> Function:
    def judge(place: Place, args: tuple[Expression, ...]) -> Seen:
        signal, target, reading = _signal(place, args)
        known = reading.state in ("high", "low", "normal")
        said = f"{signal} {reading}"
        if reading.state in states:
            return Seen(True, said, reading.now, reading.since, source=signal, target=target)
        return Seen(False if known else None, said, reading.now, source=signal, target=target)

    return judge


def missing(place: Place, args: tuple[Expression, ...]) -> Seen:
    """It had samples in the window and has none now."""
    signal, target, reading = _signal(place, args)
    said = f"{signal} {reading}"
    if reading.state == "missing":
        return Seen(True, said, None, reading.since, source=signal, target=target)
    truth = None if reading.now is None else False
    return Seen(truth, said, reading.now, source=signal, target=target)


def live(place: Place, args: tuple[Expression, ...]) -> Seen:
    seen = missing(place, args)
    return Seen(
        None if seen.truth is None else not seen.truth,
        seen.said,
        source=seen.source,
        target=seen.target,
    )


def value(place: Place, args: tuple[Expression, ...]) -> Seen:
    return number_of(name_of(args[0]), place)


def before(place: Place, args: tuple[Expression, ...]) -> Seen:
    signal, target, reading = _signal(place, args)
    if reading.before is None:
        return Seen(None, f"{signal} before not known", source=signal, target=target)
    said = f"{signal} before {figure(reading.before, reading.unit)}"
    return Seen(True, said, reading.before, source=signal, target=target)


def ratio(place: Place, args: tuple[Expression, ...]) -> Seen:
    """Now divided by before; unknown while before is nothing."""
    signal, target, reading = _signal(place, args)
    if reading.now is None or not reading.before:
        return Seen(None, f"{signal} {reading}", source=signal, target=target)
    value = reading.now / reading.before
    said = f"{signal} {reading}"
    return Seen(True, said, value, reading.since, source=signal, target=target)


def slope(place: Place, args: tuple[Expression, ...]) -> Seen:
    """How fast it moves, in its unit a minute, over the last five minutes."""
    signal, target = name_of(args[0]), place.targets[0]
    rise = slope_of(place.scene, signal, target)
    if rise is None:
        return Seen(None, f"slope of {signal} not known", source=signal, target=target)
    frame = place.scene.sight.frame(signal)
    unit = frame.signal.unit if frame is not None else ""
    said = f"{signal} moves {figure(rise, unit)} a minute"
    return Seen(True, said, rise, source=signal, target=target)


def finding(place: Place, args: tuple[Expression, ...]) -> Seen:
    """`finding(signal)` or `finding(signal, detector)`: a detector claims so now."""
    signal, target = name_of(args[0]), place.targets[0]
    wanted = name_of(args[1]) if len(args) > 1 else ""
    for found in place.scene.findings.get((target, signal), ()):
        if place.scene.is_current(found) and wanted in ("", found.detector):
            said = found.summary or f"{signal} {figure(found.observed, found.unit)}"
            return Seen(True, said, found.observed, found.since, source=signal, target=target)
    told = f"no finding on {signal}" + (f" by {wanted}" if wanted else "")
    return Seen(False, told, source=signal, target=target)


def symptom(place: Place, args: tuple[Expression, ...]) -> Seen:
    """The incident has a symptom of one of these signals or event kinds here."""
    names = {name for arg in args for name in _names(arg)}
    target = place.targets[0]
    for each in place.scene.symptoms:
        if each.target == target and each.name in names:
            return Seen(True, each.said, None, each.since, source=each.name, target=target)
    return Seen(False, f"no symptom of {', '.join(sorted(names))}", target=target)


def _names(argument: Expression) -> tuple[str, ...]:
    match argument:
        case Compare(op="in", right=Listing(values=values)):
            return values
        case _:
            return (name_of(argument),)


def event(place: Place, args: tuple[Expression, ...]) -> Seen:
    """`event(xid in [48, 95])`, `event(kubernetes, reason == Evicted)`, `event(gpu_lost)`."""
    kind, target = _kind(args), place.targets[0]
    here = [e for e in _events(place, target) if e.kind == kind]
    tests = [_attribute(arg) for arg in args if isinstance(arg, Compare)] if here else []
    found = [e for e in here if _fits(e, tests)]
    if not found:
        sight = place.scene.sight
        if kind in sight.untold(target):
            return Seen(None, f"{kind} events of {target} are not told", source=kind, target=target)
        truth = False if sight.snapshot.cluster_ok or kind == "alert" else None
        return Seen(truth, f"no {kind} event", 0.0, source=kind, target=target)
    first = min(found, key=lambda e: e.at)
    marks = ", ".join(f"{name} {first.attributes.get(name, '')}" for name, _, _ in tests)
    said = f"{marks or kind} at {first.at:%H:%M:%S}" + (
        f" ({len(found)} times)" if len(found) > 1 else ""
    )
    said += f": {first.message}" if first.message else ""
    return Seen(True, said, float(len(found)), first.at, dated=True, source=kind, target=target)


_Test = tuple[str, str, tuple[str, ...]]


def _kind(args: tuple[Expression, ...]) -> str:
    """`event(kubernetes, reason == Evicted)` names it; `event(xid in [79])` does so in passing."""
    names = [arg.name for arg in args if isinstance(arg, Call)]
    return names[0] if names else next(_attribute(a)[0] for a in args if isinstance(a, Compare))


def _attribute(test: Compare) -> _Test:
    name = name_of(test.left)
    if isinstance(test.right, Listing):
        return name, "in", test.right.values
    return name, test.op, (name_of(test.right),)


def _fits(found: Event, tests: Iterable[_Test]) -> bool:
    return all(_holds(found, name, op, values) for name, op, values in tests)


def _holds(found: Event, name: str, op: str, values: tuple[str, ...]) -> bool:
    has = found.message if name == "message" else found.attributes.get(name, "")
    if op == "~":
        return re.search(values[0], has, re.IGNORECASE) is not None
    if op == "!=":
        return has not in values
    return has in values


def _events(place: Place, target: Target) -> Iterator[Event]:
    scene = place.scene
    span = place.span or EVENTS_WITHIN
    earliest = scene.onset - (timedelta(minutes=1) if place.after_onset else span)
    latest = scene.onset + span if place.after_onset else scene.now
    for found in scene.events(target):
        over = found.kind == "alert" and found.ended_at is not None
        if earliest <= found.at <= latest and not over:
            yield found


def changed(place: Place, args: tuple[Expression, ...]) -> Seen:
    """`changed(workload) within 30m`: a change of a related target not long before the onset."""
    span = place.span or changes.WITHIN
    targets = related(place.scene, name_of(args[0]), place.targets) if args else place.targets
    found = [c for target in targets for c in changes.recent(place.scene, target, span)]
    if not found:
        return Seen(False, f"no change of {', '.join(map(str, targets[:2])) or 'it'}")
    last = max(found, key=lambda c: c.at)
    said = f"{last.said} at {last.at:%H:%M:%S}"
    return Seen(True, said, None, last.at, dated=True, source="change", target=last.target)


def newer_revision_only(place: Place, args: tuple[Expression, ...]) -> Seen:
    """True of the newest revision's pods and not of the older ones' that still run."""
    newest, older = changes.split(place.scene, place.targets[0])
    new, had = _share(place, newest, args[0]), _share(place, older, args[0])
    if new is None or had is None:
        return Seen(None, "no pods of both revisions to compare")
    said = f"{new:.0%} of the new revision's pods, {had:.0%} of the older ones'"
    return Seen(new >= 0.6 and had <= 0.34, said, new, source="topology", target=place.targets[0])


def worse_than_previous(place: Place, args: tuple[Expression, ...]) -> Seen:
    """The newest revision's pods against the earlier samples of the pods they replaced."""
    return changes.worse_than_previous(place, name_of(args[0]))


def share(place: Place, args: tuple[Expression, ...]) -> Seen:
    """`share(pods, high(ttft_p95))`: of those where it can be told; unknown under half."""
    relation = name_of(args[0])
    targets = related(place.scene, relation, place.targets)
    part = _share(place, targets, args[1])
    if part is None:
        return Seen(None, f"not known for most {relation}")
    return Seen(part > 0, f"{part:.0%} of {len(targets)} {relation}", part, source="topology")


def _share(place: Place, targets: tuple[Target, ...], test: Expression) -> float | None:
    answers = truths(place, targets, test)
    known = np.isfinite(answers)
    if not known.any() or 2 * known.sum() < len(answers):
        return None
    return float(answers[known].mean())


def truths(place: Place, targets: tuple[Target, ...], test: Expression) -> Truths:
    """What `test` says of each of `targets`, as `look` would; 1, 0 or NaN for not known."""
    if len(targets) == 1:
        alone = look(test, place.at(targets[0]), FUNCTIONS).truth
        return np.array([np.nan if alone is None else float(alone)])
    return many.truths(
        test,
        place.scene,
        targets,
        FUNCTIONS,
        lambda part, target: look(part, place.at(target), FUNCTIONS).truth,
    )


def count(place: Place, args: tuple[Expression, ...]) -> Seen:
    """`count(gpus)` or `count(gpus, missing(gpu_util))`; those of which it cannot be told may
    be among them or not."""
    targets = related(place.scene, name_of(args[0]), place.targets)
    held, untold = len(targets), 0
    if len(args) > 1:
        answers = truths(place, targets, args[1])
        held, untold = int((answers == 1).sum()), int(np.isnan(answers).sum())
    said = f"{held} of {len(targets)} {name_of(args[0])}"
    said += f", {untold} not known" if untold else ""
    truth = None if untold and not held else held > 0
    return Seen(truth, said, float(held), source="topology", most=float(held + untold))


def growth(place: Place, args: tuple[Expression, ...]) -> Seen:
    """`growth(pods, arrival_rate)`: the sum over all of them now, divided by the sum before.

    Work that only moved from one replica to another is no growth.
    """
    targets, signal = related(place.scene, name_of(args[0]), place.targets), name_of(args[1])
    seen = many.columns(place.scene, signal, targets)
    known = np.isfinite(seen.before)
    before = float(seen.before[known].sum())
    present = known & np.isfinite(seen.now)
    if 2 * known.sum() < len(targets) or before <= 0 or not present.any():
        return Seen(None, f"{signal} before not known", source=signal)
    now = float(seen.now[present].sum())
    frame = place.scene.sight.frame(signal)
    unit = frame.signal.unit if frame is not None else ""
    said = f"{signal} together {figure(now, unit)}, before {figure(before)}"
    return Seen(True, said, now / before, source=signal, target=place.targets[0])


ARITY: dict[str, tuple[int, int]] = {
    "high": (1, 1),
    "low": (1, 1),
    "normal": (1, 1),
    "missing": (1, 1),
    "live": (1, 1),
    "value": (1, 1),
    "before": (1, 1),
    "ratio": (1, 1),
    "slope": (1, 1),
    "finding": (1, 2),
    "symptom": (1, 9),
    "event": (1, 5),
    "changed": (0, 1),
    "newer_revision_only": (1, 1),
    "worse_than_previous": (1, 1),
    "share": (2, 2),
    "count": (1, 2),
    "growth": (2, 2),
    "fact": (1, 1),
    "age": (0, 0),
    "ready": (0, 0),
    "unready": (0, 0),
    "gone": (0, 0),
    "cordoned_by_hand": (0, 0),
    "rolling_out": (0, 0),
}
"""How many arguments each takes, for the linter."""

OF_SIGNAL = frozenset(
    {
        "high",
        "low",
        "normal",
        "missing",
        "live",
        "value",
        "before",
        "ratio",
        "slope",
        "finding",
        "worse_than_previous",
    }
)
"""Functions whose first argument names a signal."""

OF_RELATION = frozenset({"share", "count", "changed", "growth"})
"""Functions whose first argument names a relation."""

FUNCTIONS: dict[str, Function] = {
    "high": _state("high"),
    "low": _state("low"),
    "normal": _state("normal"),
    "missing": missing,
    "live": live,
    "value": value,
    "before": before,
    "ratio": ratio,
    "slope": slope,
    "finding": finding,
    "symptom": symptom,
    "event": event,
    "changed": changed,
    "newer_revision_only": newer_revision_only,
    "worse_than_previous": worse_than_previous,
    "share": share,
    "count": count,
    "growth": growth,
    "fact": facts.fact,
    "age": facts.age,
    "ready": facts.ready,
    "unready": facts.unready,
    "gone": facts.gone,
    "cordoned_by_hand": facts.cordoned_by_hand,
    "rolling_out": facts.rolling_out,
}
