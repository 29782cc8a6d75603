"""What a person says of a diagnosis afterwards, and what a rule's opinions make of its standing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

Standing = tuple[int, int]
"""(right, wrong): incidents whose diagnosis people found right and wrong."""

Standings = Mapping[str, Standing]
"""By cause."""

WRONG_ONE_IN = 5
"""A rule that is wrong more often than that has earned nothing."""


@dataclass(frozen=True, slots=True)
class Opinion:
    """`who` found `cause` right or wrong for the incident; the newest of each pair counts."""

    incident_id: str
    cause: str
    right: bool
    who: str
    at: datetime
    note: str = ""


def has_earned(standing: Standing, needed: int) -> bool:
    """Whether a rule was right often enough, and wrong seldom enough, to be listened to."""
    right, wrong = standing
    return right >= needed and wrong * WRONG_ONE_IN <= right + wrong
