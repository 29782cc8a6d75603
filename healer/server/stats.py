"""How well Healer does, worked out from the record of incidents and intents.

- **acted on**: an incident for which an action that changes something was carried out.
- **recovered**: ended, with an action whose verification said effective.
- **recovery rate**: recovered / (ended or escalated incidents that were acted on).
- **wrong action**: carried out, and its verification said ineffective, or its outcome is unknown.
- **missed**: ended or escalated without any action carried out, although the leading cause
  proposed one with the confidence it asks for. In observe mode that is every such incident.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from pydantic import BaseModel

from healer.model.intent import State
from healer.model.tally import Tally


class Times(BaseModel):
    """Of durations in seconds; None where there are none."""

    count: int
    median_s: float | None
    p90_s: float | None
    worst_s: float | None


class Stats(BaseModel):
    incidents: int
    open: int
    ended: int
    escalated: int
    acted_on: int
    recovered: int
    recovery_rate: float | None
    """None while nothing that was acted on has ended."""
    time_to_detect: Times
    """From the earliest symptom until Healer noticed."""
    time_to_recover: Times
    """From the earliest symptom until the end, of those recovered by an action."""
    actions: dict[str, dict[str, int]]
    """Remediation → state → how many."""
    wrong_actions: int
    missed: int
    rehearsed: int
    causes: dict[str, int]


def stats_of(tally: Tally) -> Stats:
    over = tally.acted_on_and_over
    return Stats(
        incidents=tally.incidents,
        open=tally.open,
        ended=tally.incidents - tally.open,
        escalated=tally.escalated,
        acted_on=tally.acted_on,
        recovered=tally.recovered,
        recovery_rate=round(tally.recovered / over, 4) if over else None,
        time_to_detect=_times(tally.detect_s),
        time_to_recover=_times(tally.recover_s),
        actions={name: dict(counts) for name, counts in sorted(tally.actions.items())},
        wrong_actions=tally.wrong_actions,
        missed=tally.missed,
        rehearsed=sum(states.get(State.REHEARSED.value, 0) for states in tally.actions.values()),
        causes=dict(tally.causes),
    )


def _times(seconds: Sequence[float]) -> Times:
    """seconds: rising."""
    if not seconds:
        return Times(count=0, median_s=None, p90_s=None, worst_s=None)
    return Times(
        count=len(seconds),
        median_s=round(median(seconds), 1),
        p90_s=round(seconds[min(len(seconds) - 1, int(0.9 * len(seconds)))], 1),
        worst_s=round(seconds[-1], 1),
    )
