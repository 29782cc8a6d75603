"""The first line of a message, and what it wants of its reader.

A phone shows one line at three in the morning. It has to be enough to decide whether to get up:
how bad, what the matter is, where, what is done about it, and whether anybody is waited for.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from healer.model.hypothesis import Hypothesis
from healer.model.incident import Incident
from healer.model.intent import Intent, State
from healer.model.message import Notice, Occasion
from healer.model.target import Kind, Target
from healer.notifiers._markup import Markup, harmless
from healer.wording import name, say, span

SIGNS = {
    Occasion.OPENED: "🔴",
    Occasion.DIAGNOSED: "🔎",
    Occasion.PROPOSED: "✋",
    Occasion.ACTED: "🔧",
    Occasion.RESOLVED: "✅",
    Occasion.ESCALATED: "🚨",
}
MOST_CHARACTERS = 160
_STATES = {
    State.PLANNED: "waits",
    State.REHEARSED: "would",
    State.VERIFYING: "acting",
    State.FAILED: "failed",
    State.UNKNOWN: "unclear",
}
_NO_CAUSE = frozenset({"no_fault", "unknown", "telemetry_fault"})
"""Leading explanations that name nothing a reader could look at."""
_NEXT_CLAUSE = re.compile(r"; |；")
"""A stall's title says how the GPUs are, too: its first clause is enough to begin with."""
_KIND_OF_EVENT = re.compile(r"^[a-z]+(?:_[a-z]+)*: ")


def headline(notice: Notice, language: str) -> str:
    """Plain text of one line: also what a phone shows before it is unlocked."""
    incident, state = notice.incident, _state(notice)
    words = say(f"call.{state}", language) if state else _occasion(notice, language)
    severity = name("severity", notice.severity.value, language)
    line = f"{SIGNS[notice.occasion]} {words} [{severity}] {subject(notice, language)}"
    if state and notice.intents:
        line += f" → {name('remediation', notice.intents[-1].plan.remediation, language)}"
    if notice.occasion is Occasion.RESOLVED:
        end = incident.resolved_at or notice.at
        line += f" ({span(max(end - incident.started_at, timedelta(0)), language)})"
    return line if len(line) <= MOST_CHARACTERS else line[: MOST_CHARACTERS - 1] + "…"


def wanted(notice: Notice, markup: Markup, language: str, zone: str) -> str:
    """What the reader is to do; empty where it is over."""
    if notice.occasion is Occasion.RESOLVED:
        return ""
    key = _state(notice) or notice.occasion.value
    until = _until(notice.intents[-1], zone) if notice.intents else ""
    if key == "waits" and not until:
        key = "would"
    colon = "\uff1a" if language == "zh" else ": "
    filled = {"until": until} if key == "waits" else {}
    said = say(f"wanted.{key}", language, **filled)
    return f"{markup.bold.format(say('chat.wanted', language))}{colon}{said}"


def leader_of(incident: Incident) -> Hypothesis | None:
    """The cause, where there is one to speak of."""
    diagnosis = incident.diagnosis
    if diagnosis is None or diagnosis.leader is None or diagnosis.abstained:
        return None
    return None if diagnosis.leader.cause in _NO_CAUSE else diagnosis.leader


def where(target: Target, incident: Incident) -> str:
    """A target as people say it: pods and workloads by name, GPUs with their node."""
    if target.kind is not Kind.GPU:
        text = str(target).partition(":")[2]
        return harmless(text, 80)
    nodes = [t.name for t in incident.targets if t.kind is Kind.NODE]
    return harmless(f"{target.name[:12]}{f' @ {nodes[0]}' if len(nodes) == 1 else ''}", 80)


def cause_of(leader: Hypothesis, language: str) -> str:
    title = (leader.title_zh if language == "zh" else "") or leader.title or leader.cause
    return harmless(title)


def subject(notice: Notice, language: str) -> str:
    """What is the matter, and where."""
    incident = notice.incident
    leader = leader_of(incident)
    meant = leader.target if leader else None
    if notice.intents:
        meant = notice.intents[-1].plan.target
    if meant is None and incident.targets:
        meant = incident.targets[0]
    place = where(meant, incident) if meant else ""
    first = _NEXT_CLAUSE.split(_KIND_OF_EVENT.sub("", incident.title), maxsplit=1)[0]
    title = harmless(first, 100)
    what = cause_of(leader, language) if leader else title
    named = meant is not None and harmless(meant.name, 80) in what
    return what if named or not place else f"{what} · {place}"


def _occasion(notice: Notice, language: str) -> str:
    return name("occasion", notice.occasion.value, language)


def _state(notice: Notice) -> str:
    if notice.occasion not in (Occasion.PROPOSED, Occasion.ACTED) or not notice.intents:
        return ""
    return _STATES.get(notice.intents[-1].state, "")


def _until(intent: Intent, zone: str) -> str:
    return moment(intent.expires_at, ZoneInfo(zone)) if intent.expires_at else ""


def moment(at: datetime, place: ZoneInfo) -> str:
    return f"{at.astimezone(place):%m-%d %H:%M:%S %z}"
