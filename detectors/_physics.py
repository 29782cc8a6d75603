"""What a pod's GPUs say about work: tensor cores, memory and power against their busy selves.

Absolute watts differ between cards, so power is compared with what the same GPU drew while
tokens flowed, or where that was never seen, with what its busiest like draws now.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors._common import said
from healer.model.frame import Frame
from healer.model.snapshot import Snapshot
from healer.model.target import Kind, Target

_READINGS = ("gpu_tensor_active", "gpu_dram_active", "gpu_power", "gpu_util")
_POD_LABELS = (("namespace", "pod"), ("exported_namespace", "exported_pod"))


@dataclass(frozen=True, slots=True)
class Physics:
    """The busiest of the pod's GPUs since the tokens stopped; NaN where nothing was read.

    tensor, dram: share of time, 0 to 1. power: watts. reference: watts when busy.
    """

    tensor: float
    dram: float
    power: float
    reference: float
    util: float

    @property
    def known(self) -> bool:
        return bool(np.isfinite([self.tensor, self.power]).any())

    @property
    def power_share(self) -> float:
        """Of busy power; NaN where either is unknown."""
        return self.power / self.reference if self.reference > 0 else float("nan")

    @property
    def signals(self) -> tuple[str, ...]:
        named = (
            ("gpu_tensor_active", self.tensor),
            ("gpu_dram_active", self.dram),
            ("gpu_power", self.power),
            ("gpu_util", self.util),
        )
        return tuple(name for name, value in named if np.isfinite(value))

    def contradicts(self, tensor_busy: float, dram_busy: float, power_busy: float) -> bool:
        """Any sign of work. Profiling fields may freeze at zero, power does not."""
        return bool(
            self.tensor >= tensor_busy or self.dram >= dram_busy or self.power_share >= power_busy
        )

    def confirms(self, tensor_idle: float, dram_busy: float, power_idle: float) -> bool:
        """Idle by all that is known, and either tensor cores or power are known."""
        tensor_says = self.tensor < tensor_idle
        power_says = self.power_share < power_idle
        return bool(
            (tensor_says or power_says)
            and (tensor_says or np.isnan(self.tensor))
            and (power_says or np.isnan(self.power_share))
            and not self.dram >= dram_busy
        )

    def said(self) -> str:
        parts = []
        if np.isfinite(self.util):
            parts.append(f"GPU utilisation {self.util:.0f} %")
        if np.isfinite(self.power):
            share = f" ({self.power_share:.0%} of busy)" if np.isfinite(self.power_share) else ""
            parts.append(f"power {said(self.power, 'watts')}{share}")
        if np.isfinite(self.tensor):
            parts.append(f"tensor cores active {self.tensor:.0%}")
        return ", ".join(parts)


def read_physics(
    snapshot: Snapshot, pod: Target, since_s: float, flowing_s: NDArray[np.float64]
) -> Physics:
    """Readings of `pod`'s GPUs from `since_s` on; busy power from when tokens flowed.

    since_s, flowing_s: seconds since the epoch. Telemetry that lags a scrape or two is no
    contradiction, so the newer half of the span is read, by its median over time and the
    busiest over GPUs.
    """
    found: dict[str, float] = {}
    reference = float("nan")
    for name in _READINGS:
        frame = snapshot.frames.get(name)
        rows = [] if frame is None else _rows_of(snapshot, frame, pod)
        found[name] = float("nan")
        if frame is None or not rows:
            continue
        now = float(frame.times[-1])
        begin = max(since_s, min(now - 45.0, (since_s + now) / 2))
        recent = _quiet_median(frame.values[rows][:, frame.times >= begin])
        found[name] = _largest(recent)
        if name == "gpu_power":
            reference = _busy_power(snapshot, frame, rows, flowing_s)
    return Physics(
        found["gpu_tensor_active"],
        found["gpu_dram_active"],
        found["gpu_power"],
        reference,
        found["gpu_util"],
    )


def _busy_power(
    snapshot: Snapshot, frame: Frame, rows: list[int], flowing_s: NDArray[np.float64]
) -> float:
    """The power of these GPUs at work: their own while tokens flowed, or that of their like.

    GPUs of the same model count, because a pod may have been nearly idle before; cards of
    unknown or other models do not, because a small card at work draws less than a large one
    that idles.
    """
    flowed = np.isin(np.round(frame.times), np.round(flowing_s))
    own = frame.values[rows][:, flowed]
    models = {_model(snapshot, frame, i) for i in rows} - {""}
    alike = [i for i in range(len(frame)) if _model(snapshot, frame, i) in models]
    pools = (own, frame.values[alike])
    return _largest(
        float(np.percentile(pool[np.isfinite(pool)], 90)) if np.isfinite(pool).any() else np.nan
        for pool in pools
    )


def _model(snapshot: Snapshot, frame: Frame, row: int) -> str:
    labels = frame.labels[row] if frame.labels else {}
    known = snapshot.topology.fact(frame.targets[row], "model", default="")
    return str(known or labels.get("modelName", "") or labels.get("model", ""))


def _rows_of(snapshot: Snapshot, frame: Frame, pod: Target) -> list[int]:
    """Rows of the pod's GPUs: by the topology, else by the labels the exporter put on them."""
    gpus = set(snapshot.topology.related(pod, Kind.GPU))
    if gpus:
        return [i for i, target in enumerate(frame.targets) if target in gpus]
    return [
        i
        for i, labels in enumerate(frame.labels)
        if any(
            (labels.get(ns), labels.get(p)) == (pod.namespace, pod.name) for ns, p in _POD_LABELS
        )
    ]


def _quiet_median(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Median over time of each row; NaN, without a warning, for rows that have nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        middle: NDArray[np.float32] = np.nanmedian(values, axis=1)
    return middle


def _largest(values: Iterable[float]) -> float:
    finite = [float(v) for v in values if np.isfinite(v)]
    return max(finite, default=float("nan"))
