"""What the detectors share: levels as words, the newest sample, and how a number is said."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from healer.model.finding import Level
from healer.model.frame import Frame
from healer.model.signal import Signal

LevelName = Literal["warn", "page", "act"]

LEVEL: dict[str, Level] = {"warn": Level.WARN, "page": Level.PAGE, "act": Level.ACT}

_SUFFIX = {
    "s": " s",
    "bytes": " B",
    "ratio": "",
    "percent": " %",
    "celsius": " °C",
    "watts": " W",
    "requests": " requests",
}


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(float(seconds), UTC)


def fresh_s(frame: Frame) -> float:
    """How old the newest sample may be and still speak for now: three steps, at least 45 s.

    One missed scrape is ordinary. Longer silence is the business of `absence`.
    """
    return max(3.0 * frame.step_s, 45.0)


def is_fresh(frame: Frame) -> NDArray[np.bool_]:
    """Rows whose newest sample is young enough, shape (N,)."""
    seen = frame.last_seen()
    young: NDArray[np.bool_] = frame.times[-1] - np.nan_to_num(seen, nan=-1e18) <= fresh_s(frame)
    return young


def newest(frame: Frame) -> NDArray[np.float64]:
    """The newest finite sample of each row, shape (N,); NaN for rows without any."""
    present = np.isfinite(frame.values)
    index = present.shape[1] - 1 - np.argmax(present[:, ::-1], axis=1)
    picked = frame.values[np.arange(len(frame)), index].astype(np.float64)
    return np.where(present.any(axis=1), picked, np.nan)


def title(signal: Signal) -> str:
    return signal.title or signal.name.replace("_", " ")


def said(value: float, unit: str) -> str:
    """Three significant digits and the unit: `4.02 s`, `310 W`, `12,400 tokens/s`."""
    if not math.isfinite(value):
        return "none"
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        digits = 0 if value == 0 else max(0, 2 - math.floor(math.log10(abs(value))))
        text = f"{value:,.{digits}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
    else:
        text = f"{value:.3g}"
    return text + _SUFFIX.get(unit, f" {unit}" if unit else "")
