"""What a message says, channel by channel the same: what, why, what was done, what is wanted.

Most important first, since clients preview the first lines and byte limits cut the last ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import timedelta
from zoneinfo import ZoneInfo

from healer.model.hypothesis import Term
from healer.model.incident import Incident, Severity
from healer.model.intent import Intent, State
from healer.model.message import Notice, Occasion
from healer.model.verdict import Decision
from healer.notifiers._headline import SIGNS, cause_of, leader_of, moment, subject, wanted
from healer.notifiers._markup import Markup, harmless
from healer.phrases import phrase
from healer.spoken import strongest
from healer.wording import name, say, span

_BARE = re.compile(r"[\d.,]+ ?%? of \d+ \w+|none|unknown")
MOST_TARGETS = 3
MOST_SYMPTOMS = 4
MOST_EVIDENCE = 4
MOST_TRIED = 3
MOST_IN_DIGEST = 15
MOST_IN_DIGEST_LINE = 100


def lines(notice: Notice, markup: Markup, language: str, zone: str) -> tuple[str, ...]:
    """The message without its headline and its link."""
    incident, place = notice.incident, ZoneInfo(zone)
    asked = wanted(notice, markup, language, zone)
    found = [asked] if asked else []
    if notice.occasion is Occasion.RESOLVED:
        return (*found, *_what(notice, markup, language, place))
    if notice.why:
        said = harmless(phrase(notice.why, language))
        found.append(_fact("chat.why_person", said, markup, language))
    found += (_tried(each, markup, language) for each in notice.tried[-MOST_TRIED:])
    for intent in notice.intents:
        found += _done(intent, incident, markup, language, by_link="answer" in notice.links)
    found += _why(incident, markup, language)
    found += _what(notice, markup, language, place)
    found += _symptoms(incident, markup, language)
    return tuple(found)


def waits(notice: Notice) -> bool:
    """Whether a plan in it waits for a person's answer."""
    return any(i.state is State.PLANNED and i.expires_at is not None for i in notice.intents)


def doors(notice: Notice, language: str) -> tuple[tuple[str, str], ...]:
    """(what it does, URL) of every link a message offers, the most wanted first."""
    found = [("chat.details", notice.url)] if notice.url else []
    if "answer" in notice.links:
        found.insert(0, ("chat.decide", notice.links["answer"]))
    elif notice.url and waits(notice):
        found = [("chat.decide", notice.url)]
    found += [
        (f"chat.{each}", notice.links[each]) for each in ("take", "mute") if each in notice.links
    ]
    return tuple((say(key, language), url) for key, url in found)


def link(notice: Notice, markup: Markup, language: str) -> tuple[str, ...]:
    """The doors as one line, which is kept however much is cut."""
    found = [markup.link.format(title, url) for title, url in doors(notice, language)]
    return (" · ".join(found),) if found else ()


def digest_headline(notices: Sequence[Notice], language: str) -> str:
    count = say("chat.digest", language, n=len(notices))
    grave = sum(n.severity is Severity.CRITICAL for n in notices)
    critical = name("severity", Severity.CRITICAL.value, language)
    return f"📋 {count}" + (f" ({grave} {critical})" if grave else "")


def digest_lines(notices: Sequence[Notice], markup: Markup, language: str) -> tuple[str, ...]:
    """Counts first, then the gravest, newest incidents by name."""
    counts: dict[Occasion, int] = {}
    for notice in notices:
        counts[notice.occasion] = counts.get(notice.occasion, 0) + 1
    found = [
        " · ".join(
            f"{SIGNS[o]} {name('occasion', o.value, language)} {counts[o]}"
            for o in Occasion
            if o in counts
        )
    ]
    gravity = {Severity.CRITICAL: 0, Severity.WARNING: 1, Severity.INFO: 2}
    ranked = sorted(
        notices,
        key=lambda n: (
            n.occasion is Occasion.RESOLVED,
            n.occasion not in (Occasion.PROPOSED, Occasion.ESCALATED),
            gravity[n.severity],
            -n.incident.opened_at.timestamp(),
        ),
    )
    for notice in ranked[:MOST_IN_DIGEST]:
        told = subject(notice, language)
        if len(told) > MOST_IN_DIGEST_LINE:
            told = told[: MOST_IN_DIGEST_LINE - 1] + "…"
        found.append(markup.bullet.format(f"{SIGNS[notice.occasion]} {told}"))
    return tuple(found)


def digest_rest(notices: Sequence[Notice], markup: Markup, language: str) -> tuple[str, ...]:
    """How many incidents a digest does not name, and where they are; kept where lines are cut."""
    left = len(notices) - MOST_IN_DIGEST
    more = (say("chat.more", language, n=left),) if left > 0 else ()
    return (*more, *link(notices[0], markup, language)) if notices else more


def _what(notice: Notice, markup: Markup, language: str, place: ZoneInfo) -> Iterator[str]:
    incident = notice.incident
    targets = [harmless(str(t), 120) for t in incident.targets[:MOST_TARGETS]]
    left = len(incident.targets) - MOST_TARGETS
    if left > 0:
        targets.append(say("chat.more", language, n=left))
    if targets:
        yield _fact(
            "chat.target", ", ".join(markup.code.format(t) for t in targets), markup, language
        )
    end = incident.resolved_at or notice.at
    lasted = span(max(end - incident.started_at, timedelta(0)), language)
    when = moment(incident.started_at, place)
    if notice.occasion is Occasion.RESOLVED:
        yield _fact(
            "chat.lasted", f"{lasted} ({when} → {end.astimezone(place):%H:%M:%S})", markup, language
        )
        if incident.resolution:
            fixed = _resolution(incident.resolution, language)
            yield _fact("chat.fixed_by", harmless(fixed), markup, language)
        leader = leader_of(incident)
        if leader is not None:
            yield _fact("chat.cause", cause_of(leader, language), markup, language)
        return
    yield _fact(
        "chat.since", f"{when} ({say('chat.for', language, span=lasted)})", markup, language
    )


def _symptoms(incident: Incident, markup: Markup, language: str) -> Iterator[str]:
    """The worst of each signal, and what was heard; the same on many targets is one line."""
    seen = []
    for finding, targets in strongest(incident.findings):
        text = phrase(finding.summary or f"{finding.signal} {finding.target}", language)
        on = f" · {say('chat.on_targets', language, n=targets)}" if targets > 1 else ""
        seen.append(harmless(text) + on)
    heard = [
        harmless(phrase(text, language))
        for text in dict.fromkeys(e.message for e in incident.events if e.message)
    ]
    if not seen and not heard:
        return
    yield _fact("chat.symptoms", "", markup, language)
    shown = [*seen[: MOST_SYMPTOMS - bool(heard)], *heard][:MOST_SYMPTOMS]
    yield from (markup.bullet.format(each) for each in shown)
    if left := len(seen) + len(heard) - len(shown):
        yield say("chat.more", language, n=left)


def _why(incident: Incident, markup: Markup, language: str) -> Iterator[str]:
    diagnosis = incident.diagnosis
    if diagnosis is None or diagnosis.leader is None:
        return
    leader = diagnosis.leader
    percent = say("chat.confidence", language, percent=round(leader.confidence * 100))
    said = f"{markup.bold.format(cause_of(leader, language))} ({percent})"
    yield _fact("chat.cause", said, markup, language)
    weighed = sorted(leader.evidence_for, key=lambda t: -t.weight)
    told = dict.fromkeys(phrase(t.seen or t.asked, language) for t in weighed if _was_seen(t))
    for said in list(told)[:MOST_EVIDENCE]:
        yield markup.bullet.format(harmless(said))
    against = sorted(leader.evidence_against, key=lambda t: t.weight)
    doubts = [t for t in against if _was_seen(t) and t.weight < 0]
    for term in doubts[:1]:
        yield _fact("chat.but", harmless(phrase(_against(term), language)), markup, language)
    if diagnosis.abstained:
        yield _fact(
            "chat.undecided", harmless(phrase(diagnosis.abstained, language)), markup, language
        )
    if diagnosis.would_decide:
        yield _fact(
            "chat.would_decide",
            harmless(phrase(diagnosis.would_decide, language)),
            markup,
            language,
        )


def _tried(intent: Intent, markup: Markup, language: str) -> str:
    what = name("remediation", intent.plan.remediation, language)
    state = name("state", intent.state.value, language)
    reasons = intent.outcome.reasons if intent.outcome else ()
    because = "; ".join(phrase(each, language) for each in reasons[:2]) or intent.note
    said = f"{what} {harmless(str(intent.plan.target), 120)}: {state}"
    return _fact(
        "chat.tried", f"{said} ({harmless(because)})" if because else said, markup, language
    )


def _was_seen(term: Term) -> bool:
    """Not what is believed beforehand, nor how much of the incident it would explain; nor a bare
    share (`0% of 5 pods`), which says nothing without a question that only rules' authors read."""
    return term.family not in ("prior", "coverage") and not _BARE.fullmatch(term.seen)


def _against(term: Term) -> str:
    """A bare "none" against a cause says nothing without what was asked; where the question is a
    whole expression, the answer alone reads better."""
    if not term.seen or not term.asked:
        return term.seen or term.asked
    is_expression = "(" in term.asked
    return term.seen if is_expression else f"{term.asked}: {term.seen}"


def _resolution(said: str, language: str) -> str:
    remedy = said.removesuffix(" was effective")
    if remedy == said:
        return phrase(said, language)
    state = name("effect", "effective", language)
    return f"{name('remediation', remedy, language)}: {state}"


def _done(
    intent: Intent, incident: Incident, markup: Markup, language: str, *, by_link: bool
) -> Iterator[str]:
    plan = intent.plan
    what = name("remediation", plan.remediation, language)
    target = markup.code.format(harmless(str(plan.target), 120))
    before = intent.state in (State.PLANNED, State.REHEARSED)
    risk = name("risk", plan.risk.name.lower(), language)
    yield _fact(
        "chat.would_do" if before else "chat.action", f"{what} {target} ({risk})", markup, language
    )
    if said := exactly(plan.summary, incident, language):
        yield markup.quote.format(harmless(said))
    if intent.state is State.REHEARSED:
        yield say("chat.observing", language)
    elif not before:
        yield _fact("chat.result", name("state", intent.state.value, language), markup, language)
        if intent.outcome is not None:
            yield from (
                markup.bullet.format(harmless(phrase(r, language)))
                for r in intent.outcome.reasons[:3]
            )
    # That a person is asked, and until when, the message's second line has said already.
    held = [
        v
        for v in intent.verdicts
        if v.decision > Decision.OBSERVE and v.decision is not Decision.APPROVE
    ]
    for verdict in held[:3]:
        said = name("decision", verdict.decision.name.lower(), language)
        reasons = harmless("; ".join(phrase(each, language) for each in verdict.reasons))
        guard = harmless(name("guard", verdict.guard, language))
        yield _fact("chat.guards", f"{guard}: {said} ({reasons})", markup, language)
    if intent.state is State.PLANNED and not by_link:
        yield _fact(
            "chat.approve", markup.code.format(f"healer approve {intent.id}"), markup, language
        )
        yield _fact(
            "chat.reject", markup.code.format(f"healer reject {intent.id}"), markup, language
        )


def exactly(summary: str, incident: Incident, language: str) -> str:
    """What the plan does, without the cause that ends its summary: the headline has said that."""
    leader = incident.diagnosis.leader if incident.diagnosis else None
    said = phrase(summary, language)
    for title in (leader.title, leader.title_zh, leader.cause) if leader else ():
        if title and said.endswith(title):
            return said.removesuffix(title).rstrip(" :\uff1a")
    return said


def _fact(key: str, value: str, markup: Markup, language: str) -> str:
    colon = "\uff1a" if language == "zh" else ": "
    return f"{markup.bold.format(say(key, language))}{colon}{value}".rstrip()
