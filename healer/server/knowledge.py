"""Pages about what Healer watches and knows: signals with their newest values, and rules."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from fastapi import APIRouter, Request, Response

from healer.model.rule import Rule
from healer.model.signal import Signal
from healer.model.snapshot import Snapshot
from healer.server.given import Deps
from healer.server.pages import Sees, page

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class Watched:
    """One signal, as the newest tick saw it."""

    name: str
    title: str
    title_zh: str
    unit: str
    scope: str
    sources: tuple[Signal, ...]
    """The engines and exporters that expose it, each with its query."""
    rows: int = 0
    low: float = math.nan
    high: float = math.nan
    age: timedelta | None = None
    problem: str = ""


@router.get("/signals", dependencies=[Sees])
def signals(request: Request, deps: Deps) -> Response:
    """Each signal with its query and its newest values; what has no data comes last."""
    snapshot = deps.snapshot()
    found = sorted(watched(deps.signals, snapshot), key=lambda w: (w.rows == 0, w.name))
    return page(request, deps, "signals.html", watched=found, seen=snapshot is not None)


@router.get("/rules", dependencies=[Sees])
def rules(request: Request, deps: Deps) -> Response:
    """Each cause with what speaks for it and what would be done, grouped by its file."""
    themes: dict[str, list[Rule]] = {}
    for rule in deps.rules.rules:
        themes.setdefault(rule.file.rpartition("/")[2].partition(".")[0] or "–", []).append(rule)
    return page(
        request,
        deps,
        "rules.html",
        themes=themes,
        problems=deps.rules.problems,
        standings=deps.store.standings(),
    )


def watched(catalogue: tuple[Signal, ...], snapshot: Snapshot | None) -> Iterator[Watched]:
    """One a name: several engines may expose the same signal."""
    by_name: dict[str, list[Signal]] = {}
    for signal in catalogue:
        by_name.setdefault(signal.name, []).append(signal)
    failed = {p.where: p.what for p in snapshot.problems} if snapshot else {}
    for name, sources in by_name.items():
        first = sources[0]
        frame = snapshot.frames.get(name) if snapshot else None
        rows, low, high = 0, math.nan, math.nan
        if frame is not None and len(frame):
            newest = frame.latest()
            rows = len(frame)
            if np.isfinite(newest).any():
                low, high = float(np.nanmin(newest)), float(np.nanmax(newest))
        yield Watched(
            name=name,
            title=first.title,
            title_zh=first.title_zh,
            unit=first.unit,
            scope=first.scope.value,
            sources=tuple(sources),
            rows=rows,
            low=low,
            high=high,
            age=snapshot.age(name) if snapshot else None,
            problem=failed.get(f"signal.{name}", ""),
        )
