"""A strange combination in the words of an operator: `TTFT p95 +240 % at normal request rate`."""

from __future__ import annotations

from collections.abc import Mapping

from detectors._common import said, title
from detectors._profile import Floats
from detectors._standing import Scene
from healer.model.frame import Frame
from healer.model.signal import Signal

_LOAD = ("arrival_rate", "requests_running", "gpu_util")
"""Named when it is as usual: what the deviation happens at."""


def in_words(
    frames: Mapping[str, Frame],
    now: Scene,
    lead: int,
    standing: Floats,
    shares: tuple[tuple[str, float], ...],
    seen: float,
    usual: float,
) -> str:
    """The leader with its change, up to two others that had a share, and the load if normal."""
    signal = frames[now.signals[lead]].signal
    said_ = [f"{title(signal)} {_change(seen, usual, signal)}"]
    for name, share in shares:
        f = now.signals.index(name)
        if f != lead and share >= 0.15 and name in frames and len(said_) < 3:
            said_.append(f"{title(frames[name].signal)} {'up' if standing[f] > 0 else 'down'}")
    text = ", ".join(said_)
    for name in _LOAD:
        known = name in now.signals and name in frames and name != signal.name
        if known and abs(float(standing[now.signals.index(name)])) < 1.5:
            return f"{text} at normal {title(frames[name].signal)}"
    return text


def _change(seen: float, usual: float, signal: Signal) -> str:
    if abs(usual) > max(signal.matters, 1e-9):
        return f"{(seen - usual) / abs(usual) * 100:+.0f} % ({said(seen, signal.unit)})"
    return f"{said(seen, signal.unit)} (usually {said(usual, signal.unit)})"
