"""One question asked of many targets at once: the truth for each, without citations.

`share(gpus, …)` of a rack reads the same signal of a hundred GPUs. Here that is one pass over
a matrix; rows with gaps, of several series or with a finding of their own are read one by one,
as everywhere else, so that both ways always agree.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from healer.model.expression import And, Call, Compare, Expression, Not, Number, Or, Within
from healer.model.target import Target
from healer.stages.evidence.reading import (
    DEVIATIONS,
    FEWEST,
    RELATIVE,
    read,
    shared_onset,
    stale_s,
    window,
)
from healer.stages.evidence.sight import Scene

Truths = NDArray[np.float64]
"""1 for yes, 0 for no, NaN for what cannot be seen; shape (targets,)."""

STATES = ("normal", "high", "low", "missing", "unknown")
_NORMAL, _HIGH, _LOW, _MISSING, _UNKNOWN = range(5)

_OF_STATE = {
    "normal": np.array([1.0, 0.0, 0.0, 0.5, 0.5]),
    "high": np.array([0.0, 1.0, 0.0, 0.5, 0.5]),
    "low": np.array([0.0, 0.0, 1.0, 0.5, 0.5]),
}
"""What each function says of each of STATES."""

_COMPARE: Mapping[str, Callable[[Truths, float], NDArray[np.bool_]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}

Ask = Callable[[Expression, Target], bool | None]


@dataclass(frozen=True, slots=True)
class Columns:
    """One signal of several targets: state (an index into STATES), value now and before."""

    state: NDArray[np.int8]
    now: Truths
    before: Truths


def truths(
    test: Expression, scene: Scene, targets: tuple[Target, ...], known: Container[str], ask: Ask
) -> Truths:
    """What `test` says of each target. `ask` answers what has no shape of its own here.

    known: names of functions; a bare name outside of them is a signal.
    """
    found = _answers(test, scene, targets, known, ask)
    return np.where(found == UNKNOWN, np.nan, found)


UNKNOWN = 0.5
"""Between no and yes: so Kleene's `and` is the least, his `or` the most, and `not` one less it."""


def _answers(
    test: Expression, scene: Scene, targets: tuple[Target, ...], known: Container[str], ask: Ask
) -> Truths:
    match test:
        case Call(name=name, args=(Call(name=signal, args=None),)) if name in _OF_STATE:
            of_state: Truths = _OF_STATE[name][columns(scene, signal, targets).state]
            return of_state
        case Or(parts=parts):
            held = _answers(parts[0], scene, targets, known, ask)
            for part in parts[1:]:
                held = np.maximum(held, _answers(part, scene, targets, known, ask))
            return held
        case And(parts=parts):
            held = _answers(parts[0], scene, targets, known, ask)
            for part in parts[1:]:
                if not held.any():  # asks no further than it must
                    break
                held = np.minimum(held, _answers(part, scene, targets, known, ask))
            return held
        case Not(inner=inner):
            return 1 - _answers(inner, scene, targets, known, ask)
        case Call(name="missing", args=(Call(name=signal, args=None),)):
            seen = columns(scene, signal, targets)
            silent = np.where(np.isnan(seen.now), UNKNOWN, 0.0)
            return np.where(seen.state == _MISSING, 1.0, silent)
        case Compare(left=left, op=op, right=Number(value=limit)) if op in _COMPARE:
            numbers = _numbers(left, scene, targets, known)
            if numbers is not None:
                return np.where(np.isnan(numbers), UNKNOWN, _COMPARE[op](numbers, limit))
        case Within(inner=Call(name="event")) | Call(name="event"):
            return _of_events(test, scene, targets, ask)
    return np.array([_number(ask(test, target)) for target in targets])


def _number(answer: bool | None) -> float:  # noqa: FBT001  an answer is one of three
    return UNKNOWN if answer is None else float(answer)


def _of_events(test: Expression, scene: Scene, targets: tuple[Target, ...], ask: Ask) -> Truths:
    """Most targets have no event at all; the answer for one of them is the answer for all."""
    key = id(targets)
    if key not in scene.busy:
        found_busy = tuple(i for i, t in enumerate(targets) if not scene.is_quiet(t))
        scene.busy[key] = targets, found_busy
    busy = scene.busy[key][1]
    quiet = next((i for i in range(len(targets)) if i not in busy), None)
    answer = UNKNOWN if quiet is None else _number(ask(test, targets[quiet]))
    found = np.full(len(targets), answer)
    for i in busy:
        found[i] = _number(ask(test, targets[i]))
    return found


def _numbers(
    left: Expression, scene: Scene, targets: tuple[Target, ...], known: Container[str]
) -> Truths | None:
    match left:
        case Call(name="value", args=(Call(name=signal, args=None),)):
            return columns(scene, signal, targets).now
        case Call(name="ratio", args=(Call(name=signal, args=None),)):
            seen = columns(scene, signal, targets)
            return seen.now / np.where(seen.before == 0, np.nan, seen.before)
        case Call(name=signal, args=None) if signal not in known:
            return columns(scene, signal, targets).now
        case _:
            return None


def columns(scene: Scene, signal: str, targets: tuple[Target, ...]) -> Columns:
    """How `signal` stands on each of `targets`; worked out once for incidents of one minute."""
    # By identity: hashing a rack's GPUs takes longer than comparing them. The targets stay in
    # the value, so that no other tuple can get their id.
    key = (signal, id(targets), shared_onset(scene))
    if key not in scene.sight.columns:
        scene.sight.columns[key] = targets, _columns(scene, signal, targets)
    shared = scene.sight.columns[key][1]
    assert isinstance(shared, Columns)
    if signal not in scene.signals:
        return shared
    own = [i for i, target in enumerate(targets) if (target, signal) in scene.findings]
    if not own:
        return shared
    seen = Columns(shared.state.copy(), shared.now.copy(), shared.before.copy())
    for i in own:
        _put(seen, i, scene, signal, targets[i])
    return seen


def _put(seen: Columns, at: int, scene: Scene, signal: str, target: Target) -> None:
    reading = read(scene, signal, target)
    seen.state[at] = STATES.index(reading.state)
    seen.now[at] = np.nan if reading.now is None else reading.now
    seen.before[at] = np.nan if reading.before is None else reading.before


def _columns(scene: Scene, signal: str, targets: tuple[Target, ...]) -> Columns:
    frame = scene.sight.frame(signal)
    if frame is None:
        return _blank(len(targets))
    places = scene.sight.places(signal, targets)
    early, first = window(scene, frame)
    fresh = scene.now.timestamp() - frame.times[-1] <= stale_s(frame)
    known = early >= FEWEST and fresh and len(places.rows) > 0
    rows = frame.values[places.rows] if known else frame.values[:0]
    if known and len(places.at) == len(targets) and math.isfinite(rows.sum(dtype=np.float64)):
        now, middle, state = _standing(rows, first, early, frame.signal.matters)
        return Columns(state, now, middle)
    seen = _blank(len(targets))
    alone = [*places.several]
    if known:
        gapless = np.isfinite(rows).all(axis=1)
        plain = places.at
        if not gapless.all():
            alone += places.at[~gapless].tolist()
            plain, rows = plain[gapless], rows[gapless]
        if len(plain):
            now, middle, state = _standing(rows, first, early, frame.signal.matters)
            seen.state[plain], seen.now[plain], seen.before[plain] = state, now, middle
    else:
        alone += places.at.tolist()
    for i in alone:
        if (targets[i], signal) not in scene.findings:
            _put(seen, i, scene, signal, targets[i])
    return seen


def _blank(count: int) -> Columns:
    unknown = np.full(count, _UNKNOWN, np.int8)
    return Columns(unknown, np.full(count, np.nan), np.full(count, np.nan))


def _standing(
    rows: NDArray[np.float32], first: int, early: int, matters: float
) -> tuple[Truths, Truths, NDArray[np.int8]]:
    """(now, usual, state) of each row, as `reading.bounds` finds them for one.

    What is usual ranges over most of what was seen and what does not matter besides. Only for
    rows outside of that the deviation has to be known.
    """
    now = _middle(np.sort(rows[:, first:], axis=1))
    usual = np.sort(rows[:, :early], axis=1)
    middle = _middle(usual)
    tenth = (early - 1) // 10
    bottom, top = usual[:, tenth], usual[:, early - 1 - tenth]
    state = np.full(len(rows), _NORMAL, np.int8)
    odd = np.flatnonzero((now < bottom) | (now > top))
    if not len(odd):
        return now, middle, state
    now_, middle_, own = now[odd], middle[odd], usual[odd].astype(np.float64)
    spread = 1.4826 * _middle(np.sort(np.abs(own - middle_[:, None]), axis=1))
    distance = np.maximum(np.maximum(matters, DEVIATIONS * spread), RELATIVE * np.abs(middle_))
    distance *= 1 - 1e-6
    high = now_ > np.maximum(middle_ + distance, top[odd])
    low = now_ < np.minimum(middle_ - distance, bottom[odd])
    state[odd] = np.where(high, _HIGH, np.where(low, _LOW, _NORMAL))
    return now, middle, state


def _middle(ordered: NDArray[np.floating[Any]]) -> Truths:
    half = ordered.shape[1] // 2
    upper = ordered[:, half].astype(np.float64)
    if ordered.shape[1] % 2:
        return upper
    return (ordered[:, half - 1] + upper) / 2
