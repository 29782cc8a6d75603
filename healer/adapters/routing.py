"""Which channel hears what, and when: namespaces, quiet hours, escalation, mutes, signed links."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from healer.attention import attention
from healer.errors import BadInput
from healer.links import ANSWER_FOR, DIGEST_CHARACTERS, KEY, LOOK_FOR, Question, write_link
from healer.model.incident import Incident, Phase, Severity
from healer.model.intent import State
from healer.model.message import Notice, Occasion, Parcel
from healer.ports import Store
from healer.settings import Channel, NotifySettings

BASE = "links.base"
"""Key in the store: how people reach the pages, as the newest notice said it."""
GRAVITY = {Severity.INFO: 0, Severity.WARNING: 1, Severity.CRITICAL: 2}
_HOURS = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)-([01]?\d|2[0-3]):([0-5]\d)(?:\s+(\S+))?")
_BEING_HEALED = (Phase.ACTING, Phase.VERIFYING, Phase.RESOLVED)
_FIRST_WORD = (Occasion.OPENED, Occasion.DIAGNOSED)


@dataclass(frozen=True, slots=True)
class QuietHours:
    """A part of every day on somebody's wall clock; it may pass midnight."""

    start: time
    end: time
    zone: ZoneInfo

    def ends(self, now: datetime) -> datetime | None:
        """When the quiet that `now` lies in is over; None outside of it."""
        local = now.astimezone(self.zone)
        clock = local.time().replace(tzinfo=None)
        over = self.start <= clock or clock < self.end
        within = self.start <= clock < self.end if self.start < self.end else over
        if not within:
            return None
        day = local.date() + timedelta(days=self.end <= clock)
        return datetime.combine(day, self.end, self.zone).astimezone(now.tzinfo)


def parse_quiet_hours(text: str, path: str) -> QuietHours | None:
    """`22:00-08:00 Asia/Shanghai`, UTC without a zone; None for nothing. Raises BadInput."""
    if not text.strip():
        return None
    found = _HOURS.fullmatch(text.strip())
    if found is None:
        expected = "expected hours such as '22:00-08:00 Asia/Shanghai'"
        raise BadInput(expected, path=path, value=text)
    start_h, start_m, end_h, end_m = (int(part) for part in found.groups()[:4])
    start, end = time(start_h, start_m), time(end_h, end_m)
    try:
        zone = ZoneInfo(found[5] or "UTC")
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise BadInput("expected an IANA time zone", path=path, value=found[5]) from error
    if start == end:
        raise BadInput("expected hours that end at another time", path=path, value=text)
    return QuietHours(start, end, zone)


class Routing:
    """Decides for one channel and one notice. What it remembers is in the store."""

    def __init__(self, store: Store, settings: NotifySettings) -> None:
        """Raises BadInput for quiet hours or an escalation that makes no sense."""
        self._store, self._settings = store, settings
        self._quiet = {
            name: parse_quiet_hours(channel.quiet_hours, f"notify.channels.{name}.quiet_hours")
            for name, channel in settings.channels.items()
        }
        for number, name in enumerate(settings.escalation):
            if name not in settings.channels:
                known = ", ".join(settings.channels) or "none are set up"
                raise BadInput(
                    f"expected a channel of notify.channels: {known}",
                    path=f"notify.escalation.{number}",
                    value=name,
                )
        self._key, self._base = b"", ""

    def wants(self, channel: str, notice: Notice) -> bool:
        """Whether the channel is to hear of it at all."""
        chosen = self._channel(channel)
        if GRAVITY[notice.severity] < GRAVITY[Severity(chosen.min_severity)]:
            return False
        if chosen.namespaces and not set(chosen.namespaces) & _namespaces(notice.incident):
            return False
        return self._rank(channel) == 0 or needs_somebody(notice)

    def linked(self, channel: str, notice: Notice, now: datetime) -> Notice:
        """The notice with its signed links, where pages can be reached at all."""
        base = notice.url.rpartition("/incidents/")[0] or notice.url.rpartition("/approvals/")[0]
        if base and base != self._base:
            self._base = base
            self._store.put(BASE, base)
        if not base or notice.occasion is Occasion.RESOLVED:
            return notice
        asked = [
            Question("take", notice.incident.id, now + LOOK_FOR),
            Question("mute", notice.incident.id, now + LOOK_FOR),
        ]
        if self._channel(channel).answer_links:
            asked += [
                Question(
                    "answer",
                    notice.incident.id,
                    min(intent.expires_at, now + ANSWER_FOR),
                    intent.id,
                    intent.plan.digest[:DIGEST_CHARACTERS],
                )
                for intent in notice.intents
                if intent.state is State.PLANNED and intent.expires_at is not None
            ]
        key = self._signing_key()
        links = {str(q.purpose): f"{base}/l/{write_link(q, key)}" for q in asked}
        return replace(notice, links=links)

    def pages(self) -> str:
        """Where the overview is, for a digest; empty while no message had a link."""
        base = self._base or self._store.get(BASE)
        return f"{base}/incidents" if base else ""

    def held_until(self, channel: str, parcel: Parcel, incident: Incident) -> datetime | None:
        """When it may go out, for a parcel that has to wait for its turn or for the morning."""
        after = self._rank(channel) * self._settings.escalate_after
        turn = parcel.created_at + after if after else None
        quiet = self._quiet.get(channel)
        grave = GRAVITY[incident.severity] >= GRAVITY[Severity(self._channel(channel).quiet_below)]
        morning = None if quiet is None or grave else quiet.ends(turn or parcel.created_at)
        return morning or turn

    def called_off(
        self, channel: str, occasion: Occasion, incident: Incident, parcel: Parcel, now: datetime
    ) -> str:
        """Why nobody needs to hear of it any more; empty when somebody does."""
        known = attention(self._store, incident.id)
        if known.muted(now) and occasion not in (Occasion.RESOLVED, Occasion.ESCALATED):
            return f"muted by {known.muted_by}"
        if self._rank(channel) == 0 or occasion is Occasion.RESOLVED:
            return ""
        if known.taken_by:
            return f"taken by {known.taken_by}"
        if incident.phase in _BEING_HEALED:
            return f"the incident is {incident.phase}"
        if occasion is Occasion.PROPOSED and not self._waits(incident):
            return "the plan waits for no answer any more"
        if occasion in _FIRST_WORD and self._heard(channel, incident, parcel):
            return "this channel was called already"
        return ""

    def _channel(self, name: str) -> Channel:
        return self._settings.channels.get(name) or Channel(name)

    def _rank(self, channel: str) -> int:
        order = self._settings.escalation
        return order.index(channel) if channel in order else 0

    def _waits(self, incident: Incident) -> bool:
        intents = self._store.intents(incident_id=incident.id)
        return any(i.state is State.PLANNED and not i.approved_by for i in intents)

    def _heard(self, channel: str, incident: Incident, parcel: Parcel) -> bool:
        rows = self._store.deliveries(incident_id=incident.id)
        return any(
            r["channel"] == channel and r["id"] < parcel.id and r["result"] != "called_off"
            for r in rows
        )

    def _signing_key(self) -> bytes:
        """Made once for all replicas; read back, for another may have been quicker."""
        if not self._key:
            if not self._store.get(KEY):
                self._store.put(KEY, secrets.token_hex(32))
            self._key = (self._store.get(KEY) or "").encode()
        return self._key


def needs_somebody(notice: Notice) -> bool:
    """Whether a person is asked for something, or something grave has just begun."""
    if notice.occasion in _FIRST_WORD:
        return notice.severity is Severity.CRITICAL
    waits = any(i.state is State.PLANNED for i in notice.intents)
    return notice.occasion is Occasion.ESCALATED or (notice.occasion is Occasion.PROPOSED and waits)


def _namespaces(incident: Incident) -> set[str]:
    return {target.namespace for target in incident.targets if target.namespace}
