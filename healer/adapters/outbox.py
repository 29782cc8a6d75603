"""The durable outbox: notices become parcels, parcels become chat messages, at the channel's pace.

At least once: a parcel is settled only after the provider's own code said success, so a crash
between sending and settling sends it again. A provider that throttles pauses its channel, one
that refuses us marks it broken and is probed now and then; the queue is kept in both cases.
When more is waiting than people could read, the rest is folded into one digest a minute.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import structlog

from healer.adapters.routing import Routing
from healer.errors import HealerError, Temporary
from healer.lexicon import NO_WORDS, Lexicon
from healer.model.message import Delivery, DeliveryResult, Notice, Occasion, Parcel
from healer.model.snapshot import Problem
from healer.notifiers import shrink
from healer.ports import Clock, Notifier, Post, Store
from healer.settings import Channel, NotifySettings
from healer.spoken import spoken_notice

MINUTE = timedelta(minutes=1)
FOLD_AT = 6
"""That many waiting messages are a flood: a person reads one list rather than six messages."""
FIRST_RETRY = timedelta(seconds=5)
LAST_RETRY = timedelta(minutes=15)
PROBE_BROKEN = timedelta(minutes=10)
"""How often a channel that refuses us is tried, in case somebody mended it."""
MOST_DUE = 1000
MOST_KNOWN = 20_000
"""Keys remembered so that a notice made every tick costs no query."""
DIGEST = "digest|"
NEVER = datetime.min.replace(tzinfo=UTC)

_NOT_SENT = frozenset(d.value for d in (Delivery.FOLDED, Delivery.HELD, Delivery.CALLED_OFF))
_ALONE = (Occasion.PROPOSED, Occasion.ESCALATED)
"""Not folded: somebody has to answer."""
MOST_ALONE = 10
"""As long as there are no more of them: nobody reads a hundred calls for help one by one."""


@dataclass(slots=True)
class _Lane:
    """One channel's memory; what matters over a restart is in the store."""

    notifier: Notifier
    per_minute: int
    language: str
    sent: deque[datetime] = field(default_factory=deque)
    paused_until: datetime = NEVER
    digest_after: datetime = NEVER
    broken: str = ""

    def room(self, now: datetime) -> int:
        while self.sent and now - self.sent[0] >= MINUTE:
            self.sent.popleft()
        return self.per_minute - len(self.sent)


class Outbox:
    """Delivers notices over `notifiers`. One `flush` at a time; `enqueue` from any thread."""

    def __init__(
        self,
        store: Store,
        notifiers: Mapping[str, Notifier],
        post: Post,
        clock: Clock,
        channels: Mapping[str, Channel] | None = None,
        counted: Callable[[str, str], None] = lambda _channel, _result: None,
        notify: NotifySettings | None = None,
        lexicon: Lexicon = NO_WORDS,
    ) -> None:
        """channels: settings by channel name, for pace and severity; defaults where absent.

        counted: told (channel, result) of each attempt. notify: for the order of escalation;
        its channels count where `channels` is not given. lexicon: what people call signals.
        Raises BadInput for settings that make no sense together.
        """
        given = notify or NotifySettings(channels=dict(channels or {}))
        channels = channels or given.channels
        self._routing = Routing(store, given)
        self._store, self._post, self._clock, self._counted = store, post, clock, counted
        self._lexicon, self._zone = lexicon, given.timezone
        known = channels or {}
        self._lanes = {
            name: _lane(notifier, known.get(name) or Channel(name))
            for name, notifier in notifiers.items()
        }
        self._known: dict[tuple[str, str], None] = {}
        self._lock = threading.Lock()
        self._log = structlog.get_logger("healer.outbox")
        self._remembered = False

    def broken(self) -> tuple[str, ...]:
        """Channels whose provider refuses us, with what it said."""
        return tuple(f"{name}: {lane.broken}" for name, lane in self._lanes.items() if lane.broken)

    def enqueue(self, notices: Sequence[Notice]) -> tuple[Problem, ...]:
        """Write them down for every channel that wants them; what was told before is skipped.

        A notifier that raises is a Problem, and its notice is tried again next time.
        """
        problems: list[Problem] = []
        for name, lane in self._lanes.items():
            for notice in notices:
                place = (name, notice.key)
                if place in self._known or not self._routing.wants(name, notice):
                    continue
                try:
                    linked = self._routing.linked(name, notice, self._clock.now())
                    body = lane.notifier.render(self._spoken(lane, linked))
                except Exception as error:  # noqa: BLE001  a plugin that raises stops nobody else
                    said = f"{type(error).__name__}: {error}"
                    problems.append(Problem(f"notifier.{name}", said, self._clock.now()))
                    continue
                self._store.enqueue(name, notice.key, notice.incident.id, body, self._clock.now())
                self._remember(place)
        return tuple(problems)

    def flush(self) -> int:
        """Send what is due and may go. Returns how many messages were delivered."""
        if not self._remembered:
            self._recall()
        return sum(self._flush(name, lane) for name, lane in self._lanes.items())

    # one channel

    def _flush(self, name: str, lane: _Lane) -> int:
        now = self._clock.now()
        if now < lane.paused_until or lane.room(now) <= 0:
            return 0
        due = self._ripe(name, self._store.due(name, now, limit=MOST_DUE), now)
        delivered = 0
        for parcel in self._fold(name, lane, due):
            if lane.room(self._clock.now()) <= 0:
                break
            result = self._send(lane, parcel)
            delivered += result.delivery is Delivery.DELIVERED
            if not self._settle(name, lane, parcel, result):
                break
        return delivered

    def _ripe(self, name: str, due: Sequence[Parcel], now: datetime) -> tuple[Parcel, ...]:
        """`due` without what is to wait, and without what nobody needs to hear any more."""
        ripe = []
        for parcel in due:
            occasion = _occasion(parcel)
            incident = self._store.incident(parcel.incident_id) if occasion else None
            if incident is None or occasion is None:
                ripe.append(parcel)
                continue
            reason = self._routing.called_off(name, occasion, incident, parcel, now)
            until = self._routing.held_until(name, parcel, incident)
            if reason:
                self._put_by(name, parcel, DeliveryResult(Delivery.CALLED_OFF, detail=reason), None)
            elif until is not None and until > now:
                held = DeliveryResult(Delivery.HELD, detail=f"until {until:%m-%d %H:%M %z}")
                self._put_by(name, parcel, held, until)
            else:
                ripe.append(parcel)
        return tuple(ripe)

    def _put_by(
        self, name: str, parcel: Parcel, result: DeliveryResult, until: datetime | None
    ) -> None:
        self._store.settle(parcel.id, result, self._clock.now(), until)
        self._counted(name, result.delivery.value)

    def _fold(self, name: str, lane: _Lane, due: Sequence[Parcel]) -> tuple[Parcel, ...]:
        """What to send now, one by one: all of `due`, or those that stand alone and a digest."""
        asking = [p for p in due if _occasion(p) in _ALONE]
        few = asking if len(asking) <= MOST_ALONE else []
        alone = (*(p for p in due if p.notice_key.startswith(DIGEST)), *few)
        apart = {p.id for p in alone}
        rest = tuple(p for p in due if p.id not in apart)
        if len(rest) < min(FOLD_AT, max(2, lane.per_minute)):
            return tuple(due)
        now = self._clock.now()
        if now < lane.digest_after:
            return alone
        body = self._digest(lane, rest, now)
        if body is None:
            return tuple(due)
        key = f"{DIGEST}{rest[0].id}-{rest[-1].id}"
        self._store.enqueue(name, key, "", body, now)
        for parcel in rest:
            self._store.settle(parcel.id, DeliveryResult(Delivery.FOLDED, detail=key), now, None)
            self._counted(name, Delivery.FOLDED.value)
        lane.digest_after = now + MINUTE
        again = self._store.due(name, now, limit=MOST_DUE)
        return tuple(p for p in again if p.id in apart or p.notice_key == key)

    def _digest(self, lane: _Lane, parcels: Sequence[Parcel], now: datetime) -> str | None:
        newest: dict[str, Notice] = {}
        for parcel in parcels:
            incident = self._store.incident(parcel.incident_id)
            occasion = _occasion(parcel)
            if incident is not None and occasion is not None:
                notice = Notice(occasion, incident, parcel.created_at, url=self._routing.pages())
                newest[incident.id] = self._spoken(lane, notice)
        try:
            return lane.notifier.digest(tuple(newest.values()), now) if newest else None
        except Exception as error:  # noqa: BLE001  then each message goes by itself
            self._log.error("digest failed", error=f"{type(error).__name__}: {error}")
            return None

    def _spoken(self, lane: _Lane, notice: Notice) -> Notice:
        return spoken_notice(notice, lane.language, self._lexicon, self._zone)

    def _send(self, lane: _Lane, parcel: Parcel) -> DeliveryResult:
        now = self._clock.now()
        try:
            request = lane.notifier.request(parcel.body, now)
            lane.sent.append(now)
            status, answer = self._post.send(request)
            return lane.notifier.classify(status, answer)
        except Temporary as error:
            return DeliveryResult(Delivery.RETRY, "network", str(error))
        except HealerError as error:
            return DeliveryResult(Delivery.BROKEN, "refused", str(error))
        except Exception as error:  # noqa: BLE001  a plugin that raises loses no message
            return DeliveryResult(Delivery.RETRY, type(error).__name__, str(error))

    def _settle(self, name: str, lane: _Lane, parcel: Parcel, result: DeliveryResult) -> bool:
        """Write down what became of it; False when the channel is to be left alone for now."""
        now = self._clock.now()
        self._counted(name, result.delivery.value)
        if result.delivery is Delivery.DELIVERED:
            lane.broken = ""
            self._store.settle(parcel.id, result, now, None)
            return True
        self._log.warning(
            "message not delivered",
            channel=name,
            result=result.delivery.value,
            code=result.code,
            detail=result.detail,
            tries=parcel.tries + 1,
        )
        match result.delivery:
            case Delivery.TOO_LARGE:
                self._shrink(name, parcel, result, now)
                return True
            case Delivery.PAUSE:
                lane.paused_until = now + timedelta(seconds=max(result.retry_after_s, 1.0))
                self._store.put(_pause_key(name), lane.paused_until.isoformat())
            case Delivery.BROKEN:
                lane.broken = f"{result.code} {result.detail}".strip()
                lane.paused_until = now + PROBE_BROKEN
            case _:
                lane.paused_until = now + FIRST_RETRY
        backoff = min(FIRST_RETRY * 2 ** min(parcel.tries, 12), LAST_RETRY)
        retry = result.delivery is Delivery.RETRY
        self._store.settle(parcel.id, result, now, now + backoff if retry else lane.paused_until)
        return False

    def _shrink(self, name: str, parcel: Parcel, result: DeliveryResult, now: datetime) -> None:
        smaller = shrink(parcel.body)
        if smaller is not None:
            again = f"{parcel.notice_key}~"
            self._store.enqueue(name, again, parcel.incident_id, smaller, now)
        self._store.settle(parcel.id, result, now, None)

    # memory

    def _remember(self, place: tuple[str, str]) -> None:
        with self._lock:
            self._known[place] = None
            if len(self._known) > MOST_KNOWN:
                for old in list(self._known)[: MOST_KNOWN // 2]:
                    del self._known[old]

    def _recall(self) -> None:
        """After a restart: pauses still running, and what was sent in the last minute."""
        now = self._clock.now()
        for name, lane in self._lanes.items():
            paused = self._store.get(_pause_key(name))
            if paused:
                lane.paused_until = datetime.fromisoformat(paused)
        for row in reversed(self._store.deliveries(limit=200)):
            found = self._lanes.get(row["channel"])
            moment = datetime.fromisoformat(row["updated_at"])
            if found is not None and row["tries"] and row["result"] not in _NOT_SENT:
                found.sent.append(min(moment, now))
        self._remembered = True


def _lane(notifier: Notifier, channel: Channel) -> _Lane:
    return _Lane(notifier, channel.per_minute, channel.language)


def _occasion(parcel: Parcel) -> Occasion | None:
    """Read from the key, whose second part it is."""
    parts = parcel.notice_key.split("|")
    try:
        return Occasion(parts[1])
    except (IndexError, ValueError):
        return None


def _pause_key(channel: str) -> str:
    return f"outbox.paused.{channel}"
