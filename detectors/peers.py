"""One replica or GPU that behaves unlike its siblings.

Replicas of one workload behind one balancer see the same traffic, and GPUs that serve one
workload do the same work. When a single one drifts away from the others, the common load is
not the reason; look at its host, its card, its neighbours. Its own load may still be, where
the balancer plays favourites: a member that has more to do than its siblings may be slower.
"""

from __future__ import annotations

import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from detectors._common import LEVEL, LevelName, fresh_s, moment, said, title
from detectors._kin import is_serving, workload_of
from healer.model.finding import Finding
from healer.model.frame import Frame
from healer.model.signal import Worse
from healer.model.snapshot import Snapshot
from healer.model.target import Kind, Target
from healer.model.topology import Topology
from healer.ports import Baseline, JointDetector
from healer.values import Span

Rows = NDArray[np.float64]

_POD_LOADS = ("requests_running", "arrival_rate")
_LOADS: Mapping[str, tuple[str, ...]] = {
    "ttft_p95": (*_POD_LOADS, "requests_waiting", "prompt_length_mean"),
    "itl_p95": _POD_LOADS,
    "e2e_p95": (*_POD_LOADS, "requests_waiting", "prompt_length_mean"),
    "error_ratio": (),
    "gpu_temp": ("gpu_util", "gpu_power"),
    "gpu_sm_clock": ("gpu_util",),
}
"""Signal → what may excuse it: more of that at this member than at its siblings."""


@dataclass(frozen=True, slots=True)
class Peers(JointDetector):
    """Speaks of members that left their siblings, robustly and with their own load excused."""

    signals: dict[str, tuple[str, ...]] = field(default_factory=lambda: dict(_LOADS))
    """Signals to compare, each with the signals of load that may excuse a difference."""

    min_siblings: int = 3
    """Fewer replicas, itself included, say nothing about what is normal: two cannot tell which
    of them is the odd one."""

    distance: float = 6.0
    """How many robust spreads of the siblings away from their median."""

    load_slack: float = 0.25
    """A load that differs from the siblings' median by more than this share excuses."""

    hold: Span = timedelta(minutes=3)
    """How long it must last before we speak."""

    level: LevelName = "warn"
    """warn, page or act. To be unlike is a hint, not yet a fault."""

    @property
    def wants(self) -> tuple[str, ...]:
        loads = (load for each in self.signals.values() for load in each)
        return tuple(dict.fromkeys((*self.signals, *loads)))

    def detect(self, snapshot: Snapshot, baseline: Baseline | None) -> Iterator[Finding]:
        if not snapshot.metrics_ok:
            return
        homes: dict[Target, object] = {}
        for name, loads in self.signals.items():
            frame = snapshot.frames.get(name)
            if frame is None or len(frame) < self.min_siblings or len(frame.times) < 4:
                continue
            lately = _lately(frame, self.hold.total_seconds())
            for members in _families(frame, snapshot.topology, homes).values():
                if len(members) >= self.min_siblings and _differ(lately[members], frame):
                    yield from self._of(snapshot, frame, members, loads)

    def _of(
        self, snapshot: Snapshot, frame: Frame, members: list[int], loads: tuple[str, ...]
    ) -> Iterator[Finding]:
        """The members of one family, each against the median of all at every moment."""
        values = frame.values[members].astype(np.float64)
        enough = np.isfinite(values).sum(axis=0) >= self.min_siblings
        middle = np.where(enough, _median(values, axis=0), np.nan)
        away = values - middle
        held = frame.times > frame.times[-1] - self.hold.total_seconds()
        floor = max(frame.signal.matters, 1e-12)
        now = _median(away[:, held], axis=1)
        for i in np.flatnonzero(np.isfinite(now) & (np.abs(now) >= floor)):
            up = bool(now[i] > 0)
            if not _is_worse(frame.signal.worse, up):
                continue
            spread = _spread_without(away, int(i))
            limit = max(self.distance * spread, floor)
            mine = away[i] if up else -away[i]
            since = _since(frame, mine, limit, self.hold.total_seconds())
            if since is None or self._excused(
                snapshot, frame, [frame.targets[m] for m in members], int(i), loads, up
            ):
                continue
            yield self._finding(frame, members, int(i), since, middle, float(now[i]), spread)

    def _excused(
        self,
        snapshot: Snapshot,
        frame: Frame,
        targets: list[Target],
        which: int,
        loads: tuple[str, ...],
        up: bool,  # noqa: FBT001  the side of the deviation
    ) -> bool:
        """Whether its own load lies where the deviation points: more work, slower and hotter.

        A value that is too low is excused by less work. A load that is not known excuses
        nothing.
        """
        for name in loads:
            other = snapshot.frames.get(name)
            if other is None:
                continue
            level = _recent_by_target(other, frame, self.hold.total_seconds())
            own = level.get(targets[which], np.nan)
            rest = [level[t] for t in targets if t in level and t != targets[which]]
            if not np.isfinite(own) or len(rest) < self.min_siblings - 1:
                continue
            usual = float(np.median(rest))
            slack = max(self.load_slack * abs(usual), other.signal.matters)
            if (own - usual if up else usual - own) > slack:
                return True
        return False

    def _finding(
        self,
        frame: Frame,
        members: list[int],
        which: int,
        since: float,
        middle: Rows,
        now: float,
        spread: float,
    ) -> Finding:
        usual = float(middle[np.isfinite(middle)][-1])
        reach = max(self.distance * spread, frame.signal.matters)
        unit = frame.signal.unit
        level = LEVEL[self.level]
        return Finding(
            target=frame.targets[members[which]],
            signal=frame.signal.name,
            detector="peers",
            level=level,
            since=moment(since),
            at=frame.end,
            observed=usual + now,
            expected_low=usual - reach,
            expected_high=usual + reach,
            score=float(np.clip(1 + abs(now) / max(reach, 1e-12), 2.0, 6.0)),
            unit=unit,
            summary=f"{title(frame.signal)} {said(usual + now, unit)}, while "
            f"{len(members) - 1} siblings show {said(usual, unit)}",
        )


def _families(
    frame: Frame, topology: Topology, homes: dict[Target, object]
) -> dict[object, list[int]]:
    """Rows of like members, by what they have in common; `homes` remembers that of each target.

    A target with several rows is no member: its rows are different things.
    """
    counts = Counter(frame.targets)
    found: dict[object, list[int]] = defaultdict(list)
    for i, target in enumerate(frame.targets):
        if counts[target] > 1:
            continue
        if target not in homes:
            homes[target] = _home(topology, target)
        if homes[target] is not None:
            found[homes[target]].append(i)
    return found


def _home(topology: Topology, target: Target) -> object:
    """Pods: their workload. GPUs: their model and the workload they serve, else their node."""
    if target.kind is Kind.POD:
        return workload_of(topology, target) if is_serving(topology, target) else None
    if target.kind is not Kind.GPU:
        return None
    pods = [each for each in topology.below(target) if each.kind is Kind.POD]
    home = workload_of(topology, pods[0]) if pods else None
    home = home or next((t for t in topology.above(target) if t.kind is Kind.NODE), None)
    return None if home is None else (home, topology.fact(target, "model", default=""))


def _is_worse(worse: Worse, up: bool) -> bool:  # noqa: FBT001  the side of the deviation
    return worse is Worse.BOTH or up == (worse is Worse.UP)


def _lately(frame: Frame, hold_s: float) -> Rows:
    """Each row's mean over the hold, (N,)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        mean: Rows = np.nanmean(frame.values[:, frame.times > frame.times[-1] - hold_s], axis=1)
    return mean


def _differ(lately: Rows, frame: Frame) -> bool:
    """Whether a family is worth a closer look: its members do not all show about the same."""
    known = lately[np.isfinite(lately)]
    return len(known) > 1 and bool(np.ptp(known) >= frame.signal.matters / 2)


def _spread_without(away: Rows, which: int) -> float:
    """How far the siblings of one member usually are from the median of all.

    The upper quartile over all moments of the window, scaled to a standard deviation: one of
    three members always is the median itself, so their middle distance says too little.
    """
    others = np.abs(np.delete(away, which, axis=0))
    others = others[np.isfinite(others)]
    return float(np.percentile(others, 75)) / 1.15 if len(others) else 0.0


def _since(frame: Frame, mine: Rows, limit: float, hold_s: float) -> float | None:
    """Since when nearly all samples lie beyond the limit; None when that is too short a time.

    One sample of four may lie inside, never the two newest; a stale row says nothing.
    """
    known = np.flatnonzero(np.isfinite(mine))
    if len(known) < 3 or frame.times[-1] - frame.times[known[-1]] > fresh_s(frame):
        return None
    beyond = mine[known] > limit
    if not beyond[-2:].all():
        return None
    run = np.cumsum(beyond[::-1]) / np.arange(1, len(known) + 1)
    good = np.flatnonzero((run >= 0.75) & beyond[::-1])
    begin = float(frame.times[known[len(known) - 1 - good[-1]]])
    return begin if frame.times[-1] - begin >= hold_s - frame.step_s else None


def _recent_by_target(other: Frame, frame: Frame, hold_s: float) -> dict[Target, float]:
    """Each target's median of the load over the hold, summed over its rows."""
    recent = other.times > frame.times[-1] - max(hold_s, 3 * other.step_s)
    middle = _median(other.values[:, recent].astype(np.float64), axis=1)
    found: dict[Target, float] = {}
    for target, value in zip(other.targets, middle, strict=True):
        if np.isfinite(value):
            found[target] = found.get(target, 0.0) + float(value)
    return found


def _median(values: Rows, axis: int) -> Rows:
    """Without a warning where there is nothing to take it of."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        middle: Rows = np.nanmedian(values, axis=axis)
    return middle
