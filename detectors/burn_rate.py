"""How fast a service spends its error budget, over a long and a short window at once.

A service that promises 99 % may fail one request in a hundred. Failing fourteen in a hundred
spends the budget of a month in two days: worth waking somebody. The long window makes it
certain, the short one makes it stop soon after the trouble does. A plain threshold on the
error ratio cannot have both: it either rings for a burst or keeps silent about a leak.

The counting is Prometheus' work, from counters, so that it survives our restart. A signal for
this detector has rows with two labels kept: `window` (`5m`, `1h`, …) and `part`: `total` and
one of `bad` and `good`, all in requests within that window.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors._common import LEVEL, LevelName, fresh_s, moment, title
from detectors._kin import workload_of
from healer.model.finding import Finding
from healer.model.frame import Frame
from healer.model.snapshot import Snapshot
from healer.model.target import Kind, Target
from healer.model.topology import Topology
from healer.ports import Baseline, JointDetector

Row = NDArray[np.float64]
Counts = dict[tuple[str, str], Row]
"""(window, part) → requests over time, shape (T,)."""

_MEANS: Mapping[str, str] = {"slo_errors": "error_ratio", "slo_ttft": "ttft_p95"}
"""The signal in whose words rules speak of the same trouble."""


@dataclass(frozen=True, slots=True)
class BurnRate(JointDetector):
    """Speaks of workloads, services and models that burn their budget in both windows."""

    objectives: dict[str, float] = field(
        default_factory=lambda: {"slo_errors": 0.99, "slo_ttft": 0.95}
    )
    """Signal → share of requests that must be good. `slo_errors`: did not fail; `slo_ttft`:
    first token within about two seconds."""

    pairs: tuple[tuple[str, str, float], ...] = (("5m", "1h", 14.4), ("30m", "6h", 6.0))
    """(short window, long window, how many times too fast): 2 % of a 30-day budget in an hour,
    or 5 % in six. The windows must be among those the signal counts."""

    min_requests: int = 100
    """Fewer in the long window say nothing: one error in five is not twenty percent."""

    min_bad: int = 10
    """Fewer bad ones are not worth anybody's time, whatever their share."""

    level: LevelName = "warn"
    """warn, page or act. An objective nobody has agreed on should not wake anybody."""

    def __post_init__(self) -> None:
        for name, objective in self.objectives.items():
            if not 0 < objective < 1:
                raise ValueError(f"objective of {name} is {objective:g}, expected between 0 and 1")

    @property
    def wants(self) -> tuple[str, ...]:
        return tuple(self.objectives)

    def detect(self, snapshot: Snapshot, baseline: Baseline | None) -> Iterator[Finding]:
        for name, objective in self.objectives.items():
            frame = snapshot.frames.get(name)
            if frame is None or not len(frame) or not len(frame.times):
                continue
            for target, counts in _counted(frame, snapshot.topology).items():
                yield from self._of(frame, target, counts, 1 - objective)

    def _of(self, frame: Frame, target: Target, counts: Counts, budget: float) -> Iterator[Finding]:
        """At most one finding a target: of the first pair that burns."""
        for short, long, factor in self.pairs:
            fast, slow = _ratio(counts, short), _ratio(counts, long)
            if fast is None or slow is None:
                continue
            total = counts[long, "total"]
            enough = (total >= self.min_requests) & (slow * total >= self.min_bad)
            burns = enough & (fast > factor * budget) & (slow > factor * budget)
            since = _since(frame, burns, np.isfinite(slow))
            if since is None:
                continue
            at = int(np.flatnonzero(np.isfinite(slow) & np.isfinite(fast))[-1])
            times = float(slow[at] / budget)
            yield Finding(
                target=target,
                signal=frame.signal.name,
                detector="burn_rate",
                level=LEVEL[self.level],
                since=moment(since),
                at=frame.end,
                observed=float(slow[at]),
                expected_low=0.0,
                expected_high=factor * budget,
                score=float(np.clip(1 + times / factor, 2.0, 6.0)),
                unit="ratio",
                summary=f"{title(frame.signal)}: {slow[at]:.1%} in {long} and {fast[at]:.1%} in "
                f"{short}, {times:.0f} times the budget of {budget:.2g}",
                contributions=((_MEANS.get(frame.signal.name, frame.signal.name), 1.0),),
            )
            return


def _counted(frame: Frame, topology: Topology) -> dict[Target, Counts]:
    """Requests by what they were served by; pods count for their workload.

    A service is what keeps a promise, not one of its replicas. A pod that is gone counts no
    more: nothing says whose it was.
    """
    found: dict[Target, Counts] = defaultdict(dict)
    for i, target in enumerate(frame.targets):
        owner = _owner(topology, target)
        labels: Mapping[str, Any] = frame.labels[i] if frame.labels else {}
        key = labels.get("window", ""), labels.get("part", "")
        if owner is None or not all(key):
            continue
        row = frame.values[i].astype(np.float64)
        had = found[owner].get(key)
        found[owner][key] = (
            row
            if had is None
            else np.where(
                np.isfinite(had) & np.isfinite(row), had + row, np.where(np.isfinite(had), had, row)
            )
        )
    return found


def _owner(topology: Topology, target: Target) -> Target | None:
    if target.kind is not Kind.POD:
        return target
    workload = workload_of(topology, target)
    if workload is None and (topology.get(target) is not None or not topology.entities):
        return target
    return workload


def _ratio(counts: Counts, window: str) -> Row | None:
    """Share of bad requests, (T,); NaN where none were counted.

    No row of bad ones means none: an error's series begins with the first error.
    """
    total = counts.get((window, "total"))
    if total is None:
        return None
    good, bad = counts.get((window, "good")), counts.get((window, "bad"))
    if good is not None:
        counted = total - good
    else:
        counted = np.zeros_like(total) if bad is None else np.nan_to_num(bad)
    known = np.isfinite(total) & np.isfinite(counted) & (total > 0)
    return np.where(known, np.clip(counted, 0, None) / np.where(known, total, 1.0), np.nan)


def _since(frame: Frame, burns: NDArray[np.bool_], known: NDArray[np.bool_]) -> float | None:
    """Start of the trailing run, seconds since the epoch; None when it does not burn now."""
    have = np.flatnonzero(known)
    if (
        not len(have)
        or not burns[have[-1]]
        or frame.times[-1] - frame.times[have[-1]] > fresh_s(frame)
    ):
        return None
    broken = have[~burns[have]]
    first = have[0] if not len(broken) else have[have > broken[-1]][0]
    return float(frame.times[first])
