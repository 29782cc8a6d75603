"""An engine that holds requests and makes no tokens: hung, busy or idle?

Token progress alone cannot tell: a long prompt makes no tokens for a while, an idle night
makes none for hours, and a saturated engine is at 100 % utilisation, as is a hung one. GPU
physics can: a collective that never returns spins at full "utilisation" with idle tensor
cores and near idle power. Frozen tokens, held requests and idle physics together are a hang;
a GPU that burns power or moves memory is working, whatever the counters say.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from detectors._common import moment, said
from detectors._kin import is_leaving, workload_of
from detectors._physics import Physics, read_physics
from healer.model.finding import Finding, Level
from healer.model.frame import Frame
from healer.model.snapshot import Snapshot
from healer.model.target import Kind, Target
from healer.ports import Baseline, JointDetector
from healer.values import Span

PROGRESS = "generation_tokens"
HELD = ("requests_running", "requests_waiting")
ARRIVALS = "arrival_rate"
"""Any of them above zero means that somebody waits for tokens: in a hang the running count
may read zero, so waiting requests and arrivals count as well."""

_RANGE = re.compile(r"\[(\d+)(s|m)\]")


@dataclass(frozen=True, slots=True)
class Stall(JointDetector):
    """Speaks of pods whose engine hangs; their GPUs are found through the topology."""

    frozen: Span = timedelta(seconds=75)
    """Without tokens that long, with physics idle: hung. Includes the rate's own window."""

    frozen_blind: Span = timedelta(minutes=4)
    """The same where no GPU tells anything: long enough for any usual prompt."""

    grace: Span = timedelta(minutes=15)
    """A pod this young that has never made a token is loading its model."""

    tensor_idle: float = 0.02
    """Tensor cores active less than this share of the time do no inference."""

    tensor_busy: float = 0.06
    """More than this, and the GPU works. Even memory-bound decoding shows above it."""

    dram_busy: float = 0.1
    """Memory busier than this is at work: decoding reads all weights for every token."""

    power_idle: float = 0.55
    """Power below this share of the GPU's own busy power is idle or spinning."""

    power_busy: float = 0.75
    """Power above this share is work."""

    @property
    def wants(self) -> tuple[str, ...]:
        return (
            PROGRESS,
            "prompt_tokens",
            *HELD,
            ARRIVALS,
            "gpu_util",
            "gpu_power",
            "gpu_tensor_active",
            "gpu_dram_active",
        )

    def detect(self, snapshot: Snapshot, baseline: Baseline | None) -> Iterator[Finding]:
        tokens = snapshot.frames.get(PROGRESS)
        if not snapshot.metrics_ok or tokens is None or len(tokens.times) < 2:
            return
        flowing = _flowing(tokens)
        index = _Index(snapshot)
        for pod, rows in index.rows(PROGRESS).items():
            # Of a healthy fleet nearly every pod made tokens a moment ago: no need to look closer.
            if pod in flowing or pod.kind is not Kind.POD or is_leaving(snapshot.topology, pod):
                continue
            flow = _flow(tokens, rows)
            since = self._frozen_since(index, tokens.times, pod, flow)
            if since is not None:
                yield from self._judge(snapshot, tokens, pod, flow, since, flowing)

    def _frozen_since(
        self,
        index: _Index,
        times: NDArray[np.float64],
        pod: Target,
        flow: NDArray[np.float64],
    ) -> float | None:
        """Start of the trailing run without progress while requests were held, or None.

        Only samples that are there count: a gap neither freezes nor frees, but at least three
        of four columns must be there, the newest two among them.
        """
        alive = flow > 0
        prompt = index.aligned("prompt_tokens", pod, times)
        if prompt is not None:
            alive |= prompt > 0
        held = np.zeros(len(times), bool)
        for name in HELD:
            row = index.aligned(name, pod, times)
            if row is not None:
                held |= row > 0
        held |= self._arriving(index, pod, times, alive)
        known = np.isfinite(flow)
        frozen = known & ~alive & held
        broken = np.flatnonzero(known & ~frozen)
        first = int(broken[-1]) + 1 if len(broken) else 0
        run = known[first:]
        if len(run) < 2 or not run[-2:].all() or run.mean() < 0.75:
            return None
        return float(times[first + int(np.argmax(run))])

    @staticmethod
    def _arriving(
        index: _Index, pod: Target, times: NDArray[np.float64], alive: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        """Columns at which requests certainly arrived after the tokens stopped, (T,).

        A rate echoes its whole window: when traffic ends for the night, arrivals read above
        zero for minutes after the last token. Only what is left after that window counts.
        """
        row = index.aligned(ARRIVALS, pod, times)
        if row is None:
            return np.zeros(len(times), bool)
        moved = np.flatnonzero(alive)
        stopped = float(times[moved[-1]]) if len(moved) else float(times[0])
        echo = max(_windows_s(index.snapshot.frames[ARRIVALS].signal.query), default=300.0)
        return (row > 0) & (times > stopped + echo + 15.0)

    def _judge(
        self,
        snapshot: Snapshot,
        tokens: Frame,
        pod: Target,
        flow: NDArray[np.float64],
        since: float,
        flowing: frozenset[Target],
    ) -> Iterator[Finding]:
        moved = np.flatnonzero(flow > 0)
        now = float(tokens.times[-1])
        if not len(moved) and self._may_be_loading(snapshot, pod, now - since):
            return
        before = flow[(tokens.times < since) & np.isfinite(flow)]
        flowed = bool(len(before)) and before[-1] > 0
        # A rate falls to zero a window late. After an idle time there is nothing to make up for.
        last = since - _rate_lag_s(tokens.signal.query) if flowed else since
        span = now - last
        physics = read_physics(snapshot, pod, since, tokens.times[moved])
        if physics.contradicts(self.tensor_busy, self.dram_busy, self.power_busy):
            return
        idle = physics.confirms(self.tensor_idle, self.dram_busy, self.power_idle)
        if span < (self.frozen if idle else self.frozen_blind).total_seconds():
            return
        siblings = _siblings_that_flow(snapshot, pod, flowing)
        level = Level.ACT if idle or siblings else Level.PAGE
        yield self._finding(tokens, pod, flow, last, level, physics, siblings)

    def _may_be_loading(self, snapshot: Snapshot, pod: Target, frozen_s: float) -> bool:
        """No token seen in the whole window: a young pod, or one whose age nobody knows yet."""
        grace = self.grace.total_seconds()
        entity = snapshot.topology.get(pod)
        if entity is None or entity.created_at is None:
            return frozen_s < grace
        return (snapshot.now - entity.created_at).total_seconds() < grace

    def _finding(
        self,
        tokens: Frame,
        pod: Target,
        flow: NDArray[np.float64],
        last: float,
        level: Level,
        physics: Physics,
        siblings: int,
    ) -> Finding:
        busy = flow[flow > 0]
        low, high = np.percentile(busy, (5, 95)) if len(busy) else (1.0, 1.0)
        parts = [f"no tokens for {float(tokens.times[-1]) - last:.0f} s with requests held"]
        shares: list[tuple[str, float]] = [(PROGRESS, 0.5)]
        if physics.known:
            parts.append(physics.said())
            shares += [(name, 0.5 / len(physics.signals)) for name in physics.signals]
        else:
            parts.append("GPU telemetry absent")
        if siblings:
            parts.append(f"{siblings} sibling{'s' if siblings > 1 else ''} still serving")
        return Finding(
            target=pod,
            signal=PROGRESS,
            detector="stall",
            level=level,
            since=moment(last),
            at=tokens.end,
            observed=0.0,
            expected_low=float(low),
            expected_high=float(high),
            score=6.0 if level is Level.ACT else 3.5,
            unit=tokens.signal.unit,
            summary=f"{parts[0][0].upper()}{parts[0][1:]}; {'; '.join(parts[1:])}"
            + (
                f" (before: {said(float(np.median(busy)), tokens.signal.unit)})"
                if len(busy)
                else ""
            ),
            contributions=tuple(shares),
        )


@dataclass(frozen=True, slots=True)
class _Index:
    """Which rows of each frame are a pod's, looked up once a tick and signal."""

    snapshot: Snapshot
    known: dict[str, dict[Target, list[int]]] = field(default_factory=dict)

    def rows(self, name: str) -> dict[Target, list[int]]:
        """Engines of one pod (data parallel ranks) are several rows of one target."""
        if name not in self.known:
            frame = self.snapshot.frames.get(name)
            found: dict[Target, list[int]] = {}
            for i, target in enumerate(() if frame is None else frame.targets):
                found.setdefault(target, []).append(i)
            self.known[name] = found
        return self.known[name]

    def aligned(
        self, name: str, pod: Target, times: NDArray[np.float64]
    ) -> NDArray[np.float64] | None:
        """Another signal of the same pod on the same times; its last value carried for 45 s."""
        frame, rows = self.snapshot.frames.get(name), self.rows(name).get(pod)
        if frame is None or not rows:
            return None
        flow = _flow(frame, rows)
        have = np.flatnonzero(np.isfinite(flow))
        if not len(have):
            return None
        at = np.searchsorted(frame.times[have], times + 1e-3, side="right") - 1
        age = times - frame.times[have[np.maximum(at, 0)]]
        good = (at >= 0) & (age <= 45.0)
        return np.where(good, flow[have[np.maximum(at, 0)]], np.nan)


def _flowing(tokens: Frame) -> frozenset[Target]:
    """Targets that made tokens at one of the two newest moments."""
    rows = np.flatnonzero((np.nan_to_num(tokens.values[:, -2:]) > 0).any(axis=1))
    return frozenset(tokens.targets[i] for i in rows)


def _flow(frame: Frame, rows: list[int]) -> NDArray[np.float64]:
    """Sum over a pod's rows, shape (T,); NaN where none has a sample."""
    values = frame.values[rows].astype(np.float64)
    known = np.isfinite(values)
    return np.where(known.any(axis=0), np.where(known, values, 0.0).sum(axis=0), np.nan)


def _siblings_that_flow(snapshot: Snapshot, pod: Target, flowing: frozenset[Target]) -> int:
    """Pods of the same workload that make tokens now: the traffic is there, and it is served."""
    workload = workload_of(snapshot.topology, pod)
    if workload is None:
        return 0
    return sum(workload_of(snapshot.topology, other) == workload for other in flowing - {pod})


def _windows_s(query: str) -> list[float]:
    """The ranges of a query, such as `[2m]`, in seconds."""
    return [float(n) * (60.0 if unit == "m" else 1.0) for n, unit in _RANGE.findall(query)]


def _rate_lag_s(query: str) -> float:
    """How long a rate goes on after the last token: its window, less a scrape or so, because
    the last token came between two scrapes."""
    return 0.75 * min(_windows_s(query), default=0.0)
