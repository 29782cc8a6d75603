"""The figures of the record: facts beside each incident and intent, and their sums.

A month can hold ten thousand incidents of many kilobytes each. Their facts lie in narrow tables
of their own, written with them, so that counting reads none of the long values.
"""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from datetime import datetime

from sqlalchemy import Connection, case, delete, func, select

from healer.adapters.store.rows import upsert, utc
from healer.adapters.store.schema import INCIDENT_FACTS, INCIDENTS, INTENT_FACTS, INTENTS
from healer.model.incident import Incident, Phase
from healer.model.intent import Intent
from healer.model.tally import Tally, facts_of, facts_of_intent

_OVER = (Phase.RESOLVED.value, Phase.ESCALATED.value)


def note_incident(connection: Connection, incident: Incident) -> None:
    facts = dataclasses.asdict(facts_of(incident))
    moment = {"opened_at": utc(incident.opened_at), "phase": incident.phase.value}
    upsert(connection, INCIDENT_FACTS, {"id": incident.id}, moment | facts)


def note_intent(connection: Connection, intent: Intent) -> None:
    facts = dataclasses.asdict(facts_of_intent(intent))
    place = {"incident_id": intent.plan.incident_id, "state": intent.state.value}
    upsert(connection, INTENT_FACTS, {"id": intent.id}, place | facts)


def forget(connection: Connection) -> None:
    """Facts whose incident or intent is no longer there."""
    for facts, values in ((INCIDENT_FACTS, INCIDENTS), (INTENT_FACTS, INTENTS)):
        connection.execute(delete(facts).where(facts.c.id.not_in(select(values.c.id))))


def tally(connection: Connection, since: datetime) -> Tally:
    table, done = INCIDENT_FACTS.c, INTENT_FACTS.c
    recent = table.opened_at >= utc(since)
    deeds = (
        select(
            done.incident_id,
            func.max(case((done.carried_out, 1), else_=0)).label("acted"),
            func.max(case((done.helped, 1), else_=0)).label("helped"),
        )
        .group_by(done.incident_id)
        .subquery()
    )
    acted, helped = (func.coalesce(c, 0) for c in (deeds.c.acted, deeds.c.helped))
    joined = INCIDENT_FACTS.outerjoin(deeds, deeds.c.incident_id == table.id)
    counted = (
        select(table.phase, table.curable, acted, helped, func.count())
        .select_from(joined)
        .where(recent)
        .group_by(table.phase, table.curable, acted, helped)
    )
    groups = [
        (phase, bool(curable), bool(was_acted), bool(was_helped), int(count))
        for phase, curable, was_acted, was_helped, count in connection.execute(counted)
    ]
    recovered = (
        select(table.lasted_s)
        .select_from(joined)
        .where(
            recent, helped == 1, table.phase == Phase.RESOLVED.value, table.lasted_s.is_not(None)
        )
        .order_by(table.lasted_s)
    )
    causes = (
        select(table.cause, func.count())
        .where(recent, table.cause != "")
        .group_by(table.cause)
        .order_by(func.count().desc(), table.cause)
    )
    detected = select(table.detect_s).where(recent).order_by(table.detect_s)
    wrong, actions = _actions(connection, since)
    return Tally(
        incidents=sum(n for *_, n in groups),
        open=sum(n for phase, *_, n in groups if phase != Phase.RESOLVED.value),
        escalated=sum(n for phase, *_, n in groups if phase == Phase.ESCALATED.value),
        acted_on=sum(n for _, _, was_acted, _, n in groups if was_acted),
        acted_on_and_over=sum(n for phase, _, done_, _, n in groups if done_ and phase in _OVER),
        recovered=sum(n for phase, _, _, ok, n in groups if ok and phase == Phase.RESOLVED.value),
        missed=sum(
            n
            for phase, curable, was_acted, _, n in groups
            if curable and not was_acted and phase in _OVER
        ),
        wrong_actions=wrong,
        detect_s=tuple(connection.execute(detected).scalars()),
        recover_s=tuple(connection.execute(recovered).scalars()),
        actions=actions,
        causes={cause: int(count) for cause, count in connection.execute(causes)},
    )


def _actions(connection: Connection, since: datetime) -> tuple[int, dict[str, dict[str, int]]]:
    """(wrong ones, remediation → state → how many)."""
    done = INTENT_FACTS.c
    query = (
        select(done.remediation, done.state, done.wrong, func.count())
        .join(INCIDENT_FACTS, INCIDENT_FACTS.c.id == done.incident_id)
        .where(INCIDENT_FACTS.c.opened_at >= utc(since))
        .group_by(done.remediation, done.state, done.wrong)
        .order_by(done.remediation, done.state)
    )
    wrong, found = 0, defaultdict[str, Counter[str]](Counter)
    for remediation, state, was_wrong, count in connection.execute(query):
        found[remediation][state] += int(count)
        wrong += int(count) if was_wrong else 0
    return wrong, {remediation: dict(states) for remediation, states in found.items()}
