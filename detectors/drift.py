"""The shape of the traffic has changed: prompts or answers are longer or shorter than they were.

Means hide it: half the prompts may double while the others shrink. So whole distributions are
compared, from the engines' histograms and without a single raw prompt. Two measures, both
between the requests of the last minutes and those of the reference days: the population
stability index (PSI), on which the field calls 0.1 a slight and 0.25 a clear shift, and the
Kolmogorov-Smirnov distance (KS), the largest gap between the two cumulative curves. Traffic
that shifts that far between day and night is measured by its own worst hours.

A signal for this detector keeps the label `le` and counts requests within a window, bucket
by bucket, cumulative as Prometheus has them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from detectors._common import LEVEL, LevelName, fresh_s, moment, title
from healer.model.finding import Finding
from healer.model.frame import Frame
from healer.model.target import Target
from healer.ports import Baseline, Detector
from healer.values import Span

Floats = NDArray[np.float64]

_LEAST_SHARE = 0.01
"""Bins of the reference with less than this are merged with their neighbour: a logarithm of
next to nothing is noise."""
_ROOM = 1.25
"""An alarm lies this much above the worst that the reference days themselves showed."""
_MIN_WINDOWS = 12


@dataclass(frozen=True, slots=True)
class Drift(Detector):
    """Speaks of targets whose requests are distributed unlike those of the reference days."""

    psi: float = 0.5
    """Alarm at this population stability index."""

    ks: float = 0.5
    """Or at this Kolmogorov-Smirnov distance, 0 to 1."""

    slight: float = 0.1
    """Below this index the summary says `stable`."""

    clear: float = 0.25
    """Below this index it says `slight shift`, above it `clear shift`."""

    min_requests: int = 200
    """Fewer requests in the window are no distribution."""

    min_reference: int = 2000
    """The same for the reference."""

    hold: Span = timedelta(minutes=5)
    """How long it must last before we speak."""

    level: LevelName = "warn"
    """warn, page or act. Other prompts are other work, not a fault."""

    history: ClassVar[timedelta | None] = timedelta(days=2)
    history_step: ClassVar[timedelta] = timedelta(minutes=10)
    refit_every: ClassVar[timedelta] = timedelta(hours=12)

    def fit(self, frame: Frame) -> Baseline | None:
        """Reference shares per bin of each target, and how far its own windows lay from them."""
        arrays: dict[str, NDArray[Any]] = {}
        known: list[str] = []
        for target, rows in _by_target(frame).items():
            bounds, counts = _counts(frame, rows)
            total = np.nansum(np.where(np.isfinite(counts).all(axis=0), counts, np.nan), axis=1)
            if total.sum() < self.min_reference:
                continue
            own = [
                _psi(total, counts[:, j])
                for j in range(counts.shape[1])
                if np.isfinite(counts[:, j]).all() and counts[:, j].sum() >= self.min_requests
            ]
            usual = float(np.quantile(own, 0.99)) if len(own) >= _MIN_WINDOWS else 0.0
            at = len(known)
            known.append(str(target))
            arrays |= {f"{at}.bounds": bounds, f"{at}.counts": total}
            arrays[f"{at}.usual"] = np.array([usual])
        if not known:
            return None
        return Baseline(
            "drift", frame.signal.name, self.version, frame.end, arrays, {"targets": known}
        )

    def detect(self, frame: Frame, baseline: Baseline | None) -> Iterator[Finding]:
        if baseline is None or not len(frame.times):
            return
        at = {name: i for i, name in enumerate(baseline.meta["targets"])}
        held = np.flatnonzero(frame.times >= frame.times[-1] - self.hold.total_seconds())
        for target, rows in _by_target(frame).items():
            if str(target) not in at:
                continue
            i = at[str(target)]
            bounds, counts = _counts(frame, rows)
            if not np.array_equal(bounds, baseline.arrays[f"{i}.bounds"]):
                continue  # an engine with other buckets: nothing to compare until it is relearned
            reference = baseline.arrays[f"{i}.counts"]
            usual = float(baseline.arrays[f"{i}.usual"][0])
            yield from self._judge(frame, target, bounds, counts, held, reference, usual)

    def _judge(
        self,
        frame: Frame,
        target: Target,
        bounds: Floats,
        counts: Floats,
        held: NDArray[np.intp],
        reference: Floats,
        usual: float,
    ) -> Iterator[Finding]:
        limit = max(self.psi, _ROOM * usual)
        seen = [int(j) for j in held if np.isfinite(counts[:, j]).all()]
        if len(seen) < max(1, len(held) // 2):
            return
        if frame.times[-1] - frame.times[seen[-1]] > fresh_s(frame):
            return
        measured: list[tuple[float, float]] = []
        for j in seen:
            window = counts[:, j]
            if window.sum() < self.min_requests:
                return
            measured.append((_psi(reference, window), _ks(reference, window)))
            if measured[-1][0] < limit and measured[-1][1] < self.ks:
                return
        psi, ks = measured[-1]
        middle, was = (_median_of(bounds, each) for each in (counts[:, seen[-1]], reference))
        yield Finding(
            target=target,
            signal=frame.signal.name,
            detector="drift",
            level=LEVEL[self.level],
            since=moment(_since(frame, counts, reference, limit, self.ks)),
            at=frame.end,
            observed=psi,
            expected_low=0.0,
            expected_high=limit,
            score=float(np.clip(1 + psi / limit, 2.0, 5.0)),
            unit="PSI",
            summary=f"{title(frame.signal)}: {self._said(psi)} (PSI {psi:.2f}, KS {ks:.2f}), "
            f"median about {middle:,.0f}, was {was:,.0f}",
        )

    def _said(self, psi: float) -> str:
        if psi < self.slight:
            return "stable"
        return "slight shift" if psi < self.clear else "clear shift"


def _by_target(frame: Frame) -> dict[Target, list[int]]:
    found: dict[Target, list[int]] = defaultdict(list)
    for i, target in enumerate(frame.targets):
        if frame.labels and "le" in frame.labels[i]:
            found[target].append(i)
    return found


def _counts(frame: Frame, rows: list[int]) -> tuple[Floats, Floats]:
    """(upper bounds, requests per bin (B, T)) of one target, from cumulative buckets.

    Buckets of different engines may be scraped at different moments: what would be negative
    is none.
    """
    bound = np.array([float(frame.labels[i]["le"]) for i in rows])
    order = np.argsort(bound, kind="stable")
    values = frame.values[np.array(rows)[order]].astype(np.float64)
    return bound[order], np.clip(np.diff(values, axis=0, prepend=0.0), 0.0, None)


def _psi(reference: Floats, window: Floats) -> float:
    """Population stability index of two histograms over the same bins.

    Thin bins are merged and half a request is added to each, so that an empty bin counts as
    little as it tells; what chance alone gives so few requests is taken off.
    """
    groups = _groups(reference)
    expected = np.bincount(groups, reference) + 0.5
    actual = np.bincount(groups, window) + 0.5
    p, q = actual / actual.sum(), expected / expected.sum()
    chance = (len(p) - 1) * (1 / max(window.sum(), 1.0) + 1 / max(reference.sum(), 1.0))
    index = float(np.sum((p - q) * np.log(p / q)))
    return max(0.0, index - float(chance))


def _groups(reference: Floats) -> NDArray[np.intp]:
    """Bin → group, neighbours together until a group holds its least share."""
    least = _LEAST_SHARE * reference.sum()
    groups = np.zeros(len(reference), np.intp)
    group, held = 0, 0.0
    for i, count in enumerate(reference):
        if held >= least and reference[i:].sum() >= least:
            group, held = group + 1, 0.0
        groups[i] = group
        held += float(count)
    return groups


def _ks(reference: Floats, window: Floats) -> float:
    ours = np.cumsum(window) / max(window.sum(), 1e-9)
    theirs = np.cumsum(reference) / max(reference.sum(), 1e-9)
    gap = np.abs(ours - theirs)
    return float(gap.max())


def _median_of(bounds: Floats, counts: Floats) -> float:
    """The middle by linear interpolation inside its bin; of an open bin, its lower bound."""
    half = counts.sum() / 2
    at = int(np.searchsorted(np.cumsum(counts), half))
    low = float(bounds[at - 1]) if at else 0.0
    if not np.isfinite(bounds[at]):
        return low
    inside = float(half - counts[:at].sum()) / max(float(counts[at]), 1e-9)
    return low + (float(bounds[at]) - low) * inside


def _since(frame: Frame, counts: Floats, reference: Floats, psi: float, ks: float) -> float:
    """Start of the trailing run of columns beyond either alarm, seconds since the epoch."""
    begin = float(frame.times[-1])
    for j in range(counts.shape[1] - 1, -1, -1):
        if not np.isfinite(counts[:, j]).all():
            continue
        if _psi(reference, counts[:, j]) < psi and _ks(reference, counts[:, j]) < ks:
            break
        begin = float(frame.times[j])
    return begin
