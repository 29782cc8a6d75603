"""What the results of many runs come to: shares, calibration, and where a floor is missed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

HARMLESS = frozenset(
    {"no_fault", "planned", "benign", "telemetry_fault", "detector_fault", "unknown"}
)
"""Causes about which silence is as right as naming them: nothing is broken that could be mended."""

BINS = 10
"""Of the calibration error: runs of like confidence are compared with how often they are right."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A share or count over many runs, and the floor (or ceiling) it has to keep."""

    name: str
    value: float
    of: int
    """Runs it is about."""
    floor: float | None = None
    ceiling: float | None = None

    @property
    def missed(self) -> bool:
        low = self.floor is not None and self.value < self.floor
        return low or (self.ceiling is not None and self.value > self.ceiling)


@dataclass(frozen=True, slots=True)
class Row:
    """One run, judged by the fault its scenario is about."""

    job: str
    first: bool
    """The right cause on the right target leads; where nothing is broken: it does, or nothing was
    said."""
    third: bool
    left_alone: bool | None
    """Of a negative: nothing was done about it. None for a run that calls for something."""
    healed: bool | None
    """Of a run that calls for something: by the right action, clients served again."""
    unsafe: int
    cited: bool | None
    """The leading cause rests on evidence it cites that tells it from its rivals. None where no
    known cause leads: then there is nothing to cite."""
    confidence: float | None
    crashed: bool = False


def judge(result: Mapping[str, Any]) -> Row:
    """result: of `healer.cli.suite.run_all`."""
    if result.get("crashed"):
        return Row(
            result["job"],
            first=False,
            third=False,
            left_alone=None,
            healed=None,
            unsafe=0,
            cited=None,
            confidence=None,
            crashed=True,
        )
    main = result["main"]
    silent = not main or not main["hypotheses"]
    negative = bool(result["negative"]) or (main is not None and main.get("called_for") == [])
    leading = [] if silent else main["hypotheses"]
    at_rest = silent and negative and (not main or bool(HARMLESS & set(main.get("causes", ()))))
    return Row(
        job=result["job"],
        first=at_rest or (not silent and bool(main["right_cause"])),
        third=at_rest or (not silent and bool(main["right_third"])),
        left_alone=_left_alone(result) if negative else None,
        healed=None if negative or not main else bool(main["healed"]),
        unsafe=len(result["unsafe"]),
        cited=bool(main["cited"]) if leading and leading[0]["cause"] != "unknown" else None,
        confidence=leading[0]["confidence"] if leading else None,
    )


def figures(rows: Sequence[Row]) -> list[Figure]:
    """The suite's figures with their floors."""
    clean = [row for row in rows if row.job.endswith("/clean")]
    other = [row for row in rows if not row.job.endswith("/clean")]
    negative = [row for row in rows if row.left_alone is not None]
    positive = [row for row in rows if row.healed is not None]
    hits = [row for row in rows if row.first and row.cited is not None]
    sure = [row for row in rows if row.confidence is not None]
    return [
        _share("clean, right cause leads", (r.first for r in clean), floor=0.93),
        _share("clean, right cause among three", (r.third for r in clean), floor=0.99),
        _share("perturbed, right cause leads", (r.first for r in other), floor=0.85),
        _share("negatives left alone", (bool(r.left_alone) for r in negative), floor=1.0),
        _share("healed by the right action", (bool(r.healed) for r in positive)),
        _share("hits that cite what decides", (bool(r.cited) for r in hits), floor=0.9),
        Figure("unsafe changes", sum(r.unsafe for r in rows), len(rows), ceiling=0.0),
        Figure("calibration error", calibration_error(sure), len(sure), ceiling=0.1),
        Figure("runs that crashed", sum(r.crashed for r in rows), len(rows), ceiling=0.0),
    ]


def calibration_error(rows: Sequence[Row]) -> float:
    """Expected calibration error: over bins of confidence, how far it is from being right."""
    error = 0.0
    for number in range(BINS):
        low, high = number / BINS, (number + 1) / BINS
        mine = [
            (row.confidence, row.first)
            for row in rows
            if row.confidence is not None
            and (low < row.confidence <= high or (number == 0 and row.confidence == 0))
        ]
        if mine:
            mean = sum(confidence for confidence, _ in mine) / len(mine)
            right = sum(first for _, first in mine) / len(mine)
            error += len(mine) / len(rows) * abs(mean - right)
    return error


def _share(name: str, holds: Iterable[bool], floor: float | None = None) -> Figure:
    found = list(holds)
    return Figure(name, sum(found) / len(found) if found else 1.0, len(found), floor=floor)


def _left_alone(result: Mapping[str, Any]) -> bool:
    """What the other fault of the run calls for may be done."""
    main = result["main"] or {}
    return not result["unsafe"] and not main.get("action")
