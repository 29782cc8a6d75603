"""An incident, and what is done about it, with every sentence in the reader's language.

A step between the record and its reader: values in, values out. Chat, pages and reports show what
it returns; the record itself, the API's JSON and the audit keep the engine's own words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from healer.lexicon import NO_WORDS, Lexicon
from healer.model.finding import Finding
from healer.model.hypothesis import Diagnosis, Hypothesis, Term
from healer.model.incident import Incident
from healer.model.intent import Intent
from healer.model.message import Notice
from healer.model.target import Target
from healer.phrases import MOST_CHARACTERS, phrase

Speak = Callable[[str], str]

_TIME = re.compile(r"\b(at|since) (\d\d:\d\d:\d\d)(?![\d.+-])")

MOST_SPOKEN = 60
"""Findings and events of a message that are put into words: a storm has thousands, and a message
names a few."""


def speaker(
    language: str,
    lexicon: Lexicon = NO_WORDS,
    zone: str = "UTC",
    near: datetime = datetime(2000, 1, 1, tzinfo=UTC),
) -> Speak:
    """One sentence of the engine → the same as a reader of `language` is told it.

    The engine writes times of day in UTC; they are told in `zone`, as it is at about `near`.
    A sentence is told once: a second time its times would move again.
    """
    offset = near.astimezone(ZoneInfo(zone)).utcoffset() or timedelta(0)

    def local(found: re.Match[str]) -> str:
        moment = datetime.strptime(found[2], "%H:%M:%S").replace(tzinfo=UTC) + offset
        return f"{found[1]} {moment:%H:%M:%S}"

    def speak(text: str) -> str:
        if not text or len(text) > MOST_CHARACTERS:
            return text
        here = _TIME.sub(local, text) if offset else text
        return phrase(lexicon.put(here, language), language)

    return speak


def strongest(findings: Sequence[Finding]) -> list[tuple[Finding, int]]:
    """The strongest finding of each signal and on how many targets there is one, worst first."""
    best: dict[str, Finding] = {}
    places: dict[str, set[Target]] = {}
    for each in findings:
        places.setdefault(each.signal, set()).add(each.target)
        known = best.get(each.signal)
        if known is None or (each.level, each.score) > (known.level, known.score):
            best[each.signal] = each
    ranked = sorted(best.values(), key=lambda f: (-f.level, -f.score, f.since))
    return [(each, len(places[each.signal])) for each in ranked]


def spoken_notice(
    notice: Notice, language: str, lexicon: Lexicon = NO_WORDS, zone: str = "UTC"
) -> Notice:
    speak = speaker(language, lexicon, zone, notice.at)
    incident = notice.incident
    told = {id(f) for f, _ in strongest(incident.findings)[:MOST_SPOKEN]}
    told |= {id(f) for f in incident.findings[:MOST_SPOKEN]}
    few = replace(incident, findings=(), events=incident.events[:MOST_SPOKEN])
    spoken = spoken_incident(few, speak)
    return replace(
        notice,
        incident=replace(
            spoken,
            findings=tuple(_finding(f, speak) if id(f) in told else f for f in incident.findings),
            events=spoken.events + incident.events[MOST_SPOKEN:],
        ),
        intents=tuple(spoken_intent(i, speak) for i in notice.intents),
        tried=tuple(spoken_intent(i, speak) for i in notice.tried),
        why=speak(notice.why),
    )


def spoken_incident(incident: Incident, speak: Speak) -> Incident:
    return replace(
        incident,
        title=speak(incident.title),
        findings=tuple(_finding(f, speak) for f in incident.findings),
        events=tuple(replace(e, message=speak(e.message)) for e in incident.events),
        diagnosis=_diagnosis(incident.diagnosis, speak) if incident.diagnosis else None,
        resolution=speak(incident.resolution),
    )


def _finding(finding: Finding, speak: Speak) -> Finding:
    return replace(finding, summary=speak(finding.summary or finding.signal))


def spoken_intent(intent: Intent, speak: Speak) -> Intent:
    outcome = intent.outcome
    return replace(
        intent,
        plan=replace(
            intent.plan, summary=speak(intent.plan.summary), refused=speak(intent.plan.refused)
        ),
        verdicts=tuple(
            replace(v, reasons=tuple(speak(r) for r in v.reasons)) for v in intent.verdicts
        ),
        outcome=replace(outcome, reasons=tuple(speak(r) for r in outcome.reasons))
        if outcome
        else None,
        note=speak(intent.note),
    )


def _diagnosis(diagnosis: Diagnosis, speak: Speak) -> Diagnosis:
    return replace(
        diagnosis,
        hypotheses=tuple(_hypothesis(h, speak) for h in diagnosis.hypotheses),
        abstained=speak(diagnosis.abstained),
        would_decide=speak(diagnosis.would_decide),
    )


def _hypothesis(hypothesis: Hypothesis, speak: Speak) -> Hypothesis:
    return replace(
        hypothesis,
        terms=tuple(_term(t, speak) for t in hypothesis.terms),
        why_not=speak(hypothesis.why_not),
    )


def _term(term: Term, speak: Speak) -> Term:
    """The question stays as the rule writes it: it can be looked up there."""
    return replace(term, seen=speak(term.seen))
